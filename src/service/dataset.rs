//! Reviewed pictures, for training.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_blocking;

use super::{Refusal, Service};
use crate::dataset::{self, Entry, Index};
use crate::records::{Filter, Record, UNSURE};
use crate::storage::{Storage, StorageError};

/// Datasets written at once; each has a thread.
const AT_ONCE: usize = 2;

/// When to try again if there are as many.
const LATER: Duration = Duration::from_secs(30);

/// Records read at once.
const PAGE: usize = 500;

/// Pieces that wait for a client.
const AHEAD: usize = 2;

/// A read that failed is tried again so often, after this time and longer ones.
const RETRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

/// Which pictures a dataset has.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Those of records that pass. Only reviewed ones count, and of those not the unsure ones.
    pub filter: Filter,
    /// Part of them for validation, 0 to 1.
    pub val: f64,
}

/// Bounds the datasets that are being written.
pub(super) struct Exports(Arc<Semaphore>);

impl Default for Exports {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Service {
    /// A dataset as a ZIP archive, piece by piece. If a piece is an error, the archive is of no use.
    ///
    /// # Errors
    /// [`Refusal::Busy`] if enough are being written, [`Refusal::Storage`].
    pub async fn dataset(
        &self,
        wanted: Wanted,
    ) -> Result<mpsc::Receiver<io::Result<Bytes>>, Refusal> {
        let permit = Arc::clone(&self.exports.0).try_acquire_owned();
        let permit = permit.map_err(|_| Refusal::Exports { retry_after: LATER })?;
        let index = self.index(wanted.filter).await?;
        let (sender, pieces) = mpsc::channel(AHEAD);
        let (storage, runtime) = (Arc::clone(&self.storage), Handle::current());
        spawn_blocking(move || {
            let _permit = permit;
            let picture = |reference: &str| runtime.block_on(read(&storage, reference));
            let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            let send = |piece| sender.blocking_send(Ok(piece)).map_err(gone);
            if let Err(error) = dataset::write(&index, wanted.val, picture, send)
                && error.kind() != io::ErrorKind::BrokenPipe
            {
                tracing::error!("a dataset could not be written to its end: {error}");
                // The client may have gone.
                let _ = sender.blocking_send(Err(error));
            }
        });
        Ok(pieces)
    }

    async fn index(&self, filter: Filter) -> Result<Index, Refusal> {
        let dir = self.storage.dir().to_owned();
        let mut index = blocking(move || Index::create(&dir)).await?;
        if filter.reviewed == Some(false) {
            return Ok(index);
        }
        let mut filter = Filter {
            reviewed: Some(true),
            limit: PAGE,
            ..filter
        };
        loop {
            let page = self.storage.list(filter.clone()).await?;
            let entries: Vec<Entry> = page.records.iter().filter_map(entry).collect();
            index = blocking(move || index.add(&entries).map(|()| index)).await?;
            filter.before = page.next;
            if filter.before.is_none() {
                return Ok(index);
            }
        }
    }
}

fn entry(record: &Record) -> Option<Entry> {
    let review = record.review.as_ref()?;
    (review.label != UNSURE).then(|| Entry {
        request_id: record.request_id,
        sha256: record.image_sha256.clone(),
        label: review.label.clone(),
        prediction: record.prediction.clone(),
        confidence: record.confidence,
        model: format!("{}@{}", record.model.name, record.model.version),
        reviewer: review.reviewer.clone(),
        reviewed_at: review.reviewed_at.to_string(),
        review_id: review.review_id,
        image_ref: record.image_ref.clone(),
    })
}

/// One blink of a store shall not spoil an archive of thousands of pictures.
async fn read(storage: &Storage, reference: &str) -> io::Result<Option<Bytes>> {
    let mut tried = 0;
    loop {
        match storage.read(reference, u64::MAX).await {
            Ok(picture) => return Ok(picture),
            Err(StorageError::Unusable(why)) => {
                tracing::warn!("left out of a dataset: {why}");
                return Ok(None);
            }
            Err(error) if tried >= RETRIES => return Err(io::Error::other(error)),
            Err(_) => tokio::time::sleep(PAUSE * 2_u32.pow(tried)).await,
        }
        tried += 1;
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    let done = spawn_blocking(work).await;
    let done = done.map_err(|error| Refusal::Internal(error.to_string()))?;
    Ok(done.map_err(StorageError::from)?)
}
