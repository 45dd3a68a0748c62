//! Reviewed requests, and those that nobody has reviewed.

use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};

use super::super::{ModelName, Queue, Record, Selection, Tally};
use super::{Postgres, READ, queries};
use crate::remote::{Failure, FailureKind};

const DOUBTFUL: &str = "
SELECT * FROM relance_requests
WHERE reviews IS NULL AND NOT cached AND get_byte(uuid_send(request_id), 15) >= 48
ORDER BY confidence, request_id LIMIT $1";

const RANDOM: &str = "
SELECT * FROM relance_requests
WHERE reviews IS NULL AND get_byte(uuid_send(request_id), 15) < 48
ORDER BY request_id DESC LIMIT $1";

const TALLIES: &str = "
SELECT prediction, reviews -> -1 ->> 'label' AS label, reviews -> -1 -> 'selection' AS selection,
       least(floor(confidence * 10), 9)::integer AS bin, count(*) AS count, sum(confidence::float8) AS confidence
FROM relance_requests
WHERE reviews IS NOT NULL AND ($1 IS NULL OR (model = $1 AND model_version = $2))
GROUP BY 1, 2, 3, 4";

impl Postgres {
    /// The first `limit` records of a queue.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn unreviewed(&self, queue: Queue, limit: usize) -> Result<Vec<Record>, Failure> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let statement = match queue {
            Queue::Doubtful => DOUBTFUL,
            Queue::Random => RANDOM,
        };
        let rows = self.call(READ, statement, &[(&limit, Type::INT8)]).await?;
        rows.iter().map(queries::record).collect()
    }

    /// Reviewed requests, counted: all, or those that one model answered.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn tallies(&self, model: Option<&ModelName>) -> Result<Vec<Tally>, Failure> {
        let name = model.map(|model| &model.name);
        let version = model.map(|model| &model.version);
        let params = [(&name as _, Type::TEXT), (&version as _, Type::TEXT)];
        let rows = self.call(READ, TALLIES, &params).await?;
        let tallies = rows.iter().map(tally).collect::<Result<_, _>>();
        tallies.map_err(|error| {
            let text = format!("reviews in relance_requests are none: {error}");
            Failure::new(FailureKind::Unavailable, text)
        })
    }
}

fn tally(row: &Row) -> Result<Tally, tokio_postgres::Error> {
    Ok(Tally {
        prediction: row.try_get("prediction")?,
        label: row.try_get("label")?,
        selection: row.try_get::<_, Json<Selection>>("selection")?.0,
        bin: row.try_get::<_, i32>("bin")?.unsigned_abs() as usize,
        count: row.try_get::<_, i64>("count")?.unsigned_abs(),
        confidence: row.try_get("confidence")?,
    })
}
