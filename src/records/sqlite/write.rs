//! What the one writer does.

use rusqlite::{Connection, params};
use uuid::Uuid;

use crate::records::Record;

const INSERT: &str = "INSERT INTO requests VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, \
                      ?15, ?16, ?17, ?18, ?19)";

/// Adds one record, which waits if the spool says so.
///
/// # Errors
/// SQLite's.
pub fn insert(connection: &Connection, spool: Spool, record: &Record) -> rusqlite::Result<()> {
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
    if spool == Spool::Outbox {
        connection
            .prepare_cached("INSERT INTO outbox VALUES (?1)")?
            .execute([record.request_id.as_bytes()])?;
    }
    Ok(())
}

/// Which rows wait for a shared store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spool {
    /// None: this is where records stay.
    None,
    /// All of `requests`: a shared store takes them over.
    Requests,
    /// Those that `outbox` names: records stay here, and their pictures are taken over.
    Outbox,
}

impl Spool {
    /// The table of what waits.
    pub(super) fn table(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Requests => Some("requests"),
            Self::Outbox => Some("outbox"),
        }
    }
}

/// Removes records, wherever they are named; how many of them waited.
///
/// # Errors
/// SQLite's.
pub fn forget(
    connection: &Connection,
    spool: Spool,
    request_ids: &[Uuid],
) -> rusqlite::Result<u64> {
    let records = remove(connection, "requests", request_ids)?;
    let waited = remove(connection, "outbox", request_ids)?;
    Ok(match spool {
        Spool::None => 0,
        Spool::Requests => records,
        Spool::Outbox => waited,
    })
}

/// Takes note that these need to wait no longer; how many of them did.
///
/// # Errors
/// SQLite's.
pub fn shipped(
    connection: &Connection,
    spool: Spool,
    request_ids: &[Uuid],
) -> rusqlite::Result<u64> {
    match spool.table() {
        Some(table) => remove(connection, table, request_ids),
        None => Ok(0),
    }
}

/// How many records wait.
///
/// # Errors
/// SQLite's.
pub fn count_waiting(connection: &Connection, spool: Spool) -> rusqlite::Result<u64> {
    let Some(table) = spool.table() else {
        return Ok(0);
    };
    let count = connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
        row.get::<_, i64>(0)
    })?;
    Ok(count.try_into().unwrap_or(0))
}

/// Lets all records wait if none does: their pictures may have been kept here before there was a shared store.
///
/// # Errors
/// SQLite's.
pub fn fill_outbox(connection: &Connection) -> rusqlite::Result<()> {
    let fill = "INSERT INTO outbox SELECT request_id FROM requests
                WHERE NOT EXISTS (SELECT 1 FROM outbox)";
    connection.execute(fill, []).map(drop)
}

fn remove(connection: &Connection, table: &str, request_ids: &[Uuid]) -> rusqlite::Result<u64> {
    let sql = format!("DELETE FROM {table} WHERE request_id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut removed = 0;
    for id in request_ids {
        removed += statement.execute([id.as_bytes()])? as u64;
    }
    Ok(removed)
}
