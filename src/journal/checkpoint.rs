//! Moves what was committed from SQLite's write-ahead log into the database, beside the writer.
//!
//! The writer's own checkpoints would hold up all requests for as long as the disk takes to sync.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::lock;
use crate::records;
use crate::telemetry;

/// How often it looks whether there is something to do.
const INTERVAL: Duration = Duration::from_millis(100);

/// Commits that are worth it; each writes a few pages.
const WORTH_COMMITS: u64 = 250;

/// Pages of the log from which on it must be started anew: 32 MiB.
const LONG_PAGES: u64 = 8_192;

/// What the writer and the checkpointer tell each other.
#[derive(Default)]
pub(super) struct Log {
    /// Commits so far.
    pub commits: AtomicU64,
    /// The log is long. Under steady load no moment comes in which all of it is in the database, so that it
    /// could begin at its start again; only the writer can make one.
    pub long: AtomicBool,
}

/// The thread that does it.
pub(super) struct Checkpointer {
    stop: Mutex<Option<Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Checkpointer {
    /// Starts it on the database at `path`.
    pub(super) fn start(path: PathBuf, log: Arc<Log>) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("checkpoint".into())
            .spawn(move || run(&path, &log, &stopped))?;
        Ok(Self {
            stop: Mutex::new(Some(stop)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Ends the thread. Blocks.
    pub(super) fn close(&self) {
        drop(lock(&self.stop).take());
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the checkpointer's thread had panicked");
        }
    }
}

fn run(path: &Path, log: &Log, stopped: &Receiver<()>) {
    let mut connection = None;
    let mut done = 0;
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(INTERVAL) {
        let commits = log.commits.load(Ordering::Relaxed);
        if commits - done < WORTH_COMMITS {
            continue;
        }
        if connection.is_none() {
            connection = records::open_checkpointer(path).ok();
        }
        let mut task = telemetry::task("checkpoint");
        // The writer says what is wrong with the disk; here it is enough to try again later.
        match connection.as_ref().map(records::checkpoint) {
            Some(Ok(pages)) => {
                done = commits;
                task.note("relance.pages", pages);
                log.long.fetch_or(pages > LONG_PAGES, Ordering::Relaxed);
            }
            Some(Err(error)) => {
                task.fail(&error.to_string());
                connection = None;
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use crate::journal::Journal;
    use crate::records::{Filter, ModelName, Reader, Record, Spool};

    fn record() -> Record {
        Record {
            request_id: Uuid::now_v7(),
            timestamp: jiff::Timestamp::now(),
            image_name: "x.jpg".into(),
            prediction: "a".into(),
            confidence: 0.5,
            top: Vec::new(),
            processing_time: 1.5,
            cached: false,
            model: ModelName {
                name: "m".into(),
                version: "v".into(),
            },
            image_sha256: "ab".repeat(32),
            image_ref: Some("ab/ab/x.jpg".into()),
            image_format: "jpeg".into(),
            image_width: 3,
            image_height: 4,
            user_ip: None,
            client: None,
            instance: "here".into(),
            status: 200,
            review: None,
            review_history: None,
            opinion: None,
        }
    }

    /// Every commit writes a few pages of 4 KiB, so that without an end the log would take some 800 MB here.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_log_stays_bounded_under_load_that_never_pauses() {
        const COMMITS: usize = 100_000;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.db");
        let journal = Arc::new(Journal::start(path.clone(), false, Spool::None).unwrap());
        let mut largest = 0;
        for n in 0..COMMITS {
            journal.append(record()).await.unwrap();
            if n % 500 == 0 {
                let log = std::fs::metadata(dir.path().join("r.db-wal")).unwrap();
                largest = largest.max(log.len());
            }
        }
        println!("the log grew to {largest} bytes");
        assert!(largest < 400 << 20, "{largest}");
        journal.close();
        assert!(
            !dir.path().join("r.db-wal").exists(),
            "the end leaves no log"
        );
        let page = Reader::new(path)
            .list(&Filter {
                limit: 1,
                ..Filter::default()
            })
            .unwrap();
        assert!(!page.records.is_empty());
    }
}
