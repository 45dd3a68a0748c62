//! What the one writer does.

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use uuid::Uuid;

use super::remarks::{opinion_waits, settle};
use crate::records::{Record, Waiting};

const INSERT: &str = "INSERT INTO requests (request_id, timestamp, image_name, prediction, confidence, top, \
                      processing_time, cached, model, model_version, image_sha256, image_ref, image_format, \
                      image_width, image_height, user_ip, client, instance, status, reviews, \
                      opinion) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, \
                      ?20, ?21)";

// What is asked for review in turn, and what another model was asked about. Where records only pass through, nobody
// asks, and each would cost its insertion.
const INDEXES: &str = "
CREATE INDEX IF NOT EXISTS requests_doubtful ON requests (confidence)
    WHERE NOT cached AND reviews IS NULL AND substr(request_id, 16) >= x'30';
CREATE INDEX IF NOT EXISTS requests_random ON requests (request_id)
    WHERE substr(request_id, 16) < x'30' AND reviews IS NULL;
CREATE INDEX IF NOT EXISTS requests_by_opinion ON requests (opinion ->> '$.agrees', request_id)
    WHERE opinion IS NOT NULL;
";
const NO_INDEXES: &str = "
DROP INDEX IF EXISTS requests_doubtful;
DROP INDEX IF EXISTS requests_random;
DROP INDEX IF EXISTS requests_by_opinion;
";

/// Adds one record, which waits if the spool says so.
///
/// # Errors
/// SQLite's.
pub fn insert(connection: &Connection, spool: Spool, record: &Record) -> rusqlite::Result<()> {
    let top = json(&record.top)?;
    let reviews = record.review_history.as_ref().map(json).transpose()?;
    let opinion = record.opinion.as_ref().map(json).transpose()?;
    let sha256 = hex::decode(&record.image_sha256)
        .map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
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
        reviews,
        opinion,
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

/// A record that has reached the shared stores, as it was when it was sent.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    /// The request.
    pub request_id: Uuid,
    /// The opinion that went with it.
    pub opinion_id: Option<Uuid>,
}

/// Takes note that these need to wait no longer; how many of them did. Where records only pass through, an opinion
/// that came while its record was on its way waits instead; how many more do.
///
/// # Errors
/// SQLite's.
pub fn shipped(
    connection: &Connection,
    spool: Spool,
    arrived: &[Arrived],
) -> rusqlite::Result<(u64, Waiting)> {
    match spool {
        Spool::None => Ok((0, Waiting::default())),
        Spool::Requests => passed_through(connection, arrived),
        Spool::Outbox => {
            let ids: Vec<Uuid> = arrived.iter().map(|one| one.request_id).collect();
            Ok((remove(connection, "outbox", &ids)?, Waiting::default()))
        }
    }
}

fn passed_through(
    connection: &Connection,
    arrived: &[Arrived],
) -> rusqlite::Result<(u64, Waiting)> {
    let sql = "DELETE FROM requests WHERE request_id = ?1
               RETURNING CASE WHEN opinion ->> '$.opinion_id' IS NOT ?2 THEN opinion END";
    let mut statement = connection.prepare_cached(sql)?;
    let (mut removed, mut waiting) = (0, Waiting::default());
    for one in arrived {
        let sent = one.opinion_id.map(|id| id.to_string());
        let row = statement
            .query_row(params![one.request_id.as_bytes(), sent], |row| {
                row.get::<_, Option<String>>(0)
            })
            .optional()?;
        removed += u64::from(row.is_some());
        if let Some(opinion) = row.flatten() {
            waiting.opinions += opinion_waits(connection, one.request_id, &opinion)?.opinions;
        }
    }
    Ok((removed, waiting))
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

/// Makes the database ready for where records are kept now, whatever held before.
///
/// # Errors
/// SQLite's.
pub fn prepare(connection: &Connection, spool: Spool) -> rusqlite::Result<()> {
    if spool == Spool::Requests {
        return connection.execute_batch(NO_INDEXES);
    }
    connection.execute_batch(INDEXES)?;
    settle(connection)?;
    if spool == Spool::Outbox {
        fill_outbox(connection)?;
    }
    Ok(())
}

// All records wait if none does: their pictures may have been kept here before there was a shared store.
fn fill_outbox(connection: &Connection) -> rusqlite::Result<()> {
    let fill = "INSERT INTO outbox SELECT request_id FROM requests
                WHERE NOT EXISTS (SELECT 1 FROM outbox)";
    connection.execute(fill, []).map(drop)
}

/// As text for a column.
pub(super) fn json<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
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
