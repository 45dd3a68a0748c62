//! The record of every answered request.

mod bounds;
pub mod cosmos;
mod opinion;
mod postgres;
mod remark;
mod remote;
mod review;
mod sqlite;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::model::Reference;

pub use cosmos::Cosmos;
pub use opinion::Opinion;
pub use postgres::{Postgres, PostgresError};
pub use remark::{Remark, Remarks, Waiting};
pub use remote::Remote;
pub use review::{KEPT, Queue, Review, Selection, Tally, UNSURE, merge};
pub use sqlite::{
    Arrived, Reader, Spool, checkpoint, count_waiting, count_waiting_remarks, forget,
    forget_remarks, insert, io_error, open_checkpointer, open_writer, prepare, remark,
    remarks_shipped, restart_log, shipped,
};

/// One answered request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Record {
    /// UUIDv7; its order is the order of arrival.
    pub request_id: Uuid,
    /// When the request was taken in (UTC, milliseconds).
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// File name as the client gave it.
    #[schema(example = "garrafa.jpg")]
    pub image_name: String,
    /// Most likely class.
    #[schema(example = "aberta")]
    pub prediction: String,
    /// Probability of that class, 0 to 1.
    #[schema(example = 0.98)]
    pub confidence: f32,
    /// The most likely classes, best first.
    pub top: Vec<ClassScore>,
    /// Milliseconds from the arrival of the picture to its class.
    #[schema(example = 3.2)]
    pub processing_time: f64,
    /// Whether an earlier or simultaneous request for the same picture did the work.
    pub cached: bool,
    /// The model that answered.
    pub model: ModelName,
    /// SHA-256 of the picture, hexadecimal.
    pub image_sha256: String,
    /// Where the picture is kept; null if it is not (`SPOOL_FULL=shed-pictures`).
    #[schema(example = "0a/1b/0a1b….jpg")]
    pub image_ref: Option<String>,
    /// Format of the picture: `jpeg`, `png`, `webp`, `bmp`, `gif` or `tiff`.
    pub image_format: String,
    /// Width in pixels, upright.
    pub image_width: u32,
    /// Height in pixels, upright.
    pub image_height: u32,
    /// Address of the client, as far as `USER_IP` lets it be kept.
    pub user_ip: Option<String>,
    /// User or key name the client signed in with.
    pub client: Option<String>,
    /// Instance that answered.
    pub instance: String,
    /// HTTP status of the answer.
    #[schema(example = 200)]
    pub status: u16,
    /// The latest review; null if nobody has reviewed it.
    #[serde(default)]
    #[schema(required = true)]
    pub review: Option<Review>,
    /// All reviews that are kept, oldest first, the latest 20; only where a single request is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub review_history: Option<Vec<Review>>,
    /// What another model says of the picture, the latest if several did; null if no other one saw it.
    #[serde(default)]
    #[schema(required = true)]
    pub opinion: Option<Opinion>,
}

/// A class and its probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClassScore {
    /// Class name.
    #[schema(example = "aberta")]
    pub class: String,
    /// Class index in the model.
    #[schema(example = 0)]
    pub index: u32,
    /// Probability, 0 to 1.
    #[schema(example = 0.98)]
    pub confidence: f32,
}

/// Name and version of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModelName {
    /// File name without extension.
    #[schema(example = "bottle")]
    pub name: String,
    /// First digits of the file's SHA-256.
    #[schema(example = "3f1c9a7be042")]
    pub version: String,
}

impl From<Reference> for ModelName {
    fn from(Reference { name, version }: Reference) -> Self {
        Self { name, version }
    }
}

/// Which records to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only this class.
    pub prediction: Option<String>,
    /// Only at least this confident.
    pub min_confidence: Option<f32>,
    /// Only at most this confident.
    pub max_confidence: Option<f32>,
    /// Only from this time on.
    pub from: Option<Timestamp>,
    /// Only before this time.
    pub to: Option<Timestamp>,
    /// Only those that have been reviewed, or only those that have not.
    pub reviewed: Option<bool>,
    /// Only those whose latest review says this.
    pub label: Option<String>,
    /// Only those whose latest review is sure and says another class than the model, or only those where it says the
    /// same.
    pub disagrees: Option<bool>,
    /// Only those of which another model says another class than was answered, or only those where it says the same.
    pub differs: Option<bool>,
    /// Only answers of this model.
    pub model: Option<ModelName>,
    /// Only records older than this one.
    pub before: Option<Uuid>,
    /// At most so many.
    pub limit: usize,
}

/// Some records, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The records.
    pub records: Vec<Record>,
    /// Where the next page begins ([`Filter::before`]), if there is one.
    pub next: Option<Uuid>,
}

impl Page {
    /// This page and another of the same filter, as one page of at most `limit` records.
    pub fn merged(self, other: Self, limit: usize) -> Self {
        let more = self.next.is_some() || other.next.is_some();
        let mut records = self.records;
        records.extend(other.records);
        records.sort_by_key(|record| std::cmp::Reverse(record.request_id));
        records.dedup_by_key(|record| record.request_id);
        let more = more || records.len() > limit;
        records.truncate(limit);
        let last = records.last().map(|record| record.request_id);
        Self {
            next: last.filter(|_| more),
            records,
        }
    }
}
