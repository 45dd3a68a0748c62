//! A container in Azure Blob Storage: who we are to it, and how long we wait for it.

mod endpoint;
mod failure;
mod policy;
mod token;

use std::future::Future;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::TokenCredential;
use azure_core::http::policies::Policy;
use azure_core::http::{
    AsyncResponseBody, ClientMethodOptions, ClientOptions, Context, Etag, RetryOptions,
};
use azure_storage_blob::models::{
    BlobClientDeleteOptions, BlobClientDownloadOptions, BlobContainerClientListBlobsOptions,
    BlockBlobClientUploadOptions, DeleteSnapshotsOptionType, HttpRange,
};
use azure_storage_blob::{BlobContainerClient, BlobContainerClientOptions};
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use md5::{Digest, Md5};

use crate::remote::{Failure, FailureKind};
use crate::settings::Shared;

pub use endpoint::Endpoint;

use policy::{BodyMd5, Companions, SharedKey};
use token::Patient;

/// How long anything but the transfer of content may take, waiting for a token included.
const SMALL: Duration = Duration::from_secs(5);

/// Slowest transfer that is waited for, in bytes per second.
const SLOWEST: u64 = 256 * 1024;

/// A container. No call takes longer than 10 s and what its bytes take at 256 KiB/s; none is repeated.
pub struct Container {
    endpoint: Endpoint,
    client: BlobContainerClient,
}

/// Settings with which there is no container.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
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

/// A blob that was read.
pub struct Download {
    /// Its content.
    pub bytes: Bytes,
    /// Its state.
    pub etag: Option<Etag>,
}

/// A blob in a list.
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its state.
    pub etag: Option<String>,
}

/// A blob that was written.
pub struct Written {
    /// Its state now.
    pub etag: Option<Etag>,
}

/// What must hold for a blob to be written.
pub enum Condition {
    /// There is none by that name.
    Absent,
    /// It is in this state.
    Unchanged(Etag),
}

impl Container {
    /// The container called `name` in the account that `AZURE_STORAGE_BLOB_ENDPOINT` names; `setting` is where its name
    /// comes from. No request is made.
    ///
    /// # Errors
    /// If the settings make no sense or there is no credential.
    pub fn new(
        settings: &Shared,
        name: &str,
        setting: &'static str,
    ) -> Result<Self, ContainerError> {
        let address = settings
            .azure_storage_blob_endpoint
            .as_deref()
            .unwrap_or_default();
        let endpoint = Endpoint::new(address, name, setting)?;
        let client = |error| ContainerError::Client(failure::cause(&error));
        let transport = super::transport().map_err(client)?;

        let mut per_try: Vec<Arc<dyn Policy>> = vec![Arc::new(Companions)];
        let credential = if let Some(key) = &settings.azure_storage_key {
            let key = key.expose().trim().to_owned();
            let signer = SharedKey::new(endpoint.account.clone(), key).ok_or(
                ContainerError::Setting("AZURE_STORAGE_KEY", "the account's key, which is base64"),
            )?;
            per_try.push(Arc::new(signer));
            None
        } else if endpoint.is_plain() {
            return Err(ContainerError::Plain);
        } else {
            let inner = super::credential(settings)
                .map_err(|error| ContainerError::Credential(failure::credential_text(&error)))?;
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
            client: BlobContainerClient::new(url, credential, Some(options)).map_err(client)?,
            endpoint,
        })
    }

    /// Where it is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Writes a blob if the condition holds; `None` if it does not. `options` say what is kept with it.
    ///
    /// # Errors
    /// What the store says.
    pub async fn upload(
        &self,
        name: &str,
        bytes: Bytes,
        condition: Condition,
        options: BlockBlobClientUploadOptions<'static>,
    ) -> Result<Option<Written>, Failure> {
        let limit = limit(bytes.len() as u64);
        let content = bytes.clone();
        let digest = blocking(move || Md5::digest(&content)).await?;
        let method_options = ClientMethodOptions {
            context: Context::new().with_value(BodyMd5(digest.into())),
        };
        let options = BlockBlobClientUploadOptions {
            method_options,
            // One request, whatever the size: it is there whole or not at all.
            partition_size: Some(NonZero::<u64>::MAX),
            ..options
        };
        let options = match condition {
            Condition::Absent => options.if_not_exists(),
            Condition::Unchanged(etag) => BlockBlobClientUploadOptions {
                if_match: Some(etag),
                ..options
            },
        };
        let blob = self.client.blob_client(name);
        match within(limit, blob.upload(bytes.into(), Some(options))).await? {
            Err(error) if is_otherwise(&error) => Ok(None),
            stored => stored
                .map(|stored| Some(Written { etag: stored.etag }))
                .map_err(|error| failure::failure(&error)),
        }
    }

    /// Reads a blob; `None` if there is none by that name.
    ///
    /// # Errors
    /// What the store says. [`FailureKind::Rejected`] if it has more than `max` bytes.
    pub async fn download(&self, name: &str, max: u64) -> Result<Option<Download>, Failure> {
        let (range, partition) = just_more_than(max);
        let options = BlobClientDownloadOptions {
            range: Some(range),
            partition_size: Some(partition),
            parallel: Some(NonZero::<usize>::MIN),
            ..Default::default()
        };
        let blob = self.client.blob_client(name);
        let answer = match within(SMALL, blob.download(Some(options))).await? {
            Err(error) if is_missing(&error) => return Ok(None),
            answer => answer.map_err(|error| failure::failure(&error))?,
        };
        let length = answer.properties.content_length.unwrap_or(max);
        if length > max {
            return Err(too_large(max));
        }
        let etag = answer.properties.etag;
        let bytes = within(limit(length), collect(answer.body, max)).await??;
        Ok(Some(Download { bytes, etag }))
    }

    /// Blobs whose names begin with `prefix`, at most `max`.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(&self, prefix: &str, max: usize) -> Result<Vec<Listed>, Failure> {
        let options = BlobContainerClientListBlobsOptions {
            prefix: (!prefix.is_empty()).then(|| prefix.to_owned()),
            ..Default::default()
        };
        let mut pager = self
            .client
            .list_blobs(Some(options))
            .map_err(|error| failure::failure(&error))?;
        let mut found = Vec::new();
        while found.len() < max {
            let next = within(SMALL, pager.try_next()).await?;
            let Some(item) = next.map_err(|error| failure::failure(&error))? else {
                break;
            };
            if let Some(name) = item.name {
                let etag = item.properties.and_then(|properties| properties.etag);
                found.push(Listed {
                    name,
                    etag: etag.map(|etag| etag.to_string()),
                });
            }
        }
        Ok(found)
    }

    /// Removes a blob and its snapshots, if it is there.
    ///
    /// # Errors
    /// What the store says.
    pub async fn remove(&self, name: &str) -> Result<(), Failure> {
        let options = BlobClientDeleteOptions {
            delete_snapshots: Some(DeleteSnapshotsOptionType::Include),
            ..Default::default()
        };
        let blob = self.client.blob_client(name);
        match within(SMALL, blob.delete(Some(options))).await? {
            Err(error) if is_missing(&error) => Ok(()),
            removed => removed.map(drop).map_err(|error| failure::failure(&error)),
        }
    }
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
    let text = format!("what is in Blob Storage has more than {max} bytes");
    Failure::new(FailureKind::Rejected, text)
}

fn is_otherwise(error: &azure_core::Error) -> bool {
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

/// Works on a thread where it holds up no requests: milliseconds for large content.
///
/// # Errors
/// If the work panics.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.map_err(|error| Failure::new(FailureKind::Unavailable, error.to_string()))
}
