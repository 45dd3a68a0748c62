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
        let text = match failure.kind {
            FailureKind::Denied => format!("{store} refuses our credentials: {failure}"),
            _ => format!("{store}: {failure}"),
        };
        Self::Unavailable(text)
    }
}

impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
