//! What was said of answers: in the rows of their requests, and what waits for records kept elsewhere.

use std::io;

use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::Reader;
use super::row::from_json;
use super::write::{Spool, json};
use crate::records::{Opinion, Remark, Review, Waiting, merge};

const REVIEW: &str = "review";
const OPINION: &str = "opinion";

/// Adds a remark: to its record, or to those that wait for the shared store. Of a record that has gone nothing is
/// kept. How many more wait.
///
/// Where records only pass through, a review waits even if its record is still here, and an opinion goes with it.
///
/// # Errors
/// SQLite's.
pub fn remark(
    connection: &Connection,
    spool: Spool,
    request_id: Uuid,
    remark: &Remark,
) -> rusqlite::Result<Waiting> {
    let passes_through = spool == Spool::Requests;
    let is_kept = match remark {
        Remark::Review(review) => {
            !passes_through && {
                add_review(connection, request_id, review)?;
                true
            }
        }
        Remark::Opinion(opinion) => {
            add_opinion(connection, request_id, opinion)? || !passes_through
        }
    };
    if is_kept {
        return Ok(Waiting::default());
    }
    let (kind, text) = match remark {
        Remark::Review(review) => (REVIEW, json(review)?),
        Remark::Opinion(opinion) => (OPINION, json(opinion)?),
    };
    wait(connection, request_id, remark.id(), kind, &text)
}

fn add_review(connection: &Connection, request_id: Uuid, review: &Review) -> rusqlite::Result<()> {
    let before = connection
        .prepare_cached("SELECT reviews FROM requests WHERE request_id = ?1")?
        .query_row([request_id.as_bytes()], |row| {
            row.get::<_, Option<String>>(0)
        })
        .optional()?;
    let Some(before) = before else {
        return Ok(());
    };
    let before = before.as_deref().map(from_json).transpose()?;
    let after = merge(before.unwrap_or_default(), [review.clone()]);
    connection
        .prepare_cached("UPDATE requests SET reviews = ?2 WHERE request_id = ?1")?
        .execute(params![request_id.as_bytes(), json(&after)?])
        .map(drop)
}

/// Whether the record is here. One that has a later opinion keeps that.
fn add_opinion(
    connection: &Connection,
    request_id: Uuid,
    opinion: &Opinion,
) -> rusqlite::Result<bool> {
    let sql = "UPDATE requests
               SET opinion = CASE WHEN opinion ->> '$.opinion_id' > ?2 THEN opinion ELSE ?3 END
               WHERE request_id = ?1";
    let row = params![
        request_id.as_bytes(),
        opinion.opinion_id.to_string(),
        json(opinion)?
    ];
    Ok(connection.prepare_cached(sql)?.execute(row)? > 0)
}

/// Makes an opinion wait that came to its record while that was on its way.
pub(super) fn opinion_waits(
    connection: &Connection,
    request_id: Uuid,
    opinion: &str,
) -> rusqlite::Result<Waiting> {
    let id = from_json::<Opinion>(opinion)?.opinion_id;
    wait(connection, request_id, id, OPINION, opinion)
}

fn wait(
    connection: &Connection,
    request_id: Uuid,
    id: Uuid,
    kind: &str,
    text: &str,
) -> rusqlite::Result<Waiting> {
    let sql = "INSERT OR IGNORE INTO remark_outbox (remark_id, request_id, kind, remark) VALUES (?1, ?2, ?3, ?4)";
    let row = params![id.as_bytes(), request_id.as_bytes(), kind, text];
    let added = connection.prepare_cached(sql)?.execute(row)?;
    let mut more = Waiting::default();
    count(&mut more, kind, added as u64);
    Ok(more)
}

fn count(waiting: &mut Waiting, kind: &str, number: u64) {
    match kind {
        REVIEW => waiting.reviews += number,
        _ => waiting.opinions += number,
    }
}

/// Gives what waits to the records that are here, once records stay here.
pub(super) fn settle(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "SELECT request_id, kind, remark FROM remark_outbox JOIN requests USING (request_id)";
    let waiting = connection
        .prepare(sql)?
        .query_map([], owned)?
        .collect::<Result<Vec<_>, _>>()?;
    for (request_id, one) in waiting {
        remark(connection, Spool::None, request_id, &one)?;
        remarks_shipped(connection, &[one.id()])?;
    }
    Ok(())
}

/// Takes note that these remarks need to wait no longer; how many of them did.
///
/// # Errors
/// SQLite's.
pub fn remarks_shipped(connection: &Connection, ids: &[Uuid]) -> rusqlite::Result<Waiting> {
    let sql = "DELETE FROM remark_outbox WHERE remark_id = ?1 RETURNING kind";
    remove(connection, sql, ids)
}

/// Removes the waiting remarks of these requests; how many there were.
///
/// # Errors
/// SQLite's.
pub fn forget_remarks(connection: &Connection, request_ids: &[Uuid]) -> rusqlite::Result<Waiting> {
    let sql = "DELETE FROM remark_outbox WHERE request_id = ?1 RETURNING kind";
    remove(connection, sql, request_ids)
}

/// How many remarks wait.
///
/// # Errors
/// SQLite's.
pub fn count_waiting_remarks(connection: &Connection) -> rusqlite::Result<Waiting> {
    let mut waiting = Waiting::default();
    let mut statement =
        connection.prepare("SELECT kind, count(*) FROM remark_outbox GROUP BY kind")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(1)?;
        count(
            &mut waiting,
            row.get_ref(0)?.as_str()?,
            number.unsigned_abs(),
        );
    }
    Ok(waiting)
}

fn remove(connection: &Connection, sql: &str, ids: &[Uuid]) -> rusqlite::Result<Waiting> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut removed = Waiting::default();
    for id in ids {
        let mut rows = statement.query([id.as_bytes()])?;
        while let Some(row) = rows.next()? {
            count(&mut removed, row.get_ref(0)?.as_str()?, 1);
        }
    }
    Ok(removed)
}

impl Reader {
    /// The oldest remarks that wait, of requests whose records do not. Blocks.
    ///
    /// # Errors
    /// As [`io_error`](super::io_error).
    pub fn waiting_remarks(&self, limit: usize) -> io::Result<Vec<(Uuid, Remark)>> {
        let sql = format!(
            "SELECT request_id, kind, remark FROM remark_outbox AS waiting
             WHERE NOT EXISTS (SELECT 1 FROM requests WHERE request_id = waiting.request_id)
             ORDER BY remark_id LIMIT {limit}"
        );
        self.with(|connection| {
            connection
                .prepare_cached(&sql)?
                .query_map([], owned)?
                .collect()
        })
    }

    /// The waiting remarks of these requests. Blocks.
    ///
    /// # Errors
    /// As [`io_error`](super::io_error).
    pub fn waiting_remarks_of(&self, request_ids: &[Uuid]) -> io::Result<Vec<(Uuid, Remark)>> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT request_id, kind, remark FROM remark_outbox WHERE request_id = ?1",
            )?;
            let mut found = Vec::new();
            for id in request_ids {
                for row in statement.query_map([id.as_bytes()], owned)? {
                    found.push(row?);
                }
            }
            Ok(found)
        })
    }
}

/// A request and a remark on it.
fn owned(row: &Row<'_>) -> rusqlite::Result<(Uuid, Remark)> {
    let text = row.get_ref("remark")?.as_str()?;
    let remark = match row.get_ref("kind")?.as_str()? {
        REVIEW => Remark::Review(from_json(text)?),
        _ => Remark::Opinion(from_json(text)?),
    };
    Ok((Uuid::from_bytes(row.get("request_id")?), remark))
}
