//! Worker threads: decode, preprocess, infer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::flight::{Flights, Outcome};
use super::queue::Queue;
use super::refusal::Refusal;
use crate::cache::Cache;
use crate::classification::Classification;
use crate::image::{Limits, Preparer};
use crate::model::{Model, Session};

/// Where the time of one classification went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Waiting for a worker.
    pub queue: Duration,
    /// Decoding the picture.
    pub decode: Duration,
    /// Resizing and normalising it.
    pub preprocess: Duration,
    /// Running the model.
    pub inference: Duration,
}

#[derive(Clone)]
pub(super) struct Context {
    pub limits: Limits,
    pub model: Arc<Model>,
    pub cache: Arc<Cache>,
    pub flights: Arc<Flights>,
    pub queue: Arc<Queue>,
}

pub(super) struct Workers {
    count: usize,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Workers {
    /// One thread a session.
    pub(super) fn start(sessions: Vec<Session>, context: &Context) -> std::io::Result<Self> {
        let count = sessions.len();
        let spawn = |(n, session): (usize, Session)| {
            let context = context.clone();
            let preparer = Preparer::new(context.limits);
            let worker = Worker {
                session,
                preparer,
                context,
            };
            std::thread::Builder::new()
                .name(format!("worker-{n}"))
                .spawn(move || worker.run())
        };
        let threads = sessions
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
    session: Session,
    preparer: Preparer,
    context: Context,
}

impl Worker {
    fn run(mut self) {
        let queue = Arc::clone(&self.context.queue);
        while let Some(job) = queue.pop() {
            let Some(flight) = job.flight.upgrade() else {
                continue;
            };
            let waited = job.queued.elapsed();
            let start = Instant::now();
            let outcome = self.guarded(&job.picture, waited);
            queue.took(start.elapsed());
            if let Ok((classification, timings)) = &outcome {
                self.context
                    .cache
                    .insert(flight.key(), Arc::clone(classification));
                observe(timings);
            }
            self.context.flights.land(&flight, outcome);
            if queue.len() == 0 {
                self.context.flights.forget_dead();
            }
        }
    }

    // A decoder that panics on a crafted picture must cost that request and not the worker.
    fn guarded(&mut self, picture: &[u8], queue: Duration) -> Outcome {
        match catch_unwind(AssertUnwindSafe(|| self.classify(picture, queue))) {
            Ok(outcome) => outcome,
            Err(_) => {
                tracing::error!(bytes = picture.len(), "decoding or inference panicked");
                self.preparer = Preparer::new(self.context.limits);
                Err(Refusal::Internal(
                    "the picture could not be processed".into(),
                ))
            }
        }
    }

    fn classify(&mut self, picture: &[u8], queue: Duration) -> Outcome {
        let model = &self.context.model;
        let prepared = self
            .preparer
            .prepare(picture, model.input, self.session.input())?;
        let start = Instant::now();
        let probabilities = self.session.infer().map_err(Refusal::Internal)?;
        let inference = start.elapsed();
        let classification = Arc::new(Classification::new(prepared.info, &probabilities));
        let timings = Timings {
            queue,
            decode: prepared.decode,
            preprocess: prepared.preprocess,
            inference,
        };
        Ok((classification, timings))
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
