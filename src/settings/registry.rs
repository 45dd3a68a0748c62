//! Models that can be changed while the service runs.

use std::path::PathBuf;

use clap::Args;

use super::SettingsError;

/// Prefix of a container in Blob Storage.
const BLOB: &str = "blob:";

/// Registry settings.
#[derive(Args, Clone, Debug)]
pub struct Registry {
    /// Models that can be put in the place of `MODEL` while the service runs: a folder with `{name}/{version}/model.onnx`,
    /// or `blob:CONTAINER` in the account of `AZURE_STORAGE_BLOB_ENDPOINT`
    #[arg(long, env = "MODELS")]
    pub models: Option<String>,
    /// Seconds between two looks at what is to be served, which other instances may have changed
    #[arg(long, env = "MODELS_POLL_SECONDS", default_value_t = 5)]
    pub models_poll_seconds: u64,
    /// Users and keys that may change what is served, comma separated [default: all who have credentials]
    #[arg(long, env = "MODEL_ADMINS", value_delimiter = ',')]
    pub model_admins: Option<Vec<String>>,
}

/// Where the registry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryPlace {
    /// A folder.
    Folder(PathBuf),
    /// A container in Blob Storage.
    Container(String),
}

impl Registry {
    /// Where the registry is, if there is one.
    pub fn place(&self) -> Option<RegistryPlace> {
        let text = self.models.as_deref()?;
        Some(match text.strip_prefix(BLOB) {
            Some(container) => RegistryPlace::Container(container.to_owned()),
            None => RegistryPlace::Folder(text.into()),
        })
    }

    /// Checks what belongs together.
    ///
    /// # Errors
    /// If two settings do not fit each other.
    pub(super) fn validate(&self, has_account: bool) -> Result<(), SettingsError> {
        if self.models_poll_seconds == 0 {
            return Err(SettingsError::Range(
                "MODELS_POLL_SECONDS",
                "greater than 0",
            ));
        }
        match self.place() {
            Some(RegistryPlace::Container(_)) if !has_account => Err(SettingsError::Range(
                "MODELS",
                "a folder where AZURE_STORAGE_BLOB_ENDPOINT is not set",
            )),
            Some(RegistryPlace::Folder(path)) if !path.is_dir() => {
                Err(SettingsError::Range("MODELS", "a folder that is there"))
            }
            _ => Ok(()),
        }
    }
}
