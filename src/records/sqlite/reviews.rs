//! Reviewed requests, and those that nobody has reviewed.

use std::io;

use rusqlite::Row;

use super::Reader;
use super::row::{from_json, from_row};
use crate::records::{ModelName, Queue, Record, Tally};

/// What the latest review of a row says.
pub(super) const LABEL: &str = "reviews ->> '$[#-1].label'";

impl Reader {
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
