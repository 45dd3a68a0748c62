//! Models in a container of Azure Blob Storage, with copies on this disk of those that were used.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use azure_core::http::Etag;
use azure_storage_blob::models::BlockBlobClientUploadOptions;
use bytes::Bytes;

use super::{
    BESIDE, MAX_PLAN_BYTES, MAX_SAMPLE_BYTES, MAX_SAMPLES, MODEL, PLAN, Plan, RegistryError,
    SAMPLES, Sample, Tag, is_name,
};
use crate::azure::container::{Condition, Container, Download, Listed, blocking};
use crate::model::Reference;
use crate::remote::{Failure, FailureKind};

/// Blobs that are looked at.
const MAX_BLOBS: usize = 20_000;

/// The largest model, in bytes.
const MAX_MODEL_BYTES: u64 = 1 << 30;

/// File that tells the state of the blob that a copy was made of, beside the copy.
const ETAG: &str = "etag";

/// A container with models.
pub struct Models {
    container: Container,
    /// Where copies are kept.
    copies: PathBuf,
}

impl Models {
    pub(super) fn new(container: Container, copies: PathBuf) -> Self {
        Self { container, copies }
    }

    pub(super) fn place(&self) -> String {
        self.container.endpoint().address().to_owned()
    }

    pub(super) async fn list(&self) -> Result<Vec<Reference>, RegistryError> {
        let blobs = self.container.list("", MAX_BLOBS).await;
        let blobs = blobs.map_err(|failure| self.unavailable(&failure))?;
        let found: BTreeSet<Reference> =
            blobs.iter().filter_map(|blob| model(&blob.name)).collect();
        Ok(found.into_iter().collect())
    }

    /// A copy of the model and what lies beside it. One that is there already is used if the store is away.
    pub(super) async fn fetch(&self, model: &Reference) -> Result<Option<PathBuf>, RegistryError> {
        let copy = self.copy_of(model);
        match self.copy(model).await {
            Ok(copied) => Ok(copied.then(|| self.copy_of(model)).flatten()),
            Err(failure) if copy.is_some() && failure.kind != FailureKind::Rejected => {
                tracing::warn!("the copy of {model} on this disk is used: {failure}");
                Ok(copy)
            }
            Err(failure) => Err(self.unavailable(&failure)),
        }
    }

    pub(super) fn copy_of(&self, model: &Reference) -> Option<PathBuf> {
        let path = self.folder(model).join(MODEL);
        path.is_file().then_some(path)
    }

    fn folder(&self, model: &Reference) -> PathBuf {
        self.copies.join(&model.name).join(&model.version)
    }

    pub(super) async fn samples(&self, name: &str) -> Result<Vec<Sample>, RegistryError> {
        let samples = self.download_samples(name).await;
        samples.map_err(|failure| self.unavailable(&failure))
    }

    /// What is to serve. A copy stays on this disk.
    pub(super) async fn plan(&self) -> Result<(Option<Plan>, Tag), RegistryError> {
        let read = self.container.download(PLAN, MAX_PLAN_BYTES).await;
        let Some(Download { bytes, etag }) = read.map_err(|failure| self.unavailable(&failure))?
        else {
            return Ok((None, Tag::default()));
        };
        let plan = self.parse(&bytes)?;
        self.remember(bytes).await;
        Ok((Some(plan), tag(etag)))
    }

    async fn remember(&self, plan: Bytes) {
        let copies = self.copies.clone();
        let kept = blocking(move || {
            let kept = fs::read(copies.join(PLAN));
            match kept.is_ok_and(|kept| kept == plan) {
                true => Ok(()),
                false => write(&copies, PLAN, &plan),
            }
        });
        if let Err(failure) = kept
            .await
            .and_then(|kept| kept.map_err(|error| disk(&error)))
        {
            tracing::warn!("what is to serve is not kept on this disk: {failure}");
        }
    }

    /// What was to serve when that was last read.
    pub(super) fn remembered(&self) -> Option<Plan> {
        let bytes = fs::read(self.copies.join(PLAN)).ok()?;
        self.parse(&bytes).ok()
    }

    pub(super) async fn publish(&self, plan: &Plan, before: &Tag) -> Result<Tag, RegistryError> {
        let condition = match &before.0 {
            Some(etag) => Condition::Unchanged(Etag::from(etag.clone())),
            None => Condition::Absent,
        };
        let options = BlockBlobClientUploadOptions {
            blob_content_type: Some("application/json".into()),
            ..Default::default()
        };
        let bytes = Bytes::from(plan.bytes());
        let upload = self
            .container
            .upload(PLAN, bytes.clone(), condition, options);
        let written = upload.await.map_err(|failure| self.unavailable(&failure))?;
        let written = written.ok_or(RegistryError::Changed)?;
        self.remember(bytes).await;
        Ok(tag(written.etag))
    }

    fn parse(&self, bytes: &[u8]) -> Result<Plan, RegistryError> {
        Plan::parse(bytes).map_err(|reason| RegistryError::BadPlan {
            place: self.place(),
            reason,
        })
    }

    fn unavailable(&self, failure: &Failure) -> RegistryError {
        RegistryError::Unavailable {
            place: self.place(),
            reason: failure.to_string(),
        }
    }

    /// Copies what has changed since the last copy was made; whether there is such a model.
    async fn copy(&self, model: &Reference) -> Result<bool, Failure> {
        let folder = &self.folder(model);
        let prefix = format!("{}/{}/", model.name, model.version);
        let blobs = self.container.list(&prefix, MAX_BLOBS).await?;
        let named = |file: &str| blobs.iter().find(|blob| blob.name[prefix.len()..] == *file);
        if named(MODEL).is_none() {
            return Ok(false);
        }
        let state = state(BESIDE.iter().filter_map(|file| named(file)));
        if fs::read_to_string(folder.join(ETAG)).is_ok_and(|before| before == state) {
            return Ok(true);
        }
        for file in BESIDE {
            let downloaded = match named(file) {
                Some(blob) => self.container.download(&blob.name, MAX_MODEL_BYTES).await?,
                None => None,
            };
            let copied = match downloaded {
                Some(Download { bytes, .. }) => write(folder, file, &bytes),
                None => remove(&folder.join(file)),
            };
            copied.map_err(|error| disk(&error))?;
        }
        write(folder, ETAG, state.as_bytes()).map_err(|error| disk(&error))?;
        Ok(true)
    }

    async fn download_samples(&self, name: &str) -> Result<Vec<Sample>, Failure> {
        let prefix = format!("{name}/{SAMPLES}/");
        let mut samples = Vec::new();
        for blob in self.container.list(&prefix, MAX_BLOBS).await? {
            let path = &blob.name[prefix.len()..];
            let Some((class, file)) = path.split_once('/') else {
                continue;
            };
            if file.contains('/') || file.starts_with('.') || samples.len() >= MAX_SAMPLES {
                continue;
            }
            if let Some(read) = self
                .container
                .download(&blob.name, MAX_SAMPLE_BYTES)
                .await?
            {
                samples.push(Sample {
                    path: format!("{SAMPLES}/{path}"),
                    class: class.to_owned(),
                    bytes: read.bytes,
                });
            }
        }
        Ok(samples)
    }
}

fn tag(etag: Option<Etag>) -> Tag {
    Tag(etag.map(|etag| etag.to_string()))
}

/// The model that a blob is, if it is one.
fn model(blob: &str) -> Option<Reference> {
    let parts: Vec<&str> = blob.split('/').collect();
    match parts[..] {
        [name, version, MODEL] if is_name(name) && is_name(version) => Some(Reference {
            name: name.to_owned(),
            version: version.to_owned(),
        }),
        _ => None,
    }
}

/// The states of some blobs in one text.
fn state<'a>(blobs: impl Iterator<Item = &'a Listed>) -> String {
    let lines =
        blobs.map(|blob| format!("{} {}\n", blob.name, blob.etag.as_deref().unwrap_or("?")));
    lines.collect()
}

/// Writes a file whole or not at all.
fn write(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let new = folder.join(format!(".{name}.new"));
    fs::write(&new, content)?;
    fs::rename(new, folder.join(name))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn disk(error: &io::Error) -> Failure {
    Failure::new(
        FailureKind::Unavailable,
        format!("a copy cannot be kept: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_told_by_their_path() {
        assert_eq!(
            model("bottle/2/model.onnx").unwrap().to_string(),
            "bottle@2"
        );
        for other in [
            "model.onnx",
            "bottle/model.onnx",
            "a/b/c/model.onnx",
            "../2/model.onnx",
            "a/2/x",
        ] {
            assert_eq!(model(other), None, "{other}");
        }
    }
}
