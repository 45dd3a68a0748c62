//! Why a request is not answered with a class.

use std::io;
use std::time::Duration;

use crate::image::ImageError;

/// A refusal; each is somebody's fault, and the variant says whose.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// The client's: not a picture that can be classified.
    #[error(transparent)]
    Picture(#[from] ImageError),
    /// Nobody's: more requests than the workers can serve in time.
    #[error("all workers are busy and the queue is as long as it may get; try again in {} s", .retry_after.as_secs())]
    Busy {
        /// When to try again, in whole seconds.
        retry_after: Duration,
    },
    /// The time a request may take is over.
    #[error("the request could not be answered in time")]
    Deadline,
    /// The disk is full: an answer could not be recorded.
    #[error("the storage for pictures and records is full: {0}")]
    StorageFull(String),
    /// The disk cannot be written or read.
    #[error("the storage for pictures and records is not available: {0}")]
    StorageUnavailable(String),
    /// Ours.
    #[error("{0}")]
    Internal(String),
}

impl Refusal {
    /// For a picture that has waited too long for a worker.
    pub(super) const OVERDUE: Self = Self::Busy {
        retry_after: Duration::from_secs(1),
    };

    pub(super) fn storage(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::StorageFull(error.to_string()),
            _ => Self::StorageUnavailable(error.to_string()),
        }
    }
}
