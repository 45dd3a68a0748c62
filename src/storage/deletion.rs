//! Removing a request for good.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

use super::{READ_TIMEOUT, Storage, StorageError, blocking, within};
use crate::classification::PictureDigest;
use crate::records::Record;

/// What was removed.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// The picture, if no other request had it.
    pub picture: Option<Bytes>,
}

/// How long it waits for a batch that is being shipped.
const PATIENCE: Duration = Duration::from_secs(5);

impl Storage {
    /// Removes a record and, if no other record refers to it, its picture, here and in the shared stores; `None` if
    /// there is no such record.
    ///
    /// The picture goes first: whatever fails, the record is there to try again with.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`].
    pub async fn delete(&self, request_id: Uuid) -> Result<Option<Deleted>, StorageError> {
        let _still = tokio::time::timeout(PATIENCE, self.shipping.lock())
            .await
            .map_err(|_| {
                StorageError::Unavailable("records are being shipped; try again".into())
            })?;
        let Some(record) = self.find(request_id).await? else {
            return Ok(None);
        };
        let mut digest: PictureDigest = [0; 32];
        let whole = hex::decode_to_slice(&record.image_sha256, &mut digest).is_ok();
        let _alone = self.stripe(&digest).write().await;
        let picture = if whole && !self.is_shared(&record).await? {
            self.remove_picture(&digest, &record).await?
        } else {
            None
        };
        self.journal.forget(vec![request_id]).await?;
        if let Some(shared) = &self.shared.records {
            within(READ_TIMEOUT, shared.presence(), shared.delete(request_id)).await?;
        }
        Ok(Some(Deleted { picture }))
    }

    /// Whether another record has the same picture.
    async fn is_shared(&self, record: &Record) -> Result<bool, StorageError> {
        let (local, sha256, id) = (
            Arc::clone(&self.local),
            record.image_sha256.clone(),
            record.request_id,
        );
        if blocking(move || local.refers_to(&sha256, id, Timestamp::UNIX_EPOCH)).await? {
            return Ok(true);
        }
        match &self.shared.records {
            Some(shared) => {
                let asked = shared.refers_to(&record.image_sha256, record.request_id);
                within(READ_TIMEOUT, shared.presence(), asked).await
            }
            None => Ok(false),
        }
    }

    async fn remove_picture(
        &self,
        digest: &PictureDigest,
        record: &Record,
    ) -> Result<Option<Bytes>, StorageError> {
        let Some(reference) = record.image_ref.clone() else {
            return Ok(None);
        };
        // What cannot be read, such as a damaged file, can still be removed.
        let picture = self.read(&reference, u64::MAX).await.unwrap_or(None);
        self.uploads.forget(digest);
        let (uploads, name) = (Arc::clone(&self.uploads), reference.clone());
        blocking(move || uploads.remove(&name)).await?;
        if let Some(blob) = &self.shared.pictures {
            within(READ_TIMEOUT, blob.presence(), blob.delete(&reference)).await?;
        }
        Ok(picture)
    }
}
