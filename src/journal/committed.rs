//! A change on its way to the writer, and whoever waits for its commit.

use std::io;

use tokio::sync::{mpsc, oneshot};

use super::{Change, Entry, Failure};
use crate::records::Record;

/// Appends one record from a thread that may block, or says why there will be none.
pub struct Appender {
    sender: mpsc::Sender<Entry>,
    done: oneshot::Sender<Result<(), Failure>>,
}

/// What becomes of one change.
pub struct Committed(oneshot::Receiver<Result<(), Failure>>);

impl Appender {
    pub(super) fn new(sender: mpsc::Sender<Entry>) -> (Self, Committed) {
        let (done, committed) = oneshot::channel();
        (Self { sender, done }, Committed(committed))
    }

    /// Gives `record` to the writer. Blocks while too many wait for it.
    pub fn append(self, record: Record) {
        let entry = Entry {
            change: Change::Append(Box::new(record)),
            done: self.done,
        };
        // Whoever waits is told by the end of the channel.
        let _ = self.sender.blocking_send(entry);
    }

    /// Tells whoever waits why there is nothing to append.
    pub fn fail(self, error: &io::Error) {
        // Nobody may be waiting any more.
        let _ = self.done.send(Err((error.kind(), error.to_string())));
    }

    pub(super) async fn send(self, change: Change) -> io::Result<()> {
        let entry = Entry {
            change,
            done: self.done,
        };
        self.sender.send(entry).await.map_err(|_| closed())
    }
}

impl Committed {
    /// Returns once the change is committed.
    ///
    /// # Errors
    /// As [`Journal::append`](super::Journal::append), or what [`Appender::fail`] was given.
    pub async fn wait(self) -> io::Result<()> {
        match self.0.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err((kind, message))) => Err(io::Error::new(kind, message)),
            // Its thread has panicked, or the journal was closed before its turn.
            Err(_) => Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "the record was given up before it was committed",
            )),
        }
    }
}

pub(super) fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the journal is closed")
}
