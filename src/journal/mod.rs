//! The durable local log: a record is in it before its request is answered.
//!
//! One thread writes. Whatever has gathered while it was committing goes into the next transaction, so
//! requests share the cost of a commit and none waits for a timer.

mod checkpoint;
mod committed;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use checkpoint::{Checkpointer, Log};
use committed::closed;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::records::{self, Arrived, Record, Remark, Spool};
use crate::telemetry::metrics::{JOURNAL_COMMIT_SECONDS, JOURNAL_GROUP_RECORDS};

pub use committed::{Appender, Committed};

/// Records waiting for the writer; more wait at the sender.
const CAPACITY: usize = 4096;

/// Records in one transaction.
const MAX_GROUP: usize = 1024;

struct Entry {
    change: Change,
    done: oneshot::Sender<Result<(), Failure>>,
}

enum Change {
    Append(Box<Record>),
    /// These have reached the shared store.
    Shipped(Vec<Arrived>),
    /// These shall be known no more.
    Forget(Vec<Uuid>),
    /// Something was said of a request.
    Remark(Uuid, Box<Remark>),
    /// These remarks have reached the shared store.
    RemarksShipped(Vec<Uuid>),
}

/// How many wait for a shared store.
#[derive(Default)]
struct Waiting {
    records: AtomicU64,
    reviews: AtomicU64,
    opinions: AtomicU64,
}

/// How a group changes what waits.
#[derive(Default)]
struct Balance {
    records: i64,
    reviews: i64,
    opinions: i64,
}

type Failure = (io::ErrorKind, String);

/// The writing end.
pub struct Journal {
    sender: Mutex<Option<mpsc::Sender<Entry>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    checkpointer: Checkpointer,
    fault: Arc<Mutex<Option<String>>>,
    waiting: Arc<Waiting>,
    spool: Spool,
}

impl Journal {
    /// Starts the writer on the database at `path`; `spool` says which records wait for a shared store.
    ///
    /// A database that cannot be opened is not fatal: appending fails until it can.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(path: PathBuf, fsync: bool, spool: Spool) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        let fault = Arc::new(Mutex::new(None));
        let log = Arc::new(Log::default());
        let checkpointer = Checkpointer::start(path.clone(), Arc::clone(&log))?;
        let waiting = Arc::new(Waiting::default());
        let mut writer = Writer {
            path,
            fsync,
            spool,
            waiting: Arc::clone(&waiting),
            log,
            connection: None,
            fault: Arc::clone(&fault),
        };
        let opened = writer.connect();
        writer.note(&opened);
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer.run(receiver))?;
        Ok(Self {
            sender: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
            checkpointer,
            fault,
            waiting,
            spool,
        })
    }

    /// Which records wait for a shared store.
    pub fn spool(&self) -> Spool {
        self.spool
    }

    /// How many do.
    pub fn waiting(&self) -> u64 {
        self.waiting.records.load(Ordering::Relaxed)
    }

    /// How many remarks wait for a shared store; not those that go with a record.
    pub fn waiting_remarks(&self) -> records::Waiting {
        records::Waiting {
            reviews: self.waiting.reviews.load(Ordering::Relaxed),
            opinions: self.waiting.opinions.load(Ordering::Relaxed),
        }
    }

    /// Returns once `record` is committed.
    ///
    /// # Errors
    /// `StorageFull`, `ReadOnlyFilesystem`, or another kind with the cause in words.
    pub async fn append(&self, record: Record) -> io::Result<()> {
        self.change(Change::Append(Box::new(record))).await
    }

    /// Takes note that these records need to wait no longer.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn shipped(&self, arrived: Vec<Arrived>) -> io::Result<()> {
        self.change(Change::Shipped(arrived)).await
    }

    /// Removes records that are here.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn forget(&self, request_ids: Vec<Uuid>) -> io::Result<()> {
        self.change(Change::Forget(request_ids)).await
    }

    /// Returns once a remark is committed. If its record is to be here and is not, nothing is kept.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn remark(&self, request_id: Uuid, remark: Remark) -> io::Result<()> {
        self.change(Change::Remark(request_id, Box::new(remark)))
            .await
    }

    /// Takes note that these remarks need to wait no longer.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn remarks_shipped(&self, ids: Vec<Uuid>) -> io::Result<()> {
        self.change(Change::RemarksShipped(ids)).await
    }

    /// For a record that another thread will append.
    ///
    /// # Errors
    /// If the journal is closed.
    pub fn appender(&self) -> io::Result<(Appender, Committed)> {
        let sender = lock(&self.sender).clone().ok_or_else(closed)?;
        Ok(Appender::new(sender))
    }

    async fn change(&self, change: Change) -> io::Result<()> {
        let (appender, committed) = self.appender()?;
        appender.send(change).await?;
        committed.wait().await
    }

    /// Why the last attempt to write failed, if it did.
    pub fn fault(&self) -> Option<String> {
        lock(&self.fault).clone()
    }

    /// Commits what has been appended and stops the writer. Blocks.
    pub fn close(&self) {
        self.checkpointer.close();
        drop(lock(&self.sender).take());
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's thread had panicked");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Change {
    fn apply(
        &self,
        connection: &Connection,
        spool: Spool,
        balance: &mut Balance,
    ) -> rusqlite::Result<()> {
        match self {
            Self::Append(record) => {
                records::insert(connection, spool, record)?;
                balance.records += 1;
            }
            Self::Shipped(arrived) => {
                let (shipped, more) = records::shipped(connection, spool, arrived)?;
                balance.records -= shipped as i64;
                balance.add(more);
            }
            Self::Forget(ids) => {
                balance.records -= records::forget(connection, spool, ids)? as i64;
                balance.remove(records::forget_remarks(connection, ids)?);
            }
            Self::Remark(request_id, remark) => {
                balance.add(records::remark(connection, spool, *request_id, remark)?);
            }
            Self::RemarksShipped(ids) => {
                balance.remove(records::remarks_shipped(connection, ids)?);
            }
        }
        Ok(())
    }
}

impl Balance {
    fn add(&mut self, remarks: records::Waiting) {
        self.reviews += remarks.reviews as i64;
        self.opinions += remarks.opinions as i64;
    }

    fn remove(&mut self, remarks: records::Waiting) {
        self.reviews -= remarks.reviews as i64;
        self.opinions -= remarks.opinions as i64;
    }
}

impl Waiting {
    // Only the writer's thread calls it.
    fn change(&self, balance: &Balance) {
        for (waiting, change) in [
            (&self.records, balance.records),
            (&self.reviews, balance.reviews),
            (&self.opinions, balance.opinions),
        ] {
            let now = waiting.load(Ordering::Relaxed);
            waiting.store(now.saturating_add_signed(change), Ordering::Relaxed);
        }
    }
}

struct Writer {
    path: PathBuf,
    fsync: bool,
    spool: Spool,
    waiting: Arc<Waiting>,
    log: Arc<Log>,
    connection: Option<Connection>,
    fault: Arc<Mutex<Option<String>>>,
}

impl Writer {
    fn run(mut self, mut receiver: mpsc::Receiver<Entry>) {
        let mut group = Vec::with_capacity(MAX_GROUP);
        while receiver.blocking_recv_many(&mut group, MAX_GROUP) > 0 {
            // A client that has gone was not answered and will never be.
            group.retain(|entry: &Entry| !entry.done.is_closed());
            let outcome = self.commit(&group);
            self.note(&outcome);
            for entry in group.drain(..) {
                let told = match &outcome {
                    Ok(()) => Ok(()),
                    Err(error) => Err((error.kind(), error.to_string())),
                };
                // Nobody may be waiting any more.
                let _ = entry.done.send(told);
            }
        }
    }

    fn commit(&mut self, group: &[Entry]) -> io::Result<()> {
        if group.is_empty() {
            return Ok(());
        }
        if self.connection.is_none() {
            self.connect()?;
        }
        let Some(connection) = &mut self.connection else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let spool = self.spool;
        let write = |connection: &mut Connection| -> rusqlite::Result<Balance> {
            let mut balance = Balance::default();
            let transaction = connection.transaction()?;
            for entry in group {
                entry.change.apply(&transaction, spool, &mut balance)?;
            }
            transaction.commit()?;
            Ok(balance)
        };
        let start = std::time::Instant::now();
        let outcome = write(connection).map_err(|error| records::io_error(&error));
        metrics::histogram!(JOURNAL_COMMIT_SECONDS).record(start.elapsed());
        metrics::histogram!(JOURNAL_GROUP_RECORDS).record(group.len() as f64);
        self.log.commits.fetch_add(1, Ordering::Relaxed);
        if self.log.long.swap(false, Ordering::Relaxed) {
            // Tried again after the next checkpoint if it fails.
            let _ = records::restart_log(connection);
        }
        match outcome {
            Ok(balance) => {
                if spool != Spool::None {
                    self.waiting.change(&balance);
                }
                Ok(())
            }
            Err(error) => {
                // A fresh connection sees the disk as it is then, not as it was.
                self.connection = None;
                Err(error)
            }
        }
    }

    fn connect(&mut self) -> io::Result<()> {
        let connection = records::open_writer(&self.path, self.fsync)?;
        let count = || {
            records::prepare(&connection, self.spool)?;
            let waiting = records::count_waiting(&connection, self.spool)?;
            Ok((waiting, records::count_waiting_remarks(&connection)?))
        };
        let (records, remarks) = count().map_err(|error| records::io_error(&error))?;
        for (waiting, now) in [
            (&self.waiting.records, records),
            (&self.waiting.reviews, remarks.reviews),
            (&self.waiting.opinions, remarks.opinions),
        ] {
            waiting.store(now, Ordering::Relaxed);
        }
        self.connection = Some(connection);
        Ok(())
    }

    fn note(&self, outcome: &io::Result<()>) {
        let fault = outcome.as_ref().err().map(ToString::to_string);
        let mut noted = lock(&self.fault);
        match (&*noted, &fault) {
            (None, Some(fault)) => {
                tracing::error!(path = %self.path.display(), "records cannot be written: {fault}")
            }
            (Some(_), None) => {
                tracing::info!(path = %self.path.display(), "records can be written again")
            }
            _ => {}
        }
        *noted = fault;
    }
}
