//! What happened since a moment ago, and how things are now.

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::totals::{Requests, Totals};
use crate::http::App;
use crate::http::health::Readiness;
use crate::telemetry::metrics::{BACKLOG_AGE_SECONDS, HTTP_IN_FLIGHT};
use crate::telemetry::{self, Histogram, Reading};

/// What this instance did in the time since the snapshot before, and how it is now.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Snapshot {
    /// When it was made, in seconds since 1970.
    #[schema(example = 1_790_000_000.25)]
    time: f64,
    /// The time it tells of, in seconds; 0 in the first one, which only tells how things are.
    #[schema(example = 1.0)]
    seconds: f64,
    /// Who it is and whether it is ready, as in `GET /health/ready`.
    #[serde(flatten)]
    health: Readiness,
    /// Requests to classify that were answered, by class of their status.
    requests: Requests,
    /// The same a second; null in the first snapshot.
    requests_per_second: Option<BTreeMap<&'static str, f64>>,
    /// Pictures and tensors that were answered with a class; a batch has several.
    #[schema(example = 42)]
    answers: u64,
    /// Time to answer requests to classify, without batches.
    latency: Latency,
    /// Where results came from.
    cache: CacheUse,
    /// Answers by class: the first 64 of the model, `other` for the rest; without those that had none.
    #[schema(example = json!({"aberta": 30, "fechada": 12}))]
    classes: BTreeMap<String, u64>,
    /// Answers by their confidence.
    confidence: Buckets,
    /// Pictures that wait for a worker.
    queue: QueueState,
    /// Requests being handled, without those for health and metrics.
    #[schema(example = 3)]
    in_flight: u64,
    /// Worker threads.
    #[schema(example = 2)]
    workers: usize,
    /// What waits for the shared stores.
    backlog: Backlog,
    /// CPUs in use: seconds of CPU time a second; null in the first snapshot.
    #[schema(example = 1.4)]
    cpu: Option<f64>,
    /// Memory in use, in bytes.
    #[schema(example = 123_456_789)]
    memory_bytes: u64,
}

/// Time to answer.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Latency {
    /// Median, in seconds; null if nothing was answered.
    #[schema(example = 0.007)]
    p50: Option<f64>,
    /// What 95 % stayed below, in seconds.
    #[schema(example = 0.012)]
    p95: Option<f64>,
    /// What 99 % stayed below, in seconds.
    #[schema(example = 0.02)]
    p99: Option<f64>,
    /// Answers by time.
    #[serde(flatten)]
    buckets: Buckets,
}

/// How many fell between which bounds.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Buckets {
    /// Upper bounds, rising.
    #[schema(example = json!([0.01, 0.1]))]
    bounds: Vec<f64>,
    /// How many in each, and last those above all bounds.
    #[schema(example = json!([40, 2, 0]))]
    counts: Vec<u64>,
}

/// Where results came from.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct CacheUse {
    /// Results that nothing had to be computed for.
    #[schema(example = 20)]
    hits: u64,
    /// Results of the model.
    #[schema(example = 22)]
    misses: u64,
    /// Share of the hits; null without results.
    #[schema(example = 0.476)]
    ratio: Option<f64>,
    /// Results in the memory cache now.
    #[schema(example = 800)]
    entries: u64,
}

/// Pictures that wait for a worker.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct QueueState {
    /// How many.
    #[schema(example = 0)]
    length: usize,
    /// How long the first has been waiting, in seconds.
    #[schema(example = 0.0)]
    oldest_seconds: f64,
}

/// What waits for the shared stores.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Backlog {
    /// Records.
    #[schema(example = 0)]
    records: u64,
    /// Bytes of records and pictures, about.
    #[schema(example = 0)]
    bytes: u64,
    /// How long the oldest has been waiting, in seconds.
    #[schema(example = 0.0)]
    age_seconds: f64,
}

/// Makes one snapshot after the other.
#[derive(Default)]
pub(super) struct Maker {
    before: Option<(Instant, Totals)>,
}

impl Maker {
    pub(super) fn make(&mut self, app: &App) -> Snapshot {
        let text = telemetry::render(&app.metrics);
        let reading = Reading::of(&text);
        let usage = telemetry::usage();
        let (now, totals) = (Instant::now(), Totals::read(&reading, usage));
        let (seconds, grown) = match &self.before {
            Some((then, before)) => (
                now.duration_since(*then).as_secs_f64(),
                totals.since(before),
            ),
            None => (0.0, totals.since(&totals)),
        };
        self.before = Some((now, totals));

        let rate = |count: f64| (seconds > 0.0).then(|| rounded(count / seconds));
        let load = app.service.load();
        let storage = app.service.storage();
        let results = grown.hits + grown.misses;
        Snapshot {
            time: Timestamp::now().as_millisecond() as f64 / 1e3,
            seconds: rounded(seconds),
            health: Readiness::of(app),
            requests_per_second: rate(1.0).map(|_| {
                let classes = grown.requests.classes().into_iter();
                classes
                    .map(|(class, count)| (class, rate(count as f64).unwrap_or_default()))
                    .collect()
            }),
            requests: grown.requests,
            answers: grown.classes.values().sum(),
            latency: Latency::of(grown.latency),
            cache: CacheUse {
                hits: grown.hits,
                misses: grown.misses,
                ratio: (results > 0).then(|| rounded(grown.hits as f64 / results as f64)),
                entries: load.cached,
            },
            classes: grown.classes,
            confidence: grown.confidence.into(),
            queue: QueueState {
                length: load.waiting,
                oldest_seconds: rounded(load.longest_wait.as_secs_f64()),
            },
            in_flight: reading.sum(HTTP_IN_FLIGHT, |_| true).max(0.0) as u64,
            workers: app.service.workers(),
            backlog: Backlog {
                records: storage.waiting(),
                bytes: storage.waiting_bytes(),
                age_seconds: rounded(reading.sum(BACKLOG_AGE_SECONDS, |_| true)),
            },
            cpu: rate(grown.cpu_seconds),
            memory_bytes: usage.resident_bytes,
        }
    }
}

impl Latency {
    fn of(times: Histogram) -> Self {
        let quantile = |q| {
            times
                .quantile(q)
                .map(|seconds| (seconds * 1e6).round() / 1e6)
        };
        Self {
            p50: quantile(0.5),
            p95: quantile(0.95),
            p99: quantile(0.99),
            buckets: times.into(),
        }
    }
}

impl From<Histogram> for Buckets {
    fn from(Histogram { bounds, counts }: Histogram) -> Self {
        Self { bounds, counts }
    }
}

/// Sent once a second to many; more digits would say nothing.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
