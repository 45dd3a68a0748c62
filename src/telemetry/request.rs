//! The request that is being handled: its identifiers for log lines, and what its spans are made of.
//!
//! What is measured here costs nothing unless the request's trace is recorded. Spans are made from it when the
//! request ends, so that no thread that does the work has to know of tracing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::TraceId;
use uuid::Uuid;

tokio::task_local! {
    static CURRENT: Current;
}

/// What names a request in logs and answers.
#[derive(Clone, Copy, Debug)]
pub struct Ids {
    /// The request.
    pub request: Uuid,
    /// The trace it is part of, if there is one.
    pub trace: Option<TraceId>,
}

/// A request being handled.
#[derive(Debug)]
pub struct Current {
    ids: Ids,
    /// The identifier is that of a record.
    taken: AtomicBool,
    client: OnceLock<Arc<str>>,
    recording: Option<Mutex<Recording>>,
}

/// What was measured of a request.
#[derive(Debug, Default)]
pub struct Recording {
    /// Stages in the order in which they ended.
    pub stages: Vec<Measured>,
    /// Names and values for the whole request.
    pub notes: Vec<(&'static str, String)>,
}

/// A stage that has ended.
#[derive(Debug)]
pub struct Measured {
    /// Its name.
    pub name: &'static str,
    /// Its beginning.
    pub start: Instant,
    /// How long it took.
    pub length: Duration,
}

impl Current {
    /// A request that has just come; `records` if spans will be made of it.
    pub fn new(trace: Option<TraceId>, records: bool) -> Self {
        let request = Uuid::now_v7();
        Self {
            recording: records.then(Mutex::default),
            ..Self::of(Ids { request, trace })
        }
    }

    fn of(ids: Ids) -> Self {
        Self {
            ids,
            taken: AtomicBool::new(false),
            client: OnceLock::new(),
            recording: None,
        }
    }

    /// Handles the request: what runs in `work` is part of it.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }
}

/// The identifiers of the request being handled, if one is.
pub fn ids() -> Option<Ids> {
    CURRENT.try_with(|current| current.ids).ok()
}

/// An identifier for a record: the request's own for its first one, a new one for each further.
pub fn record_id() -> Uuid {
    let own = |current: &Current| {
        let taken = current.taken.swap(true, Ordering::Relaxed);
        (!taken).then_some(current.ids.request)
    };
    let own = CURRENT.try_with(own).ok().flatten();
    own.unwrap_or_else(Uuid::now_v7)
}

/// Names the one who sent the request.
pub fn set_client(name: &Arc<str>) {
    // Outside of a request there is nobody to name.
    let _ = CURRENT.try_with(|current| current.client.set(Arc::clone(name)));
}

/// The name set by [`set_client`].
pub fn client() -> Option<Arc<str>> {
    CURRENT
        .try_with(|current| current.client.get().cloned())
        .ok()
        .flatten()
}

/// Runs `work` for a request on another thread, so that its log lines tell the request.
pub fn within<T>(ids: Option<Ids>, work: impl FnOnce() -> T) -> T {
    match ids {
        Some(ids) => CURRENT.sync_scope(Current::of(ids), work),
        None => work(),
    }
}

/// Begins a stage of the request; it ends when this is dropped.
#[must_use = "the stage ends when this is dropped"]
pub fn stage(name: &'static str) -> Stage {
    let records = |current: &Current| current.recording.is_some();
    let start = CURRENT.try_with(records).unwrap_or(false);
    Stage {
        name,
        start: start.then(Instant::now),
    }
}

/// Notes a stage that was measured elsewhere.
pub fn measured(name: &'static str, start: Instant, length: Duration) {
    record(|recording| {
        recording.stages.push(Measured {
            name,
            start,
            length,
        });
    });
}

/// Notes something about the whole request, for its span; of several values of a name, the last counts.
pub fn note(name: &'static str, value: &str) {
    record(|recording| {
        recording.notes.retain(|(known, _)| *known != name);
        recording.notes.push((name, value.to_owned()));
    });
}

/// Takes what was measured; nothing if the request is not recorded.
pub(super) fn take_recording() -> Recording {
    let mut taken = Recording::default();
    record(|recording| taken = std::mem::take(recording));
    taken
}

/// A stage under way.
#[derive(Debug)]
pub struct Stage {
    name: &'static str,
    start: Option<Instant>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(start) = self.start {
            measured(self.name, start, start.elapsed());
        }
    }
}

fn record(write: impl FnOnce(&mut Recording)) {
    let _ = CURRENT.try_with(|current| {
        if let Some(recording) = &current.recording {
            write(&mut lock(recording));
        }
    });
}

fn lock(recording: &Mutex<Recording>) -> MutexGuard<'_, Recording> {
    recording.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stages_are_kept_only_if_the_request_is_recorded() {
        for records in [false, true] {
            let current = Current::new(None, records);
            let recording = current.scope(async {
                {
                    let _stage = stage("first");
                    tokio::task::yield_now().await;
                }
                measured("second", Instant::now(), Duration::from_millis(2));
                note("key", "value");
                take_recording()
            });
            let recording = recording.await;
            let names: Vec<_> = recording.stages.iter().map(|stage| stage.name).collect();
            assert_eq!(
                names,
                if records {
                    &["first", "second"][..]
                } else {
                    &[]
                }
            );
            assert_eq!(recording.notes.len(), usize::from(records));
        }
    }

    #[tokio::test]
    async fn a_request_gives_its_identifier_to_one_record() {
        let current = Current::new(None, false);
        let own = current.ids.request;
        let (first, second, elsewhere) = current
            .scope(async {
                let ids = ids();
                let thread =
                    std::thread::spawn(move || within(ids, || super::ids().map(|ids| ids.request)));
                (record_id(), record_id(), thread.join().unwrap())
            })
            .await;
        assert_eq!((first, elsewhere), (own, Some(own)));
        assert_ne!(second, own);
        assert!(ids().is_none());
    }
}
