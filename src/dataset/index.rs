//! What goes into a dataset: on disk, since it may be more than fits in memory.

use std::io;
use std::path::Path;

use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::Entry;
use super::archive::Member;

/// Entries by their pictures, in a database without a name: it is gone when it is dropped, or the process ends.
pub struct Index {
    connection: Connection,
}

/// An entry, and where its picture is in the archive.
pub(super) struct Placed {
    pub entry: Entry,
    pub checksum: u32,
    pub size: u64,
    /// Nothing if the picture is not there.
    pub offset: Option<u64>,
}

const SCHEMA: &str = "
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE entries (
    sha256    TEXT NOT NULL PRIMARY KEY,
    review_id BLOB NOT NULL,
    entry     TEXT NOT NULL,
    checksum  INTEGER NOT NULL DEFAULT 0,
    size      INTEGER NOT NULL DEFAULT 0,
    position  INTEGER
) STRICT, WITHOUT ROWID;
BEGIN;
";

/// Of the reviews of one picture the latest counts.
const ADD: &str = "
INSERT INTO entries (sha256, review_id, entry) VALUES (?1, ?2, ?3)
ON CONFLICT (sha256) DO UPDATE SET review_id = excluded.review_id, entry = excluded.entry
WHERE excluded.review_id > review_id";

impl Index {
    /// An empty one, with its file in `dir`.
    ///
    /// # Errors
    /// The disk's.
    pub fn create(dir: &Path) -> io::Result<Self> {
        let path = dir.join(format!("dataset-{}", Uuid::new_v4().simple()));
        let connection = Connection::open(&path).map_err(failed)?;
        let made = connection.execute_batch(SCHEMA).map_err(failed);
        std::fs::remove_file(&path)?;
        made.map(|()| Self { connection })
    }

    /// Adds entries. Of those with the same picture the one with the latest review stays.
    ///
    /// # Errors
    /// The disk's.
    pub fn add(&self, entries: &[Entry]) -> io::Result<()> {
        let mut statement = self.connection.prepare_cached(ADD).map_err(failed)?;
        for entry in entries {
            let text = serde_json::to_string(entry)?;
            statement
                .execute(params![entry.sha256, entry.review_id.as_bytes(), text])
                .map_err(failed)?;
        }
        Ok(())
    }

    /// The first `limit` entries whose pictures come after `sha256`, in the order of their digests.
    pub(super) fn after(&self, sha256: &str, limit: usize) -> io::Result<Vec<Placed>> {
        let sql = format!(
            "SELECT entry, checksum, size, position FROM entries WHERE sha256 > ?1 ORDER BY sha256 LIMIT {limit}"
        );
        let read = || {
            self.connection
                .prepare_cached(&sql)?
                .query_map([sha256], placed)?
                .collect::<Result<Vec<_>, _>>()
        };
        read().map_err(failed)
    }

    /// Takes note of where a picture is in the archive.
    pub(super) fn place(&self, sha256: &str, member: &Member) -> io::Result<()> {
        let sql = "UPDATE entries SET checksum = ?2, size = ?3, position = ?4 WHERE sha256 = ?1";
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let row = params![
            sha256,
            member.checksum,
            number(member.size),
            number(member.offset)
        ];
        let place = || self.connection.prepare_cached(sql)?.execute(row);
        place().map(drop).map_err(failed)
    }
}

fn placed(row: &Row<'_>) -> rusqlite::Result<Placed> {
    let text: String = row.get("entry")?;
    let entry = serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
    })?;
    Ok(Placed {
        entry,
        checksum: row.get("checksum")?,
        size: row.get::<_, i64>("size")?.unsigned_abs(),
        offset: row
            .get::<_, Option<i64>>("position")?
            .map(i64::unsigned_abs),
    })
}

fn failed(error: rusqlite::Error) -> io::Error {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => {
            io::Error::new(io::ErrorKind::StorageFull, error.to_string())
        }
        _ => io::Error::other(error),
    }
}
