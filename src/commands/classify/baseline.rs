//! The file that later answers are compared with.

use std::path::{Path, PathBuf};

use anyhow::Context;
use relance::classification::Score;
use relance::model::{Baseline, Model};

/// Below this, chance alone can look like drift.
const FEW: usize = 200;

/// A file that can be written after the last picture, as far as can be told before the first.
pub fn file(given: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(given);
    if path.extension().is_none_or(|extension| extension != "json") || path.is_dir() {
        return Err("a file whose name ends in .json is expected".into());
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    // The parent of a bare name is empty.
    if folder != Path::new("") && !folder.is_dir() {
        return Err(format!("there is no folder {}", folder.display()));
    }
    Ok(path)
}

/// Writes the baseline of a model that gave these answers.
///
/// # Errors
/// If there are no answers, and if the file cannot be written.
pub fn write(path: &Path, model: &Model, answers: &[Score]) -> anyhow::Result<()> {
    let baseline = Baseline::of(model, answers)
        .context("no picture was classified, so there is no baseline to write")?;
    let written = baseline.write(path);
    written.with_context(|| path.display().to_string())?;
    let few = if answers.len() < FEW {
        "; with so few, chance alone can look like drift"
    } else {
        ""
    };
    eprintln!(
        "{}: baseline of {} pictures{few}",
        path.display(),
        answers.len()
    );
    Ok(())
}
