//! What the fuzz targets share.

use std::path::Path;

pub mod house;
pub mod inputs;

/// The repository.
pub fn root() -> &'static Path {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    fuzz.parent().unwrap_or(fuzz)
}
