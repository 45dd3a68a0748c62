//! What is said of answers: kept on this disk first, as records are, and then taken to where the record is.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::shipper::{MAX_ASIDE, Shipper};
use super::{Storage, StorageError, blocking};
use crate::records::{Opinion, Record, Remark, Remarks, Review, Spool, Waiting};
use crate::remote::{Failure, FailureKind, State};
use crate::settings::SpoolFull;
use crate::telemetry::metrics::SHIP_FAILURES;

/// How long an answer waits for the shared store, so that what is asked next has the review in it. It is safe before.
const PATIENCE: Duration = Duration::from_secs(1);

/// Remarks shipped in one go.
const BATCH: usize = 256;

impl Storage {
    /// Keeps a review. Of a request that is not there, nothing is kept, now or once that shows.
    ///
    /// # Errors
    /// [`StorageError`]; the review is not kept then.
    pub async fn review(&self, request_id: Uuid, review: Review) -> Result<(), StorageError> {
        if self.limits.spool_full == SpoolFull::Refuse {
            self.refuse_if_full()?;
        }
        let remark = Remark::Review(review);
        self.journal.remark(request_id, remark.clone()).await?;
        if self.journal.spool() == Spool::Requests {
            self.try_to_ship(request_id, remark).await;
        }
        Ok(())
    }

    /// Keeps what another model says of a picture; returns once it is on this disk. Of a request that is not there,
    /// nothing is kept, now or once that shows.
    ///
    /// # Errors
    /// [`StorageError`]; the opinion is not kept then, and if the spool is full, whatever `SPOOL_FULL` says.
    pub async fn opine(&self, request_id: Uuid, opinion: Opinion) -> Result<(), StorageError> {
        self.refuse_if_full()?;
        let remark = Remark::Opinion(opinion);
        Ok(self.journal.remark(request_id, remark).await?)
    }

    fn refuse_if_full(&self) -> Result<(), StorageError> {
        if self.journal.spool() == Spool::Requests && self.is_spool_full() {
            return Err(StorageError::SpoolFull(self.waiting_bytes()));
        }
        Ok(())
    }

    /// Remarks that wait for a shared store. Opinions that go with a record that waits are not counted.
    pub fn waiting_remarks(&self) -> Waiting {
        self.journal.waiting_remarks()
    }

    /// Gives records the remarks that wait here.
    pub(super) async fn add_waiting_remarks(&self, records: &mut [Record]) -> io::Result<()> {
        let ids = records.iter().map(|record| record.request_id).collect();
        let mut waiting = self.waiting_remarks_of(ids).await?;
        for record in records {
            if let Some(remarks) = waiting.remove(&record.request_id) {
                record.add(remarks);
            }
        }
        Ok(())
    }

    /// The remarks that wait here, by request.
    pub(super) async fn waiting_remarks_of(
        &self,
        ids: Vec<Uuid>,
    ) -> io::Result<BTreeMap<Uuid, Remarks>> {
        if self.waiting_remarks() == Waiting::default() || ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let local = Arc::clone(&self.local);
        let waiting = blocking(move || local.waiting_remarks_of(&ids)).await?;
        Ok(Remarks::gather(waiting))
    }

    /// Ships one remark at once if that is quick. If not, or if its record is still on its way, it waits its turn.
    async fn try_to_ship(&self, request_id: Uuid, remark: Remark) {
        let Some(shared) = &self.shared.records else {
            return;
        };
        if matches!(shared.presence().state(), State::Down(_)) {
            return;
        }
        let id = remark.id();
        let remarks: Vec<_> = Remarks::gather([(request_id, remark)])
            .into_values()
            .collect();
        let arrived = async { shared.remark(&remarks).await == [Ok(true)] };
        if let Ok(true) = tokio::time::timeout(PATIENCE, arrived).await
            && let Err(error) = self.journal.remarks_shipped(vec![id]).await
        {
            // It will be shipped again, which changes nothing there.
            tracing::warn!("a review that was shipped cannot be removed here: {error}");
        }
    }
}

impl Shipper {
    /// As [`ship_remarks`](Self::ship_remarks), but leaves a store alone that has just failed.
    pub(super) async fn ship_remarks_unless_down(&mut self) -> Result<bool, Failure> {
        let shared = self.storage.shared.records.as_ref();
        match shared.map(|shared| shared.presence().state()) {
            Some(State::Down(_)) => Ok(false),
            _ => self.ship_remarks().await,
        }
    }

    /// Ships remarks whose records have been shipped. Whether there were any.
    ///
    /// A remark whose record is neither here nor there is dropped: the request was removed.
    pub(super) async fn ship_remarks(&mut self) -> Result<bool, Failure> {
        let storage = Arc::clone(&self.storage);
        let Some(shared) = &storage.shared.records else {
            return Ok(false);
        };
        if storage.waiting_remarks() == Waiting::default() {
            return Ok(false);
        }
        let (local, limit) = (Arc::clone(&storage.local), BATCH + self.aside.len());
        let mut batch = blocking(move || local.waiting_remarks(limit))
            .await
            .map_err(|error| disk(&error))?;
        batch.retain(|(_, remark)| !self.aside.contains_key(&remark.id()));
        batch.truncate(BATCH);
        let mut ids: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
        for (request_id, remark) in &batch {
            ids.entry(*request_id).or_default().push(remark.id());
        }
        let remarks: Vec<Remarks> = Remarks::gather(batch).into_values().collect();
        let results = match remarks.is_empty() {
            true => Vec::new(),
            false => shared.remark(&remarks).await,
        };
        let (mut done, mut failed) = (Vec::new(), Ok(()));
        for (remarks, result) in remarks.iter().zip(results) {
            let request_id = remarks.request_id;
            let of_request = ids.remove(&request_id).unwrap_or_default();
            match result {
                Ok(_) => done.extend(of_request),
                Err(failure) => {
                    metrics::counter!(SHIP_FAILURES).increment(1);
                    if failure.kind != FailureKind::Rejected || self.aside.len() >= MAX_ASIDE {
                        failed = Err(failure);
                        continue;
                    }
                    tracing::error!(%request_id, "what was said of it will not be taken, and stays here: {failure}");
                    let now = Instant::now();
                    self.aside
                        .extend(of_request.into_iter().map(|id| (id, now)));
                }
            }
        }
        let shipped = !done.is_empty();
        if shipped {
            let noted = storage.journal.remarks_shipped(done).await;
            noted.map_err(|error| disk(&error))?;
        }
        failed.map(|()| shipped)
    }
}

fn disk(error: &io::Error) -> Failure {
    let text = format!("waiting remarks cannot be read or removed: {error}");
    Failure::new(FailureKind::Unavailable, text)
}
