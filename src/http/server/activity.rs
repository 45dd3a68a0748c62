//! What a connection is doing, and until when it may.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::Limits;

/// One connection. Times are in milliseconds since it was opened.
pub(super) struct Activity {
    limits: Limits,
    opened: Instant,
    in_flight: AtomicU32,
    /// When the head that is being received began, plus one; 0 if none is. The first one begins with the connection.
    head: AtomicU64,
    /// When a request last came or a part of an answer last went.
    progress: AtomicU64,
    /// Whether requests can overlap (HTTP/2); then bytes that arrive need not be those of a head.
    multiplexed: AtomicBool,
}

/// A request being answered, until the last of its answer has been handed on.
pub(super) struct InFlight(Arc<Activity>);

/// What did not come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// The rest of a request's head.
    Head,
    /// Another request.
    Request,
    /// Progress of an answer.
    Answer,
}

impl Late {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Request => "request",
            Self::Answer => "answer",
        }
    }
}

impl Activity {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            opened: Instant::now(),
            in_flight: AtomicU32::new(0),
            head: AtomicU64::new(1),
            progress: AtomicU64::new(0),
            multiplexed: AtomicBool::new(false),
        }
    }

    /// The head of a request is there.
    pub(super) fn begin(self: &Arc<Self>, multiplexed: bool) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.head.store(0, Ordering::Relaxed);
        if multiplexed {
            self.multiplexed.store(true, Ordering::Relaxed);
        }
        self.touch();
        InFlight(Arc::clone(self))
    }

    /// Bytes have arrived.
    pub(super) fn received(&self) {
        let busy = self.in_flight.load(Ordering::Relaxed) > 0;
        if busy || self.multiplexed.load(Ordering::Relaxed) {
            return;
        }
        let begun = self.head.load(Ordering::Relaxed);
        if begun == 0 {
            self.head.store(self.now() + 1, Ordering::Relaxed);
        }
    }

    /// Bytes have gone.
    pub(super) fn sent(&self) {
        // Answers to the pings of an HTTP/2 client are no progress.
        if self.in_flight.load(Ordering::Relaxed) > 0 || !self.multiplexed.load(Ordering::Relaxed) {
            self.touch();
        }
    }

    fn touch(&self) {
        self.progress.store(self.now(), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.opened.elapsed().as_millis() as u64
    }

    pub(super) fn deadline(&self) -> Instant {
        self.next().0
    }

    /// What is late, if anything is.
    pub(super) fn late(&self) -> Option<Late> {
        let (deadline, late) = self.next();
        (deadline <= Instant::now()).then_some(late)
    }

    fn next(&self) -> (Instant, Late) {
        let after =
            |millis: u64, limit: Duration| self.opened + Duration::from_millis(millis) + limit;
        let progress = self.progress.load(Ordering::Relaxed);
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            return (after(progress, self.limits.stalled), Late::Answer);
        }
        match self.head.load(Ordering::Relaxed) {
            0 => (after(progress, self.limits.idle), Late::Request),
            begun => (after(begun - 1, self.limits.head), Late::Head),
        }
    }
}

impl InFlight {
    /// A part of the answer was handed on.
    pub(super) fn progress(&self) {
        self.0.touch();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.touch();
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
