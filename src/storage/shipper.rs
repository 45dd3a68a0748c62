//! Takes what waits on this disk to the shared stores, oldest first, and removes it here once it has arrived.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::backoff::Backoff;
use super::leftovers::Leftovers;
use super::{Storage, blocking};
use crate::image::Format;
use crate::records::{Arrived, Record, Spool};
use crate::remote::{Failure, FailureKind};
use crate::telemetry::metrics::{
    BACKLOG_AGE_SECONDS, SHIP_FAILURES, SHIPPED_PICTURES, SHIPPED_RECORDS,
};
use crate::telemetry::task;
use crate::uploads::About;

/// Records in one batch.
const BATCH: usize = 256;

/// Pictures on their way at once.
const UPLOADS: usize = 16;

/// How often it looks for something to do.
const POLL: Duration = Duration::from_millis(200);

/// How long what a store rejected is left alone.
const ASIDE: Duration = Duration::from_secs(600);

/// What waits longer is told to the log.
const LONG: Duration = Duration::from_secs(60);

/// How often it is told.
const TELL: Duration = Duration::from_secs(60);

/// Rejected records it keeps in mind; more are tried again and again.
pub(super) const MAX_ASIDE: usize = 10_000;

/// Ships until told to stop.
pub struct Shipper {
    pub(super) storage: Arc<Storage>,
    backoff: Backoff,
    /// Records and remarks that a store will not take, and since when.
    pub(super) aside: HashMap<Uuid, Instant>,
    leftovers: Leftovers,
    /// When the log was last told that much waits.
    told: Option<Instant>,
}

/// How a batch went.
#[derive(Default)]
struct Outcome {
    /// Arrived.
    done: Vec<Arrived>,
    /// Pictures that arrived, of records that did.
    pictures: HashSet<String>,
    /// The worst of what kept others from it.
    failure: Option<Failure>,
}

impl Shipper {
    /// Ships what waits in `storage`; nothing if it has no shared stores.
    pub fn new(storage: Arc<Storage>) -> Self {
        Self {
            storage,
            backoff: Backoff::default(),
            aside: HashMap::new(),
            leftovers: Leftovers::default(),
            told: None,
        }
    }

    /// Runs until nothing waits after `stop`, or until it is dropped.
    pub async fn run(mut self, stop: CancellationToken) {
        if self.storage.journal.spool() == Spool::None {
            self.report_age(&[]);
            return;
        }
        loop {
            let wait = match self.step().await {
                Ok(true) => continue,
                Ok(false) if stop.is_cancelled() => return,
                Ok(false) => POLL,
                Err(wait) => wait,
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled(), if !stop.is_cancelled() => {}
            }
        }
    }

    /// Ships a batch. Whether there was one, or how long to wait after a failure.
    async fn step(&mut self) -> Result<bool, Duration> {
        let storage = Arc::clone(&self.storage);
        let _removing_nothing = storage.shipping.lock().await;
        let batch = self.next_batch().await.map_err(|error| {
            tracing::debug!("what waits cannot be read: {error}");
            self.backoff.next(None)
        })?;
        self.report_age(&batch);
        if batch.is_empty() {
            return match self.ship_remarks().await {
                Ok(true) => Ok(true),
                Ok(false) => {
                    self.backoff.reset();
                    self.leftovers.sweep(&storage).await;
                    Ok(false)
                }
                Err(failure) => Err(self.backoff.next(failure.retry_after)),
            };
        }
        let mut span = task("ship");
        span.note("relance.records", batch.len() as u64);
        let outcome = span.scope(self.ship(batch)).await;
        if let Some(failure) = &outcome.failure {
            span.fail(&failure.message);
        }
        let arrived = !outcome.done.is_empty();
        if let Err(error) = self.remove(outcome.done, outcome.pictures).await {
            // It will be shipped again, which changes nothing there.
            tracing::warn!("what was shipped cannot be removed here: {error}");
            return Err(self.backoff.next(None));
        }
        // Also under load that never pauses.
        let remarked = self.ship_remarks_unless_down().await;
        match outcome.failure.or(remarked.err()) {
            None => {
                self.backoff.reset();
                Ok(true)
            }
            Some(failure) => {
                if arrived {
                    self.backoff.reset();
                }
                Err(self.backoff.next(failure.retry_after))
            }
        }
    }

    async fn next_batch(&mut self) -> io::Result<Vec<Record>> {
        self.aside.retain(|_, since| since.elapsed() < ASIDE);
        let (local, spool) = (
            Arc::clone(&self.storage.local),
            self.storage.journal.spool(),
        );
        let limit = BATCH + self.aside.len();
        let mut batch = blocking(move || local.waiting(spool, limit)).await?;
        batch.retain(|record| !self.aside.contains_key(&record.request_id));
        batch.truncate(BATCH);
        Ok(batch)
    }

    /// Pictures, then the records whose pictures are there.
    async fn ship(&mut self, batch: Vec<Record>) -> Outcome {
        let mut outcome = Outcome::default();
        let pictures = self.ship_pictures(&batch, &mut outcome).await;
        let ready: Vec<Record> = batch
            .into_iter()
            .filter(|record| {
                let reference = record.image_ref.as_ref();
                reference.is_none_or(|reference| pictures.get(reference) != Some(&false))
            })
            .collect();
        let results = match &self.storage.shared.records {
            Some(shared) if !ready.is_empty() => shared.upsert(&ready).await,
            _ => ready.iter().map(|_| Ok(())).collect(),
        };
        for (record, result) in ready.iter().zip(results) {
            match result {
                Ok(()) => {
                    outcome.done.push(Arrived {
                        request_id: record.request_id,
                        opinion_id: record.opinion.as_ref().map(|opinion| opinion.opinion_id),
                    });
                    outcome.pictures.extend(record.image_ref.clone());
                }
                Err(failure) => self.failed(&mut outcome, record, failure),
            }
        }
        outcome.pictures.retain(|name| pictures.contains_key(name));
        let shipped = outcome.done.len() as u64;
        metrics::counter!(SHIPPED_RECORDS).increment(shipped);
        outcome
    }

    /// Takes the pictures of a batch that are here to their store; whether each arrived.
    async fn ship_pictures(
        &mut self,
        batch: &[Record],
        outcome: &mut Outcome,
    ) -> HashMap<String, bool> {
        if self.storage.shared.pictures.is_none() {
            return HashMap::new();
        }
        let mut seen = HashSet::new();
        let first_with_it: Vec<Record> = batch
            .iter()
            .filter(|record| {
                record
                    .image_ref
                    .as_ref()
                    .is_some_and(|name| seen.insert(name))
            })
            .cloned()
            .collect();
        let storage = Arc::clone(&self.storage);
        let ship = move |record: Record| {
            let storage = Arc::clone(&storage);
            async move {
                let result = ship_picture(&storage, &record).await;
                (record, result)
            }
        };
        let ships = stream::iter(first_with_it).map(ship);
        let results: Vec<_> = ships.buffer_unordered(UPLOADS).collect().await;
        let mut arrived = HashMap::new();
        for (record, result) in results {
            let Some(name) = record.image_ref.clone() else {
                continue;
            };
            match result {
                // Not here: it was shipped with an earlier record.
                Ok(false) => {}
                Ok(true) => {
                    metrics::counter!(SHIPPED_PICTURES).increment(1);
                    arrived.insert(name, true);
                }
                Err(failure) => {
                    arrived.insert(name, false);
                    self.failed(outcome, &record, failure);
                }
            }
        }
        arrived
    }

    fn failed(&mut self, outcome: &mut Outcome, record: &Record, failure: Failure) {
        metrics::counter!(SHIP_FAILURES).increment(1);
        if failure.kind == FailureKind::Rejected {
            tracing::error!(request_id = %record.request_id, "will not be taken, and stays here: {failure}");
            if self.aside.len() < MAX_ASIDE {
                self.aside.insert(record.request_id, Instant::now());
                return;
            }
        }
        let worse = |old: &Failure| failure.retry_after > old.retry_after;
        if outcome.failure.as_ref().is_none_or(worse) {
            outcome.failure = Some(failure);
        }
    }

    /// Files first: a row without its file is shipped again, a file without its row would stay for ever.
    async fn remove(&self, done: Vec<Arrived>, pictures: HashSet<String>) -> io::Result<()> {
        if done.is_empty() {
            return Ok(());
        }
        let uploads = Arc::clone(&self.storage.uploads);
        blocking(move || pictures.iter().try_for_each(|name| uploads.remove(name))).await?;
        self.storage.journal.shipped(done).await
    }

    fn report_age(&mut self, batch: &[Record]) {
        let now = Timestamp::now();
        let age = batch.first().map_or(Duration::ZERO, |oldest| {
            let age = now.duration_since(oldest.timestamp);
            Duration::try_from(age).unwrap_or_default()
        });
        metrics::gauge!(BACKLOG_AGE_SECONDS).set(age.as_secs_f64());
        if age >= LONG && self.told.is_none_or(|told| told.elapsed() >= TELL) {
            self.told = Some(Instant::now());
            let records = self.storage.waiting();
            tracing::warn!(
                backlog_age_seconds = age.as_secs(),
                records,
                "records wait for the shared stores"
            );
        }
    }
}

/// Whether the picture was here to be shipped.
async fn ship_picture(storage: &Storage, record: &Record) -> Result<bool, Failure> {
    let (Some(blob), Some(name)) = (&storage.shared.pictures, &record.image_ref) else {
        return Ok(false);
    };
    let (uploads, local_name) = (Arc::clone(&storage.uploads), name.clone());
    let bytes = match blocking(move || uploads.read(&local_name)).await {
        Ok(bytes) => Bytes::from(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => {
            let text = format!("{name} cannot be read: {error}");
            return Err(Failure::new(FailureKind::Unavailable, text));
        }
    };
    let extension = name.rsplit('.').next().unwrap_or_default();
    let about = About {
        media_type: Format::from_extension(extension)
            .map_or("application/octet-stream", Format::media_type),
        request_id: record.request_id,
        image_name: record.image_name.clone(),
        timestamp: record.timestamp,
    };
    blob.put(name, &about, bytes).await.map(|()| true)
}
