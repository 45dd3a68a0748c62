//! Why a request is not answered with a class.

use std::time::Duration;

use super::fleet::ModelRefusal;
use crate::image::ImageError;
use crate::storage::StorageError;

/// A refusal; each is somebody's fault, and the variant says whose.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// The client's: not a picture that can be classified.
    #[error(transparent)]
    Picture(#[from] ImageError),
    /// The client's: a tensor that cannot be classified.
    #[error(
        "the tensor holds a value that is not a finite number, or so large that the model has no answer to it; \
         accepted are the pixels of a picture, from 0 to 1"
    )]
    NotFinite,
    /// The client's or the operator's: another model cannot be had.
    #[error(transparent)]
    Model(#[from] ModelRefusal),
    /// Nobody's: more requests than the workers can serve in time.
    #[error("all workers are busy and the queue is as long as it may get; try again in {} s", .retry_after.as_secs())]
    Busy {
        /// When to try again, in whole seconds.
        retry_after: Duration,
    },
    /// Nobody's: as many datasets are being written as may be at once.
    #[error("other datasets are being written; try again in {} s", .retry_after.as_secs())]
    Exports {
        /// When to try again, in whole seconds.
        retry_after: Duration,
    },
    /// The time a request may take is over.
    #[error("the request could not be answered in time")]
    Deadline,
    /// An answer could not be recorded, or something recorded could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Ours.
    #[error("{0}")]
    Internal(String),
}

impl Refusal {
    /// For a picture that has waited too long for a worker.
    pub(super) const OVERDUE: Self = Self::Busy {
        retry_after: Duration::from_secs(1),
    };
}
