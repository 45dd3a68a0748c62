//! Queries over all partitions.

use azure_data_cosmos::Query;
use azure_data_cosmos::options::MaxItemCountHint;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{failure, item};
use crate::records::Filter;
use crate::remote::Failure;

/// The newest records that pass the filter, no more than `wanted`.
pub fn list(filter: &Filter, wanted: usize) -> Result<Query, Failure> {
    let mut conditions = Conditions::default();
    conditions.add("c.prediction =", filter.prediction.as_ref())?;
    conditions.add("c.confidence >=", filter.min_confidence)?;
    conditions.add("c.confidence <=", filter.max_confidence)?;
    conditions.add("c.request_id >=", filter.from.map(first_id_from))?;
    conditions.add("c.request_id <", filter.to.map(first_id_at))?;
    conditions.add("c.request_id <", filter.before)?;
    // The composite index serves filter and order together only if both are in the order.
    let order = match filter.prediction {
        Some(_) => "c.prediction ASC, c.request_id DESC",
        None => "c.request_id DESC",
    };
    conditions.query(
        &format!("SELECT TOP {wanted} * FROM c"),
        &format!("ORDER BY {order}"),
    )
}

/// The identifiers of up to two records with this picture.
pub fn refers_to(image_sha256: &str) -> Result<Query, Failure> {
    let mut conditions = Conditions::default();
    conditions.add("c.image_sha256 =", Some(image_sha256))?;
    conditions.query("SELECT TOP 2 VALUE c.id FROM c", "")
}

/// How many items to ask of each partition at a time. Identifiers are spread evenly, so the newest items are too:
/// twice the share of a partition is mostly enough, and asking all of them for everything would read a multiple.
pub fn page_size(wanted: usize, partitions: usize) -> MaxItemCountHint {
    let share = wanted.saturating_mul(2).div_ceil(partitions.max(1));
    let size = u32::try_from(share.clamp(1, wanted.max(1))).unwrap_or(u32::MAX);
    MaxItemCountHint::Limit(std::num::NonZeroU32::new(size).unwrap_or(std::num::NonZeroU32::MIN))
}

#[derive(Default)]
struct Conditions {
    texts: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    fn add(&mut self, condition: &str, value: Option<impl Serialize>) -> Result<(), Failure> {
        if let Some(value) = value {
            self.texts
                .push(format!("{condition} @p{}", self.values.len()));
            self.values.push(item::json(&value)?);
        }
        Ok(())
    }

    fn query(self, select: &str, order: &str) -> Result<Query, Failure> {
        let filter = match self.texts.join(" AND ") {
            none if none.is_empty() => none,
            some => format!("WHERE {some}"),
        };
        let mut query = Query::from(format!("{select} {filter} {order}"));
        for (n, value) in self.values.into_iter().enumerate() {
            query = query
                .with_parameter(format!("@p{n}"), value)
                .map_err(|e| failure::of(&e))?;
        }
        Ok(query)
    }
}

// Identifiers begin with their time in milliseconds, and their text sorts as they do: bounds in time are bounds on
// identifiers.
fn first_id_at(time: Timestamp) -> Uuid {
    let millis = u128::try_from(time.as_millisecond()).unwrap_or(0);
    Uuid::from_u128(millis << 80)
}

// Times between two milliseconds belong to the next one.
fn first_id_from(time: Timestamp) -> Uuid {
    let up = i64::from(time.subsec_nanosecond() % 1_000_000 > 0);
    first_id_at(Timestamp::from_millisecond(time.as_millisecond() + up).unwrap_or(time))
}
