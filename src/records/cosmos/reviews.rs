//! Reviews in the items of their requests.

use std::collections::HashMap;
use std::sync::Arc;

use azure_data_cosmos::clients::ContainerClient;
use azure_data_cosmos::options::{ItemWriteOptions, Precondition};
use serde::Deserialize;
use uuid::Uuid;

use super::{Cosmos, failure, item, query};
use crate::records::{ModelName, Queue, Record, Review, Selection, Tally};
use crate::remote::{Failure, FailureKind};

/// How often a change is tried that somebody else's came before.
const ATTEMPTS: usize = 20;

/// Reviewed records that are read at once for figures.
const PAGE: usize = 1_000;

/// What figures are made of.
#[derive(Deserialize)]
struct Judged {
    request_id: Uuid,
    prediction: String,
    confidence: f32,
    label: String,
    selection: Selection,
}

impl Cosmos {
    /// Adds reviews to the record of a request; whether there is one.
    ///
    /// # Errors
    /// Why they could not be added.
    pub async fn review(&self, request_id: Uuid, reviews: &[Review]) -> Result<bool, Failure> {
        let add = |before: &Record| {
            let mut after = before.clone();
            after.add_reviews(reviews.iter().cloned());
            (after != *before).then_some(after)
        };
        self.call(|container| self.change(container, request_id, add))
            .await
    }

    /// The first `limit` records of a queue.
    ///
    /// # Errors
    /// Why they could not be read.
    pub async fn unreviewed(&self, queue: Queue, limit: usize) -> Result<Vec<Record>, Failure> {
        self.query(query::unreviewed(queue, limit)?, limit).await
    }

    /// Reviewed requests, counted: all, or those that one model answered. It reads some fields of each, since the
    /// client cannot have the account count over all partitions.
    ///
    /// # Errors
    /// Why they could not be read.
    pub async fn tallies(&self, model: Option<&ModelName>) -> Result<Vec<Tally>, Failure> {
        let mut tallies: HashMap<(String, String, Selection, usize), (u64, f64)> = HashMap::new();
        let mut before = None;
        loop {
            let query = query::judged(model, before, PAGE)?;
            let page: Vec<Judged> = self.query(query, PAGE).await?;
            before = page.last().map(|last| last.request_id);
            let whole = page.len() >= PAGE;
            for one in page {
                let sure = f64::from(one.confidence);
                let bin = ((sure * 10.0) as usize).min(9);
                let kind = (one.prediction, one.label, one.selection, bin);
                let (count, confidence) = tallies.entry(kind).or_default();
                *count += 1;
                *confidence += sure;
            }
            if !whole {
                break;
            }
        }
        let tally = |((prediction, label, selection, bin), (count, confidence))| Tally {
            prediction,
            label,
            selection,
            bin,
            count,
            confidence,
        };
        Ok(tallies.into_iter().map(tally).collect())
    }

    /// Adds a record, or replaces the one that is there and leaves it its reviews.
    pub(super) async fn write(
        &self,
        container: Arc<ContainerClient>,
        record: &Record,
    ) -> Result<(), Failure> {
        let item = item::of(record, self.retention_days)?;
        let id = record.request_id.to_string();
        match container.create_item(id.clone(), &id, item, None).await {
            Err(error) if error.status().is_conflict() => {}
            created => return created.map(drop).map_err(|e| failure::of(&e)),
        }
        let replace = |kept: &Record| {
            let mut new = record.clone();
            new.add_reviews(kept.reviews().to_vec());
            Some(new)
        };
        match self.change(container, record.request_id, replace).await? {
            true => Ok(()),
            false => Err(contended("it was removed while it was being replaced")),
        }
    }

    /// Changes a record as `edit` says, if it says anything, and anew if somebody else did so meanwhile; whether there
    /// is such a record.
    async fn change(
        &self,
        container: Arc<ContainerClient>,
        request_id: Uuid,
        edit: impl Fn(&Record) -> Option<Record>,
    ) -> Result<bool, Failure> {
        let id = request_id.to_string();
        for _ in 0..ATTEMPTS {
            let read = match container.read_item(id.clone(), &id, None).await {
                Err(error) if failure::is_missing_item(&error) => return Ok(false),
                read => read.map_err(|e| failure::of(&e))?,
            };
            let unchanged = read.headers().etag().cloned().map(Precondition::IfMatch);
            let before: Record = read.into_model().map_err(|e| failure::of(&e))?;
            let Some(after) = edit(&before) else {
                return Ok(true);
            };
            let item = item::of(&after, self.retention_days)?;
            let condition = unchanged.ok_or_else(|| contended("the item has no etag"))?;
            let options = ItemWriteOptions::default().with_precondition(condition);
            let replaced = container
                .replace_item(id.clone(), &id, item, Some(options))
                .await;
            match replaced {
                Ok(_) => return Ok(true),
                Err(error) if error.status().is_precondition_failed() => {}
                Err(error) if failure::is_missing_item(&error) => return Ok(false),
                Err(error) => return Err(failure::of(&error)),
            }
        }
        Err(contended("others change the record all the time"))
    }
}

fn contended(text: &str) -> Failure {
    Failure::new(FailureKind::Throttled, text)
}
