//! Reads beside the writer.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params_from_iter};
use uuid::Uuid;

use super::io_error;
use super::reviews::LABEL;
use super::row::from_row;
use super::write::Spool;
use crate::records::bounds::first_id_at;
use crate::records::{Filter, Page, Record, UNSURE};

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
        let (sql, values) = list(filter);
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

    /// The oldest records that wait, oldest first. Blocks.
    ///
    /// # Errors
    /// As [`io_error`].
    pub fn waiting(&self, spool: Spool, limit: usize) -> io::Result<Vec<Record>> {
        let from = match spool {
            Spool::None => return Ok(Vec::new()),
            Spool::Requests => "requests",
            Spool::Outbox => "outbox JOIN requests USING (request_id)",
        };
        let sql = format!("SELECT requests.* FROM {from} ORDER BY request_id LIMIT {limit}");
        self.with(|connection| {
            connection
                .prepare_cached(&sql)?
                .query_map([], from_row)?
                .collect()
        })
    }

    /// Whether a record other than `except`, from `since` on, has this picture. Blocks, and reads records until it
    /// finds one.
    ///
    /// # Errors
    /// As [`io_error`].
    pub fn refers_to(
        &self,
        image_sha256: &str,
        except: Uuid,
        since: Timestamp,
    ) -> io::Result<bool> {
        let Ok(digest) = hex::decode(image_sha256) else {
            return Ok(false);
        };
        self.with(|connection| {
            connection
                .prepare_cached(
                    "SELECT 1 FROM requests WHERE image_sha256 = ?1 AND request_id <> ?2 AND request_id >= ?3",
                )?
                .exists((digest, except.as_bytes(), first_id_at(since).as_bytes()))
        })
    }

    /// The names of the pictures that only records from before `time` have. Blocks, and reads all records.
    ///
    /// # Errors
    /// As [`io_error`].
    pub fn pictures_only_before(&self, time: Timestamp) -> io::Result<Vec<String>> {
        let sql = "SELECT DISTINCT image_ref FROM requests
                   WHERE request_id < ?1 AND image_ref IS NOT NULL AND image_sha256 NOT IN
                   (SELECT image_sha256 FROM requests WHERE request_id >= ?1)";
        self.with(|connection| {
            connection
                .prepare(sql)?
                .query_map([first_id_at(time).as_bytes()], |row| row.get(0))?
                .collect()
        })
    }

    /// Up to `limit` requests from before `time`, oldest first. Blocks.
    ///
    /// # Errors
    /// As [`io_error`].
    pub fn ids_before(&self, time: Timestamp, limit: usize) -> io::Result<Vec<Uuid>> {
        let sql = format!(
            "SELECT request_id FROM requests WHERE request_id < ?1 ORDER BY request_id LIMIT {limit}"
        );
        self.with(|connection| {
            connection
                .prepare_cached(&sql)?
                .query_map([first_id_at(time).as_bytes()], |row| {
                    Ok(Uuid::from_bytes(row.get(0)?))
                })?
                .collect()
        })
    }

    pub(super) fn with<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> io::Result<T> {
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

fn list(filter: &Filter) -> (String, Vec<Value>) {
    let (conditions, values) = conditions(filter);
    // One more than asked for tells whether there is a next page.
    let limit = filter.limit + 1;
    let index = if filter.wants_reviewed() {
        "INDEXED BY requests_reviewed"
    } else {
        ""
    };
    let sql = format!(
        "SELECT * FROM requests {index} WHERE {conditions} ORDER BY request_id DESC LIMIT {limit}"
    );
    (sql, values)
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
    if let Some(lowest) = filter.lowest_id() {
        add("request_id >=", lowest.as_bytes().to_vec().into());
    }
    if let Some(below) = filter.below_id() {
        add("request_id <", below.as_bytes().to_vec().into());
    }
    if let Some(label) = &filter.label {
        add(&format!("{LABEL} ="), label.clone().into());
    }
    if let Some(model) = &filter.model {
        add("model =", model.name.clone().into());
        add("model_version =", model.version.clone().into());
    }
    if filter.wants_reviewed() {
        conditions.push("reviews IS NOT NULL".into());
    }
    if filter.reviewed == Some(false) {
        conditions.push("reviews IS NULL".into());
    }
    if let Some(disagrees) = filter.disagrees {
        let how = if disagrees { "<>" } else { "=" };
        conditions.push(format!(
            "{LABEL} <> '{UNSURE}' AND {LABEL} {how} prediction"
        ));
    }
    if let Some(differs) = filter.differs {
        conditions.push("opinion IS NOT NULL".into());
        // As the index has it.
        let how = if differs { "= 0" } else { "= 1" };
        conditions.push(format!("opinion ->> '$.agrees' {how}"));
    }
    (conditions.join(" AND "), values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{open_writer, prepare};

    #[test]
    fn what_is_rare_is_found_by_an_index() {
        let dir = tempfile::tempdir().unwrap();
        let writer = open_writer(&dir.path().join("r.db"), false).unwrap();
        prepare(&writer, Spool::None).unwrap();
        let plan = |filter: Filter| {
            let (sql, values) = list(&filter);
            let mut plan = writer
                .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
                .unwrap();
            let steps = plan.query_map(params_from_iter(values), |row| row.get(3));
            steps
                .unwrap()
                .collect::<Result<Vec<String>, _>>()
                .unwrap()
                .join("; ")
        };
        let reviewed = plan(Filter {
            disagrees: Some(true),
            ..Filter::default()
        });
        assert!(reviewed.contains("requests_reviewed"), "{reviewed}");
        for differs in [true, false] {
            let plan = plan(Filter {
                differs: Some(differs),
                before: Some(Uuid::max()),
                ..Filter::default()
            });
            assert!(plan.contains("requests_by_opinion"), "{plan}");
            assert!(!plan.contains("B-TREE"), "it sorts: {plan}");
        }
    }
}
