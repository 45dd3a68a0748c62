//! Queries over all partitions.

use azure_data_cosmos::Query;
use azure_data_cosmos::options::MaxItemCountHint;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{failure, item};
use crate::records::{Filter, ModelName, Queue, UNSURE};
use crate::remote::Failure;

/// The newest records that pass the filter, no more than `wanted`.
pub fn list(filter: &Filter, wanted: usize) -> Result<Query, Failure> {
    let mut conditions = Conditions::default();
    conditions.add("c.prediction =", filter.prediction.as_ref())?;
    conditions.add("c.confidence >=", filter.min_confidence)?;
    conditions.add("c.confidence <=", filter.max_confidence)?;
    conditions.add("c.request_id >=", filter.lowest_id())?;
    conditions.add("c.request_id <", filter.below_id())?;
    conditions.add("c.review.label =", filter.label.as_ref())?;
    match filter.reviewed {
        Some(true) => conditions.hold(REVIEWED),
        Some(false) => conditions.hold("NOT IS_DEFINED(c.review.label)"),
        None => {}
    }
    conditions.add("c.opinion.agrees =", filter.differs.map(|differs| !differs))?;
    conditions.of_model(filter.model.as_ref())?;
    if let Some(disagrees) = filter.disagrees {
        conditions.add("c.review.label !=", Some(UNSURE))?;
        conditions.hold(if disagrees {
            "c.review.label != c.prediction"
        } else {
            "c.review.label = c.prediction"
        });
        conditions.hold(REVIEWED);
    }
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

/// The first `wanted` records of a queue.
pub fn unreviewed(queue: Queue, wanted: usize) -> Result<Query, Failure> {
    let mut conditions = Conditions::default();
    conditions.add("c.queue =", Some(queue))?;
    let order = match queue {
        Queue::Doubtful => "c.queue ASC, c.confidence ASC",
        Queue::Random => "c.queue ASC, c.request_id DESC",
    };
    conditions.query(
        &format!("SELECT TOP {wanted} * FROM c"),
        &format!("ORDER BY {order}"),
    )
}

/// What figures are made of, of the newest reviewed records before one of them, no more than `wanted`.
pub fn judged(
    model: Option<&ModelName>,
    before: Option<Uuid>,
    wanted: usize,
) -> Result<Query, Failure> {
    let mut conditions = Conditions::default();
    conditions.hold(REVIEWED);
    conditions.of_model(model)?;
    conditions.add("c.request_id <", before)?;
    conditions.query(
        &format!(
            "SELECT TOP {wanted} c.request_id, c.prediction, c.confidence, c.review.label, c.review.selection FROM c"
        ),
        "ORDER BY c.request_id DESC",
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

/// A record without a review has null there, which has no fields.
const REVIEWED: &str = "IS_DEFINED(c.review.label)";

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

    fn of_model(&mut self, model: Option<&ModelName>) -> Result<(), Failure> {
        self.add("c.model.name =", model.map(|model| &model.name))?;
        self.add("c.model.version =", model.map(|model| &model.version))
    }

    fn hold(&mut self, condition: &str) {
        self.texts.push(condition.to_owned());
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
