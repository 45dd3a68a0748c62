//! What the server and its model say of themselves.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Datatype, Error, Server};
use crate::model::Model;
use crate::settings::Provider;

/// Extensions of the protocol that are understood, by the names that Triton gives them.
const EXTENSIONS: [&str; 4] = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "parameters",
];

/// The server.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ServerMetadata {
    /// Always `relance`.
    #[schema(example = "relance")]
    pub name: &'static str,
    /// Version of the program.
    #[schema(example = "0.1.0")]
    pub version: &'static str,
    /// Extensions of the protocol.
    pub extensions: Vec<&'static str>,
}

/// A model's tensors.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ModelMetadata {
    /// Name.
    #[schema(example = "bottle")]
    pub name: String,
    /// Versions that are loaded.
    pub versions: Vec<String>,
    /// Kind of model, as Triton calls it.
    #[schema(example = "onnxruntime_onnx")]
    pub platform: &'static str,
    /// The input. It also takes `BYTES` of shape `[-1]` or `[-1, 1]`, which are encoded pictures; the protocol has
    /// no way to say so.
    pub inputs: Vec<TensorMetadata>,
    /// The output.
    pub outputs: Vec<TensorMetadata>,
}

/// A tensor of a model.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TensorMetadata {
    /// Name.
    #[schema(example = "images")]
    pub name: String,
    /// Type of its elements.
    #[schema(example = "FP32")]
    pub datatype: &'static str,
    /// Shape; -1 is any length.
    #[schema(example = json!([-1, 3, 224, 224]))]
    pub shape: Vec<i64>,
}

/// A model's configuration, the part of Triton's that clients read.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ModelConfig {
    /// Name.
    #[schema(example = "bottle")]
    pub name: String,
    /// Kind of model, as Triton calls it.
    #[schema(example = "onnxruntime_onnx")]
    pub platform: &'static str,
    /// What runs it.
    #[schema(example = "onnxruntime")]
    pub backend: &'static str,
    /// Pictures or tensors in one request.
    #[schema(example = 32)]
    pub max_batch_size: i32,
    /// The input, without the batch.
    pub input: Vec<TensorConfig>,
    /// The output, without the batch.
    pub output: Vec<TensorConfig>,
}

/// A tensor in a model's configuration.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TensorConfig {
    /// Name.
    #[schema(example = "images")]
    pub name: String,
    /// Type of its elements.
    #[schema(example = "TYPE_FP32")]
    pub data_type: &'static str,
    /// Order of an input's dimensions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "FORMAT_NCHW")]
    pub format: Option<&'static str>,
    /// Its dimensions without the batch.
    #[schema(example = json!([3, 224, 224]))]
    pub dims: Vec<i64>,
}

/// A model in the index.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ModelIndex {
    /// Name.
    #[schema(example = "bottle")]
    pub name: String,
    /// Version.
    #[schema(example = "3f1c9a7be042")]
    pub version: String,
    /// `READY` or `UNAVAILABLE`.
    #[schema(example = "READY")]
    pub state: &'static str,
    /// Why it is not ready; empty if it is.
    pub reason: &'static str,
}

impl Server<'_> {
    /// The server.
    pub fn metadata(&self) -> ServerMetadata {
        ServerMetadata {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            extensions: EXTENSIONS.into(),
        }
    }

    /// A model's tensors.
    ///
    /// # Errors
    /// [`Error::UnknownModel`].
    pub fn model_metadata(&self, name: &str, version: &str) -> Result<ModelMetadata, Error> {
        let model = self.model(name, version)?;
        let tensor = |name: &str, dims: Vec<i64>| TensorMetadata {
            name: name.to_owned(),
            datatype: Datatype::Fp32.name(),
            shape: std::iter::once(-1).chain(dims).collect(),
        };
        Ok(ModelMetadata {
            name: model.reference.name.clone(),
            versions: self.versions(name),
            platform: kind(&model).0,
            inputs: vec![tensor(&model.input_name, input_dims(&model))],
            outputs: vec![tensor(&model.output_name, output_dims(&model))],
        })
    }

    /// A model's configuration.
    ///
    /// # Errors
    /// [`Error::UnknownModel`].
    pub fn model_config(&self, name: &str, version: &str) -> Result<ModelConfig, Error> {
        let model = self.model(name, version)?;
        let (platform, backend) = kind(&model);
        let tensor = |name: &str, format, dims| TensorConfig {
            name: name.to_owned(),
            data_type: "TYPE_FP32",
            format,
            dims,
        };
        Ok(ModelConfig {
            name: model.reference.name.clone(),
            platform,
            backend,
            max_batch_size: i32::try_from(self.limits.batch).unwrap_or(i32::MAX),
            input: vec![tensor(
                &model.input_name,
                Some("FORMAT_NCHW"),
                input_dims(&model),
            )],
            output: vec![tensor(&model.output_name, None, output_dims(&model))],
        })
    }

    /// The models that are loaded; only those that are ready if `ready` says so.
    pub fn index(&self, ready: bool) -> Vec<ModelIndex> {
        let (state, reason) = if self.is_ready() {
            ("READY", "")
        } else {
            ("UNAVAILABLE", "the server is starting or shutting down")
        };
        if ready && !self.is_ready() {
            return Vec::new();
        }
        let models = self.service.ready_models().into_iter();
        let listed = models.map(|model| ModelIndex {
            name: model.reference.name.clone(),
            version: model.reference.version.clone(),
            state,
            reason,
        });
        listed.collect()
    }

    /// The versions of a model that are loaded.
    fn versions(&self, name: &str) -> Vec<String> {
        let named = self.named(name).into_iter();
        named.map(|model| model.reference.version.clone()).collect()
    }
}

/// Platform and backend, as Triton calls them.
fn kind(model: &Model) -> (&'static str, &'static str) {
    match model.provider {
        Provider::Cpu => ("onnxruntime_onnx", "onnxruntime"),
        Provider::Openvino => ("openvino", "openvino"),
    }
}

fn input_dims(model: &Model) -> Vec<i64> {
    vec![3, model.input.height.into(), model.input.width.into()]
}

fn output_dims(model: &Model) -> Vec<i64> {
    vec![i64::try_from(model.labels.len()).unwrap_or(i64::MAX)]
}
