//! Pictures in Azure Blob Storage.

use bytes::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

use crate::remote::{Failure, Presence};

/// A container of pictures.
pub enum Blob {}

/// What is kept with a picture.
pub struct About {
    /// Content type.
    pub media_type: &'static str,
    /// First request with it.
    pub request_id: Uuid,
    /// File name as the client gave it.
    pub image_name: String,
    /// When the request was taken in.
    pub timestamp: Timestamp,
}

impl Blob {
    /// Stores a picture unless it is there.
    pub async fn put(
        &self,
        _reference: &str,
        _about: &About,
        _bytes: Bytes,
    ) -> Result<(), Failure> {
        match *self {}
    }

    /// The picture, if there is one.
    pub async fn get(&self, _reference: &str, _max: u64) -> Result<Option<Bytes>, Failure> {
        match *self {}
    }

    /// Removes it.
    pub async fn delete(&self, _reference: &str) -> Result<(), Failure> {
        match *self {}
    }

    /// Whether the store is there.
    pub fn presence(&self) -> &Presence {
        match *self {}
    }

    /// The reference that a client's URL or reference names.
    pub fn reference<'a>(&self, _given: &'a str) -> Option<&'a str> {
        match *self {}
    }
}
