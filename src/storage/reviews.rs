//! What reviews are asked for, and what they tell.

use std::sync::Arc;
use std::time::Duration;

use super::{READ_TIMEOUT, Storage, StorageError, blocking, within};
use crate::records::{ModelName, Queue, Record, Tally};

/// How long figures may take.
const TALLY_TIMEOUT: Duration = Duration::from_secs(30);

impl Storage {
    /// The first records of a queue.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`].
    pub async fn unreviewed(
        &self,
        queue: Queue,
        limit: usize,
    ) -> Result<Vec<Record>, StorageError> {
        let Some(shared) = &self.shared.records else {
            let local = Arc::clone(&self.local);
            return Ok(blocking(move || local.unreviewed(queue, limit)).await?);
        };
        let found = shared.unreviewed(queue, limit);
        let mut found = within(READ_TIMEOUT, shared.presence(), found).await?;
        self.add_waiting_remarks(&mut found).await?;
        found.retain(|record| record.review.is_none());
        Ok(found)
    }

    /// Reviewed requests, counted: all, or those that one model answered. Reviews that wait for a shared store are
    /// not counted yet.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`].
    pub async fn tallies(&self, model: Option<ModelName>) -> Result<Vec<Tally>, StorageError> {
        let Some(shared) = &self.shared.records else {
            let local = Arc::clone(&self.local);
            return Ok(blocking(move || local.tallies(model.as_ref())).await?);
        };
        let counted = shared.tallies(model.as_ref());
        within(TALLY_TIMEOUT, shared.presence(), counted).await
    }
}
