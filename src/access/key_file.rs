//! Keys in a file that may change.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use metrics::gauge;

use crate::settings::ApiKeys;
use crate::telemetry::metrics::KEY_FILE_UP;

/// How often the file is read. Its content counts and not its date, so it does not matter whether it is written,
/// replaced, or reached through links that are turned to another folder, as Kubernetes does with secrets.
const PERIOD: Duration = Duration::from_millis(500);

/// More than a thousand keys with comments.
const MOST_BYTES: u64 = 1 << 20;

/// The file of keys is not usable; the text tells why and never what it holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("API_KEYS_FILE {path}: {reason}")]
pub struct KeyFileError {
    path: String,
    reason: String,
}

pub(super) struct KeyFile {
    path: PathBuf,
    /// Content at the start.
    first: String,
}

impl KeyFile {
    pub(super) fn open(path: &Path) -> Result<(Self, ApiKeys), KeyFileError> {
        let path = path.to_owned();
        let first = content(&path).map_err(|reason| error(&path, reason))?;
        let keys = ApiKeys::from_lines(&first).map_err(|reason| error(&path, reason))?;
        gauge!(KEY_FILE_UP).set(1.0);
        Ok((Self { path, first }, keys))
    }

    /// Hands on the keys each time the file has changed. A file that is broken or gone leaves the old keys.
    pub(super) async fn watch(&self, take: impl Fn(ApiKeys)) {
        let mut taken = Ok(self.first.clone());
        let mut before = taken.clone();
        loop {
            tokio::time::sleep(PERIOD).await;
            let path = self.path.clone();
            let Ok(now) = tokio::task::spawn_blocking(move || content(&path)).await else {
                return;
            };
            // What differs from one time to the next may be half written.
            let settled = now == before;
            before.clone_from(&now);
            if !settled || now == taken {
                continue;
            }
            taken.clone_from(&now);
            let parsed = now.and_then(|text| ApiKeys::from_lines(&text));
            gauge!(KEY_FILE_UP).set(f64::from(u8::from(parsed.is_ok())));
            match parsed {
                Ok(keys) => {
                    tracing::info!(keys = keys.0.len(), "API_KEYS_FILE was read again");
                    take(keys);
                }
                Err(reason) => {
                    let error = error(&self.path, reason);
                    tracing::error!("{error}; the keys from before stay");
                }
            }
        }
    }
}

fn error(path: &Path, reason: String) -> KeyFileError {
    KeyFileError {
        path: path.display().to_string(),
        reason,
    }
}

fn content(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| format!("cannot be opened ({})", error.kind()))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot be read ({})", error.kind()))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!("is larger than {MOST_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        format!("line {line} is not UTF-8")
    })
}
