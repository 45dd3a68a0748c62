//! The ONNX Runtime shared library.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ort::environment::Environment;
use ort::logging::LogLevel;

use crate::locate;
use crate::model::ModelError;

const LIBRARY: &str = if cfg!(target_os = "macos") {
    "lib/libonnxruntime.dylib"
} else {
    "lib/libonnxruntime.so"
};

/// A loaded ONNX Runtime; one a process.
#[derive(Clone)]
pub(in crate::model) struct Runtime(pub(super) Environment);

impl Runtime {
    /// Loads the library at `path`, or else `lib/libonnxruntime.so` in the working directory or any folder
    /// above the program. Later calls return what the first one loaded.
    ///
    /// # Errors
    /// [`ModelError::RuntimeMissing`] and [`ModelError::RuntimeUnusable`].
    pub(in crate::model) fn load(path: Option<&Path>) -> Result<Self, ModelError> {
        static LOADED: OnceLock<Environment> = OnceLock::new();
        if let Some(environment) = LOADED.get() {
            return Ok(Self(environment.clone()));
        }
        let path = match path {
            Some(path) => path.to_owned(),
            None => locate::find(Path::new(LIBRARY)).unwrap_or_else(|| PathBuf::from(LIBRARY)),
        };
        if !path.exists() {
            return Err(ModelError::RuntimeMissing { path });
        }
        let environment =
            open(&path).map_err(|reason| ModelError::RuntimeUnusable { path, reason })?;
        Ok(Self(LOADED.get_or_init(|| environment).clone()))
    }
}

fn open(path: &Path) -> Result<Environment, String> {
    // A bare file name would be searched for in the system's library folders.
    let path = path.canonicalize().map_err(|e| e.to_string())?;
    let builder = ort::init_from(path).map_err(|e| one_line(&e))?;
    let environment = builder
        .with_name("relance")
        .with_telemetry(false)
        .build()
        .map_err(|e| one_line(&e))?;
    environment.set_log_level(LogLevel::Error);
    Ok(environment)
}

pub(in crate::model) fn one_line(error: &impl ToString) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default().trim();
    line.chars().take(200).collect()
}
