//! Where pictures and records are kept: on this disk before a request is answered, then in the shared stores.

mod backoff;
mod deletion;
mod error;
mod leftovers;
mod remarks;
mod retention;
mod reviews;
mod shipper;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Mutex, RwLock};
use uuid::Uuid;

use crate::classification::PictureDigest;
use crate::image::Format;
use crate::journal::Journal;
use crate::records::{self, Filter, Page, Reader, Record, Spool, Waiting};
use crate::remote::{Failure, Presence};
use crate::settings::SpoolFull;
use crate::telemetry::metrics::PICTURES_SHED;
use crate::telemetry::{measured, request, stage};
use crate::uploads::{Blob, Uploads};

pub use deletion::Deleted;
pub use error::StorageError;
pub use retention::expire;
pub use shipper::Shipper;

/// The stores that instances share.
#[derive(Default)]
pub struct Shared {
    /// For records.
    pub records: Option<records::Remote>,
    /// For pictures.
    pub pictures: Option<Blob>,
}

/// How this disk is used.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Wait for the disk with every record and picture.
    pub fsync: bool,
    /// Bytes that may wait for a shared store; 0 means no limit.
    pub spool_max_bytes: u64,
    /// What happens when so much waits.
    pub spool_full: SpoolFull,
}

/// A picture to keep.
pub struct Picture<'a> {
    /// Its SHA-256.
    pub digest: &'a PictureDigest,
    /// Its format.
    pub format: Format,
    /// Its bytes.
    pub bytes: &'a Bytes,
}

/// All of it.
pub struct Storage {
    dir: PathBuf,
    journal: Journal,
    local: Arc<Reader>,
    uploads: Arc<Uploads>,
    shared: Shared,
    limits: Limits,
    // Held while a picture and its record are being kept, so that neither is removed in between. By the digest's
    // first bits, lest one removal stop everything.
    stripes: [RwLock<()>; STRIPES],
    // Held while a batch is on its way, so that nothing is shipped after it was removed.
    shipping: Mutex<()>,
}

const STRIPES: usize = 64;

/// What a record takes in the database, about.
const RECORD_BYTES: u64 = 600;

/// What a waiting remark takes there, about.
const REMARK_BYTES: u64 = 400;

/// Reads of a shared store take at most this long.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

impl Storage {
    /// Records and pictures under `dir`, which need not exist yet, and in the shared stores.
    ///
    /// A disk that cannot be written is not fatal: keeping fails until it can.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(dir: &Path, limits: Limits, shared: Shared) -> io::Result<Self> {
        let database = dir.join("relance.db");
        let spool = match &shared {
            Shared {
                records: Some(_), ..
            } => Spool::Requests,
            Shared {
                pictures: Some(_), ..
            } => Spool::Outbox,
            Shared { .. } => Spool::None,
        };
        let uploads = Uploads::new(dir.join("pictures"), limits.fsync);
        if shared.pictures.is_some() {
            uploads.survey();
        }
        Ok(Self {
            dir: dir.to_owned(),
            journal: Journal::start(database.clone(), limits.fsync, spool)?,
            local: Arc::new(Reader::new(database)),
            uploads: Arc::new(uploads),
            shared,
            limits,
            stripes: [const { RwLock::const_new(()) }; STRIPES],
            shipping: Mutex::const_new(()),
        })
    }

    /// Keeps a picture and its record; gives the record as it was kept.
    ///
    /// # Errors
    /// [`StorageError`]; the record is not kept then.
    pub async fn keep(
        &self,
        picture: Picture<'_>,
        mut record: Record,
    ) -> Result<Record, StorageError> {
        let _kept = self.stripe(picture.digest).read().await;
        if self.uploads.is_known(picture.digest) {
            // Here, or shipped already.
        } else if !self.is_spool_full() {
            self.keep_both(&picture, record.clone()).await?;
            return Ok(record);
        } else {
            match self.limits.spool_full {
                SpoolFull::Refuse => return Err(StorageError::SpoolFull(self.waiting_bytes())),
                SpoolFull::ShedPictures => {
                    metrics::counter!(PICTURES_SHED).increment(1);
                    record.image_ref = None;
                }
            }
        }
        let _stage = stage("journal");
        self.journal.append(record.clone()).await?;
        Ok(record)
    }

    /// Keeps the record of a request that had no picture; gives it as it was kept.
    ///
    /// # Errors
    /// [`StorageError`]; the record is not kept then.
    pub async fn keep_record(&self, record: Record) -> Result<Record, StorageError> {
        if self.limits.spool_full == SpoolFull::Refuse && self.is_spool_full() {
            return Err(StorageError::SpoolFull(self.waiting_bytes()));
        }
        let _stage = stage("journal");
        self.journal.append(record.clone()).await?;
        Ok(record)
    }

    /// The record of one request.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`].
    pub async fn find(&self, request_id: Uuid) -> Result<Option<Record>, StorageError> {
        let local = Arc::clone(&self.local);
        let found = blocking(move || local.get(request_id)).await?;
        // What waits is read before the store is: what has been shipped by then, the store tells.
        let mut waiting = self.waiting_remarks_of(vec![request_id]).await?;
        let found = match (&self.shared.records, found) {
            (Some(shared), None) => {
                let presence = shared.presence();
                within(READ_TIMEOUT, presence, shared.get(request_id)).await?
            }
            (_, found) => found,
        };
        Ok(found.map(|mut record| {
            if let Some(remarks) = waiting.remove(&request_id) {
                record.add(remarks);
            }
            record
        }))
    }

    /// Records that pass a filter, newest first: those that still wait here, and those in the shared store.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`].
    pub async fn list(&self, filter: Filter) -> Result<Page, StorageError> {
        let (local, wanted) = (Arc::clone(&self.local), filter.clone());
        let here = blocking(move || local.list(&wanted)).await?;
        let Some(shared) = &self.shared.records else {
            return Ok(here);
        };
        let there = within(READ_TIMEOUT, shared.presence(), shared.list(&filter)).await?;
        let mut page = here.merged(there, filter.limit);
        self.add_waiting_remarks(&mut page.records).await?;
        page.records.retain(|record| filter.passes_remarks(record));
        Ok(page)
    }

    /// The picture of a record, byte for byte as it was sent; `None` if it is not kept.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`].
    pub async fn picture(&self, record: &Record) -> Result<Option<Bytes>, StorageError> {
        match &record.image_ref {
            Some(reference) => self.read(reference, u64::MAX).await,
            None => Ok(None),
        }
    }

    /// A picture by its reference, if it is kept and has at most `max` bytes.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`], [`StorageError::TooLarge`].
    pub async fn read(&self, reference: &str, max: u64) -> Result<Option<Bytes>, StorageError> {
        let (uploads, name) = (Arc::clone(&self.uploads), reference.to_owned());
        let here = blocking(move || match uploads.size(&name) {
            Some(bytes) if bytes > max => Ok(Err(StorageError::TooLarge { bytes, max })),
            Some(_) => match uploads.read(&name) {
                // Shipped in this moment.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ok(None)),
                read => read.map(|bytes| Ok(Some(Bytes::from(bytes)))),
            },
            None => Ok(Ok(None)),
        })
        .await??;
        match (&self.shared.pictures, here) {
            (Some(blob), None) => {
                within(READ_TIMEOUT, blob.presence(), blob.get(reference, max)).await
            }
            (_, here) => Ok(here),
        }
    }

    /// The reference of a kept picture that a client named by reference or by URL; `None` for anything else.
    pub fn reference<'a>(&self, given: &'a str) -> Option<&'a str> {
        if Uploads::is_reference(given) {
            return Some(given);
        }
        let named = self.shared.pictures.as_ref()?.reference(given)?;
        Uploads::is_reference(named).then_some(named)
    }

    /// Takes note that a picture is kept, so that keeping it again costs nothing.
    pub fn remember(&self, reference: &str) {
        if let Some(digest) = Uploads::digest(reference) {
            self.uploads.remember(&digest);
        }
    }

    /// The folder on this disk.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Why records or pictures cannot be written, if they cannot.
    pub fn fault(&self) -> Option<String> {
        self.journal.fault().or_else(|| self.uploads.last_fault())
    }

    /// The shared stores, and whether they are there.
    pub fn dependencies(&self) -> impl Iterator<Item = &Presence> {
        let Shared { records, pictures } = &self.shared;
        let records = records.as_ref().map(records::Remote::presence);
        records
            .into_iter()
            .chain(pictures.as_ref().map(Blob::presence))
    }

    /// Records that wait for a shared store.
    pub fn waiting(&self) -> u64 {
        self.journal.waiting()
    }

    /// Bytes that wait for a shared store, about.
    pub fn waiting_bytes(&self) -> u64 {
        let pictures = match self.shared.pictures {
            Some(_) => self.uploads.bytes(),
            None => 0,
        };
        let Waiting { reviews, opinions } = self.waiting_remarks();
        pictures + self.journal.waiting() * RECORD_BYTES + (reviews + opinions) * REMARK_BYTES
    }

    /// Commits what is in the journal. Blocks.
    pub fn stop(&self) {
        self.journal.close();
    }

    fn is_spool_full(&self) -> bool {
        let max = self.limits.spool_max_bytes;
        max > 0 && self.journal.spool() != Spool::None && self.waiting_bytes() >= max
    }

    /// The thread that writes the picture gives the record to the journal, too: to come back in between would wake a
    /// thread more for every request.
    async fn keep_both(&self, picture: &Picture<'_>, record: Record) -> Result<(), StorageError> {
        let (digest, extension) = (*picture.digest, picture.format.extension());
        let (uploads, bytes) = (Arc::clone(&self.uploads), picture.bytes.clone());
        let (appender, committed) = self.journal.appender()?;
        let (start, written) = (Instant::now(), Arc::new(OnceLock::new()));
        let end = Arc::clone(&written);
        let ids = request::ids();
        tokio::task::spawn_blocking(move || {
            match request::within(ids, || uploads.store(&digest, extension, &bytes)) {
                Ok(()) => {
                    // Nobody else sets it.
                    let _ = end.set(Instant::now());
                    appender.append(record);
                }
                Err(error) => appender.fail(&error),
            }
        });
        let outcome = committed.wait().await;
        let written = written.get().copied();
        let end = written.unwrap_or_else(Instant::now);
        measured("picture", start, end - start);
        if let Some(written) = written {
            measured("journal", written, written.elapsed());
        }
        Ok(outcome?)
    }

    fn stripe(&self, digest: &PictureDigest) -> &RwLock<()> {
        &self.stripes[usize::from(digest[0]) % STRIPES]
    }
}

/// Waits for a shared store, but not for ever.
async fn within<T>(
    limit: Duration,
    store: &Presence,
    call: impl Future<Output = Result<T, Failure>>,
) -> Result<T, StorageError> {
    let outcome = match tokio::time::timeout(limit, call).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::timeout(limit)),
    };
    outcome.map_err(|failure| StorageError::shared(store.name(), failure))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let ids = request::ids();
    tokio::task::spawn_blocking(move || request::within(ids, work))
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}
