//! The pipeline: bytes and a caller go in, a recorded classification or a typed refusal comes out.
//!
//! hash → cache → single flight → shared cache → queue → worker (decode → preprocess → ONNX) → cache → picture and
//! record on disk → answer. It knows nothing of HTTP.

mod classifier;
mod dataset;
mod desk;
mod drift;
mod entry;
mod fleet;
mod flight;
mod lifecycle;
mod models;
mod predictions;
mod queue;
mod refusal;
mod results;
mod review;
mod summary;
mod thumbnails;
mod worker;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::try_join_all;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::cache::Cache;
use crate::classification::{Ranking, ResultKey};
use crate::model::Model;
use crate::records::{Filter, Opinion, Page, Record};
use crate::remote::Presence;
use crate::settings::{PictureSettings, UserIp};
use crate::storage::{Picture, Storage};
use crate::telemetry::note;

pub use classifier::{Classifier, Timings};
pub use dataset::Wanted;
pub use drift::{Psi, tell_drift};
pub use fleet::{
    Agreement, Chosen, Disagreement, Fleet, Latency, ModelRefusal, ModelStatus, Models, Pair,
    State, TrialReport, Verdict,
};
pub use lifecycle::{Lifecycle, Stage};
pub use refusal::Refusal;
pub use review::{Judgement, Reviewed, Reviewer};
pub use summary::Summary;

use dataset::Exports;
use flight::Flights;
use queue::Queue;
use results::{Outcome, Subject};
use review::Reviews;
use thumbnails::Thumbnails;
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
    /// The models.
    pub fleet: Fleet,
    /// Results in memory.
    pub cache: Cache,
    /// Pictures and records.
    pub storage: Arc<Storage>,
}

/// What can be classified.
#[derive(Clone, Debug)]
pub enum Input {
    /// The bytes of a picture.
    Picture(Bytes),
    /// A picture made ready for the model: `3 × height × width` little-endian 32-bit floats, RGB, 0 to 1. It is
    /// recorded, but there is no picture to keep, and no result to remember.
    Tensor(Bytes),
}

/// Something to classify, and who sent it.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it is.
    pub input: Input,
    /// Which model is to answer, by [`Service::choose`].
    pub model: Chosen,
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
    /// All classes, also those that the record leaves out.
    pub ranking: Ranking,
}

/// Classes in an answer and its record unless its request says otherwise.
pub const DEFAULT_TOP: usize = 5;

/// The pipeline.
pub struct Service {
    config: Config,
    fleet: Fleet,
    cache: Arc<Cache>,
    flights: Arc<Flights>,
    queue: Arc<Queue>,
    workers: Workers,
    storage: Arc<Storage>,
    thumbnails: Thumbnails,
    reviews: Reviews,
    exports: Exports,
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
    /// Starts the workers.
    ///
    /// # Errors
    /// If a thread cannot be started.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn start(config: Config, parts: Parts) -> std::io::Result<Self> {
        let Parts {
            fleet,
            cache,
            storage,
        } = parts;
        let cache = Arc::new(cache);
        let flights = Arc::new(Flights::default());
        let queue = Arc::new(Queue::new(fleet.workers(), config.max_queue));
        let context = worker::Context {
            cache: Arc::clone(&cache),
            flights: Arc::clone(&flights),
            queue: Arc::clone(&queue),
        };
        let workers = Workers::start(fleet.workers(), &context)?;
        let pictures = Arc::clone(&queue);
        fleet.start(move || pictures.len() > 0, keeper(&storage))?;
        Ok(Self {
            thumbnails: Thumbnails::new(config.picture),
            config,
            fleet,
            cache,
            flights,
            queue,
            workers,
            storage,
            reviews: Reviews::default(),
            exports: Exports::default(),
        })
    }

    /// The model that answers.
    pub fn model(&self) -> Arc<Model> {
        Arc::clone(self.fleet.active().model())
    }

    /// The models.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
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

    /// How far the latest answers are from the baseline of the model that answers; nothing without one, or after too few
    /// answers.
    pub fn drift(&self) -> Option<Psi> {
        self.fleet.active().predictions().drift()
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
        let classified = async {
            let outcome = self.result(&request).await?;
            self.keep(&request, outcome).await
        };
        match tokio::time::timeout_at(request.deadline.into(), classified).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Refusal::Deadline),
        }
    }

    /// Classifies all of `requests` side by side, until `deadline`; returns once all are stored. Each is an answer of
    /// its own, in their order, with a record of its own.
    ///
    /// # Errors
    /// The [`Refusal`] of one of them and its place, if it is one's alone. Nothing is recorded then, unless the
    /// deadline passed or the storage failed while the records were being committed.
    pub async fn classify_all(
        &self,
        requests: &[Request],
        deadline: Instant,
    ) -> Result<Vec<Answer>, (Refusal, Option<usize>)> {
        let classified = async {
            let result = |(n, request)| async move {
                let outcome = self.result(request).await;
                outcome.map_err(|refusal| (refusal, Some(n)))
            };
            let outcomes = try_join_all(requests.iter().enumerate().map(result)).await?;
            let pairs = requests.iter().zip(outcomes);
            let kept = pairs.map(|(request, outcome)| self.keep(request, outcome));
            try_join_all(kept).await.map_err(|refusal| (refusal, None))
        };
        match tokio::time::timeout_at(deadline.into(), classified).await {
            Ok(outcome) => outcome,
            Err(_) => Err((Refusal::Deadline, None)),
        }
    }

    async fn keep(&self, request: &Request, outcome: Outcome) -> Result<Answer, Refusal> {
        let record = entry::record(&self.config, request, &outcome)
            .ok_or_else(|| Refusal::Internal("the model has no classes".into()))?;
        let record = match (&outcome.subject, &request.input) {
            (Subject::Picture(known, format), Input::Picture(bytes)) => {
                let picture = Picture {
                    digest: &known.digest,
                    format: *format,
                    bytes,
                };
                self.storage.keep(picture, record).await?
            }
            _ => self.storage.keep_record(record).await?,
        };
        request.model.0.predictions().count(&record);
        if let (Input::Picture(bytes), Some(_)) = (&request.input, &outcome.timings) {
            self.fleet.compare(&record, bytes, &request.model);
        }
        note("relance.prediction", &record.prediction);
        Ok(Answer {
            record,
            timings: outcome.timings,
            ranking: Arc::clone(outcome.subject.ranking()),
        })
    }

    /// The record of one request.
    ///
    /// # Errors
    /// [`Refusal::Storage`].
    pub async fn find(&self, request_id: Uuid) -> Result<Option<Record>, Refusal> {
        let found = self.storage.find(request_id).await?;
        if let Some(record) = &found {
            self.reviews.show(record);
        }
        Ok(found)
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

    /// A small JPEG of the picture of a record, its longer side 160 pixels at most; `None` if the picture is no longer
    /// there. At most one is made at a time.
    ///
    /// # Errors
    /// [`Refusal::Picture`] if what is stored cannot be read, [`Refusal::Busy`], [`Refusal::Storage`].
    pub async fn thumbnail(&self, record: &Record) -> Result<Option<Bytes>, Refusal> {
        self.thumbnails.get(&self.storage, record).await
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
        self.reviews.forget(request_id);
        if let Some(picture) = deleted.picture {
            for model in self.fleet.ready() {
                self.cache.forget(&key(&model, &picture));
            }
            self.thumbnails
                .forget(&hex::encode(Sha256::digest(&picture)));
        }
        Ok(true)
    }

    /// Ends the workers and commits what is in the journal. Blocks.
    pub fn stop(&self) {
        self.queue.close();
        self.workers.join();
        self.fleet.stop();
        self.storage.stop();
    }
}

/// Keeps what a candidate says, from a thread that may wait for it.
fn keeper(storage: &Arc<Storage>) -> impl Fn(Uuid, Opinion) + Send + 'static {
    let (storage, runtime) = (Arc::clone(storage), Handle::current());
    move |request_id, opinion| {
        if let Err(error) = runtime.block_on(storage.opine(request_id, opinion)) {
            tracing::warn!(%request_id, "what the candidate says is not kept: {error}");
        }
    }
}

fn key(model: &Model, picture: &[u8]) -> ResultKey {
    ResultKey {
        model: model.digest,
        picture: blake3::hash(picture).into(),
    }
}
