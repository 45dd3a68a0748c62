//! One single-threaded ONNX Runtime session.

use half::f16;
use ndarray::Array4;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;

use super::error::Fault;
use super::runtime::{Runtime, one_line};
use super::spec::{Element, Spec};

/// A session with its input buffer; used by one thread at a time.
pub struct Session {
    session: ort::session::Session,
    input: Array4<f32>,
    half: Option<Array4<f16>>,
    logits: bool,
}

/// Opens a model held in memory. One thread a session: on a CPU, several such sessions side by side do more
/// than one session with as many threads.
pub(super) fn open(runtime: &Runtime, model: &[u8]) -> Result<ort::session::Session, Fault> {
    let open = || -> ort::Result<ort::session::Session> {
        ort::session::Session::builder(&runtime.0)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .commit_from_memory(model)
    };
    open().map_err(|error| Fault::Corrupt(one_line(&error)))
}

impl Session {
    pub(super) fn new(session: ort::session::Session, spec: &Spec) -> Result<Self, Fault> {
        let shape = (
            spec.batch,
            3,
            spec.input.height as usize,
            spec.input.width as usize,
        );
        let half = (spec.element == Element::F16).then(|| Array4::from_elem(shape, f16::ZERO));
        Ok(Self {
            session,
            input: Array4::zeros(shape),
            half,
            logits: spec.logits,
        })
    }

    pub(super) fn use_spec(&mut self, spec: &Spec) {
        self.logits = spec.logits;
    }

    /// Where the picture's tensor goes: `3 × height × width`, RGB, 0 to 1.
    pub fn input(&mut self) -> &mut [f32] {
        let picture = self.input.len() / self.input.dim().0;
        // The array is made contiguous and never reshaped.
        self.input
            .as_slice_mut()
            .map_or(&mut [], |all| &mut all[..picture])
    }

    /// Probabilities of the classes for the picture in [`Session::input`].
    ///
    /// # Errors
    /// ONNX Runtime's words.
    pub fn infer(&mut self) -> Result<Vec<f32>, String> {
        let mut scores = self.run().map_err(|fault| fault.to_string())?;
        if self.logits {
            softmax(&mut scores);
        }
        Ok(scores)
    }

    /// Runs on a grey picture and returns what the model gives.
    pub(super) fn warm_up(&mut self) -> Result<Vec<f32>, Fault> {
        self.input.fill(0.5);
        let scores = self.run();
        self.input.fill(0.0);
        scores
    }

    fn run(&mut self) -> Result<Vec<f32>, Fault> {
        let fail = |error: ort::Error| Fault::Run(one_line(&error));
        let rows = self.input.dim().0;
        let outputs = if let Some(half) = &mut self.half {
            half.zip_mut_with(&self.input, |to, &from| *to = f16::from_f32(from));
            let view = TensorRef::from_array_view(&*half).map_err(fail)?;
            self.session.run(ort::inputs![view]).map_err(fail)?
        } else {
            let view = TensorRef::from_array_view(&self.input).map_err(fail)?;
            self.session.run(ort::inputs![view]).map_err(fail)?
        };
        let scores: Vec<f32> = match outputs[0].try_extract_tensor::<f32>() {
            Ok((_, scores)) => scores.to_vec(),
            Err(_) => {
                let (_, scores) = outputs[0].try_extract_tensor::<f16>().map_err(fail)?;
                scores.iter().map(|score| score.to_f32()).collect()
            }
        };
        // A graph with a fixed batch answers for its empty places too.
        let mut scores = scores;
        let row = scores.len() / rows;
        scores.truncate(row);
        Ok(scores)
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
