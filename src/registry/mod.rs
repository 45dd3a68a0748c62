//! Models that can be served, and which of them are to be.
//!
//! A folder, or a container in Azure Blob Storage, with `NAME/VERSION/model.onnx`. Beside each model there may be
//! `labels.txt` and `model.baseline.json`, and beside the versions `samples/CLASS/*`: pictures that every version must
//! answer right before it is served. `serving.json` at its top says what is to serve; all instances follow it.

mod folder;
mod plan;

use std::path::PathBuf;

use bytes::Bytes;

use crate::model::Reference;

pub use plan::{Plan, Role, Tag, Trial};

use folder::Folder;

/// File with the plan.
const PLAN: &str = "serving.json";

/// File with the model, in the folder of its version.
const MODEL: &str = "model.onnx";

/// Folder with sample pictures, beside the versions.
const SAMPLES: &str = "samples";

/// Sample pictures of one name that are used, and the largest of them in bytes.
const MAX_SAMPLES: usize = 64;
const MAX_SAMPLE_BYTES: u64 = 10 * 1024 * 1024;

/// Where models are kept.
pub enum Registry {
    /// A folder; on a volume that instances share, all of them follow it.
    Folder(Folder),
}

/// A picture that a model must answer right.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its path below the registry.
    pub path: String,
    /// The right class.
    pub class: String,
    /// The file.
    pub bytes: Bytes,
}

/// A registry that cannot be used as it is asked to.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegistryError {
    /// It cannot be reached, read or written.
    #[error("the models in {place} cannot be read or changed: {reason}")]
    Unavailable {
        /// The registry.
        place: String,
        /// Why.
        reason: String,
    },
    /// Its plan is not one.
    #[error("{PLAN} in {place} cannot be used: {reason}")]
    BadPlan {
        /// The registry.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// Somebody else changed the plan at the same time.
    #[error(
        "what is served was changed by somebody else at the same time; look at it and try again"
    )]
    Changed,
}

impl Registry {
    /// The registry that the setting `MODELS` names. Nothing is read.
    pub fn folder(path: PathBuf) -> Self {
        Self::Folder(Folder::new(path))
    }

    /// The models that are there, by name and version. Those whose names could not stand in an address are left out.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    pub async fn list(&self) -> Result<Vec<Reference>, RegistryError> {
        let Self::Folder(folder) = self;
        folder.list().await
    }

    /// A file on this disk with the model, which must be one of [`Registry::list`]; what belongs to it lies beside it.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    pub async fn fetch(&self, model: &Reference) -> Result<PathBuf, RegistryError> {
        let Self::Folder(folder) = self;
        Ok(folder.path(model))
    }

    /// Pictures that every version of `name` must answer right.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    pub async fn samples(&self, name: &str) -> Result<Vec<Sample>, RegistryError> {
        let Self::Folder(folder) = self;
        folder.samples(name).await
    }

    /// What is to serve, if anything has been said, and a tag of its state.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`], [`RegistryError::BadPlan`].
    pub async fn plan(&self) -> Result<(Option<Plan>, Tag), RegistryError> {
        let Self::Folder(folder) = self;
        folder.plan().await
    }

    /// Says what is to serve, if nobody has said anything else since `before`; the new tag.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`], [`RegistryError::Changed`].
    pub async fn publish(&self, plan: &Plan, before: &Tag) -> Result<Tag, RegistryError> {
        let Self::Folder(folder) = self;
        folder.publish(plan, before).await
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        let Self::Folder(folder) = self;
        folder.place()
    }
}

/// Whether a name of a model or a version can be used: it stands in paths and addresses.
fn is_name(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=64).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(fits)
}
