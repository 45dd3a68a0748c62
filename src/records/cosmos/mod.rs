//! Records in Azure Cosmos DB. `docs/cosmos.md` says how they lie there and what they cost.

mod account;
mod connection;
mod failure;
mod item;
mod query;
mod remarks;
mod reviews;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use azure_data_cosmos::clients::ContainerClient;
use azure_data_cosmos::options::QueryOptions;
use azure_data_cosmos::{FeedScope, Query};
use futures_util::stream::FuturesOrdered;
use futures_util::{StreamExt, TryStreamExt};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{Filter, Page, Record};
use crate::remote::{Failure, FailureKind, Presence};
use crate::settings::Shared;

pub use account::SetupError;

use connection::Connection;

/// Longest time for one operation on a container that is connected to.
const CALL_LIMIT: Duration = Duration::from_secs(4);

/// Records written or changed at once.
const CONCURRENCY: usize = 32;

/// Physical partitions that a query may visit; the client's own bound is 100.
const PARTITIONS: u32 = 10_000;

/// Records in a container of Azure Cosmos DB, which must exist.
pub struct Cosmos {
    connection: Connection,
    retention_days: u32,
    presence: Presence,
}

impl Cosmos {
    /// The container that the settings name. Nothing is asked of it yet: it is connected to when first used, and
    /// again after failures. Records are kept for `retention_days`; 0 keeps them for ever.
    ///
    /// # Errors
    /// Settings that make no sense, or a credential that lacks what it needs.
    pub fn new(settings: &Shared, retention_days: u32) -> Result<Self, SetupError> {
        Ok(Self {
            connection: Connection::new(account::target(settings)?),
            retention_days,
            presence: Presence::new("cosmos"),
        })
    }

    /// Whether it was there when it was last used.
    pub fn presence(&self) -> &Presence {
        &self.presence
    }

    /// Adds or replaces records; one outcome for each, in order. What was said of them there stays.
    pub async fn upsert(&self, records: &[Record]) -> Vec<Result<(), Failure>> {
        self.side_by_side(records, |container, record| self.write(container, record))
            .await
    }

    /// Does something with each item, some at once; one outcome for each, in order. After a failure that is not about
    /// one item, those that are not on their way yet fail like it.
    async fn side_by_side<'a, I, T, F: Future<Output = Result<T, Failure>>>(
        &self,
        items: &'a [I],
        work: impl Fn(Arc<ContainerClient>, &'a I) -> F,
    ) -> Vec<Result<T, Failure>> {
        let stop: OnceLock<Failure> = OnceLock::new();
        let one = async |item| {
            if let Some(failure) = stop.get() {
                return Err(failure.clone());
            }
            let done = self.call(|container| work(container, item)).await;
            done.inspect_err(|failure| {
                if failure.kind != FailureKind::Rejected {
                    let _ = stop.set(failure.clone());
                }
            })
        };
        let mut outcomes = Vec::with_capacity(items.len());
        let mut running = FuturesOrdered::new();
        for item in items {
            if running.len() >= CONCURRENCY {
                outcomes.extend(running.next().await);
            }
            running.push_back(one(item));
        }
        outcomes.extend(running.collect::<Vec<_>>().await);
        outcomes
    }

    /// The record of one request.
    ///
    /// # Errors
    /// Why it could not be read.
    pub async fn get(&self, request_id: Uuid) -> Result<Option<Record>, Failure> {
        let id = request_id.to_string();
        self.call(|container| async move {
            let read = container.read_item(id.clone(), &id, None).await;
            match read.and_then(|answer| answer.into_model()) {
                Err(error) if failure::is_missing_item(&error) => Ok(None),
                read => read.map(Some).map_err(|e| failure::of(&e)),
            }
        })
        .await
    }

    /// Records that pass the filter, newest first.
    ///
    /// # Errors
    /// Why they could not be read.
    pub async fn list(&self, filter: &Filter) -> Result<Page, Failure> {
        // One more than asked for tells whether there is a next page.
        let wanted = filter.limit.saturating_add(1);
        let mut records: Vec<Record> = self.query(query::list(filter, wanted)?, wanted).await?;
        let more = records.len() > filter.limit;
        records.truncate(filter.limit);
        let last = records.last().map(|record| record.request_id);
        let next = last.filter(|_| more);
        Ok(Page { records, next })
    }

    /// Removes the record of one request; whether there was one.
    ///
    /// # Errors
    /// Why it could not be removed.
    pub async fn delete(&self, request_id: Uuid) -> Result<bool, Failure> {
        let id = request_id.to_string();
        self.call(|container| async move {
            match container.delete_item(id.clone(), &id, None).await {
                Err(error) if failure::is_missing_item(&error) => Ok(false),
                deleted => deleted.map(|_| true).map_err(|e| failure::of(&e)),
            }
        })
        .await
    }

    /// Whether a record other than `except` has the picture with this SHA-256, given in hexadecimal.
    ///
    /// # Errors
    /// Why it could not be found out.
    pub async fn refers_to(&self, image_sha256: &str, except: Uuid) -> Result<bool, Failure> {
        // Two, since one of them may be the exception.
        let found: Vec<Uuid> = self.query(query::refers_to(image_sha256)?, 2).await?;
        Ok(found.iter().any(|id| *id != except))
    }

    async fn query<T: DeserializeOwned + Send + 'static>(
        &self,
        query: Query,
        wanted: usize,
    ) -> Result<Vec<T>, Failure> {
        self.call(|container| async move {
            let found = async {
                let partitions = container.read_feed_ranges(None).await?.len();
                let mut options = QueryOptions::default()
                    .with_max_item_count(query::page_size(wanted, partitions));
                options.feed.max_fan_out = Some(PARTITIONS);
                let everywhere = FeedScope::full_container();
                let items = container.query_items(query, everywhere, Some(options));
                items.await?.try_collect().await
            };
            found.await.map_err(|e| failure::of(&e))
        })
        .await
    }

    async fn call<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        work: impl FnOnce(Arc<ContainerClient>) -> F,
    ) -> Result<T, Failure> {
        let outcome = match self.connection.container().await {
            Err(failure) => Err(failure),
            Ok(container) => {
                let done = tokio::time::timeout(CALL_LIMIT, work(Arc::clone(&container))).await;
                let outcome = done.unwrap_or_else(|_| Err(Failure::timeout(CALL_LIMIT)));
                if let Err(failure) = &outcome {
                    self.connection.failed(&container, failure);
                }
                outcome
            }
        };
        self.presence.note(&outcome);
        outcome
    }
}
