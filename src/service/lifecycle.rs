//! Whether traffic should be sent here.

use std::sync::atomic::{AtomicU8, Ordering};

/// Stage of the process's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Not warm yet.
    Starting,
    /// Serving.
    Ready,
    /// Still serving, but asks for no more traffic.
    Draining,
}

/// The current stage; shared by all who ask.
#[derive(Debug, Default)]
pub struct Lifecycle(AtomicU8);

impl Lifecycle {
    /// The stage.
    pub fn stage(&self) -> Stage {
        match self.0.load(Ordering::Relaxed) {
            0 => Stage::Starting,
            1 => Stage::Ready,
            _ => Stage::Draining,
        }
    }

    /// The model is warm.
    pub fn ready(&self) {
        let _ = self
            .0
            .compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The end has been asked for.
    pub fn drain(&self) {
        self.0.store(2, Ordering::Relaxed);
    }
}
