//! A row as a record.

use jiff::Timestamp;
use rusqlite::Row;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::records::{ModelName, Record, Review};

/// The record in a row of `requests`.
pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Record> {
    let top: String = row.get("top")?;
    let sha256: Vec<u8> = row.get("image_sha256")?;
    let millis = row.get("timestamp")?;
    let mut record = Record {
        request_id: Uuid::from_bytes(row.get("request_id")?),
        timestamp: Timestamp::from_millisecond(millis).map_err(|e| conversion(e.into()))?,
        image_name: row.get("image_name")?,
        prediction: row.get("prediction")?,
        confidence: row.get::<_, f64>("confidence")? as f32,
        top: from_json(&top)?,
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
        review: None,
        review_history: None,
        opinion: None,
    };
    if let Some(opinion) = row.get::<_, Option<String>>("opinion")? {
        record.opinion = Some(from_json(&opinion)?);
    }
    if let Some(reviews) = row.get::<_, Option<String>>("reviews")? {
        record.add_reviews(from_json::<Vec<Review>>(&reviews)?);
    }
    Ok(record)
}

/// What stands in a column of JSON.
pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|e| conversion(e.into()))
}

fn conversion(e: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, e)
}
