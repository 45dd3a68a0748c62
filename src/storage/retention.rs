//! Removes what has been kept as long as it shall be.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{Storage, StorageError, blocking, within};
use crate::records::Spool;
use crate::uploads::Uploads;

const INTERVAL: Duration = Duration::from_secs(3600);

/// Records removed at once.
const BATCH: usize = 500;

/// A request may have got its identifier so long before its record is committed.
const OVERLAP: SignedDuration = SignedDuration::from_mins(10);

/// A shared store may take so long to remove what is old.
const EXPIRY_TIMEOUT: Duration = Duration::from_secs(300);

/// Removes records and pictures on this disk that are older than `days`, every hour. What waits for a shared store
/// stays until it has been shipped; what is there, that store expires.
pub async fn expire(storage: Arc<Storage>, days: u32) {
    if days == 0 {
        return;
    }
    let age = SignedDuration::from_hours(24 * i64::from(days));
    let mut tick = tokio::time::interval(INTERVAL);
    loop {
        tick.tick().await;
        match storage.expire_before(Timestamp::now() - age).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, days, "removed records that were too old"),
            Err(error) => tracing::warn!("old records cannot be removed: {error}"),
        }
    }
}

impl Storage {
    /// Removes the records from before `time` that are kept here, and the pictures that no later record has; how
    /// many records.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn expire_before(&self, time: Timestamp) -> Result<u64, StorageError> {
        if let Some(shared) = &self.shared.records {
            let expired = within(EXPIRY_TIMEOUT, shared.presence(), shared.expire(time));
            return expired.await;
        }
        if self.journal.spool() != Spool::None && self.waiting() > 0 {
            return Ok(0);
        }
        let (local, looked) = (Arc::clone(&self.local), Timestamp::now() - OVERLAP);
        let pictures = blocking(move || local.pictures_only_before(time)).await?;
        let mut removed = 0;
        loop {
            let local = Arc::clone(&self.local);
            let ids = blocking(move || local.ids_before(time, BATCH)).await?;
            if ids.is_empty() {
                break;
            }
            removed += ids.len() as u64;
            self.journal.forget(ids).await?;
        }
        for reference in pictures {
            self.remove_unless_since(reference, looked).await?;
        }
        Ok(removed)
    }

    /// Removes a picture from this disk unless a record from `since` or later has it.
    pub(super) async fn remove_unless_since(
        &self,
        reference: String,
        since: Timestamp,
    ) -> Result<(), StorageError> {
        let Some(digest) = Uploads::digest(&reference) else {
            return Ok(());
        };
        // No request is between keeping this picture and its record.
        let _alone = self.stripe(&digest).write().await;
        let (local, sha256) = (Arc::clone(&self.local), hex::encode(digest));
        if blocking(move || local.refers_to(&sha256, Uuid::nil(), since)).await? {
            return Ok(());
        }
        self.uploads.forget(&digest);
        let uploads = Arc::clone(&self.uploads);
        Ok(blocking(move || uploads.remove(&reference)).await?)
    }
}
