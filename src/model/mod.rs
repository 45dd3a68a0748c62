//! ONNX file → class probabilities.

mod error;
mod labels;
mod literal;
mod runtime;
mod session;
mod spec;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::image::InputSize;

pub use error::ModelError;
pub use runtime::Runtime;
pub use session::Session;

use spec::Spec;

/// SHA-256 of a model file.
pub type ModelDigest = [u8; 32];

/// What is known of a loaded model.
#[derive(Clone, Debug)]
pub struct Model {
    /// File name without extension.
    pub name: String,
    /// First twelve hexadecimal digits of the digest.
    pub version: String,
    /// SHA-256 of the file.
    pub digest: ModelDigest,
    /// Class names by index.
    pub labels: Vec<String>,
    /// Size of the picture it takes.
    pub input: InputSize,
    /// The file's own words about itself (`description` in its metadata).
    pub description: Option<String>,
    spec: Spec,
}

/// A model and as many warm sessions as asked for.
pub struct Loaded {
    /// The model.
    pub model: Arc<Model>,
    /// One session a worker.
    pub sessions: Vec<Session>,
}

/// Loads the model at `path`, checks that it is a classifier this service can serve, and warms it up.
///
/// `labels` is a text file with one class name a line; it replaces the names in the metadata.
///
/// # Errors
/// [`ModelError`] says in one sentence what is wrong and what is accepted.
pub fn load(
    runtime: &Runtime,
    path: &Path,
    labels: Option<&Path>,
    sessions: usize,
) -> Result<Loaded, ModelError> {
    let fault = |fault| ModelError::Refused {
        path: path.to_owned(),
        fault,
    };
    let bytes = std::fs::read(path).map_err(|error| ModelError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    let labels = labels.map(labels::read).transpose()?;
    let digest: ModelDigest = Sha256::digest(&bytes).into();

    let first = session::open(runtime, &bytes).map_err(fault)?;
    let (mut spec, facts) = spec::examine(&first, labels).map_err(fault)?;
    let mut first = Session::new(first, &spec).map_err(fault)?;
    spec.settle(&mut first, facts.labels.len()).map_err(fault)?;
    let mut warm = vec![first];
    while warm.len() < sessions {
        let mut next = session::open(runtime, &bytes)
            .and_then(|s| Session::new(s, &spec))
            .map_err(fault)?;
        next.warm_up().map_err(fault)?;
        warm.push(next);
    }
    warm.iter_mut().for_each(|s| s.use_spec(&spec));

    let model = Model {
        name: name_of(path),
        version: hex::encode(&digest[..6]),
        digest,
        labels: facts.labels,
        input: spec.input,
        description: facts.description,
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

fn name_of(path: &Path) -> String {
    let stem: PathBuf = path.file_stem().unwrap_or_default().into();
    stem.to_string_lossy().into_owned()
}
