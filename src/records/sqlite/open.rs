//! The database file: its tables, and how it is opened.

use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::io_error;

// The key is a UUIDv7: new rows go to the end of the table, and newest-first reads need no index.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS requests (
    request_id      BLOB NOT NULL PRIMARY KEY,
    timestamp       INTEGER NOT NULL,
    image_name      TEXT NOT NULL,
    prediction      TEXT NOT NULL,
    confidence      REAL NOT NULL,
    top             TEXT NOT NULL,
    processing_time REAL NOT NULL,
    cached          INTEGER NOT NULL,
    model           TEXT NOT NULL,
    model_version   TEXT NOT NULL,
    image_sha256    BLOB NOT NULL,
    image_ref       TEXT,
    image_format    TEXT NOT NULL,
    image_width     INTEGER NOT NULL,
    image_height    INTEGER NOT NULL,
    user_ip         TEXT,
    client          TEXT,
    instance        TEXT NOT NULL,
    status          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS requests_by_prediction ON requests (prediction, request_id);
CREATE TABLE IF NOT EXISTS outbox (request_id BLOB NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;
PRAGMA user_version = 1;
";

// Reviews of a request are JSON in its row; those of requests that have been shipped wait in a table of their own.
const REVIEWS: &str = "
ALTER TABLE requests ADD COLUMN reviews TEXT;
CREATE INDEX requests_reviewed ON requests (request_id) WHERE reviews IS NOT NULL;
CREATE TABLE review_outbox (
    review_id  BLOB NOT NULL PRIMARY KEY,
    request_id BLOB NOT NULL,
    review     TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX review_outbox_by_request ON review_outbox (request_id);
PRAGMA user_version = 2;
";

// The latest opinion of another model is JSON in the row, too, and whatever is said of requests that have been shipped
// waits in one table.
const OPINIONS: &str = "
ALTER TABLE requests ADD COLUMN opinion TEXT;
CREATE TABLE remark_outbox (
    remark_id  BLOB NOT NULL PRIMARY KEY,
    request_id BLOB NOT NULL,
    kind       TEXT NOT NULL,
    remark     TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX remark_outbox_by_request ON remark_outbox (request_id);
INSERT INTO remark_outbox SELECT review_id, request_id, 'review', review FROM review_outbox;
DROP TABLE review_outbox;
PRAGMA user_version = 3;
";

/// What brings the database from each version to the next.
const STEPS: [&str; 3] = [SCHEMA, REVIEWS, OPINIONS];

/// How long the writer lets itself be held up by readers.
const WRITER_PATIENCE: Duration = Duration::from_millis(50);

/// Opens the database for the one writer, and makes it if it is not there.
///
/// With `fsync`, a commit also survives a power cut; without, it survives the end of the process.
///
/// # Errors
/// As [`io_error`].
pub fn open_writer(path: &Path, fsync: bool) -> io::Result<Connection> {
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", if fsync { "FULL" } else { "NORMAL" })?;
        // Another thread does it.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.busy_timeout(WRITER_PATIENCE)?;
        connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
        let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        for step in STEPS.iter().skip(version as usize) {
            connection.execute_batch(&format!("BEGIN IMMEDIATE; {step} COMMIT;"))?;
        }
        Ok(connection)
    };
    open().map_err(|e| io_error(&e))
}

/// Opens the database for [`checkpoint`].
///
/// # Errors
/// As [`io_error`].
pub fn open_checkpointer(path: &Path) -> io::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map_err(|e| io_error(&e))
}

/// Copies what is committed from the log into the database without holding up readers or the writer; pages in the
/// log.
///
/// # Errors
/// As [`io_error`].
pub fn checkpoint(connection: &Connection) -> io::Result<u64> {
    let pages = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        row.get::<_, i64>(1)
    });
    // -1 if there is no log.
    pages
        .map(|pages| pages.try_into().unwrap_or(0))
        .map_err(|e| io_error(&e))
}

/// Makes the next commit begin the log at its start again, if no reader is in the way. For the writer.
///
/// # Errors
/// As [`io_error`].
pub fn restart_log(connection: &Connection) -> io::Result<()> {
    let ran = connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
    ran.map_err(|e| io_error(&e))
}
