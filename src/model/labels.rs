//! The labels file: one class name a line.

use std::path::Path;

use super::ModelError;

pub(super) fn read(path: &Path) -> Result<Vec<String>, ModelError> {
    let fail = |reason: String| ModelError::Labels {
        path: path.to_owned(),
        reason,
    };
    let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
    // Editors on Windows begin files with a byte order mark.
    let text = text.trim_start_matches('\u{feff}');
    let labels: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    if labels.is_empty() {
        return Err(fail("it is empty".into()));
    }
    if let Some(at) = labels.iter().position(String::is_empty) {
        return Err(fail(format!("line {} is blank", at + 1)));
    }
    Ok(labels)
}
