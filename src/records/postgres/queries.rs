//! Records as rows.

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql, Type};
use uuid::Uuid;

use super::super::{ClassScore, Filter, ModelName, Opinion, Record, Review};
use crate::remote::{Failure, FailureKind};

/// A value and its type. Types are sent along, so that no statement has to be prepared first.
pub type Param<'a> = (&'a (dyn ToSql + Sync), Type);

pub const UPSERT: &str = include_str!("upsert.sql");

pub const GET: &str = "SELECT * FROM relance_requests WHERE request_id = $1";

// The server plans it with the values at hand, so a condition that is not asked for costs nothing.
pub const LIST: &str = "
SELECT * FROM relance_requests
WHERE ($1 IS NULL OR prediction = $1)
  AND ($2 IS NULL OR confidence >= $2)
  AND ($3 IS NULL OR confidence <= $3)
  AND ($4 IS NULL OR request_id >= $4)
  AND ($5 IS NULL OR request_id < $5)
  AND ($6 IS NULL OR (reviews IS NOT NULL) = $6)
  AND ($7 IS NULL OR (reviews IS NOT NULL AND reviews -> -1 ->> 'label' = $7))
  AND ($8 IS NULL OR (reviews IS NOT NULL AND reviews -> -1 ->> 'label' <> 'unsure'
                      AND (reviews -> -1 ->> 'label' <> prediction) = $8))
  AND ($9 IS NULL OR (opinion IS NOT NULL AND opinion ->> 'agrees' = $9))
  AND ($10 IS NULL OR (model = $10 AND model_version = $11))
ORDER BY request_id DESC
LIMIT $12";

pub const DELETE: &str = "DELETE FROM relance_requests WHERE request_id = $1 RETURNING 1";

pub const REFERS_TO: &str =
    "SELECT 1 FROM relance_requests WHERE image_sha256 = $1 AND request_id <> $2 LIMIT 1";

// Rows that another instance is removing are left to it.
pub const EXPIRE: &str = "
DELETE FROM relance_requests WHERE request_id = ANY(ARRAY(
    SELECT request_id FROM relance_requests WHERE request_id < $1
    ORDER BY request_id LIMIT $2 FOR UPDATE SKIP LOCKED
)) RETURNING 1";

/// Records column by column, as `UPSERT` takes them.
#[derive(Default)]
pub struct Columns<'a> {
    request_id: Vec<Uuid>,
    timestamp: Vec<Timestamp>,
    processing_time: Vec<f64>,
    confidence: Vec<f32>,
    image_width: Vec<i32>,
    image_height: Vec<i32>,
    status: Vec<i16>,
    cached: Vec<bool>,
    prediction: Vec<&'a str>,
    image_name: Vec<&'a str>,
    image_format: Vec<&'a str>,
    image_sha256: Vec<Vec<u8>>,
    image_ref: Vec<Option<&'a str>>,
    model: Vec<&'a str>,
    model_version: Vec<&'a str>,
    instance: Vec<&'a str>,
    client: Vec<Option<&'a str>>,
    user_ip: Vec<Option<&'a str>>,
    top: Vec<Json<&'a [ClassScore]>>,
    opinion: Vec<Option<Json<&'a Opinion>>>,
}

impl<'a> Columns<'a> {
    /// # Errors
    /// `Rejected` if a value has no place in its column.
    pub fn of(records: impl IntoIterator<Item = &'a Record>) -> Result<Self, Failure> {
        let mut columns = Self::default();
        for record in records {
            columns.push(record).map_err(|what| {
                Failure::new(FailureKind::Rejected, format!("{what} cannot be stored"))
            })?;
        }
        Ok(columns)
    }

    fn push(&mut self, record: &'a Record) -> Result<(), &'static str> {
        let sha256 = hex::decode(&record.image_sha256).map_err(|_| "image_sha256")?;
        let width = i32::try_from(record.image_width).map_err(|_| "image_width")?;
        let height = i32::try_from(record.image_height).map_err(|_| "image_height")?;
        let status = i16::try_from(record.status).map_err(|_| "status")?;
        self.request_id.push(record.request_id);
        self.timestamp.push(record.timestamp);
        self.processing_time.push(record.processing_time);
        self.confidence.push(record.confidence);
        self.image_width.push(width);
        self.image_height.push(height);
        self.status.push(status);
        self.cached.push(record.cached);
        self.prediction.push(&record.prediction);
        self.image_name.push(&record.image_name);
        self.image_format.push(&record.image_format);
        self.image_sha256.push(sha256);
        self.image_ref.push(record.image_ref.as_deref());
        self.model.push(&record.model.name);
        self.model_version.push(&record.model.version);
        self.instance.push(&record.instance);
        self.client.push(record.client.as_deref());
        self.user_ip.push(record.user_ip.as_deref());
        self.top.push(Json(&record.top));
        self.opinion.push(record.opinion.as_ref().map(Json));
        Ok(())
    }

    /// The parameters of `UPSERT`.
    pub fn params(&self) -> [Param<'_>; 20] {
        [
            (&self.request_id, Type::UUID_ARRAY),
            (&self.timestamp, Type::TIMESTAMPTZ_ARRAY),
            (&self.processing_time, Type::FLOAT8_ARRAY),
            (&self.confidence, Type::FLOAT4_ARRAY),
            (&self.image_width, Type::INT4_ARRAY),
            (&self.image_height, Type::INT4_ARRAY),
            (&self.status, Type::INT2_ARRAY),
            (&self.cached, Type::BOOL_ARRAY),
            (&self.prediction, Type::TEXT_ARRAY),
            (&self.image_name, Type::TEXT_ARRAY),
            (&self.image_format, Type::TEXT_ARRAY),
            (&self.image_sha256, Type::BYTEA_ARRAY),
            (&self.image_ref, Type::TEXT_ARRAY),
            (&self.model, Type::TEXT_ARRAY),
            (&self.model_version, Type::TEXT_ARRAY),
            (&self.instance, Type::TEXT_ARRAY),
            (&self.client, Type::TEXT_ARRAY),
            (&self.user_ip, Type::TEXT_ARRAY),
            (&self.top, Type::JSONB_ARRAY),
            (&self.opinion, Type::JSONB_ARRAY),
        ]
    }
}

/// What `LIST` is asked with.
pub struct ListParams<'a> {
    prediction: Option<&'a str>,
    min_confidence: Option<f32>,
    max_confidence: Option<f32>,
    lowest: Option<Uuid>,
    below: Option<Uuid>,
    reviewed: Option<bool>,
    label: Option<&'a str>,
    disagrees: Option<bool>,
    agrees: Option<&'static str>,
    model: Option<&'a str>,
    model_version: Option<&'a str>,
    limit: i64,
}

impl<'a> ListParams<'a> {
    /// One more record than asked for, which tells whether there is a next page.
    pub fn of(filter: &'a Filter) -> Self {
        Self {
            prediction: filter.prediction.as_deref(),
            min_confidence: filter.min_confidence,
            max_confidence: filter.max_confidence,
            lowest: filter.lowest_id(),
            below: filter.below_id(),
            reviewed: filter.reviewed,
            label: filter.label.as_deref(),
            disagrees: filter.disagrees,
            agrees: filter
                .differs
                .map(|differs| if differs { "false" } else { "true" }),
            model: filter.model.as_ref().map(|model| &*model.name),
            model_version: filter.model.as_ref().map(|model| &*model.version),
            limit: i64::try_from(filter.limit).map_or(i64::MAX, |limit| limit.saturating_add(1)),
        }
    }

    pub fn params(&self) -> [Param<'_>; 12] {
        [
            (&self.prediction, Type::TEXT),
            (&self.min_confidence, Type::FLOAT4),
            (&self.max_confidence, Type::FLOAT4),
            (&self.lowest, Type::UUID),
            (&self.below, Type::UUID),
            (&self.reviewed, Type::BOOL),
            (&self.label, Type::TEXT),
            (&self.disagrees, Type::BOOL),
            (&self.agrees, Type::TEXT),
            (&self.model, Type::TEXT),
            (&self.model_version, Type::TEXT),
            (&self.limit, Type::INT8),
        ]
    }
}

/// The record in a row of all columns.
///
/// # Errors
/// If somebody else wrote what no record has.
pub fn record(row: &Row) -> Result<Record, Failure> {
    read(row).map_err(|error| {
        Failure::new(
            FailureKind::Unavailable,
            format!("a row of relance_requests is no record: {error}"),
        )
    })
}

fn read(row: &Row) -> Result<Record, tokio_postgres::Error> {
    let mut record = Record {
        request_id: row.try_get("request_id")?,
        timestamp: row.try_get("timestamp")?,
        image_name: row.try_get("image_name")?,
        prediction: row.try_get("prediction")?,
        confidence: row.try_get("confidence")?,
        top: row.try_get::<_, Json<_>>("top")?.0,
        processing_time: row.try_get("processing_time")?,
        cached: row.try_get("cached")?,
        model: ModelName {
            name: row.try_get("model")?,
            version: row.try_get("model_version")?,
        },
        image_sha256: hex::encode(row.try_get::<_, &[u8]>("image_sha256")?),
        image_ref: row.try_get("image_ref")?,
        image_format: row.try_get("image_format")?,
        image_width: row.try_get::<_, i32>("image_width")?.unsigned_abs(),
        image_height: row.try_get::<_, i32>("image_height")?.unsigned_abs(),
        user_ip: row.try_get("user_ip")?,
        client: row.try_get("client")?,
        instance: row.try_get("instance")?,
        status: row.try_get::<_, i16>("status")?.unsigned_abs(),
        review: None,
        review_history: None,
        opinion: None,
    };
    record.opinion = row
        .try_get::<_, Option<Json<Opinion>>>("opinion")?
        .map(|opinion| opinion.0);
    let reviews: Option<Json<Vec<Review>>> = row.try_get("reviews")?;
    record.add_reviews(reviews.into_iter().flat_map(|reviews| reviews.0));
    Ok(record)
}
