//! Intel's OpenVINO, which also runs on other makers' processors and, where they can, computes in bf16.
//!
//! It is called directly: as a plugin of ONNX Runtime it offers itself on Intel processors only.

use std::path::Path;

use half::f16;
use openvino::{
    CompiledModel, Core, DeviceType, ElementType, InferRequest, InferenceError, PartialShape,
    PropertyKey, RwPropertyKey, Tensor,
};

use super::{Engine, one_line, picture_len};
use crate::locate;
use crate::model::ModelError;
use crate::model::error::Fault;
use crate::model::spec::{Element, Spec};
use crate::settings::Precision;

const LIBRARY: &str = "lib/openvino/libopenvino_c.so";

/// The loaded library and how it shall compute.
pub(in crate::model) struct OpenVino {
    core: Core,
    /// What it computes in.
    pub precision: Precision,
}

impl OpenVino {
    /// Loads `lib/openvino/libopenvino_c.so` in the working directory or any folder above the program.
    ///
    /// A processor without bf16 computes in float32 instead, and the log says so.
    ///
    /// # Errors
    /// [`ModelError::OpenVinoMissing`] and [`ModelError::OpenVinoUnusable`].
    pub(in crate::model) fn load(precision: Precision) -> Result<Self, ModelError> {
        let path = locate::find(Path::new(LIBRARY)).ok_or(ModelError::OpenVinoMissing)?;
        let unusable = |reason| ModelError::OpenVinoUnusable {
            path: path.clone(),
            reason,
        };
        // A bare name would be searched for in the system's library folders.
        let absolute = path.canonicalize().map_err(|e| unusable(e.to_string()))?;
        openvino_sys::library::load_from(absolute).map_err(unusable)?;
        let mut core = Core::new().map_err(|e| unusable(one_line(&e)))?;
        let inference = |e: InferenceError| unusable(words(&e));
        let can = core
            .get_property(&DeviceType::CPU, &PropertyKey::DeviceCapabilities)
            .map_err(inference)?;
        let precision = match precision {
            Precision::Bf16 if !can.contains("BF16") => {
                tracing::warn!("this processor has no bf16: PRECISION=f32 is used instead");
                Precision::F32
            }
            precision => precision,
        };
        let hint = match precision {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        };
        let properties = [
            (RwPropertyKey::NumStreams, "1"),
            (RwPropertyKey::InferenceNumThreads, "1"),
            // With it all sessions would run on one core.
            (RwPropertyKey::HintEnableCpuPinning, "NO"),
            (RwPropertyKey::HintInferencePrecision, hint),
        ];
        core.set_properties(&DeviceType::CPU, properties)
            .map_err(inference)?;
        Ok(Self { core, precision })
    }

    /// Compiles a model held in memory.
    pub(in crate::model) fn open(&mut self, model: &[u8], spec: &Spec) -> Result<Compiled, Fault> {
        let mut open = || -> Result<Compiled, InferenceError> {
            let mut model = self.core.read_model_from_buffer(model, None)?;
            if model.is_dynamic() {
                let sides = [spec.input.height, spec.input.width].map(i64::from);
                let shape = [spec.batch as i64, 3, sides[0], sides[1]];
                model.reshape_single_input(&PartialShape::new_static(4, &shape)?)?;
            }
            let mut compiled = self.core.compile_model(&model, DeviceType::CPU)?;
            let request = compiled.create_infer_request()?;
            Ok(Compiled {
                input: request.get_input_tensor()?,
                request,
                _compiled: compiled,
                picture: vec![0.0; picture_len(spec)],
                element: spec.element,
                rows: spec.batch,
            })
        };
        open().map_err(|error| Fault::OpenVino(words(&error)))
    }
}

fn words(error: &InferenceError) -> String {
    let message = error.message.as_deref().map(str::trim);
    match message.filter(|message| !message.is_empty()) {
        // The last line has the cause; the first ones say where in the library it was found.
        Some(message) => one_line(&message.lines().last().unwrap_or_default()),
        None => one_line(error),
    }
}

/// A compiled model with its input.
pub(in crate::model) struct Compiled {
    request: InferRequest,
    input: Tensor,
    picture: Vec<f32>,
    element: Element,
    rows: usize,
    _compiled: CompiledModel,
}

impl Engine for Compiled {
    fn input(&mut self) -> &mut [f32] {
        &mut self.picture
    }

    fn run(&mut self) -> Result<Vec<f32>, Fault> {
        self.infer().map_err(|error| Fault::Run(words(&error)))
    }
}

impl Compiled {
    fn infer(&mut self) -> Result<Vec<f32>, InferenceError> {
        match self.element {
            Element::F32 => {
                let input = self.input.get_data_mut::<f32>()?;
                input[..self.picture.len()].copy_from_slice(&self.picture);
            }
            Element::F16 => {
                let input = self.input.get_data_mut::<f16>()?;
                for (to, &from) in input.iter_mut().zip(&self.picture) {
                    *to = f16::from_f32(from);
                }
            }
        }
        self.request.infer()?;
        let output = self.request.get_output_tensor()?;
        let mut scores: Vec<f32> = match output.get_element_type()? {
            ElementType::F16 => {
                let scores = output.get_data::<f16>()?;
                scores.iter().map(|score| score.to_f32()).collect()
            }
            _ => output.get_data::<f32>()?.to_vec(),
        };
        scores.truncate(scores.len() / self.rows);
        Ok(scores)
    }
}
