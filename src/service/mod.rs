//! The pipeline: bytes and a caller go in, a recorded classification or a typed refusal comes out.
//!
//! hash → cache → single flight → shared cache → queue → worker (decode → preprocess → ONNX) → cache → picture and
//! record on disk → answer. It knows nothing of HTTP.

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
use crate::classification::{Known, ResultKey};
use crate::image::Format;
use crate::model::{Loaded, Model};
use crate::records::{Filter, Page, Record};
use crate::remote::Presence;
use crate::settings::{PictureSettings, UserIp};
use crate::storage::{Picture, Storage};
use crate::telemetry::metrics::RESULTS;
use crate::telemetry::{measured, note, request, stage};

pub use classifier::{Classifier, Timings};
pub use lifecycle::{Lifecycle, Stage};
pub use refusal::Refusal;

use entry::Outcome;
use flight::{Flight, Flights};
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
    /// Pictures and records.
    pub storage: Arc<Storage>,
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
    storage: Arc<Storage>,
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
            storage,
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
        Ok(Self {
            config,
            predictions: Predictions::of(&model),
            model,
            cache,
            flights,
            queue,
            workers,
            storage,
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

    /// The stores that instances share, and whether they are there.
    pub fn dependencies(&self) -> impl Iterator<Item = &Presence> {
        self.storage.dependencies().chain(self.cache.presence())
    }

    /// Pictures and records.
    pub fn storage(&self) -> &Arc<Storage> {
        &self.storage
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
        let key = self.key(&request.picture);
        let looked_up = {
            let _stage = stage("cache");
            self.cache.get(&key)
        };
        let (source, known, timings) = match looked_up {
            Some(known) => ("memory", known, None),
            None => self.infer(key, request.picture.clone()).await?,
        };
        metrics::counter!(RESULTS, "source" => source).increment(1);
        note("relance.source", source);
        let processing_time = arrival.elapsed();

        let outcome = Outcome {
            request_id,
            known: &known,
            cached: timings.is_none(),
            processing_time,
        };
        let record = entry::record(&self.config, &self.model, &request, &outcome)
            .ok_or_else(|| Refusal::Internal("the model has no classes".into()))?;
        let picture = Picture {
            digest: &known.digest,
            format,
            bytes: &request.picture,
        };
        let record = self.storage.keep(picture, record).await?;
        self.predictions.count(&record);
        Ok(Answer { record, timings })
    }

    /// The record of one request.
    ///
    /// # Errors
    /// [`Refusal::Storage`].
    pub async fn find(&self, request_id: Uuid) -> Result<Option<Record>, Refusal> {
        Ok(self.storage.find(request_id).await?)
    }

    /// Records that pass a filter, newest first.
    ///
    /// # Errors
    /// [`Refusal::Storage`].
    pub async fn list(&self, filter: Filter) -> Result<Page, Refusal> {
        Ok(self.storage.list(filter).await?)
    }

    /// The picture of a record, byte for byte as it was sent; `None` if it is no longer there.
    ///
    /// # Errors
    /// [`Refusal::Storage`].
    pub async fn picture(&self, record: &Record) -> Result<Option<Bytes>, Refusal> {
        Ok(self.storage.picture(record).await?)
    }

    /// A picture that was sent before, by its reference or URL, if it is kept and has at most `max` bytes.
    ///
    /// # Errors
    /// [`Refusal::Storage`].
    pub async fn stored_picture(&self, given: &str, max: u64) -> Result<Option<Bytes>, Refusal> {
        let Some(reference) = self.storage.reference(given) else {
            return Ok(None);
        };
        let picture = self.storage.read(reference, max).await?;
        if picture.is_some() {
            self.storage.remember(reference);
        }
        Ok(picture)
    }

    /// Removes a request for good, its picture with it if no other request has it; whether there was such a request.
    ///
    /// # Errors
    /// [`Refusal::Storage`].
    pub async fn delete(&self, request_id: Uuid) -> Result<bool, Refusal> {
        let Some(deleted) = self.storage.delete(request_id).await? else {
            return Ok(false);
        };
        if let Some(picture) = deleted.picture {
            self.cache.forget(&self.key(&picture));
        }
        Ok(true)
    }

    /// Ends the workers and commits what is in the journal. Blocks.
    pub fn stop(&self) {
        self.queue.close();
        self.workers.join();
        self.storage.stop();
    }

    async fn infer(
        &self,
        key: ResultKey,
        picture: Bytes,
    ) -> Result<(&'static str, Arc<Known>, Option<Timings>), Refusal> {
        let (flight, leads) = self.flights.join(key);
        if leads {
            // The flight before this one may have landed since the cache was asked.
            if let Some(known) = self.cache.get(&key) {
                self.flights.land(&flight, Ok((Arc::clone(&known), None)));
                return Ok(("memory", known, None));
            }
            self.take_off(&flight, picture);
        }
        let waiting = (!leads).then(|| stage("flight"));
        let (known, timings) = flight.landed().await?;
        drop(waiting);
        let Some(timings) = timings.filter(|_| leads) else {
            return Ok((if leads { "redis" } else { "flight" }, known, None));
        };
        if let Some(mut start) = timings.start {
            for (name, length) in timings.stages() {
                measured(name, start, length);
                start += length;
            }
        }
        Ok(("model", known, Some(timings)))
    }

    fn take_off(&self, flight: &Arc<Flight>, picture: Bytes) {
        if !self.cache.asks_shared() {
            return enqueue(&self.queue, &self.flights, flight, picture);
        }
        let (cache, flights) = (Arc::clone(&self.cache), Arc::clone(&self.flights));
        let queue = Arc::clone(&self.queue);
        let (key, flight) = (flight.key(), Arc::downgrade(flight));
        // On a task of its own: if the client that leads goes away, others may still wait for the flight.
        tokio::spawn(async move {
            let known = cache.get_shared(&key).await;
            let Some(flight) = flight.upgrade() else {
                return;
            };
            match known {
                Some(known) => flights.land(&flight, Ok((known, None))),
                None => enqueue(&queue, &flights, &flight, picture),
            }
        });
    }

    fn key(&self, picture: &[u8]) -> ResultKey {
        ResultKey {
            model: self.model.digest,
            picture: blake3::hash(picture).into(),
        }
    }
}

fn enqueue(queue: &Queue, flights: &Flights, flight: &Arc<Flight>, picture: Bytes) {
    let job = Job::new(Arc::downgrade(flight), picture);
    if let Err(retry_after) = queue.push(job) {
        flights.land(flight, Err(Refusal::Busy { retry_after }));
    }
}
