//! A picture's bytes → its classification, on one thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::refusal::Refusal;
use crate::classification::{Classification, Ranking, rank};
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

    /// What a worker spent on it.
    pub fn work(&self) -> Duration {
        self.decode + self.preprocess + self.inference
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
        self.guarded(picture.len(), |this| {
            let input = this.session.input();
            let prepared = this.preparer.prepare(picture, this.model.input, input)?;
            let (probabilities, inference) = this.infer()?;
            let timings = Timings {
                decode: prepared.decode,
                preprocess: prepared.preprocess,
                inference,
                ..Timings::default()
            };
            let classification = Classification::new(prepared.info, &probabilities);
            Ok((classification, timings))
        })
    }

    /// Classifies one tensor that is ready for the model: `3 × height × width` little-endian 32-bit floats.
    ///
    /// # Errors
    /// [`Refusal::NotFinite`], and [`Refusal::Internal`] if the model fails or the tensor has another length.
    pub fn classify_tensor(&mut self, tensor: &[u8]) -> Result<(Ranking, Timings), Refusal> {
        self.guarded(tensor.len(), |this| {
            let start = Instant::now();
            let input = this.session.input();
            let (values, rest) = tensor.as_chunks();
            if values.len() != input.len() || !rest.is_empty() {
                let bytes = tensor.len();
                return Err(Refusal::Internal(format!("a tensor of {bytes} bytes")));
            }
            let mut finite = true;
            for (to, from) in input.iter_mut().zip(values) {
                *to = f32::from_le_bytes(*from);
                finite &= to.is_finite();
            }
            if !finite {
                return Err(Refusal::NotFinite);
            }
            let preprocess = start.elapsed();
            let (probabilities, inference) = this.infer()?;
            // Values far from those of pictures can overflow on their way through the model.
            if probabilities.iter().any(|score| !score.is_finite()) {
                return Err(Refusal::NotFinite);
            }
            let timings = Timings {
                preprocess,
                inference,
                ..Timings::default()
            };
            Ok((rank(&probabilities), timings))
        })
    }

    fn infer(&mut self) -> Result<(Vec<f32>, Duration), Refusal> {
        let start = Instant::now();
        let probabilities = self.session.infer().map_err(Refusal::Internal)?;
        Ok((probabilities, start.elapsed()))
    }

    /// A decoder that panics on a crafted picture must cost that picture and not the thread.
    fn guarded<T>(
        &mut self,
        bytes: usize,
        work: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        match catch_unwind(AssertUnwindSafe(|| work(self))) {
            Ok(outcome) => outcome,
            Err(_) => {
                tracing::error!(bytes, "decoding or inference panicked");
                self.preparer = Preparer::new(self.picture);
                Err(Refusal::Internal(
                    "the picture could not be processed".into(),
                ))
            }
        }
    }
}
