//! Small copies of pictures: each made once, one at a time, beside the workers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moka::sync::Cache;
use tokio::sync::Semaphore;

use super::refusal::Refusal;
use crate::image;
use crate::records::Record;
use crate::settings::PictureSettings;
use crate::storage::Storage;
use crate::telemetry::request;

/// Longer side in pixels: 80 on the page, for screens with two pixels to one.
const SIDE: u32 = 160;

/// Memory for small pictures; room for about 1,500 of them.
const CACHE_BYTES: u64 = 8 << 20;

/// Bookkeeping of an entry: key and nodes.
const ENTRY_BYTES: usize = 200;

/// Requests that may wait for one to be made; a page of a list asks for a few dozen.
const PLACES: usize = 64;

/// Pictures in memory to be made small.
const FETCHED: usize = 3;

pub(super) struct Thumbnails {
    settings: PictureSettings,
    /// By SHA-256 of the picture, hexadecimal.
    made: Cache<String, Bytes>,
    places: Semaphore,
    fetching: Semaphore,
    // One at a time, lest people who look at lists slow down those who classify.
    making: Arc<Semaphore>,
}

impl Thumbnails {
    pub(super) fn new(settings: PictureSettings) -> Self {
        let weigh = |key: &String, small: &Bytes| {
            u32::try_from(ENTRY_BYTES + key.len() + small.len()).unwrap_or(u32::MAX)
        };
        let made = Cache::builder().max_capacity(CACHE_BYTES).weigher(weigh);
        Self {
            settings,
            made: made.build(),
            places: Semaphore::new(PLACES),
            fetching: Semaphore::new(FETCHED),
            making: Arc::new(Semaphore::new(1)),
        }
    }

    /// The small copy of a record's picture; `None` if the picture is not kept.
    pub(super) async fn get(
        &self,
        storage: &Storage,
        record: &Record,
    ) -> Result<Option<Bytes>, Refusal> {
        let key = &record.image_sha256;
        if record.image_ref.is_none() {
            return Ok(None);
        }
        if let Some(made) = self.made.get(key) {
            return Ok(Some(made));
        }
        let _place = self.places.try_acquire().map_err(|_| Refusal::Busy {
            retry_after: Duration::from_secs(1),
        })?;
        let closed = |_| Refusal::Internal("a semaphore was closed".into());
        let _fetching = self.fetching.acquire().await.map_err(closed)?;
        // Another request may have had it made meanwhile.
        if let Some(made) = self.made.get(key) {
            return Ok(Some(made));
        }
        let Some(picture) = storage.picture(record).await? else {
            return Ok(None);
        };
        let making = Arc::clone(&self.making).acquire_owned();
        let permit = making.await.map_err(closed)?;
        if let Some(made) = self.made.get(key) {
            return Ok(Some(made));
        }
        let (settings, ids) = (self.settings, request::ids());
        let (cache, key) = (self.made.clone(), key.clone());
        // It is finished and kept even if the client goes away, and no other is begun before.
        let work = move || {
            let _permit = permit;
            let small = request::within(ids, || image::thumbnail(&picture, settings, SIDE))?;
            let small = Bytes::from(small);
            cache.insert(key, small.clone());
            Ok(Some(small))
        };
        let made = tokio::task::spawn_blocking(work).await;
        made.unwrap_or_else(|error| Err(Refusal::Internal(format!("making it small: {error}"))))
    }

    /// Forgets the small copy of a picture that was removed.
    pub(super) fn forget(&self, sha256: &str) {
        self.made.invalidate(sha256);
    }
}
