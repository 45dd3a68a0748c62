//! A picture's bytes → its classification, on one thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::refusal::Refusal;
use crate::classification::Classification;
use crate::image::Preparer;
use crate::model::{Loaded, Model, Session};
use crate::settings::PictureSettings;

/// Where the time of one classification went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// When it began to wait; nothing if nobody had to.
    pub start: Option<Instant>,
    /// Waiting for a worker.
    pub queue: Duration,
    /// Decoding the picture.
    pub decode: Duration,
    /// Resizing and normalising it.
    pub preprocess: Duration,
    /// Running the model.
    pub inference: Duration,
}

impl Timings {
    /// The stages in their order; each begins where the one before it ends.
    pub fn stages(&self) -> [(&'static str, Duration); 4] {
        [
            ("queue", self.queue),
            ("decode", self.decode),
            ("preprocess", self.preprocess),
            ("inference", self.inference),
        ]
    }
}

/// Decodes, prepares and infers; one a thread.
pub struct Classifier {
    model: Arc<Model>,
    session: Session,
    preparer: Preparer,
    picture: PictureSettings,
}

impl Classifier {
    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// One for each session of a model.
    pub fn of(loaded: Loaded, picture: PictureSettings) -> Vec<Self> {
        let Loaded { model, sessions } = loaded;
        let one = |session| Self {
            model: Arc::clone(&model),
            session,
            preparer: Preparer::new(picture),
            picture,
        };
        sessions.into_iter().map(one).collect()
    }

    /// Classifies one picture.
    ///
    /// # Errors
    /// [`Refusal::Picture`], and [`Refusal::Internal`] if the model fails or a decoder panics.
    pub fn classify(&mut self, picture: &[u8]) -> Result<(Classification, Timings), Refusal> {
        // A decoder that panics on a crafted picture must cost that picture and not the thread.
        match catch_unwind(AssertUnwindSafe(|| self.unguarded(picture))) {
            Ok(outcome) => outcome,
            Err(_) => {
                tracing::error!(bytes = picture.len(), "decoding or inference panicked");
                self.preparer = Preparer::new(self.picture);
                Err(Refusal::Internal(
                    "the picture could not be processed".into(),
                ))
            }
        }
    }

    fn unguarded(&mut self, picture: &[u8]) -> Result<(Classification, Timings), Refusal> {
        let input = self.session.input();
        let prepared = self.preparer.prepare(picture, self.model.input, input)?;
        let start = Instant::now();
        let probabilities = self.session.infer().map_err(Refusal::Internal)?;
        let timings = Timings {
            start: None,
            queue: Duration::ZERO,
            decode: prepared.decode,
            preprocess: prepared.preprocess,
            inference: start.elapsed(),
        };
        let classification = Classification::new(prepared.info, &probabilities);
        Ok((classification, timings))
    }
}
