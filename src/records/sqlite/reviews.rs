//! Reviews of records that are kept here, and reviews that wait for records kept elsewhere.

use std::collections::HashMap;
use std::io;

use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::Reader;
use super::row::{from_json, from_row};
use super::write::{Spool, json};
use crate::records::{ModelName, Queue, Record, Review, Tally, merge};

/// What the latest review of a row says.
pub(super) const LABEL: &str = "reviews ->> '$[#-1].label'";

/// Adds a review: to its record where records stay here, else to those that wait for the shared store. Of a record
/// that has gone nothing is kept. How many more wait.
///
/// # Errors
/// SQLite's.
pub fn review(
    connection: &Connection,
    spool: Spool,
    request_id: Uuid,
    review: &Review,
) -> rusqlite::Result<u64> {
    if spool == Spool::Requests {
        let sql = "INSERT OR REPLACE INTO review_outbox VALUES (?1, ?2, ?3)";
        let row = params![
            review.review_id.as_bytes(),
            request_id.as_bytes(),
            json(review)?
        ];
        connection.prepare_cached(sql)?.execute(row)?;
        return Ok(1);
    }
    let before = connection
        .prepare_cached("SELECT reviews FROM requests WHERE request_id = ?1")?
        .query_row([request_id.as_bytes()], |row| {
            row.get::<_, Option<String>>(0)
        })
        .optional()?;
    if let Some(before) = before {
        let before = before.as_deref().map(from_json).transpose()?;
        let after = merge(before.unwrap_or_default(), [review.clone()]);
        connection
            .prepare_cached("UPDATE requests SET reviews = ?2 WHERE request_id = ?1")?
            .execute(params![request_id.as_bytes(), json(&after)?])?;
    }
    Ok(0)
}

/// Gives what waits to the records that are here, once records stay here.
pub(super) fn settle(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "SELECT request_id, review FROM review_outbox JOIN requests USING (request_id)";
    let waiting = connection
        .prepare(sql)?
        .query_map([], owned)?
        .collect::<Result<Vec<_>, _>>()?;
    for (request_id, one) in waiting {
        review(connection, Spool::None, request_id, &one)?;
        reviews_shipped(connection, &[one.review_id])?;
    }
    Ok(())
}

/// Takes note that these reviews need to wait no longer; how many of them did.
///
/// # Errors
/// SQLite's.
pub fn reviews_shipped(connection: &Connection, review_ids: &[Uuid]) -> rusqlite::Result<u64> {
    let sql = "DELETE FROM review_outbox WHERE review_id = ?1";
    remove(connection, sql, review_ids)
}

/// Removes the waiting reviews of these requests; how many there were.
///
/// # Errors
/// SQLite's.
pub fn forget_reviews(connection: &Connection, request_ids: &[Uuid]) -> rusqlite::Result<u64> {
    let sql = "DELETE FROM review_outbox WHERE request_id = ?1";
    remove(connection, sql, request_ids)
}

/// How many reviews wait.
///
/// # Errors
/// SQLite's.
pub fn count_waiting_reviews(connection: &Connection) -> rusqlite::Result<u64> {
    let count = connection.query_row("SELECT count(*) FROM review_outbox", [], |row| {
        row.get::<_, i64>(0)
    })?;
    Ok(count.unsigned_abs())
}

fn remove(connection: &Connection, sql: &str, ids: &[Uuid]) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut removed = 0;
    for id in ids {
        removed += statement.execute([id.as_bytes()])? as u64;
    }
    Ok(removed)
}

impl Reader {
    /// The oldest reviews that wait, of requests whose records do not. Blocks.
    ///
    /// # Errors
    /// As [`io_error`](super::io_error).
    pub fn waiting_reviews(&self, limit: usize) -> io::Result<Vec<(Uuid, Review)>> {
        let sql = format!(
            "SELECT request_id, review FROM review_outbox AS waiting
             WHERE NOT EXISTS (SELECT 1 FROM requests WHERE request_id = waiting.request_id)
             ORDER BY review_id LIMIT {limit}"
        );
        self.with(|connection| {
            connection
                .prepare_cached(&sql)?
                .query_map([], owned)?
                .collect()
        })
    }

    /// The waiting reviews of these requests. Blocks.
    ///
    /// # Errors
    /// As [`io_error`](super::io_error).
    pub fn waiting_reviews_of(
        &self,
        request_ids: &[Uuid],
    ) -> io::Result<HashMap<Uuid, Vec<Review>>> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT request_id, review FROM review_outbox WHERE request_id = ?1",
            )?;
            let mut found: HashMap<Uuid, Vec<Review>> = HashMap::new();
            for id in request_ids {
                for row in statement.query_map([id.as_bytes()], owned)? {
                    let (request_id, review) = row?;
                    found.entry(request_id).or_default().push(review);
                }
            }
            Ok(found)
        })
    }

    /// The first `limit` records of a queue. Blocks.
    ///
    /// # Errors
    /// As [`io_error`](super::io_error).
    pub fn unreviewed(&self, queue: Queue, limit: usize) -> io::Result<Vec<Record>> {
        let rest = match queue {
            Queue::Doubtful => {
                "INDEXED BY requests_doubtful WHERE NOT cached AND reviews IS NULL
                 AND substr(request_id, 16) >= x'30' ORDER BY confidence, request_id"
            }
            Queue::Random => {
                "INDEXED BY requests_random WHERE substr(request_id, 16) < x'30'
                 AND reviews IS NULL ORDER BY request_id DESC"
            }
        };
        let sql = format!("SELECT * FROM requests {rest} LIMIT {limit}");
        self.with(|connection| {
            connection
                .prepare_cached(&sql)?
                .query_map([], from_row)?
                .collect()
        })
    }

    /// Reviewed requests, counted: all, or those that one model answered. Blocks, and reads those that have been
    /// reviewed.
    ///
    /// # Errors
    /// As [`io_error`](super::io_error).
    pub fn tallies(&self, model: Option<&ModelName>) -> io::Result<Vec<Tally>> {
        let sql = format!(
            "SELECT prediction, {LABEL} AS label, reviews -> '$[#-1].selection' AS selection,
                    min(cast(confidence * 10 AS INTEGER), 9) AS bin, count(*) AS count, sum(confidence) AS confidence
             FROM requests INDEXED BY requests_reviewed
             WHERE reviews IS NOT NULL AND (?1 IS NULL OR (model = ?1 AND model_version = ?2))
             GROUP BY 1, 2, 3, 4"
        );
        let model = (
            model.map(|model| &model.name),
            model.map(|model| &model.version),
        );
        self.with(|connection| {
            connection
                .prepare_cached(&sql)?
                .query_map(model, tally)?
                .collect()
        })
    }
}

fn tally(row: &Row<'_>) -> rusqlite::Result<Tally> {
    Ok(Tally {
        prediction: row.get("prediction")?,
        label: row.get("label")?,
        selection: from_json(&row.get::<_, String>("selection")?)?,
        bin: row.get::<_, u16>("bin")?.into(),
        count: row.get::<_, i64>("count")?.unsigned_abs(),
        confidence: row.get("confidence")?,
    })
}

/// A request and a review of it.
fn owned(row: &Row<'_>) -> rusqlite::Result<(Uuid, Review)> {
    let review: String = row.get("review")?;
    Ok((
        Uuid::from_bytes(row.get("request_id")?),
        from_json(&review)?,
    ))
}
