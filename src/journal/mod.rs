//! The durable local log: a record is in it before its request is answered.
//!
//! One thread writes. Whatever has gathered while it was committing goes into the next transaction, so
//! requests share the cost of a commit and none waits for a timer.

mod checkpoint;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use checkpoint::{Checkpointer, Log};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::records::{self, Record};
use crate::telemetry::metrics::{JOURNAL_COMMIT_SECONDS, JOURNAL_GROUP_RECORDS};

/// Records waiting for the writer; more wait at the sender.
const CAPACITY: usize = 4096;

/// Records in one transaction.
const MAX_GROUP: usize = 1024;

struct Entry {
    record: Record,
    done: oneshot::Sender<Result<(), Failure>>,
}

type Failure = (io::ErrorKind, String);

/// The writing end.
pub struct Journal {
    sender: Mutex<Option<mpsc::Sender<Entry>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    checkpointer: Checkpointer,
    fault: Arc<Mutex<Option<String>>>,
}

impl Journal {
    /// Starts the writer on the database at `path`.
    ///
    /// A database that cannot be opened is not fatal: appending fails until it can.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(path: PathBuf, fsync: bool) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        let fault = Arc::new(Mutex::new(None));
        let log = Arc::new(Log::default());
        let checkpointer = Checkpointer::start(path.clone(), Arc::clone(&log))?;
        let mut writer = Writer {
            path,
            fsync,
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
        })
    }

    /// Returns once `record` is committed.
    ///
    /// # Errors
    /// `StorageFull`, `ReadOnlyFilesystem`, or another kind with the cause in words.
    pub async fn append(&self, record: Record) -> io::Result<()> {
        let closed = || io::Error::new(io::ErrorKind::BrokenPipe, "the journal is closed");
        let sender = lock(&self.sender).clone().ok_or_else(closed)?;
        let (done, committed) = oneshot::channel();
        sender
            .send(Entry { record, done })
            .await
            .map_err(|_| closed())?;
        match committed.await.map_err(|_| closed())? {
            Ok(()) => Ok(()),
            Err((kind, message)) => Err(io::Error::new(kind, message)),
        }
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

struct Writer {
    path: PathBuf,
    fsync: bool,
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
        let write = |connection: &mut Connection| -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            for entry in group {
                records::insert(&transaction, &entry.record)?;
            }
            transaction.commit()
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
        if outcome.is_err() {
            // A fresh connection sees the disk as it is then, not as it was.
            self.connection = None;
        }
        outcome
    }

    fn connect(&mut self) -> io::Result<()> {
        self.connection = Some(records::open_writer(&self.path, self.fsync)?);
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
