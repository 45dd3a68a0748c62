//! What stores elsewhere have in common: how they fail, and whether they are there.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::telemetry::metrics::DEPENDENCY_UP;

/// Why a store elsewhere did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What can be done about it.
    pub kind: FailureKind,
    /// The cause in words, without credentials.
    pub message: String,
    /// How long the store wants to be left alone, if it said so.
    pub retry_after: Option<Duration>,
}

/// What can be done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Not reachable, too slow, or broken on its side: try again.
    Unavailable,
    /// It has too much to do: try again later.
    Throttled,
    /// It does not know us or does not let us: try again, for roles take minutes to arrive.
    Denied,
    /// It will never take this item.
    Rejected,
}

impl Failure {
    /// A failure of a kind.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            retry_after: None,
        }
    }

    /// No answer within `limit`.
    pub fn timeout(limit: Duration) -> Self {
        let text = format!("no answer within {} ms", limit.as_millis());
        Self::new(FailureKind::Unavailable, text)
    }
}

/// Whether a store was there when it was last used.
///
/// It costs the store nothing: what the service does anyway shows it.
#[derive(Debug)]
pub struct Presence {
    name: &'static str,
    seen: AtomicU8,
    fault: Mutex<Option<String>>,
}

/// What is known of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It has not been asked yet.
    Unknown,
    /// It answered the last time.
    Up,
    /// It did not, for this reason.
    Down(String),
}

const UNKNOWN: u8 = 0;
const UP: u8 = 1;
const DOWN: u8 = 2;

impl Presence {
    /// Of the store called `name` in logs and in `relance_dependency_up`.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            seen: AtomicU8::new(UNKNOWN),
            fault: Mutex::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Takes note of how a call ended. What was rejected was answered, so the store is there.
    pub fn note<T>(&self, outcome: &Result<T, Failure>) {
        match outcome {
            Err(failure) if failure.kind != FailureKind::Rejected => self.down(&failure.message),
            _ => self.up(),
        }
    }

    /// What is known of it.
    pub fn state(&self) -> State {
        match self.seen.load(Ordering::Relaxed) {
            UNKNOWN => State::Unknown,
            UP => State::Up,
            _ => State::Down(
                self.fault
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone()
                    .unwrap_or_default(),
            ),
        }
    }

    fn up(&self) {
        // Most calls change nothing.
        if self.seen.load(Ordering::Relaxed) == UP {
            return;
        }
        let before = self.seen.swap(UP, Ordering::Relaxed);
        self.gauge(1.0);
        match before {
            DOWN => tracing::info!("{} is there again", self.name),
            UNKNOWN => tracing::info!("{} is there", self.name),
            _ => {}
        }
    }

    fn down(&self, why: &str) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
        if self.seen.swap(DOWN, Ordering::Relaxed) != DOWN {
            self.gauge(0.0);
            tracing::warn!("{} is not there: {why}", self.name);
        }
    }

    fn gauge(&self, value: f64) {
        metrics::gauge!(DEPENDENCY_UP, "dependency" => self.name).set(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_rejected_was_answered() {
        let presence = Presence::new("store");
        assert_eq!(presence.state(), State::Unknown);
        presence.note::<()>(&Err(Failure::timeout(Duration::from_millis(50))));
        assert_eq!(
            presence.state(),
            State::Down("no answer within 50 ms".into())
        );
        presence.note::<()>(&Err(Failure::new(FailureKind::Rejected, "too large")));
        assert_eq!(presence.state(), State::Up);
    }
}
