//! Pictures in Azure Blob Storage.

use std::collections::HashMap;

use azure_storage_blob::models::BlockBlobClientUploadOptions;
use bytes::Bytes;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::file_name;
use crate::azure::container::{Condition, Container, Download, blocking};
use crate::remote::{Failure, FailureKind, Presence};
use crate::settings::Shared;

pub use crate::azure::container::ContainerError as BlobError;

/// Longest name kept with a picture, in bytes as encoded. All metadata of a blob together may have 8 KiB.
const LONGEST_NAME: usize = 1024;

/// What a metadata value may hold as it is. Spaces at its ends would not survive.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// A container of pictures. No call takes longer than 10 s and what its bytes take at 256 KiB/s; none is repeated.
pub struct Blob {
    container: Container,
    presence: Presence,
}

/// What is kept with a picture: of the first request that brought it.
#[derive(Clone, Debug)]
pub struct About {
    /// Media type, such as `image/jpeg`; kept as the content type.
    pub media_type: &'static str,
    /// The request; kept as metadata `request_id`.
    pub request_id: Uuid,
    /// File name as the client gave it; kept as metadata `image_name`, percent-encoded UTF-8 of at most 1024 bytes.
    pub image_name: String,
    /// When the request was taken in; kept as metadata `timestamp`, RFC 3339.
    pub timestamp: Timestamp,
}

impl Blob {
    /// The container that `AZURE_STORAGE_BLOB_ENDPOINT` and `AZURE_STORAGE_CONTAINER` name. No request is made.
    ///
    /// # Errors
    /// If the settings make no sense or there is no credential.
    pub fn new(settings: &Shared) -> Result<Self, BlobError> {
        let (name, setting) = (&settings.azure_storage_container, "AZURE_STORAGE_CONTAINER");
        Ok(Self {
            container: Container::new(settings, name, setting)?,
            presence: Presence::new("blob"),
        })
    }

    /// Stores a picture unless one is there by that name.
    ///
    /// # Errors
    /// What the store says.
    pub async fn put(&self, reference: &str, about: &About, bytes: Bytes) -> Result<(), Failure> {
        if file_name(reference).is_none() {
            let text = "this is not the reference of a picture";
            return Err(Failure::new(FailureKind::Rejected, text));
        }
        let outcome = self.upload(reference, about, bytes).await;
        self.presence.note(&outcome);
        outcome
    }

    /// Reads a picture; `None` if there is none by that name.
    ///
    /// # Errors
    /// What the store says. [`FailureKind::Rejected`] if the picture has more than `max` bytes, or is not the one that
    /// its name says.
    pub async fn get(&self, reference: &str, max: u64) -> Result<Option<Bytes>, Failure> {
        if file_name(reference).is_none() {
            return Ok(None);
        }
        let outcome = self.download(reference, max).await;
        self.presence.note(&outcome);
        outcome
    }

    /// Removes a picture and its snapshots, if it is there.
    ///
    /// # Errors
    /// What the store says.
    pub async fn delete(&self, reference: &str) -> Result<(), Failure> {
        if file_name(reference).is_none() {
            return Ok(());
        }
        let outcome = self.container.remove(reference).await;
        self.presence.note(&outcome);
        outcome
    }

    /// Whether the store was there when it was last used.
    pub fn presence(&self) -> &Presence {
        &self.presence
    }

    /// The reference that `given` is, or that it is the address of; nothing if it names anything but a picture in
    /// this container.
    pub fn reference<'a>(&self, given: &'a str) -> Option<&'a str> {
        let name = self.container.endpoint().name(given)?;
        file_name(name).and(Some(name))
    }

    async fn upload(&self, reference: &str, about: &About, bytes: Bytes) -> Result<(), Failure> {
        let options = BlockBlobClientUploadOptions {
            blob_content_type: Some(about.media_type.to_owned()),
            metadata: Some(about.metadata()),
            ..Default::default()
        };
        let upload = self
            .container
            .upload(reference, bytes, Condition::Absent, options);
        // What is there already is the same picture.
        upload.await.map(drop)
    }

    async fn download(&self, reference: &str, max: u64) -> Result<Option<Bytes>, Failure> {
        let Some(Download { bytes, .. }) = self.container.download(reference, max).await? else {
            return Ok(None);
        };
        let content = bytes.clone();
        let digest = blocking(move || Sha256::digest(&content)).await?;
        let is_named = |name: &str| name.starts_with(&hex::encode(digest));
        if !file_name(reference).is_some_and(is_named) {
            let text = "the picture in Blob Storage is not the one that its name says";
            return Err(Failure::new(FailureKind::Rejected, text));
        }
        Ok(Some(bytes))
    }
}

impl About {
    fn metadata(&self) -> HashMap<String, String> {
        HashMap::from([
            ("request_id".into(), self.request_id.to_string()),
            ("image_name".into(), encoded(&self.image_name)),
            ("timestamp".into(), self.timestamp.to_string()),
        ])
    }
}

// Header values are ASCII. What is too long ends between two characters.
fn encoded(name: &str) -> String {
    let mut value = String::new();
    for character in name.chars() {
        let mut bytes = [0; 4];
        let piece = utf8_percent_encode(character.encode_utf8(&mut bytes), ESCAPED).to_string();
        if value.len() + piece.len() > LONGEST_NAME {
            break;
        }
        value += &piece;
    }
    value
}
