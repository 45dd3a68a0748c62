//! Queries over all partitions.

use azure_data_cosmos::Query;
use azure_data_cosmos::options::MaxItemCountHint;
use serde::Serialize;
use serde_json::Value;

use super::{failure, item};
use crate::records::Filter;
use crate::remote::Failure;

/// The newest records that pass the filter, no more than `wanted`.
pub fn list(filter: &Filter, wanted: usize) -> Result<Query, Failure> {
    let mut conditions = Conditions::default();
    conditions.add("c.prediction =", filter.prediction.as_ref())?;
    conditions.add("c.confidence >=", filter.min_confidence)?;
    conditions.add("c.confidence <=", filter.max_confidence)?;
    conditions.add("c.request_id >=", filter.lowest_id())?;
    conditions.add("c.request_id <", filter.below_id())?;
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
