//! The pipeline: bytes and a caller go in, a recorded classification or a typed refusal comes out.
//!
//! hash → cache → single flight → queue → worker (decode → preprocess → ONNX) → cache → picture and record
//! on disk → answer. It knows nothing of HTTP.

mod classifier;
mod entry;
mod flight;
mod lifecycle;
mod predictions;
mod queue;
mod refusal;
mod worker;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use uuid::Uuid;

use crate::cache::Cache;
use crate::classification::{Known, PictureDigest, ResultKey};
use crate::image::Format;
use crate::journal::Journal;
use crate::model::{Loaded, Model};
use crate::records::{Filter, Page, Reader, Record};
use crate::settings::{PictureSettings, UserIp};
use crate::telemetry::metrics::RESULTS;
use crate::telemetry::{measured, note, request, stage};
use crate::uploads::Uploads;

pub use classifier::{Classifier, Timings};
pub use lifecycle::{Lifecycle, Stage};
pub use refusal::Refusal;

use entry::Outcome;
use flight::Flights;
use predictions::Predictions;
use queue::{Job, Queue};
use worker::Workers;

/// How the pipeline behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// How pictures are read.
    pub picture: PictureSettings,
    /// Longest expected wait for a worker.
    pub max_queue: Duration,
    /// What records keep of addresses.
    pub user_ip: UserIp,
    /// Name of this instance in records.
    pub instance: String,
}

/// The parts that the pipeline joins.
pub struct Parts {
    /// The model and a session for each worker.
    pub loaded: Loaded,
    /// Results in memory.
    pub cache: Cache,
    /// The log of requests.
    pub journal: Journal,
    /// Reads the log back.
    pub records: Reader,
    /// The pictures.
    pub uploads: Uploads,
}

/// A picture to classify, and who sent it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The picture's bytes.
    pub picture: Bytes,
    /// File name as the client gave it.
    pub image_name: Option<String>,
    /// User or key name.
    pub client: Option<String>,
    /// Address.
    pub address: Option<IpAddr>,
    /// How many classes to return; more than the model has means all.
    pub top: usize,
    /// When the client no longer wants an answer.
    pub deadline: Instant,
}

/// A classified and recorded request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was recorded.
    pub record: Record,
    /// Where the time went; absent if another request's work was used.
    pub timings: Option<Timings>,
}

/// The pipeline.
pub struct Service {
    config: Config,
    model: Arc<Model>,
    cache: Arc<Cache>,
    flights: Arc<Flights>,
    queue: Arc<Queue>,
    workers: Workers,
    journal: Journal,
    records: Arc<Reader>,
    uploads: Arc<Uploads>,
    predictions: Predictions,
}

/// How much there is to do.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Results in the cache.
    pub cached: u64,
    /// Pictures waiting for a worker.
    pub waiting: usize,
    /// How long the first of them has been waiting.
    pub longest_wait: Duration,
}

impl Service {
    /// Starts the workers, one for each session.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(config: Config, parts: Parts) -> std::io::Result<Self> {
        let Parts {
            loaded,
            cache,
            journal,
            records,
            uploads,
        } = parts;
        let model = Arc::clone(&loaded.model);
        let classifiers = Classifier::of(loaded, config.picture);
        let cache = Arc::new(cache);
        let flights = Arc::new(Flights::default());
        let queue = Arc::new(Queue::new(classifiers.len(), config.max_queue));
        let context = worker::Context {
            cache: Arc::clone(&cache),
            flights: Arc::clone(&flights),
            queue: Arc::clone(&queue),
        };
        let workers = Workers::start(classifiers, &context)?;
        let (records, uploads) = (Arc::new(records), Arc::new(uploads));
        Ok(Self {
            config,
            predictions: Predictions::of(&model),
            model,
            cache,
            flights,
            queue,
            workers,
            journal,
            records,
            uploads,
        })
    }

    /// The model that answers.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Number of worker threads.
    pub fn workers(&self) -> usize {
        self.workers.count()
    }

    /// How much there is to do.
    pub fn load(&self) -> Load {
        Load {
            cached: self.cache.len(),
            waiting: self.queue.len(),
            longest_wait: self.queue.oldest(),
        }
    }

    /// Why records or pictures cannot be written, if they cannot.
    pub fn storage_fault(&self) -> Option<String> {
        self.journal.fault().or_else(|| self.uploads.last_fault())
    }

    /// Classifies a picture; returns once picture and record are stored.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is recorded then, unless the deadline passed while the record was being committed.
    pub async fn classify(&self, request: Request) -> Result<Answer, Refusal> {
        let deadline = request.deadline;
        match tokio::time::timeout_at(deadline.into(), self.classify_unbounded(request)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Refusal::Deadline),
        }
    }

    async fn classify_unbounded(&self, request: Request) -> Result<Answer, Refusal> {
        let arrival = Instant::now();
        let request_id = request::record_id();
        let format = Format::sniff(&request.picture)?;
        let key = ResultKey {
            model: self.model.digest,
            picture: blake3::hash(&request.picture).into(),
        };
        let looked_up = {
            let _stage = stage("cache");
            self.cache.get(&key)
        };
        let (source, known, timings) = match looked_up {
            Some(known) => ("memory", known, None),
            None => match self.infer(key, request.picture.clone()).await? {
                (known, None) => ("flight", known, None),
                (known, timings) => ("model", known, timings),
            },
        };
        metrics::counter!(RESULTS, "source" => source).increment(1);
        note("relance.source", source);
        let processing_time = arrival.elapsed();

        self.store_picture(known.digest, format, &request.picture)
            .await?;
        let outcome = Outcome {
            request_id,
            known: &known,
            cached: timings.is_none(),
            processing_time,
        };
        let record = entry::record(&self.config, &self.model, &request, &outcome)
            .ok_or_else(|| Refusal::Internal("the model has no classes".into()))?;
        {
            let _stage = stage("journal");
            let committed = self.journal.append(record.clone()).await;
            committed.map_err(Refusal::storage)?;
        }
        self.predictions.count(&record);
        Ok(Answer { record, timings })
    }

    /// The record of one request.
    ///
    /// # Errors
    /// [`Refusal::StorageUnavailable`].
    pub async fn find(&self, request_id: Uuid) -> Result<Option<Record>, Refusal> {
        let records = Arc::clone(&self.records);
        blocking(move || records.get(request_id)).await
    }

    /// Records that pass a filter, newest first.
    ///
    /// # Errors
    /// [`Refusal::StorageUnavailable`].
    pub async fn list(&self, filter: Filter) -> Result<Page, Refusal> {
        let records = Arc::clone(&self.records);
        blocking(move || records.list(&filter)).await
    }

    /// The picture of a record, byte for byte as it was sent; `None` if it is no longer there.
    ///
    /// # Errors
    /// [`Refusal::StorageUnavailable`].
    pub async fn picture(&self, record: &Record) -> Result<Option<Vec<u8>>, Refusal> {
        let (uploads, reference) = (Arc::clone(&self.uploads), record.image_ref.clone());
        blocking(move || match uploads.read(&reference) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        })
        .await
    }

    /// Ends the workers and commits what is in the journal. Blocks.
    pub fn stop(&self) {
        self.queue.close();
        self.workers.join();
        self.journal.close();
    }

    async fn infer(
        &self,
        key: ResultKey,
        picture: Bytes,
    ) -> Result<(Arc<Known>, Option<Timings>), Refusal> {
        let (flight, leads) = self.flights.join(key);
        if leads {
            // The flight before this one may have landed since the cache was asked.
            if let Some(known) = self.cache.get(&key) {
                self.flights
                    .land(&flight, Ok((Arc::clone(&known), Timings::default())));
                return Ok((known, None));
            }
            let job = Job::new(Arc::downgrade(&flight), picture);
            if let Err(retry_after) = self.queue.push(job) {
                self.flights
                    .land(&flight, Err(Refusal::Busy { retry_after }));
            }
        }
        let waiting = (!leads).then(|| stage("flight"));
        let (known, timings) = flight.landed().await?;
        drop(waiting);
        if !leads {
            return Ok((known, None));
        }
        if let Some(mut start) = timings.start {
            for (name, length) in timings.stages() {
                measured(name, start, length);
                start += length;
            }
        }
        Ok((known, Some(timings)))
    }

    async fn store_picture(
        &self,
        digest: PictureDigest,
        format: Format,
        picture: &Bytes,
    ) -> Result<(), Refusal> {
        if self.uploads.is_known(&digest) {
            return Ok(());
        }
        let _stage = stage("picture");
        let (uploads, picture) = (Arc::clone(&self.uploads), picture.clone());
        blocking(move || uploads.store(&digest, format.extension(), &picture)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    let ids = request::ids();
    match tokio::task::spawn_blocking(move || request::within(ids, work)).await {
        Ok(outcome) => outcome.map_err(Refusal::storage),
        Err(error) => Err(Refusal::Internal(error.to_string())),
    }
}
