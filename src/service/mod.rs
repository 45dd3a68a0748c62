//! The pipeline: bytes and a caller go in, a recorded classification or a typed refusal comes out.
//!
//! hash → cache → single flight → queue → worker (decode → preprocess → ONNX) → cache → picture and record
//! on disk → answer. It knows nothing of HTTP.

mod flight;
mod lifecycle;
mod queue;
mod refusal;
mod worker;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::cache::Cache;
use crate::classification::{Classification, PictureDigest, ResultKey};
use crate::image::{self, Format};
use crate::journal::Journal;
use crate::model::{Loaded, Model};
use crate::records::{ClassScore, Filter, ModelName, Page, Reader, Record};
use crate::settings::RecordIp;
use crate::uploads::Uploads;

pub use lifecycle::{Lifecycle, Stage};
pub use refusal::Refusal;
pub use worker::Timings;

use flight::Flights;
use queue::{Job, Queue};
use worker::Workers;

/// How the pipeline behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Limits of one picture.
    pub limits: image::Limits,
    /// Longest expected wait for a worker.
    pub max_queue: Duration,
    /// What records keep of addresses.
    pub record_ip: RecordIp,
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
}

/// Hashing more than this takes longer than a thread of the runtime should be held up.
const HASH_INLINE_BYTES: usize = 512 * 1024;

/// Longest file name kept, in bytes.
const MAX_NAME_BYTES: usize = 255;

impl Service {
    /// Starts the workers, one for each session.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(config: Config, parts: Parts) -> std::io::Result<Self> {
        let Parts {
            loaded: Loaded { model, sessions },
            cache,
            journal,
            records,
            uploads,
        } = parts;
        let cache = Arc::new(cache);
        let flights = Arc::new(Flights::default());
        let queue = Arc::new(Queue::new(sessions.len(), config.max_queue));
        let context = worker::Context {
            limits: config.limits,
            model: Arc::clone(&model),
            cache: Arc::clone(&cache),
            flights: Arc::clone(&flights),
            queue: Arc::clone(&queue),
        };
        let workers = Workers::start(sessions, &context)?;
        let (records, uploads) = (Arc::new(records), Arc::new(uploads));
        Ok(Self {
            config,
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

    /// Results in the cache and pictures waiting for a worker.
    pub fn load(&self) -> (u64, usize) {
        (self.cache.len(), self.queue.len())
    }

    /// Why records cannot be written, if they cannot.
    pub fn storage_fault(&self) -> Option<String> {
        self.journal.fault()
    }

    /// Classifies a picture; returns once picture and record are stored.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is recorded then.
    pub async fn classify(&self, request: Request) -> Result<Answer, Refusal> {
        let deadline = request.deadline;
        match tokio::time::timeout_at(deadline.into(), self.classify_unbounded(request)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Refusal::Deadline),
        }
    }

    async fn classify_unbounded(&self, request: Request) -> Result<Answer, Refusal> {
        let arrival = Instant::now();
        let request_id = Uuid::now_v7();
        let format = Format::sniff(&request.picture)?;
        let digest = digest(request.picture.clone()).await?;
        let key = ResultKey {
            model: self.model.digest,
            picture: digest,
        };
        let (classification, timings) = match self.cache.get(&key) {
            Some(known) => (known, None),
            None => self.infer(key, request.picture.clone()).await?,
        };
        metrics::counter!("relance_results_total", "source" => if timings.is_some() { "model" } else { "cache" })
            .increment(1);
        let processing_time = arrival.elapsed();

        self.store_picture(digest, format, &request.picture).await?;
        let record = self.record(
            request_id,
            digest,
            &request,
            &classification,
            timings.is_none(),
            processing_time,
        )?;
        self.journal
            .append(record.clone())
            .await
            .map_err(Refusal::storage)?;
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
    ) -> Result<(Arc<Classification>, Option<Timings>), Refusal> {
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
        let (classification, timings) = flight.landed().await?;
        Ok((classification, leads.then_some(timings)))
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
        let (uploads, picture) = (Arc::clone(&self.uploads), picture.clone());
        blocking(move || uploads.store(&digest, format.extension(), &picture)).await
    }

    fn record(
        &self,
        request_id: Uuid,
        digest: PictureDigest,
        request: &Request,
        classification: &Classification,
        cached: bool,
        processing_time: Duration,
    ) -> Result<Record, Refusal> {
        let best = classification
            .best()
            .ok_or_else(|| Refusal::Internal("the model has no classes".into()))?;
        let class = |index: u32| {
            self.model
                .labels
                .get(index as usize)
                .cloned()
                .unwrap_or_default()
        };
        let top = classification
            .ranking
            .iter()
            .take(request.top.max(1))
            .map(|score| ClassScore {
                class: class(score.index),
                index: score.index,
                confidence: score.confidence,
            });
        let picture = classification.picture;
        let extension = picture.format.extension();
        Ok(Record {
            request_id,
            timestamp: timestamp(request_id),
            image_name: image_name(request.image_name.as_deref(), extension),
            prediction: class(best.index),
            confidence: best.confidence,
            top: top.collect(),
            processing_time: (processing_time.as_secs_f64() * 1e6).round() / 1e3,
            cached,
            model: ModelName {
                name: self.model.name.clone(),
                version: self.model.version.clone(),
            },
            image_sha256: hex::encode(digest),
            image_ref: Uploads::reference(&digest, extension),
            image_format: picture.format.name().into(),
            image_width: picture.width,
            image_height: picture.height,
            user_ip: request
                .address
                .and_then(|address| kept(address, self.config.record_ip)),
            client: request.client.clone(),
            instance: self.config.instance.clone(),
            status: 200,
        })
    }
}

async fn digest(bytes: Bytes) -> Result<PictureDigest, Refusal> {
    if bytes.len() <= HASH_INLINE_BYTES {
        return Ok(Sha256::digest(&bytes).into());
    }
    let hash = tokio::task::spawn_blocking(move || Sha256::digest(&bytes).into());
    hash.await.map_err(|e| Refusal::Internal(e.to_string()))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(Refusal::storage),
        Err(error) => Err(Refusal::Internal(error.to_string())),
    }
}

// The identifier carries the time; the record must not contradict it.
fn timestamp(request_id: Uuid) -> Timestamp {
    let (seconds, nanos) = request_id.get_timestamp().map_or((0, 0), |t| t.to_unix());
    let millis = i64::try_from(seconds).unwrap_or(0) * 1000 + i64::from(nanos / 1_000_000);
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn image_name(given: Option<&str>, extension: &str) -> String {
    let name = given
        .and_then(|name| name.rsplit(['/', '\\']).next())
        .unwrap_or_default();
    let mut name: String = name.chars().filter(|c| !c.is_control()).collect();
    let end = name.floor_char_boundary(MAX_NAME_BYTES);
    name.truncate(end);
    match name.trim() {
        "" | "." | ".." => format!("upload.{extension}"),
        name => name.to_owned(),
    }
}

fn kept(address: IpAddr, keep: RecordIp) -> Option<String> {
    match (keep, address.to_canonical()) {
        (RecordIp::Off, _) => None,
        (RecordIp::Full, address) => Some(address.to_string()),
        (RecordIp::Truncated, IpAddr::V4(address)) => {
            let [a, b, c, _] = address.octets();
            Some(std::net::Ipv4Addr::new(a, b, c, 0).to_string())
        }
        (RecordIp::Truncated, IpAddr::V6(address)) => {
            let kept = u128::from(address) & !(u128::MAX >> 48);
            Some(std::net::Ipv6Addr::from(kept).to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_only_names() {
        assert_eq!(image_name(Some("../../etc/x.jpg"), "jpg"), "x.jpg");
        assert_eq!(
            image_name(Some("C:\\fotos\\garrafa é.png"), "png"),
            "garrafa é.png"
        );
        assert_eq!(image_name(Some("a\r\nb\0.jpg"), "jpg"), "ab.jpg");
        assert_eq!(image_name(Some(".."), "gif"), "upload.gif");
        assert_eq!(image_name(None, "webp"), "upload.webp");
        assert!(image_name(Some(&"é".repeat(300)), "jpg").len() <= MAX_NAME_BYTES);
    }

    #[test]
    fn addresses_are_kept_as_set() {
        let v4 = "203.0.113.77".parse().unwrap();
        let v6 = "2001:db8:aaaa:bbbb::1".parse().unwrap();
        let mapped = "::ffff:203.0.113.77".parse().unwrap();
        assert_eq!(kept(mapped, RecordIp::Full).unwrap(), "203.0.113.77");
        assert_eq!(kept(v4, RecordIp::Truncated).unwrap(), "203.0.113.0");
        assert_eq!(kept(v6, RecordIp::Truncated).unwrap(), "2001:db8:aaaa::");
        assert_eq!(kept(v4, RecordIp::Off), None);
    }

    #[test]
    fn the_time_of_a_record_is_that_of_its_identifier() {
        let before = Timestamp::now().as_millisecond();
        let time = timestamp(Uuid::now_v7()).as_millisecond();
        assert!((before..=before + 1000).contains(&time));
    }
}
