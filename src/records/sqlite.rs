//! Records in SQLite.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Row, params, params_from_iter,
};
use uuid::Uuid;

use super::{Filter, ModelName, Page, Record};

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
    image_ref       TEXT NOT NULL,
    image_format    TEXT NOT NULL,
    image_width     INTEGER NOT NULL,
    image_height    INTEGER NOT NULL,
    user_ip         TEXT,
    client          TEXT,
    instance        TEXT NOT NULL,
    status          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS requests_by_prediction ON requests (prediction, request_id);
PRAGMA user_version = 1;
";

const VERSION: i64 = 1;

/// How long the writer lets itself be held up by readers.
const WRITER_PATIENCE: Duration = Duration::from_millis(50);

const INSERT: &str = "INSERT INTO requests VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, \
                      ?15, ?16, ?17, ?18, ?19)";

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
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version < VERSION {
            connection.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} COMMIT;"))?;
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

/// Adds one record.
///
/// # Errors
/// SQLite's.
pub fn insert(connection: &Connection, record: &Record) -> rusqlite::Result<()> {
    let failed =
        |e: Box<dyn std::error::Error + Send + Sync>| rusqlite::Error::ToSqlConversionFailure(e);
    let top = serde_json::to_string(&record.top).map_err(|e| failed(e.into()))?;
    let sha256 = hex::decode(&record.image_sha256).map_err(|e| failed(e.into()))?;
    connection.prepare_cached(INSERT)?.execute(params![
        record.request_id.as_bytes(),
        record.timestamp.as_millisecond(),
        record.image_name,
        record.prediction,
        f64::from(record.confidence),
        top,
        record.processing_time,
        record.cached,
        record.model.name,
        record.model.version,
        sha256,
        record.image_ref,
        record.image_format,
        record.image_width,
        record.image_height,
        record.user_ip,
        record.client,
        record.instance,
        record.status,
    ])?;
    Ok(())
}

/// Reads records while the writer writes.
pub struct Reader {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

/// Connections kept open between reads.
const KEPT: usize = 4;

impl Reader {
    /// A reader of the database at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            idle: Mutex::new(Vec::new()),
        }
    }

    /// The record of one request. Blocks.
    ///
    /// # Errors
    /// As [`io_error`].
    pub fn get(&self, request_id: Uuid) -> io::Result<Option<Record>> {
        self.with(|connection| {
            connection
                .prepare_cached("SELECT * FROM requests WHERE request_id = ?1")?
                .query_row([request_id.as_bytes()], from_row)
                .optional()
        })
    }

    /// Records that pass the filter, newest first. Blocks.
    ///
    /// # Errors
    /// As [`io_error`].
    pub fn list(&self, filter: &Filter) -> io::Result<Page> {
        let (conditions, values) = conditions(filter);
        // One more than asked for tells whether there is a next page.
        let limit = filter.limit + 1;
        let sql = format!(
            "SELECT * FROM requests WHERE {conditions} ORDER BY request_id DESC LIMIT {limit}"
        );
        let mut records = self.with(|connection| {
            connection
                .prepare_cached(&sql)?
                .query_map(params_from_iter(values), from_row)?
                .collect::<Result<Vec<_>, _>>()
        })?;
        let more = records.len() > filter.limit;
        records.truncate(filter.limit);
        let next = if more {
            records.last().map(|record| record.request_id)
        } else {
            None
        };
        Ok(Page { records, next })
    }

    fn with<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> io::Result<T> {
        let kept = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let connection = match kept {
            Some(connection) => connection,
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                Connection::open_with_flags(&self.path, flags).map_err(|e| io_error(&e))?
            }
        };
        let result = read(&connection).map_err(|e| io_error(&e))?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(connection);
        }
        Ok(result)
    }
}

// Identifiers begin with their time in milliseconds, so bounds in time are bounds on the key.
fn first_id_at(time: Timestamp) -> Vec<u8> {
    let millis = u64::try_from(time.as_millisecond()).unwrap_or(0);
    let mut id = vec![0; 16];
    id[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    id
}

fn conditions(filter: &Filter) -> (String, Vec<Value>) {
    let mut conditions = vec!["1".to_owned()];
    let mut values = Vec::new();
    let mut add = |condition: &str, value: Value| {
        values.push(value);
        conditions.push(format!("{condition} ?{}", values.len()));
    };
    if let Some(prediction) = &filter.prediction {
        add("prediction =", prediction.clone().into());
    }
    if let Some(min) = filter.min_confidence {
        add("confidence >=", f64::from(min).into());
    }
    if let Some(max) = filter.max_confidence {
        add("confidence <=", f64::from(max).into());
    }
    if let Some(from) = filter.from {
        // Times between two milliseconds belong to the next one.
        let up = if from.subsec_nanosecond() % 1_000_000 > 0 {
            1
        } else {
            0
        };
        let from = Timestamp::from_millisecond(from.as_millisecond() + up).unwrap_or(from);
        add("request_id >=", first_id_at(from).into());
    }
    if let Some(to) = filter.to {
        add("request_id <", first_id_at(to).into());
    }
    if let Some(before) = filter.before {
        add("request_id <", before.as_bytes().to_vec().into());
    }
    (conditions.join(" AND "), values)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Record> {
    let conversion = |e: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, e)
    };
    let top: String = row.get("top")?;
    let sha256: Vec<u8> = row.get("image_sha256")?;
    let millis = row.get("timestamp")?;
    Ok(Record {
        request_id: Uuid::from_bytes(row.get("request_id")?),
        timestamp: Timestamp::from_millisecond(millis).map_err(|e| conversion(e.into()))?,
        image_name: row.get("image_name")?,
        prediction: row.get("prediction")?,
        confidence: row.get::<_, f64>("confidence")? as f32,
        top: serde_json::from_str(&top).map_err(|e| conversion(e.into()))?,
        processing_time: row.get("processing_time")?,
        cached: row.get("cached")?,
        model: ModelName {
            name: row.get("model")?,
            version: row.get("model_version")?,
        },
        image_sha256: hex::encode(sha256),
        image_ref: row.get("image_ref")?,
        image_format: row.get("image_format")?,
        image_width: row.get("image_width")?,
        image_height: row.get("image_height")?,
        user_ip: row.get("user_ip")?,
        client: row.get("client")?,
        instance: row.get("instance")?,
        status: row.get("status")?,
    })
}

/// SQLite's error as an I/O error: `StorageFull` and `ReadOnlyFilesystem` are told apart from the rest.
pub fn io_error(error: &rusqlite::Error) -> io::Error {
    let kind = match error.sqlite_error().map(|e| (e.code, e.extended_code)) {
        Some((ErrorCode::DiskFull, _)) => io::ErrorKind::StorageFull,
        // SQLite could not make room for its shared memory file.
        Some((_, rusqlite::ffi::SQLITE_IOERR_SHMSIZE)) => io::ErrorKind::StorageFull,
        Some((ErrorCode::ReadOnly, _)) => io::ErrorKind::ReadOnlyFilesystem,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::ClassScore;

    fn record(n: u8, prediction: &str, confidence: f32) -> Record {
        let millis = 1_700_000_000_000 + i64::from(n);
        let mut id = first_id_at(Timestamp::from_millisecond(millis).unwrap());
        id[15] = n;
        Record {
            request_id: Uuid::from_slice(&id).unwrap(),
            timestamp: Timestamp::from_millisecond(millis).unwrap(),
            image_name: format!("{n}.jpg"),
            prediction: prediction.into(),
            confidence,
            top: vec![ClassScore {
                class: prediction.into(),
                index: 0,
                confidence,
            }],
            processing_time: 1.5,
            cached: n.is_multiple_of(2),
            model: ModelName {
                name: "m".into(),
                version: "v".into(),
            },
            image_sha256: "ab".repeat(32),
            image_ref: "ab/ab/x.jpg".into(),
            image_format: "jpeg".into(),
            image_width: 3,
            image_height: 4,
            user_ip: Some("::1".into()),
            client: None,
            instance: "here".into(),
            status: 200,
        }
    }

    fn store() -> (tempfile::TempDir, Reader) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.db");
        let writer = open_writer(&path, false).unwrap();
        for n in 0..10 {
            let (class, confidence) = if n % 3 == 0 {
                ("a", 0.9)
            } else {
                ("b", 0.1 * f32::from(n))
            };
            insert(&writer, &record(n, class, confidence)).unwrap();
        }
        (dir, Reader::new(path))
    }

    fn names(page: &Page) -> Vec<&str> {
        page.records.iter().map(|r| r.image_name.as_str()).collect()
    }

    #[test]
    fn a_record_comes_back_whole() {
        let (_dir, reader) = store();
        let written = record(7, "b", 0.1 * 7.0);
        assert_eq!(reader.get(written.request_id).unwrap(), Some(written));
        assert_eq!(reader.get(Uuid::nil()).unwrap(), None);
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_overlap() {
        let (_dir, reader) = store();
        let mut filter = Filter {
            limit: 4,
            ..Filter::default()
        };
        let mut all = Vec::new();
        loop {
            let page = reader.list(&filter).unwrap();
            all.extend(names(&page).into_iter().map(str::to_owned));
            filter.before = page.next;
            if filter.before.is_none() {
                break;
            }
        }
        let expected: Vec<String> = (0..10).rev().map(|n| format!("{n}.jpg")).collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn filters_combine() {
        let (_dir, reader) = store();
        let list = |filter: Filter| {
            reader
                .list(&Filter {
                    limit: 100,
                    ..filter
                })
                .unwrap()
        };
        let at = |n: i64| Some(Timestamp::from_millisecond(1_700_000_000_000 + n).unwrap());
        let page = list(Filter {
            prediction: Some("a".into()),
            ..Filter::default()
        });
        assert_eq!(names(&page), ["9.jpg", "6.jpg", "3.jpg", "0.jpg"]);
        let page = list(Filter {
            min_confidence: Some(0.9),
            ..Filter::default()
        });
        assert_eq!(names(&page), ["9.jpg", "6.jpg", "3.jpg", "0.jpg"]);
        let page = list(Filter {
            max_confidence: Some(0.25),
            from: at(2),
            to: at(5),
            ..Filter::default()
        });
        assert_eq!(names(&page), ["2.jpg"]);
    }
}
