//! Why another model cannot be had.

use crate::model::Reference;
use crate::registry::RegistryError;

/// A model that cannot answer, or a change of models that was not made; then all is as it was before.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ModelRefusal {
    /// There is none by that name and version.
    #[error("there is no model {asked}; there are {}", listed(.known))]
    Unknown {
        /// What was asked for.
        asked: Reference,
        /// What there is.
        known: Vec<Reference>,
    },
    /// It cannot be served, or answers samples wrong.
    #[error("{model} is not served: {reason}")]
    Unusable {
        /// The model.
        model: Reference,
        /// What is wrong with it.
        reason: String,
    },
    /// The model that answers cannot be tried out beside itself.
    #[error("{0} is the model that answers; only another one can be tried out beside it")]
    IsActive(Reference),
    /// A share that is none.
    #[error("share is {0}; accepted is a number above 0 and up to 1")]
    BadShare(f64),
    /// No model is tried out.
    #[error("no model is being tried out")]
    NoCandidate,
    /// There is one model for good.
    #[error(
        "models cannot be changed here: MODELS is not set; it names a folder with {{name}}/{{version}}/model.onnx"
    )]
    Fixed,
    /// The registry cannot be used.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Models that are named.
const NAMED: usize = 20;

fn listed(known: &[Reference]) -> String {
    let mut names: Vec<String> = known.iter().take(NAMED).map(ToString::to_string).collect();
    if known.len() > NAMED {
        names.push(format!("{} more", known.len() - NAMED));
    }
    if names.is_empty() {
        return "none".into();
    }
    names.join(", ")
}
