//! Pictures in Azure Blob Storage.

mod endpoint;
mod failure;
mod policy;
mod token;

use std::collections::HashMap;
use std::future::Future;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::TokenCredential;
use azure_core::http::policies::Policy;
use azure_core::http::{
    AsyncResponseBody, ClientMethodOptions, ClientOptions, Context, RetryOptions,
};
use azure_storage_blob::models::{
    BlobClientDeleteOptions, BlobClientDownloadOptions, BlockBlobClientUploadOptions,
    DeleteSnapshotsOptionType, HttpRange,
};
use azure_storage_blob::{BlobContainerClient, BlobContainerClientOptions};
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use jiff::Timestamp;
use md5::{Digest, Md5};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use sha2::Sha256;
use uuid::Uuid;

use crate::remote::{Failure, FailureKind, Presence};
use crate::settings::Shared;

use super::file_name;
use endpoint::Endpoint;
use policy::{BodyMd5, Companions, SharedKey};
use token::Patient;

/// How long anything but the transfer of a picture may take, waiting for a token included.
const SMALL: Duration = Duration::from_secs(5);

/// Slowest transfer that is waited for, in bytes per second.
const SLOWEST: u64 = 256 * 1024;

/// Longest name kept with a picture, in bytes as encoded. All metadata of a blob together may have 8 KiB.
const LONGEST_NAME: usize = 1024;

/// What a metadata value may hold as it is. Spaces at its ends would not survive.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// A container of pictures. No call takes longer than 10 s and what its bytes take at 256 KiB/s; none is repeated.
pub struct Blob {
    endpoint: Endpoint,
    container: BlobContainerClient,
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

/// Settings with which there is no store.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// One that is malformed.
    #[error("{0} must be {1}")]
    Setting(&'static str, &'static str),
    /// A token would be sent in clear.
    #[error(
        "AZURE_STORAGE_BLOB_ENDPOINT must begin with https://, for a token of Microsoft Entra ID is never sent in clear; http:// is for the emulator, with AZURE_STORAGE_KEY"
    )]
    Plain,
    /// No credential, or no way to use it.
    #[error(
        "no credential for AZURE_STORAGE_BLOB_ENDPOINT (AZURE_CREDENTIAL chooses another): {0}"
    )]
    Credential(String),
    /// No certificates to trust.
    #[error(
        "cannot talk to AZURE_STORAGE_BLOB_ENDPOINT: {0} (the package ca-certificates has them, or a file that SSL_CERT_FILE names)"
    )]
    Client(String),
}

impl Blob {
    /// The container that `AZURE_STORAGE_BLOB_ENDPOINT` and `AZURE_STORAGE_CONTAINER` name. No request is made.
    ///
    /// # Errors
    /// If the settings make no sense or there is no credential.
    pub fn new(settings: &Shared) -> Result<Self, BlobError> {
        let address = settings
            .azure_storage_blob_endpoint
            .as_deref()
            .unwrap_or_default();
        let endpoint = Endpoint::new(address, &settings.azure_storage_container)?;
        let client = |error| BlobError::Client(failure::cause(&error));
        let transport = crate::azure::transport().map_err(client)?;

        let mut per_try: Vec<Arc<dyn Policy>> = vec![Arc::new(Companions)];
        let credential = if let Some(key) = &settings.azure_storage_key {
            let key = key.expose().trim().to_owned();
            let signer = SharedKey::new(endpoint.account.clone(), key).ok_or(
                BlobError::Setting("AZURE_STORAGE_KEY", "the account's key, which is base64"),
            )?;
            per_try.push(Arc::new(signer));
            None
        } else if endpoint.is_plain() {
            return Err(BlobError::Plain);
        } else {
            let inner = crate::azure::credential(settings)
                .map_err(|error| BlobError::Credential(failure::credential_text(&error)))?;
            Some(Arc::new(Patient(inner)) as Arc<dyn TokenCredential>)
        };

        let client_options = ClientOptions {
            per_try_policies: per_try,
            // Those who call repeat what failed, and know better when.
            retry: RetryOptions::none(),
            transport: Some(transport),
            ..Default::default()
        };
        let options = BlobContainerClientOptions {
            client_options,
            ..Default::default()
        };
        let url = endpoint.container.clone();
        Ok(Self {
            container: BlobContainerClient::new(url, credential, Some(options)).map_err(client)?,
            endpoint,
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
        let outcome = self.remove(reference).await;
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
        self.endpoint.reference(given)
    }

    async fn upload(&self, reference: &str, about: &About, bytes: Bytes) -> Result<(), Failure> {
        let limit = limit(bytes.len() as u64);
        let content = bytes.clone();
        let digest = blocking(move || Md5::digest(&content)).await?;
        let method_options = ClientMethodOptions {
            context: Context::new().with_value(BodyMd5(digest.into())),
        };
        let options = BlockBlobClientUploadOptions {
            blob_content_type: Some(about.media_type.to_owned()),
            metadata: Some(about.metadata()),
            method_options,
            // One request, whatever the size: it is there whole or not at all.
            partition_size: Some(NonZero::<u64>::MAX),
            ..Default::default()
        }
        .if_not_exists();
        let blob = self.container.blob_client(reference);
        match within(limit, blob.upload(bytes.into(), Some(options))).await? {
            Err(error) if is_there(&error) => Ok(()),
            stored => stored.map(drop).map_err(|error| failure::failure(&error)),
        }
    }

    async fn download(&self, reference: &str, max: u64) -> Result<Option<Bytes>, Failure> {
        let (range, partition) = just_more_than(max);
        let options = BlobClientDownloadOptions {
            range: Some(range),
            partition_size: Some(partition),
            parallel: Some(NonZero::<usize>::MIN),
            ..Default::default()
        };
        let blob = self.container.blob_client(reference);
        let answer = match within(SMALL, blob.download(Some(options))).await? {
            Err(error) if is_missing(&error) => return Ok(None),
            answer => answer.map_err(|error| failure::failure(&error))?,
        };
        let length = answer.properties.content_length.unwrap_or(max);
        if length > max {
            return Err(too_large(max));
        }
        let bytes = within(limit(length), collect(answer.body, max)).await??;
        let content = bytes.clone();
        let digest = blocking(move || Sha256::digest(&content)).await?;
        let is_named = |name: &str| name.starts_with(&hex::encode(digest));
        if !file_name(reference).is_some_and(is_named) {
            let text = "the picture in Blob Storage is not the one that its name says";
            return Err(Failure::new(FailureKind::Rejected, text));
        }
        Ok(Some(bytes))
    }

    async fn remove(&self, reference: &str) -> Result<(), Failure> {
        let options = BlobClientDeleteOptions {
            delete_snapshots: Some(DeleteSnapshotsOptionType::Include),
            ..Default::default()
        };
        let blob = self.container.blob_client(reference);
        match within(SMALL, blob.delete(Some(options))).await? {
            Err(error) if is_missing(&error) => Ok(()),
            removed => removed.map(drop).map_err(|error| failure::failure(&error)),
        }
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

async fn collect(mut body: AsyncResponseBody, max: u64) -> Result<Bytes, Failure> {
    let mut bytes = BytesMut::new();
    loop {
        let piece = within(SMALL, body.try_next()).await?;
        let Some(piece) = piece.map_err(|error| failure::failure(&error))? else {
            return Ok(bytes.freeze());
        };
        if (bytes.len() + piece.len()) as u64 > max {
            return Err(too_large(max));
        }
        bytes.extend_from_slice(&piece);
    }
}

// One byte more than is wanted shows that there is more.
fn just_more_than(max: u64) -> (HttpRange, NonZero<usize>) {
    let max = usize::try_from(max).unwrap_or(usize::MAX).min(1 << 40);
    let length = NonZero::<usize>::MIN.saturating_add(max);
    (HttpRange::from(0..length.get() as u64), length)
}

fn too_large(max: u64) -> Failure {
    let text = format!("the picture in Blob Storage has more than {max} bytes");
    Failure::new(FailureKind::Rejected, text)
}

fn is_there(error: &azure_core::Error) -> bool {
    matches!(
        failure::answer(error),
        Some((409, "BlobAlreadyExists") | (412, "ConditionNotMet"))
    )
}

fn is_missing(error: &azure_core::Error) -> bool {
    failure::answer(error) == Some((404, "BlobNotFound"))
}

fn limit(bytes: u64) -> Duration {
    SMALL + Duration::from_secs(bytes / SLOWEST)
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Failure> {
    let outcome = tokio::time::timeout(limit, work).await;
    outcome.map_err(|_| Failure::timeout(limit))
}

// Milliseconds for a large picture: too long for a thread that answers requests.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.map_err(|error| Failure::new(FailureKind::Unavailable, error.to_string()))
}
