//! ONNX file → class probabilities.

mod baseline;
mod engine;
mod error;
mod labels;
mod literal;
mod peek;
mod reference;
mod session;
mod spec;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::image::InputSize;
use crate::locate;
use crate::settings::{ModelSettings, Precision, Provider};

pub use baseline::{BINS, Baseline, bin};
pub use error::ModelError;
pub use peek::{Peek, peek};
pub use reference::{NoReference, Reference};
pub use session::Session;

use engine::{OnnxRuntime, OpenVino, Runtime};
use spec::Spec;

/// SHA-256 of a model file.
pub type ModelDigest = [u8; 32];

/// What is known of a loaded model.
#[derive(Clone, Debug)]
pub struct Model {
    /// Name and version: of a file that is served by itself its name without extension, and the first twelve
    /// hexadecimal digits of the digest.
    pub reference: Reference,
    /// SHA-256 of the file.
    pub digest: ModelDigest,
    /// Class names by index.
    pub labels: Vec<String>,
    /// Size of the picture it takes.
    pub input: InputSize,
    /// Name of its input tensor.
    pub input_name: String,
    /// Name of its output tensor.
    pub output_name: String,
    /// The file's own words about itself (`description` in its metadata).
    pub description: Option<String>,
    /// What runs it.
    pub provider: Provider,
    /// What it is computed in.
    pub precision: Precision,
    /// What it answered to the pictures it was evaluated with, if there is a file that says so.
    pub baseline: Option<Arc<Baseline>>,
    spec: Spec,
}

/// A model and as many warm sessions as asked for.
pub struct Loaded {
    /// The model.
    pub model: Arc<Model>,
    /// One session a worker.
    pub sessions: Vec<Session>,
}

/// Loads the model at `path`, checks that it is a classifier this service can serve, and warms up as many
/// sessions as asked for.
///
/// # Errors
/// [`ModelError`] says in one sentence what is wrong and what is accepted.
pub fn load(settings: &ModelSettings, path: &Path, sessions: usize) -> Result<Loaded, ModelError> {
    load_as(settings, path, None, sessions)
}

/// As [`load`], under a name and version of its own.
///
/// # Errors
/// As [`load`].
pub fn load_as(
    settings: &ModelSettings,
    path: &Path,
    reference: Option<Reference>,
    sessions: usize,
) -> Result<Loaded, ModelError> {
    let path = locate::find(path).unwrap_or_else(|| path.to_owned());
    let fault = |fault| ModelError::Refused {
        path: path.clone(),
        fault,
    };
    let runtime = Runtime::load(settings.onnxruntime.as_deref())?;
    let bytes = std::fs::read(&path).map_err(|error| ModelError::Unreadable {
        path: path.clone(),
        error,
    })?;
    let labels = settings.labels.as_deref().map(labels::read).transpose()?;
    let digest: ModelDigest = Sha256::digest(&bytes).into();

    // ONNX Runtime tells what is in the file, whatever runs it later.
    let first = OnnxRuntime::open(&runtime, &bytes).map_err(fault)?;
    let (mut spec, facts) = spec::examine(&first, labels).map_err(fault)?;
    let mut first = Session::new(OnnxRuntime::new(first, &spec));
    spec.settle(&mut first, facts.labels.len()).map_err(fault)?;
    let mut warm = Vec::new();
    let precision = match settings.provider {
        Provider::Cpu => {
            warm.push(first.with_logits(spec.logits));
            while warm.len() < sessions {
                let next = OnnxRuntime::open(&runtime, &bytes).map_err(fault)?;
                warm.push(Session::new(OnnxRuntime::new(next, &spec)).with_logits(spec.logits));
            }
            Precision::F32
        }
        Provider::Openvino => {
            drop(first);
            let mut openvino = OpenVino::load(settings.precision)?;
            while warm.len() < sessions {
                let next = openvino.open(&bytes, &spec).map_err(fault)?;
                warm.push(Session::new(next).with_logits(spec.logits));
            }
            openvino.precision
        }
    };
    for session in &mut warm {
        session.warm_up().map_err(fault)?;
    }

    let [input_name, output_name] = facts.tensors;
    let model = Model {
        reference: reference.unwrap_or_else(|| reference_of(&path, &digest)),
        baseline: baseline::beside(&path, &digest, &facts.labels),
        digest,
        labels: facts.labels,
        input: spec.input,
        input_name,
        output_name,
        description: facts.description,
        provider: settings.provider,
        precision,
        spec,
    };
    Ok(Loaded {
        model: Arc::new(model),
        sessions: warm,
    })
}

impl Model {
    /// Element type of the input tensor: `float32` or `float16`.
    pub fn input_type(&self) -> &'static str {
        self.spec.element_name()
    }
}

/// What the file at `path` is called when it is served by itself. Reads it.
///
/// # Errors
/// [`ModelError::Unreadable`].
pub fn identify(path: &Path) -> Result<Reference, ModelError> {
    let path = locate::find(path).unwrap_or_else(|| path.to_owned());
    match std::fs::read(&path) {
        Ok(bytes) => Ok(reference_of(&path, &Sha256::digest(&bytes).into())),
        Err(error) => Err(ModelError::Unreadable { path, error }),
    }
}

fn reference_of(path: &Path, digest: &ModelDigest) -> Reference {
    let stem: PathBuf = path.file_stem().unwrap_or_default().into();
    Reference {
        name: stem.to_string_lossy().into_owned(),
        version: hex::encode(&digest[..6]),
    }
}
