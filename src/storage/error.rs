//! Why something was not kept or could not be read.

use std::io;

use crate::remote::{Failure, FailureKind};

/// A failure of this disk or of a shared store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageError {
    /// The disk is full.
    #[error("the storage for pictures and records is full: {0}")]
    Full(String),
    /// As much waits for the shared stores as may.
    #[error("{0} bytes wait for the shared stores, which is as much as may (SPOOL_MAX_BYTES)")]
    SpoolFull(u64),
    /// The disk or a shared store cannot be read or written.
    #[error("the storage for pictures and records is not available: {0}")]
    Unavailable(String),
    /// What is stored is not what it should be, or a shared store will never take or give it.
    #[error("the storage for pictures and records is not available: {0}")]
    Unusable(String),
    /// A stored picture is larger than asked for.
    #[error("the stored picture has {bytes} bytes; at most {max} are accepted")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
}

impl StorageError {
    /// Of the shared store called `store`.
    pub(super) fn shared(store: &str, failure: Failure) -> Self {
        match failure.kind {
            FailureKind::Denied => {
                Self::Unavailable(format!("{store} refuses our credentials: {failure}"))
            }
            FailureKind::Rejected => Self::Unusable(format!("{store}: {failure}")),
            _ => Self::Unavailable(format!("{store}: {failure}")),
        }
    }
}

impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full(error.to_string()),
            io::ErrorKind::InvalidData => Self::Unusable(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
