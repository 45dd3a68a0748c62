//! Pictures as files, named by their content; [`blob`] keeps them where all instances see them.

pub mod blob;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use moka::sync::Cache;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::classification::PictureDigest;

pub use blob::{About, Blob};

/// A folder of pictures: `ab/abcd….jpg`. Folders are made as needed, and that costs more than a file, so there are
/// few: 256, although references name two levels.
pub struct Uploads {
    root: PathBuf,
    fsync: bool,
    // Spares a look at the disk for pictures that come again and again.
    known: Cache<PictureDigest, ()>,
    bytes: AtomicU64,
    fault: Mutex<Option<String>>,
}

/// Digests remembered as stored.
const REMEMBERED: u64 = 20_000;

impl Uploads {
    /// Pictures under `root`, which need not exist yet. Leftovers of unfinished writes are removed.
    pub fn new(root: PathBuf, fsync: bool) -> Self {
        let uploads = Self {
            root,
            fsync,
            known: Cache::new(REMEMBERED),
            bytes: AtomicU64::new(0),
            fault: Mutex::default(),
        };
        // Nothing there, or a disk that cannot be written: the first write says so.
        let _ = fs::remove_dir_all(uploads.unfinished());
        uploads
    }

    /// Name under which a picture is kept, here and in a shared store: `ab/cd/abcd….jpg`.
    pub fn reference(digest: &PictureDigest, extension: &str) -> String {
        let name = hex::encode(digest);
        format!("{}/{}/{name}.{extension}", &name[..2], &name[2..4])
    }

    /// Whether a text is the name of a picture.
    pub fn is_reference(text: &str) -> bool {
        file_name(text).is_some()
    }

    /// Whether the picture is certainly stored; `false` means that nobody remembers.
    pub fn is_known(&self, digest: &PictureDigest) -> bool {
        self.known.contains_key(digest)
    }

    /// Writes the picture unless it is there. Blocks.
    ///
    /// The file appears whole or not at all.
    ///
    /// # Errors
    /// The disk's.
    pub fn store(&self, digest: &PictureDigest, extension: &str, bytes: &[u8]) -> io::Result<()> {
        let name = hex::encode(digest);
        let path = self
            .root
            .join(&name[..2])
            .join(format!("{name}.{extension}"));
        let stored = fs::metadata(&path).is_ok_and(|file| file.len() == bytes.len() as u64);
        if !stored {
            let written = self.write(&path, bytes);
            if written.is_ok() {
                self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
            *self.fault() = written.as_ref().err().map(ToString::to_string);
            written?;
        }
        self.known.insert(*digest, ());
        Ok(())
    }

    /// Why the last attempt to write failed, if it did.
    pub fn last_fault(&self) -> Option<String> {
        self.fault().clone()
    }

    fn fault(&self) -> MutexGuard<'_, Option<String>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The digest of the picture that a reference names.
    pub fn digest(reference: &str) -> Option<PictureDigest> {
        let mut digest = [0; 32];
        let stem = file_name(reference)?.split('.').next()?;
        hex::decode_to_slice(stem, &mut digest).ok()?;
        Some(digest)
    }

    /// Reads a picture by its name. Blocks.
    ///
    /// # Errors
    /// `NotFound`, also for a name that is none of ours; `InvalidData` if it is no longer what its name says; or the
    /// disk's.
    pub fn read(&self, reference: &str) -> io::Result<Vec<u8>> {
        let bytes = fs::read(self.path_of(reference)?)?;
        if Self::digest(reference).is_none_or(|named| Sha256::digest(&bytes)[..] != named) {
            let text = format!("the stored picture {reference} is not the one that its name says");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(bytes)
    }

    /// Bytes of the picture, if it is here. Blocks.
    pub fn size(&self, reference: &str) -> Option<u64> {
        let path = self.path_of(reference).ok()?;
        fs::metadata(path).ok().map(|file| file.len())
    }

    /// Removes a picture if it is here. Blocks.
    ///
    /// It still counts as known: call it for what is kept elsewhere, else [`forget`](Self::forget) it first.
    ///
    /// # Errors
    /// The disk's.
    pub fn remove(&self, reference: &str) -> io::Result<()> {
        let path = self.path_of(reference)?;
        let Ok(file) = fs::metadata(&path) else {
            return Ok(());
        };
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(()) => {
                let less = |bytes: u64| Some(bytes.saturating_sub(file.len()));
                // The closure always gives a value.
                let _ = self
                    .bytes
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
                Ok(())
            }
            failed => failed,
        }
    }

    /// Takes note that a picture is kept, here or elsewhere.
    pub fn remember(&self, digest: &PictureDigest) {
        self.known.insert(*digest, ());
    }

    /// The next request with this picture shall look whether it is there.
    pub fn forget(&self, digest: &PictureDigest) {
        self.known.invalidate(digest);
    }

    /// Bytes of pictures here: those of the last [`survey`](Self::survey) and those that came since.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The names of the pictures here, whose bytes it counts on the way. Blocks.
    pub fn survey(&self) -> Vec<String> {
        let folders = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let files = folders
            .filter(|folder| folder.file_name().len() == 2)
            .flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten());
        let (mut names, mut bytes) = (Vec::new(), 0);
        for file in files {
            let (Ok(name), Ok(facts)) = (file.file_name().into_string(), file.metadata()) else {
                continue;
            };
            if name.len() > 4 && name.is_ascii() {
                bytes += facts.len();
                names.push(format!("{}/{}/{name}", &name[..2], &name[2..4]));
            }
        }
        self.bytes.store(bytes, Ordering::Relaxed);
        names
    }

    fn path_of(&self, reference: &str) -> io::Result<PathBuf> {
        let file = file_name(reference).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.root.join(&file[..2]).join(file))
    }

    fn unfinished(&self) -> PathBuf {
        self.root.join("unfinished")
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let unfinished = self.unfinished().join(Uuid::new_v4().simple().to_string());
        let finish = || -> io::Result<()> {
            let mut file = create(&unfinished)?;
            file.write_all(bytes)?;
            if self.fsync {
                file.sync_all()?;
            }
            match fs::rename(&unfinished, path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir_all(parent(path)?)?;
                    fs::rename(&unfinished, path)?;
                }
                renamed => renamed?,
            }
            if self.fsync {
                parent(path)?
                    .ancestors()
                    .take(2)
                    .try_for_each(|dir| File::open(dir)?.sync_all())?;
            }
            Ok(())
        };
        finish().inspect_err(|_| {
            let _ = fs::remove_file(&unfinished);
        })
    }
}

fn create(path: &Path) -> io::Result<File> {
    match File::create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(parent(path)?)?;
            File::create_new(path)
        }
        file => file,
    }
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent()
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

// Names come back from records; one must never lead out of the folder.
fn file_name(reference: &str) -> Option<&str> {
    let (folders, file) = reference.rsplit_once('/')?;
    let (stem, extension) = file.split_once('.')?;
    let is_digest =
        stem.len() == 64 && stem.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_extension = !extension.is_empty() && extension.bytes().all(|b| b.is_ascii_lowercase());
    let fits = is_digest && is_extension && folders == format!("{}/{}", &stem[..2], &stem[2..4]);
    fits.then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_written_once_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let uploads = Uploads::new(dir.path().join("pictures"), true);
        let digest = Sha256::digest(b"bytes").into();
        assert!(!uploads.is_known(&digest));
        uploads.store(&digest, "jpg", b"bytes").unwrap();
        assert!(uploads.is_known(&digest));
        let reference = Uploads::reference(&digest, "jpg");
        let path = uploads.path_of(&reference).unwrap();
        let written = fs::metadata(&path).unwrap().modified().unwrap();
        Uploads::new(dir.path().join("pictures"), false)
            .store(&digest, "jpg", b"bytes")
            .unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), written);
        assert_eq!(uploads.read(&reference).unwrap(), b"bytes");

        fs::write(&path, b"other").unwrap();
        let error = uploads.read(&reference).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    }

    #[test]
    fn a_half_written_file_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let uploads = Uploads::new(dir.path().to_owned(), false);
        let path = uploads
            .path_of(&Uploads::reference(&[1; 32], "png"))
            .unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"by").unwrap();
        uploads.store(&[1; 32], "png", b"bytes").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"bytes");
    }

    #[test]
    fn foreign_names_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret"), b"x").unwrap();
        let uploads = Uploads::new(dir.path().join("pictures"), false);
        let fits = Uploads::reference(&[1; 32], "jpg");
        for name in [
            "../secret",
            "/etc/passwd",
            "",
            "aa/cc.jpg",
            "aa/bb/cc.jpg",
            &format!("../{fits}"),
            &fits.replace("jpg", "../x"),
        ] {
            assert_eq!(
                uploads.read(name).unwrap_err().kind(),
                io::ErrorKind::NotFound,
                "{name}"
            );
        }
    }
}
