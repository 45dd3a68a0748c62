//! One warm, single-threaded model.

use super::engine::Engine;
use super::error::Fault;

/// A loaded model with its input buffer; used by one thread at a time.
pub struct Session {
    engine: Box<dyn Engine>,
    logits: bool,
}

impl Session {
    pub(super) fn new(engine: impl Engine + 'static) -> Self {
        Self {
            engine: Box::new(engine),
            logits: false,
        }
    }

    /// What the model gives are logits, and a softmax makes them probabilities.
    pub(super) fn with_logits(mut self, logits: bool) -> Self {
        self.logits = logits;
        self
    }

    /// Where the picture's tensor goes: `3 × height × width`, RGB, 0 to 1.
    pub fn input(&mut self) -> &mut [f32] {
        self.engine.input()
    }

    /// Probabilities of the classes for the picture in [`Session::input`].
    ///
    /// # Errors
    /// The words of the library that runs the model.
    pub fn infer(&mut self) -> Result<Vec<f32>, String> {
        let mut scores = self.engine.run().map_err(|fault| fault.to_string())?;
        if self.logits {
            softmax(&mut scores);
        }
        Ok(scores)
    }

    /// Runs on a grey picture and returns what the model gives.
    pub(super) fn warm_up(&mut self) -> Result<Vec<f32>, Fault> {
        self.engine.input().fill(0.5);
        self.engine.run()
    }
}

fn softmax(scores: &mut [f32]) {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores
        .iter_mut()
        .for_each(|score| *score = (*score - max).exp());
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
}

#[cfg(test)]
mod tests {
    #[test]
    fn softmax_of_large_logits_is_finite() {
        let mut scores = [1000.0, 1000.0, 0.0];
        super::softmax(&mut scores);
        assert_eq!(scores, [0.5, 0.5, 0.0]);
    }
}
