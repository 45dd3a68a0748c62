//! Models that can be served, and which of them are to be.
//!
//! A folder, or a container in Azure Blob Storage, with `{name}/{version}/model.onnx`. Beside each model there may be
//! `labels.txt` and `model.baseline.json`, and beside the versions `samples/CLASS/*`: pictures that every version must
//! answer right before it is served. `serving.json` at its top says what is to serve; all instances follow it.

mod container;
mod folder;
mod plan;

use std::path::PathBuf;

use bytes::Bytes;

use crate::azure::container::{Container, ContainerError};
use crate::model::Reference;
use crate::settings::Shared;

pub use plan::{Plan, Role, Tag, Trial, is_share};

use container::Models;
use folder::Folder;

/// File with the plan.
const PLAN: &str = "serving.json";

/// File with the model, in the folder of its version.
const MODEL: &str = "model.onnx";

/// Class names, beside a model whose metadata has none.
pub const LABELS: &str = "labels.txt";

/// The model and what may lie beside it.
const BESIDE: [&str; 3] = [MODEL, LABELS, "model.baseline.json"];

/// Larger ones are no plan.
const MAX_PLAN_BYTES: u64 = 64 * 1024;

/// Folder with sample pictures, beside the versions.
const SAMPLES: &str = "samples";

/// Sample pictures of one name that are used, and the largest of them in bytes.
const MAX_SAMPLES: usize = 64;
const MAX_SAMPLE_BYTES: u64 = 10 * 1024 * 1024;

/// Where models are kept.
pub enum Registry {
    /// A folder; on a volume that instances share, all of them follow it.
    Folder(Folder),
    /// A container in Azure Blob Storage.
    Container(Box<Models>),
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
    /// A folder. Nothing is read.
    pub fn folder(path: PathBuf) -> Self {
        Self::Folder(Folder::new(path))
    }

    /// The container called `name` in the account of the shared stores, with copies in the folder `copies`. No request
    /// is made.
    ///
    /// # Errors
    /// If the settings make no sense or there is no credential.
    pub fn container(
        settings: &Shared,
        name: &str,
        copies: PathBuf,
    ) -> Result<Self, ContainerError> {
        let container = Container::new(settings, name, "MODELS=blob:CONTAINER")?;
        Ok(Self::Container(Box::new(Models::new(container, copies))))
    }

    /// The models that are there, by name and version. Those whose names could not stand in an address are left out.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    pub async fn list(&self) -> Result<Vec<Reference>, RegistryError> {
        match self {
            Self::Folder(folder) => folder.list().await,
            Self::Container(models) => models.list().await,
        }
    }

    /// A file on this disk with the model, and what belongs to it beside it; nothing if there is no such model.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    pub async fn fetch(&self, model: &Reference) -> Result<Option<PathBuf>, RegistryError> {
        if !is_name(&model.name) || !is_name(&model.version) {
            return Ok(None);
        }
        match self {
            Self::Folder(folder) => Ok(folder.path(model)),
            Self::Container(models) => models.fetch(model).await,
        }
    }

    /// The file with a listed model, if it is on this disk already.
    pub fn here(&self, model: &Reference) -> Option<PathBuf> {
        match self {
            Self::Folder(folder) => folder.path(model),
            Self::Container(models) => models.copy_of(model),
        }
    }

    /// Pictures that every version of `name` must answer right.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    pub async fn samples(&self, name: &str) -> Result<Vec<Sample>, RegistryError> {
        match self {
            Self::Folder(folder) => folder.samples(name).await,
            Self::Container(models) => models.samples(name).await,
        }
    }

    /// What is to serve, if anything has been said, and a tag of its state.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`], [`RegistryError::BadPlan`].
    pub async fn plan(&self) -> Result<(Option<Plan>, Tag), RegistryError> {
        match self {
            Self::Folder(folder) => folder.plan().await,
            Self::Container(models) => models.plan().await,
        }
    }

    /// What was to serve when this instance last read it, for when it cannot be read.
    pub fn remembered(&self) -> Option<Plan> {
        match self {
            Self::Folder(_) => None,
            Self::Container(models) => models.remembered(),
        }
    }

    /// Says what is to serve, if nobody has said anything else since `before`; the new tag.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`], [`RegistryError::Changed`].
    pub async fn publish(&self, plan: &Plan, before: &Tag) -> Result<Tag, RegistryError> {
        match self {
            Self::Folder(folder) => folder.publish(plan, before).await,
            Self::Container(models) => models.publish(plan, before).await,
        }
    }
}

/// Whether a name of a model or a version can be used: it stands in paths and addresses.
fn is_name(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=64).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(fits)
}
