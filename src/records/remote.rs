//! Records where all instances see them.

use jiff::Timestamp;
use uuid::Uuid;

use super::{Cosmos, Filter, ModelName, Page, Postgres, Queue, Record, Remarks, Tally};
use crate::remote::{Failure, Presence};

/// A shared record store.
pub enum Remote {
    /// Azure Cosmos DB.
    Cosmos(Box<Cosmos>),
    /// PostgreSQL.
    Postgres(Postgres),
}

impl Remote {
    /// Adds or replaces records; one outcome for each, in order. What was said of them there stays.
    pub async fn upsert(&self, records: &[Record]) -> Vec<Result<(), Failure>> {
        match self {
            Self::Cosmos(store) => store.upsert(records).await,
            Self::Postgres(store) => store.upsert(records).await,
        }
    }

    /// The record of one request.
    ///
    /// # Errors
    /// The store's.
    pub async fn get(&self, request_id: Uuid) -> Result<Option<Record>, Failure> {
        match self {
            Self::Cosmos(store) => store.get(request_id).await,
            Self::Postgres(store) => store.get(request_id).await,
        }
    }

    /// Records that pass the filter, newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, filter: &Filter) -> Result<Page, Failure> {
        match self {
            Self::Cosmos(store) => store.list(filter).await,
            Self::Postgres(store) => store.list(filter).await,
        }
    }

    /// Adds remarks to records, each request named once; whether there is such a record, for each in order. Adding
    /// one again changes nothing.
    pub async fn remark(&self, remarks: &[Remarks]) -> Vec<Result<bool, Failure>> {
        match self {
            Self::Cosmos(store) => store.remark(remarks).await,
            Self::Postgres(store) => store.remark(remarks).await,
        }
    }

    /// The first `limit` records of a queue.
    ///
    /// # Errors
    /// The store's.
    pub async fn unreviewed(&self, queue: Queue, limit: usize) -> Result<Vec<Record>, Failure> {
        match self {
            Self::Cosmos(store) => store.unreviewed(queue, limit).await,
            Self::Postgres(store) => store.unreviewed(queue, limit).await,
        }
    }

    /// Reviewed requests, counted: all, or those that one model answered.
    ///
    /// # Errors
    /// The store's.
    pub async fn tallies(&self, model: Option<&ModelName>) -> Result<Vec<Tally>, Failure> {
        match self {
            Self::Cosmos(store) => store.tallies(model).await,
            Self::Postgres(store) => store.tallies(model).await,
        }
    }

    /// Removes a record; whether there was one.
    ///
    /// # Errors
    /// The store's.
    pub async fn delete(&self, request_id: Uuid) -> Result<bool, Failure> {
        match self {
            Self::Cosmos(store) => store.delete(request_id).await,
            Self::Postgres(store) => store.delete(request_id).await,
        }
    }

    /// Whether a record other than `except` has this picture.
    ///
    /// # Errors
    /// The store's.
    pub async fn refers_to(&self, image_sha256: &str, except: Uuid) -> Result<bool, Failure> {
        match self {
            Self::Cosmos(store) => store.refers_to(image_sha256, except).await,
            Self::Postgres(store) => store.refers_to(image_sha256, except).await,
        }
    }

    /// Removes records from before `time`; how many. Cosmos DB does that by itself.
    ///
    /// # Errors
    /// The store's.
    pub async fn expire(&self, time: Timestamp) -> Result<u64, Failure> {
        match self {
            Self::Cosmos(_) => Ok(0),
            Self::Postgres(store) => store.expire(time).await,
        }
    }

    /// Whether the store is there.
    pub fn presence(&self) -> &Presence {
        match self {
            Self::Cosmos(store) => store.presence(),
            Self::Postgres(store) => store.presence(),
        }
    }
}
