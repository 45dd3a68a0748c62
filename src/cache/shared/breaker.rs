//! When to leave Redis alone, and for how long.
//!
//! A connection is used (the breaker is closed) until it breaks or so many answers in a row have failed. Then
//! nothing is asked (it is open) until a new connection, made in the background after a while, has answered once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::remote::Failure;

/// Failures in a row that open the breaker.
const FAILURES: u32 = 5;

/// Shortest and longest time that Redis is left alone.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(4));

/// Counts the failures of one connection. Once open, it stays open: the next connection has its own.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    in_a_row: AtomicU32,
    cause: OnceLock<Failure>,
    open: CancellationToken,
}

impl Breaker {
    /// An answer came.
    pub(super) fn succeeded(&self) {
        // Most answers change nothing.
        if self.in_a_row.load(Ordering::Relaxed) > 0 {
            self.in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// No answer came, or a refusal.
    pub(super) fn failed(&self, failure: Failure) {
        if self.in_a_row.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES {
            self.trip(failure);
        }
    }

    /// The connection cannot be used any more.
    pub(super) fn trip(&self, failure: Failure) {
        let _ = self.cause.set(failure);
        self.open.cancel();
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_cancelled()
    }

    /// Waits until it opens; why it did.
    pub(super) async fn opened(&self) -> Failure {
        self.open.cancelled().await;
        // The cause is set before.
        self.cause
            .get()
            .cloned()
            .unwrap_or_else(|| Failure::timeout(Duration::ZERO))
    }
}

/// Pauses between attempts: each up to twice as long as the one before, and never in step with other instances.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: PAUSE.0 }
    }

    /// Starts anew if the connection was good for longer than any pause.
    pub(super) fn lasted(&mut self, time: Duration) {
        if time > PAUSE.1 {
            *self = Self::new();
        }
    }

    /// The next pause: between half and all of the time it may take.
    pub(super) fn pause(&mut self) -> Duration {
        let longest = self.next;
        self.next = (longest * 2).min(PAUSE.1);
        let random = f64::from(getrandom::u32().unwrap_or(u32::MAX)) / f64::from(u32::MAX);
        longest.mul_f64((1.0 + random) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::FailureKind;

    fn late() -> Failure {
        Failure::timeout(Duration::from_millis(50))
    }

    #[tokio::test]
    async fn opens_after_failures_in_a_row_and_stays_open() {
        let breaker = Breaker::default();
        for _ in 0..3 {
            for _ in 1..FAILURES {
                breaker.failed(late());
            }
            assert!(!breaker.is_open());
            breaker.succeeded();
        }
        for _ in 0..FAILURES {
            breaker.failed(late());
        }
        assert!(breaker.is_open());
        breaker.succeeded();
        assert!(breaker.is_open());
        assert_eq!(breaker.opened().await, late());
    }

    #[tokio::test]
    async fn a_broken_connection_opens_it_at_once_and_the_first_cause_counts() {
        let breaker = Breaker::default();
        let cut = Failure::new(FailureKind::Unavailable, "connection reset");
        breaker.trip(cut.clone());
        breaker.trip(late());
        assert!(breaker.is_open());
        assert_eq!(breaker.opened().await, cut);
    }

    #[test]
    fn pauses_grow_to_a_few_seconds_and_differ() {
        let mut backoff = Backoff::new();
        let mut longest = PAUSE.0;
        for _ in 0..10 {
            let pause = backoff.pause();
            assert!(pause >= longest / 2 && pause <= longest, "{pause:?}");
            longest = (longest * 2).min(PAUSE.1);
        }
        let pauses: std::collections::HashSet<_> = (0..10).map(|_| backoff.pause()).collect();
        assert!(pauses.len() > 1);
        backoff.lasted(PAUSE.1);
        assert!(backoff.pause() > PAUSE.0);
        backoff.lasted(PAUSE.1 * 2);
        assert!(backoff.pause() <= PAUSE.0);
    }
}
