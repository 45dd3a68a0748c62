//! Worker threads: each takes pictures from the queue and classifies them, one after the other.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use metrics::{Counter, Histogram};
use sha2::{Digest, Sha256};

use super::classifier::{Classifier, Timings};
use super::flight::Flights;
use super::queue::Queue;
use super::refusal::Refusal;
use crate::cache::Cache;
use crate::classification::Known;
use crate::telemetry::metrics::{INFERENCES, STAGE_SECONDS};
use crate::telemetry::request;

#[derive(Clone)]
pub(super) struct Context {
    pub cache: Arc<Cache>,
    pub flights: Arc<Flights>,
    pub queue: Arc<Queue>,
}

pub(super) struct Workers {
    count: usize,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Workers {
    /// One thread a classifier.
    pub(super) fn start(classifiers: Vec<Classifier>, context: &Context) -> std::io::Result<Self> {
        let count = classifiers.len();
        let spawn = |(n, classifier): (usize, Classifier)| {
            let worker = Worker {
                meters: Meters::new(&classifier),
                classifier,
                context: context.clone(),
            };
            std::thread::Builder::new()
                .name(format!("worker-{n}"))
                .spawn(move || worker.run())
        };
        let threads = classifiers
            .into_iter()
            .enumerate()
            .map(spawn)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            count,
            threads: Mutex::new(threads),
        })
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn join(&self) {
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread had panicked");
            }
        }
    }
}

struct Worker {
    classifier: Classifier,
    context: Context,
    meters: Meters,
}

impl Worker {
    fn run(mut self) {
        let queue = Arc::clone(&self.context.queue);
        while let Some(job) = queue.pop() {
            let Some(flight) = job.flight.upgrade() else {
                continue;
            };
            if queue.is_overdue(&job) {
                self.context.flights.land(&flight, Err(Refusal::OVERDUE));
                continue;
            }
            let waited = job.queued.elapsed();
            let start = Instant::now();
            let classifier = &mut self.classifier;
            let outcome = request::within(job.request, || classifier.classify(&job.picture));
            queue.took(start.elapsed());
            let outcome = outcome.map(|(classification, mut timings)| {
                timings.start = Some(job.queued);
                timings.queue = waited;
                self.meters.count(&timings);
                let known = Arc::new(Known {
                    digest: Sha256::digest(&job.picture).into(),
                    classification,
                });
                self.context.cache.insert(flight.key(), Arc::clone(&known));
                (known, Some(timings))
            });
            self.context.flights.land(&flight, outcome);
            if queue.len() == 0 {
                self.context.flights.forget_dead();
            }
        }
    }
}

/// What a worker counts.
struct Meters {
    inferences: Counter,
    stages: [Histogram; 4],
}

impl Meters {
    fn new(classifier: &Classifier) -> Self {
        let model = classifier.model();
        let name = format!("{}@{}", model.name, model.version);
        let stages = Timings::default().stages();
        Self {
            inferences: metrics::counter!(INFERENCES, "model" => name),
            stages: stages.map(|(stage, _)| metrics::histogram!(STAGE_SECONDS, "stage" => stage)),
        }
    }

    fn count(&self, timings: &Timings) {
        self.inferences.increment(1);
        for (histogram, (_, time)) in self.stages.iter().zip(timings.stages()) {
            histogram.record(time);
        }
    }
}
