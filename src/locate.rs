//! Finds the files that travel with the program (model, ONNX Runtime) from wherever it is started.

use std::path::{Path, PathBuf};

/// The first place where `relative` exists: the working directory, then the folders above the executable.
///
/// An absolute path is only checked for existence.
pub fn find(relative: &Path) -> Option<PathBuf> {
    if relative.exists() {
        return Some(relative.to_path_buf());
    }
    let exe = std::env::current_exe().ok()?;
    exe.ancestors()
        .skip(1)
        .map(|dir| dir.join(relative))
        .find(|candidate| candidate.exists())
}
