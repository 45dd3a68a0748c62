//! Records where all instances see them.

use jiff::Timestamp;
use uuid::Uuid;

use super::{Filter, Page, Record};
use crate::remote::{Failure, Presence};

/// A shared record store.
pub enum Remote {}

impl Remote {
    /// Adds or replaces records; one outcome for each, in order.
    pub async fn upsert(&self, _records: &[Record]) -> Vec<Result<(), Failure>> {
        match *self {}
    }

    /// The record of one request.
    ///
    /// # Errors
    /// The store's.
    pub async fn get(&self, _request_id: Uuid) -> Result<Option<Record>, Failure> {
        match *self {}
    }

    /// Records that pass the filter, newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, _filter: &Filter) -> Result<Page, Failure> {
        match *self {}
    }

    /// Removes a record; whether there was one.
    ///
    /// # Errors
    /// The store's.
    pub async fn delete(&self, _request_id: Uuid) -> Result<bool, Failure> {
        match *self {}
    }

    /// Whether a record other than `except` has this picture.
    ///
    /// # Errors
    /// The store's.
    pub async fn refers_to(&self, _image_sha256: &str, _except: Uuid) -> Result<bool, Failure> {
        match *self {}
    }

    /// Removes records from before `time`, where the store does not do that by itself; how many.
    ///
    /// # Errors
    /// The store's.
    pub async fn expire(&self, _time: Timestamp) -> Result<u64, Failure> {
        match *self {}
    }

    /// Whether the store is there.
    pub fn presence(&self) -> &Presence {
        match *self {}
    }
}
