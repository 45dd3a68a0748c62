//! Pictures whose requests were never recorded: the process ended, or the client left, in between.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Storage, StorageError, blocking};

/// How often it looks for them.
const INTERVAL: Duration = Duration::from_secs(60);

/// Looks for leftovers now and then.
#[derive(Default)]
pub(super) struct Leftovers {
    looked: Option<Instant>,
}

impl Leftovers {
    /// Removes what no record has, if it is time to; for when no record waits, since then few pictures are here.
    pub(super) async fn sweep(&mut self, storage: &Storage) {
        let due = self.looked.is_none_or(|at| at.elapsed() >= INTERVAL);
        if !due || storage.shared.pictures.is_none() {
            return;
        }
        self.looked = Some(Instant::now());
        if let Err(error) = remove_unrecorded(storage).await {
            tracing::warn!("pictures that no request has cannot be removed: {error}");
        }
    }
}

async fn remove_unrecorded(storage: &Storage) -> Result<(), StorageError> {
    let uploads = Arc::clone(&storage.uploads);
    for name in blocking(move || Ok(uploads.survey())).await? {
        storage
            .remove_unless_since(name, Timestamp::UNIX_EPOCH)
            .await?;
    }
    Ok(())
}
