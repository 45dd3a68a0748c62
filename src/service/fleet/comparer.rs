//! Has the candidate classify pictures that were answered, when there is nothing else to do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::loader::be_nice;
use super::trial::{Candidate, Verdict};
use crate::records::Record;

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

pub(super) struct Comparer {
    sender: Mutex<Option<SyncSender<Box<Comparison>>>>,
    waiting: Arc<AtomicUsize>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Comparer {
    /// Starts the thread; `busy` says whether pictures wait for an answer.
    pub(super) fn start(busy: impl Fn() -> bool + Send + 'static) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING);
        let waiting = Arc::new(AtomicUsize::new(0));
        let bytes = Arc::clone(&waiting);
        let thread = std::thread::Builder::new()
            .name("comparer".into())
            .spawn(move || {
                be_nice(NICE);
                run(&receiver, &bytes, busy);
            })?;
        Ok(Self {
            sender: Mutex::new(Some(sender)),
            waiting,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Has a picture compared, unless too many wait. Never blocks.
    pub(super) fn compare(&self, comparison: Comparison) {
        let bytes = comparison.picture.len();
        if self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > WAITING_BYTES {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
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
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        refused.candidate.skipped();
    }

    /// Ends the thread. Blocks.
    pub(super) fn stop(&self) {
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

fn run(receiver: &Receiver<Box<Comparison>>, waiting: &AtomicUsize, busy: impl Fn() -> bool) {
    while let Ok(comparison) = receiver.recv() {
        waiting.fetch_sub(comparison.picture.len(), Ordering::Relaxed);
        let Comparison {
            record,
            picture,
            candidate,
        } = *comparison;
        let found = Instant::now();
        while busy() && found.elapsed() < PATIENCE {
            std::thread::sleep(LOOK);
        }
        match (!busy()).then(|| opinion(&candidate, &picture)).flatten() {
            Some(opinion) => candidate.compared(&record, opinion),
            None => candidate.skipped(),
        }
    }
}

fn opinion(candidate: &Candidate, picture: &[u8]) -> Option<Verdict> {
    let deployment = &candidate.deployment;
    let classified = deployment.with(|classifier| classifier.classify(picture));
    let (classification, timings) = classified.ok()?;
    deployment.count(&timings);
    let best = classification.ranking.first()?;
    Some(Verdict {
        prediction: deployment.model().labels.get(best.index as usize)?.clone(),
        confidence: best.confidence,
    })
}
