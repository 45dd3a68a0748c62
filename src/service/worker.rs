//! Worker threads: each takes pictures from the queue and classifies them, one after the other.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::classifier::{Classifier, Timings};
use super::flight::Flights;
use super::queue::Queue;
use super::refusal::Refusal;
use crate::cache::Cache;
use crate::classification::Known;

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
            let outcome = self.classifier.classify(&job.picture);
            queue.took(start.elapsed());
            let outcome = outcome.map(|(classification, mut timings)| {
                timings.queue = waited;
                observe(&timings);
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

fn observe(timings: &Timings) {
    let stages = [
        ("queue", timings.queue),
        ("decode", timings.decode),
        ("preprocess", timings.preprocess),
        ("inference", timings.inference),
    ];
    for (stage, time) in stages {
        metrics::histogram!("relance_stage_seconds", "stage" => stage).record(time);
    }
}
