//! Has the candidate classify pictures that were answered, when there is nothing else to do.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use uuid::Uuid;

use super::loader::be_nice;
use super::trial::Candidate;
use crate::records::{Opinion, Record};

/// Pictures that wait for their comparison, and how many bytes they may have.
const WAITING: usize = 64;
const WAITING_BYTES: usize = 32 * 1024 * 1024;

/// How long a picture waits for a moment without other work.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it is looked for one.
const LOOK: Duration = Duration::from_millis(5);

/// The nicest there is: it gets what others leave.
const NICE: i32 = 19;

/// A picture to compare.
pub(super) struct Comparison {
    pub record: Record,
    pub picture: Bytes,
    pub candidate: Arc<Candidate>,
}

#[derive(Default)]
struct State {
    /// What waits.
    bytes: AtomicUsize,
    /// Nothing more is compared.
    ended: AtomicBool,
}

pub(super) struct Comparer {
    sender: Mutex<Option<SyncSender<Box<Comparison>>>>,
    state: Arc<State>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Comparer {
    /// Starts the thread. `busy` says whether pictures wait for an answer; `keep` keeps what the candidate says.
    pub(super) fn start(
        busy: impl Fn() -> bool + Send + 'static,
        keep: impl Fn(Uuid, Opinion) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING);
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("comparer".into())
            .spawn(move || {
                be_nice(NICE);
                run(&receiver, &shared, busy, keep);
            })?;
        Ok(Self {
            sender: Mutex::new(Some(sender)),
            state,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Has a picture compared, unless too many wait. Never blocks.
    pub(super) fn compare(&self, comparison: Comparison) {
        let bytes = comparison.picture.len();
        if self.state.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > WAITING_BYTES {
            self.state.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return comparison.candidate.skipped();
        }
        let sender = lock(&self.sender);
        let refused = match sender
            .as_ref()
            .map(|sender| sender.try_send(Box::new(comparison)))
        {
            Some(Ok(())) | None => return,
            Some(Err(TrySendError::Full(refused) | TrySendError::Disconnected(refused))) => refused,
        };
        self.state.bytes.fetch_sub(bytes, Ordering::Relaxed);
        refused.candidate.skipped();
    }

    /// Ends the thread. Blocks.
    pub(super) fn stop(&self) {
        self.state.ended.store(true, Ordering::Relaxed);
        drop(lock(&self.sender).take());
        let thread = lock(&self.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the comparing thread had panicked");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(
    receiver: &Receiver<Box<Comparison>>,
    state: &State,
    busy: impl Fn() -> bool,
    keep: impl Fn(Uuid, Opinion),
) {
    while let Ok(comparison) = receiver.recv() {
        state
            .bytes
            .fetch_sub(comparison.picture.len(), Ordering::Relaxed);
        let found = Instant::now();
        let ended = || state.ended.load(Ordering::Relaxed);
        while busy() && found.elapsed() < PATIENCE && !ended() {
            std::thread::sleep(LOOK);
        }
        let free = !busy() && !ended();
        let Comparison {
            record, candidate, ..
        } = &*comparison;
        match free.then(|| opinion(&comparison)).flatten() {
            Some(opinion) => {
                candidate.compared(record, &opinion);
                keep(record.request_id, opinion);
            }
            None => candidate.skipped(),
        }
    }
}

fn opinion(comparison: &Comparison) -> Option<Opinion> {
    let Comparison {
        record,
        picture,
        candidate,
    } = comparison;
    let deployment = &candidate.deployment;
    let classified = deployment.with(|classifier| classifier.classify(picture));
    let (classification, timings) = classified.ok()?;
    deployment.count(&timings);
    let best = classification.ranking.first()?;
    let prediction = deployment.model().labels.get(best.index as usize)?.clone();
    Some(Opinion {
        opinion_id: Uuid::now_v7(),
        model: deployment.name(),
        agrees: prediction == record.prediction,
        prediction,
        confidence: best.confidence,
        inference_ms: (timings.work().as_secs_f64() * 1e6).round() / 1e3,
    })
}
