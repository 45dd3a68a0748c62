//! Reviewed requests, and those that nobody has reviewed.

use std::collections::HashMap;

use serde::Deserialize;
use uuid::Uuid;

use super::{Cosmos, query};
use crate::records::{ModelName, Queue, Record, Selection, Tally};
use crate::remote::Failure;

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
}
