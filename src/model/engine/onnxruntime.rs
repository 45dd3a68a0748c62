//! ONNX Runtime's CPU provider.

use half::f16;
use ndarray::Array4;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;

use super::{Engine, Runtime, one_line, picture_len};
use crate::model::error::Fault;
use crate::model::spec::{Element, Spec};

/// A session with its input.
pub(in crate::model) struct OnnxRuntime {
    session: Session,
    input: Array4<f32>,
    half: Option<Array4<f16>>,
    picture: usize,
}

impl OnnxRuntime {
    /// Opens a model held in memory.
    pub(in crate::model) fn open(runtime: &Runtime, model: &[u8]) -> Result<Session, Fault> {
        let open = |wide_sums: &str| -> ort::Result<Session> {
            Session::builder(&runtime.0)?
                .with_optimization_level(GraphOptimizationLevel::All)?
                .with_intra_threads(1)?
                .with_inter_threads(1)?
                .with_config_entry("session.x64quantprecision", wide_sums)?
                .commit_from_memory(model)
        };
        // Processors with AVX2 and no VNNI would add the products of int8 models in 16 bits, which may overflow. It
        // cannot be had where layers share their weights.
        open("1")
            .or_else(|_| open("0"))
            .map_err(|error| Fault::Corrupt(one_line(&error)))
    }

    pub(in crate::model) fn new(session: Session, spec: &Spec) -> Self {
        let (height, width) = (spec.input.height as usize, spec.input.width as usize);
        let shape = (spec.batch, 3, height, width);
        let half = (spec.element == Element::F16).then(|| Array4::from_elem(shape, f16::ZERO));
        Self {
            session,
            input: Array4::zeros(shape),
            half,
            picture: picture_len(spec),
        }
    }
}

impl Engine for OnnxRuntime {
    fn input(&mut self) -> &mut [f32] {
        // The array is made contiguous and never reshaped. A graph with a fixed batch has empty places.
        self.input
            .as_slice_mut()
            .map_or(&mut [], |all| &mut all[..self.picture])
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
        let mut scores: Vec<f32> = match outputs[0].try_extract_tensor::<f32>() {
            Ok((_, scores)) => scores.to_vec(),
            Err(_) => {
                let (_, scores) = outputs[0].try_extract_tensor::<f16>().map_err(fail)?;
                scores.iter().map(|score| score.to_f32()).collect()
            }
        };
        scores.truncate(scores.len() / rows);
        Ok(scores)
    }
}
