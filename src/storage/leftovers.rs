//! Pictures whose requests were never recorded: the process ended, or the client left, in between.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use super::{Storage, blocking};
use crate::classification::PictureDigest;

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

async fn remove_unrecorded(storage: &Storage) -> io::Result<()> {
    let uploads = Arc::clone(&storage.uploads);
    for name in blocking(move || Ok(uploads.survey())).await? {
        let sha256 = name[6..].split('.').next().unwrap_or_default().to_owned();
        let mut digest: PictureDigest = [0; 32];
        if hex::decode_to_slice(&sha256, &mut digest).is_err() {
            continue;
        }
        // No request is between keeping this picture and its record.
        let _alone = storage.stripe(&digest).write().await;
        let local = Arc::clone(&storage.local);
        let ever = Timestamp::UNIX_EPOCH;
        if blocking(move || local.refers_to(&sha256, Uuid::nil(), ever)).await? {
            continue;
        }
        storage.uploads.forget(&digest);
        let uploads = Arc::clone(&storage.uploads);
        blocking(move || uploads.remove(&name)).await?;
    }
    Ok(())
}
