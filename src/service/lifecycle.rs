//! Whether traffic should be sent here.

use tokio::sync::watch;

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
#[derive(Debug)]
pub struct Lifecycle(watch::Sender<Stage>);

impl Default for Lifecycle {
    fn default() -> Self {
        Self(watch::Sender::new(Stage::Starting))
    }
}

impl Lifecycle {
    /// The stage.
    pub fn stage(&self) -> Stage {
        *self.0.borrow()
    }

    /// Tells every change of the stage.
    pub fn watch(&self) -> watch::Receiver<Stage> {
        self.0.subscribe()
    }

    /// The model is warm.
    pub fn ready(&self) {
        self.0.send_if_modified(|stage| {
            let starting = *stage == Stage::Starting;
            if starting {
                *stage = Stage::Ready;
            }
            starting
        });
    }

    /// The end has been asked for.
    pub fn drain(&self) {
        self.0.send_replace(Stage::Draining);
    }
}
