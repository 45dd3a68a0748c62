//! Reviews: kept on this disk before they are answered, as records are, and then taken to where the record is.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::shipper::{MAX_ASIDE, Shipper};
use super::{READ_TIMEOUT, Storage, StorageError, blocking, within};
use crate::records::{ModelName, Queue, Record, Review, Spool, Tally};
use crate::remote::{Failure, FailureKind, State};
use crate::settings::SpoolFull;
use crate::telemetry::metrics::SHIP_FAILURES;

/// How long an answer waits for the shared store, so that what is asked next has the review in it. It is safe before.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long figures may take.
const TALLY_TIMEOUT: Duration = Duration::from_secs(30);

/// Reviews shipped in one go.
const BATCH: usize = 64;

impl Storage {
    /// Keeps a review. Of a request that is not there, nothing is kept, now or once that shows.
    ///
    /// # Errors
    /// [`StorageError`]; the review is not kept then.
    pub async fn review(&self, request_id: Uuid, review: Review) -> Result<(), StorageError> {
        let waits = self.journal.spool() == Spool::Requests;
        if waits && self.limits.spool_full == SpoolFull::Refuse && self.is_spool_full() {
            return Err(StorageError::SpoolFull(self.waiting_bytes()));
        }
        self.journal.review(request_id, review.clone()).await?;
        if waits {
            self.try_to_ship(request_id, review).await;
        }
        Ok(())
    }

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
        self.add_waiting_reviews(&mut found).await?;
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

    /// Reviews that wait for a shared store.
    pub fn waiting_reviews(&self) -> u64 {
        self.journal.waiting_reviews()
    }

    /// Gives records the reviews that wait here.
    pub(super) async fn add_waiting_reviews(&self, records: &mut [Record]) -> io::Result<()> {
        if self.waiting_reviews() == 0 || records.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = records.iter().map(|record| record.request_id).collect();
        let local = Arc::clone(&self.local);
        let mut waiting = blocking(move || local.waiting_reviews_of(&ids)).await?;
        for record in records {
            if let Some(reviews) = waiting.remove(&record.request_id) {
                record.add_reviews(reviews);
            }
        }
        Ok(())
    }

    /// Ships one review at once if that is quick. If not, or if its record is still on its way, it waits its turn.
    async fn try_to_ship(&self, request_id: Uuid, review: Review) {
        let Some(shared) = &self.shared.records else {
            return;
        };
        if matches!(shared.presence().state(), State::Down(_)) {
            return;
        }
        let id = review.review_id;
        let arrived = async { shared.review(request_id, &[review]).await == Ok(true) };
        if let Ok(true) = tokio::time::timeout(PATIENCE, arrived).await
            && let Err(error) = self.journal.reviews_shipped(vec![id]).await
        {
            // It will be shipped again, which changes nothing there.
            tracing::warn!("a review that was shipped cannot be removed here: {error}");
        }
    }
}

impl Shipper {
    /// As [`ship_reviews`](Self::ship_reviews), but leaves a store alone that has just failed.
    pub(super) async fn ship_reviews_unless_down(&mut self) -> Result<bool, Failure> {
        let shared = self.storage.shared.records.as_ref();
        match shared.map(|shared| shared.presence().state()) {
            Some(State::Down(_)) => Ok(false),
            _ => self.ship_reviews().await,
        }
    }

    /// Ships reviews whose records have been shipped. Whether there were any.
    ///
    /// A review whose record is neither here nor there is dropped: the request was removed.
    pub(super) async fn ship_reviews(&mut self) -> Result<bool, Failure> {
        let storage = Arc::clone(&self.storage);
        let Some(shared) = &storage.shared.records else {
            return Ok(false);
        };
        if storage.waiting_reviews() == 0 {
            return Ok(false);
        }
        let (local, limit) = (Arc::clone(&storage.local), BATCH + self.aside.len());
        let mut batch = blocking(move || local.waiting_reviews(limit))
            .await
            .map_err(|error| disk(&error))?;
        batch.retain(|(_, review)| !self.aside.contains_key(&review.review_id));
        let (mut done, mut failed) = (Vec::new(), Ok(()));
        for (request_id, review) in batch {
            let id = review.review_id;
            match shared.review(request_id, &[review]).await {
                Ok(_) => done.push(id),
                Err(failure) => {
                    metrics::counter!(SHIP_FAILURES).increment(1);
                    if failure.kind != FailureKind::Rejected || self.aside.len() >= MAX_ASIDE {
                        failed = Err(failure);
                        break;
                    }
                    tracing::error!(%request_id, "a review will not be taken, and stays here: {failure}");
                    self.aside.insert(id, Instant::now());
                }
            }
        }
        let shipped = !done.is_empty();
        if shipped {
            let noted = storage.journal.reviews_shipped(done).await;
            noted.map_err(|error| disk(&error))?;
        }
        failed.map(|()| shipped)
    }
}

fn disk(error: &io::Error) -> Failure {
    let text = format!("waiting reviews cannot be read or removed: {error}");
    Failure::new(FailureKind::Unavailable, text)
}
