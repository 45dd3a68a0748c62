//! Worker threads: each takes pictures from the queue and classifies them, one after the other.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use bytes::Bytes;
use metrics::Histogram;
use sha2::{Digest, Sha256};

use super::classifier::{Classifier, Timings};
use super::flight::{self, Flight, Flights};
use super::queue::{Job, Queue, TensorOutcome, Work};
use super::refusal::Refusal;
use crate::cache::Cache;
use crate::classification::Known;
use crate::telemetry::metrics::STAGE_SECONDS;
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
    /// So many threads.
    pub(super) fn start(count: usize, context: &Context) -> std::io::Result<Self> {
        let spawn = |n| {
            let worker = Worker {
                stages: Timings::default()
                    .stages()
                    .map(|(stage, _)| metrics::histogram!(STAGE_SECONDS, "stage" => stage)),
                context: context.clone(),
            };
            std::thread::Builder::new()
                .name(format!("worker-{n}"))
                .spawn(move || worker.run())
        };
        let threads = (0..count).map(spawn).collect::<Result<_, _>>()?;
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
    context: Context,
    stages: [Histogram; 4],
}

impl Worker {
    fn run(self) {
        let queue = Arc::clone(&self.context.queue);
        while let Some(job) = queue.pop() {
            match &job.work {
                Work::Picture { flight, bytes } => {
                    let Some(flight) = flight.upgrade() else {
                        continue;
                    };
                    let outcome = self.picture(&job, &flight, bytes);
                    self.context.flights.land(&flight, outcome);
                }
                Work::Tensor { bytes, .. } => {
                    let outcome = self.tensor(&job, bytes);
                    if let Work::Tensor { answer, .. } = job.work {
                        // Whoever asked may have gone.
                        let _ = answer.send(outcome);
                    }
                }
            }
            if queue.len() == 0 {
                self.context.flights.forget_dead();
            }
        }
    }

    fn picture(&self, job: &Job, flight: &Flight, picture: &Bytes) -> flight::Outcome {
        let (classification, timings) = self.timed(job, |c| c.classify(picture))?;
        let known = Arc::new(Known {
            digest: Sha256::digest(picture).into(),
            classification,
        });
        self.context.cache.insert(flight.key(), Arc::clone(&known));
        Ok((known, Some(timings)))
    }

    fn tensor(&self, job: &Job, tensor: &Bytes) -> TensorOutcome {
        let (ranking, timings) = self.timed(job, |c| c.classify_tensor(tensor))?;
        Ok((Sha256::digest(tensor).into(), ranking, timings))
    }

    fn timed<T>(
        &self,
        job: &Job,
        work: impl FnOnce(&mut Classifier) -> Result<(T, Timings), Refusal>,
    ) -> Result<(T, Timings), Refusal> {
        let queue = &self.context.queue;
        if queue.is_overdue(job) {
            return Err(Refusal::OVERDUE);
        }
        let waited = job.queued.elapsed();
        let start = Instant::now();
        let outcome = request::within(job.request, || job.model.with(work));
        queue.took(start.elapsed());
        let (result, mut timings) = outcome?;
        timings.start = Some(job.queued);
        timings.queue = waited;
        job.model.count(&timings);
        self.measure(&timings);
        Ok((result, timings))
    }

    fn measure(&self, timings: &Timings) {
        for (histogram, (_, time)) in self.stages.iter().zip(timings.stages()) {
            // A tensor is not decoded.
            if !time.is_zero() {
                histogram.record(time);
            }
        }
    }
}
