//! Which files are meant.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use relance::image::Format;

/// The given files, and the pictures in and below the given folders, by name; hidden ones are left out.
///
/// # Errors
/// If a path does not exist or a folder cannot be read.
pub fn find(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        let kind = fs::metadata(path).with_context(|| path.display().to_string())?;
        if kind.is_dir() {
            walk(path, &mut found)?;
        } else {
            found.push(path.clone());
        }
    }
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let context = || folder.display().to_string();
    let mut entries = fs::read_dir(folder)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(context)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        // Links to files count, links to folders could lead round in circles.
        if entry.file_type().with_context(context)?.is_dir() {
            walk(&path, found)?;
        } else if is_picture(&path) && path.is_file() {
            found.push(path);
        }
    }
    Ok(())
}

fn is_picture(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .map(str::to_lowercase)
        .is_some_and(|extension| Format::from_extension(&extension).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_give_their_pictures_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("b/.hidden")).unwrap();
        for name in [
            "b/2.JPEG",
            "b/1.tif",
            "b/notes.txt",
            "b/.hidden/x.png",
            "a.webp",
        ] {
            fs::write(at(name), "").unwrap();
        }
        let named = at("b/notes.txt");
        let found = find(&[dir.path().to_owned(), named.clone()]).unwrap();
        assert_eq!(found, [at("a.webp"), at("b/1.tif"), at("b/2.JPEG"), named]);
        assert!(find(&[at("c")]).unwrap_err().to_string().contains("c"));
    }
}
