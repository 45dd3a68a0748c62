//! Reviewed pictures as a dataset: a ZIP archive with a folder for each class, as Ultralytics reads it, and a
//! manifest that says where everything came from.
//!
//! However large it is, only one picture and a few entries are in memory.

mod archive;
mod index;

use std::fmt::Write;
use std::io;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use index::Index;

use archive::{Directory, Member};
use index::Placed;

/// Entries read at once.
const BATCH: usize = 200;

/// Small pieces are sent together.
const PIECE: usize = 64 * 1024;

const MANIFEST: &str = "manifest.jsonl";

/// A reviewed picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The request that brought it.
    pub request_id: Uuid,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// Its class, by the latest review.
    pub label: String,
    /// Its class, by the model.
    pub prediction: String,
    /// How sure the model was, 0 to 1.
    pub confidence: f32,
    /// The model, as `name@version`.
    pub model: String,
    /// Who reviewed it.
    pub reviewer: String,
    /// When, in RFC 3339.
    pub reviewed_at: String,
    /// Identifier of the review; of two the later one is greater.
    pub review_id: Uuid,
    /// What it is stored as; nothing if it is not.
    pub image_ref: Option<String>,
}

/// A line of the manifest.
#[derive(Serialize)]
struct Line<'a> {
    /// Path in the archive; null if the picture is missing.
    file: Option<&'a str>,
    request_id: Uuid,
    sha256: &'a str,
    label: &'a str,
    prediction: &'a str,
    confidence: f32,
    model: &'a str,
    reviewer: &'a str,
    reviewed_at: &'a str,
    split: &'a str,
    missing: bool,
}

/// Writes the archive piece by piece. `val` is the part of the pictures for validation; `picture` reads one, and
/// gives nothing if it is not there.
///
/// # Errors
/// Those of the disk, of `picture` and of `send`. The archive is of no use then.
pub fn write(
    index: &Index,
    val: f64,
    mut picture: impl FnMut(&str) -> io::Result<Option<Bytes>>,
    send: impl FnMut(Bytes) -> io::Result<()>,
) -> io::Result<()> {
    let mut output = Output {
        send,
        offset: 0,
        held: Vec::new(),
    };
    each(index, |placed| {
        let entry = &placed.entry;
        let Some(reference) = &entry.image_ref else {
            return Ok(());
        };
        let Some(bytes) = picture(reference)? else {
            return Ok(());
        };
        let member = Member {
            name: entry.path(val),
            checksum: crc32fast::hash(&bytes),
            size: bytes.len() as u64,
            offset: output.offset,
        };
        output.put(&member.header())?;
        output.put_whole(bytes)?;
        index.place(&entry.sha256, &member)
    })?;

    // Once to know its size and checksum, which come before it.
    let (mut checksum, mut size) = (crc32fast::Hasher::new(), 0);
    each(index, |placed| {
        let line = placed.line(val)?;
        checksum.update(&line);
        size += line.len() as u64;
        Ok(())
    })?;
    let manifest = Member {
        name: MANIFEST.into(),
        checksum: checksum.finalize(),
        size,
        offset: output.offset,
    };
    output.put(&manifest.header())?;
    each(index, |placed| output.put(&placed.line(val)?))?;

    let mut directory = Directory {
        members: 1,
        offset: output.offset,
        size: 0,
    };
    each(index, |placed| {
        let Some(member) = placed.member(val) else {
            return Ok(());
        };
        directory.members += 1;
        output.put(&member.directory_entry())
    })?;
    output.put(&manifest.directory_entry())?;
    directory.size = output.offset - directory.offset;
    output.put(&directory.end())?;
    output.flush()
}

fn each(index: &Index, mut work: impl FnMut(Placed) -> io::Result<()>) -> io::Result<()> {
    let mut last = String::new();
    loop {
        let batch = index.after(&last, BATCH)?;
        let Some(end) = batch.last() else {
            return Ok(());
        };
        last.clone_from(&end.entry.sha256);
        batch.into_iter().try_for_each(&mut work)?;
    }
}

/// The archive so far.
struct Output<F> {
    send: F,
    offset: u64,
    held: Vec<u8>,
}

impl<F: FnMut(Bytes) -> io::Result<()>> Output<F> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.offset += bytes.len() as u64;
        self.held.extend(bytes);
        if self.held.len() >= PIECE {
            self.flush()?;
        }
        Ok(())
    }

    /// Without copying.
    fn put_whole(&mut self, bytes: Bytes) -> io::Result<()> {
        if bytes.len() < PIECE {
            return self.put(&bytes);
        }
        self.flush()?;
        self.offset += bytes.len() as u64;
        (self.send)(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        (self.send)(std::mem::take(&mut self.held).into())
    }
}

impl Placed {
    fn member(&self, val: f64) -> Option<Member> {
        Some(Member {
            name: self.entry.path(val),
            checksum: self.checksum,
            size: self.size,
            offset: self.offset?,
        })
    }

    fn line(&self, val: f64) -> io::Result<Vec<u8>> {
        let entry = &self.entry;
        let path = self.offset.map(|_| entry.path(val));
        let line = Line {
            file: path.as_deref(),
            request_id: entry.request_id,
            sha256: &entry.sha256,
            label: &entry.label,
            prediction: &entry.prediction,
            confidence: entry.confidence,
            model: &entry.model,
            reviewer: &entry.reviewer,
            reviewed_at: &entry.reviewed_at,
            split: entry.split(val),
            missing: path.is_none(),
        };
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        Ok(text)
    }
}

impl Entry {
    /// By its content, so that equal pictures are on the same side, today and later.
    fn split(&self, val: f64) -> &'static str {
        let first = self.sha256.get(..8).unwrap_or_default();
        let place = u32::from_str_radix(first, 16).unwrap_or(0);
        if f64::from(place) < val * 2.0_f64.powi(32) {
            "val"
        } else {
            "train"
        }
    }

    fn path(&self, val: f64) -> String {
        let reference = self.image_ref.as_deref().unwrap_or_default();
        let extension = reference.rsplit('.').next().unwrap_or_default();
        let (split, folder) = (self.split(val), folder(&self.label));
        format!("{split}/{folder}/{}.{extension}", self.request_id)
    }
}

/// The name of a class as a name of a folder, on any system: what could lead elsewhere or not be written is `%XX`.
fn folder(class: &str) -> String {
    let mut name = String::with_capacity(class.len());
    for (place, c) in class.char_indices() {
        let hidden = place == 0 && c == '.';
        let cut_off = place + c.len_utf8() == class.len() && matches!(c, '.' | ' ');
        if c.is_control() || "/\\:*?\"<>|%".contains(c) || hidden || cut_off {
            for byte in c.to_string().bytes() {
                // Writing to a string cannot fail.
                let _ = write!(name, "%{byte:02X}");
            }
        } else {
            name.push(c);
        }
    }
    if name.is_empty() { "%00".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u32, picture: u32, label: &str) -> Entry {
        Entry {
            request_id: Uuid::from_u128(n.into()),
            sha256: blake3::hash(&picture.to_le_bytes()).to_hex().to_string(),
            label: label.into(),
            prediction: "a".into(),
            confidence: 0.5,
            model: "m@v".into(),
            reviewer: "ana".into(),
            reviewed_at: "2026-01-31T12:00:00Z".into(),
            review_id: Uuid::from_u128(n.into()),
            image_ref: Some(format!("00/00/{picture}.jpg")),
        }
    }

    fn placed(index: &Index) -> Vec<Entry> {
        let mut entries = Vec::new();
        each(index, |placed| {
            entries.push(placed.entry);
            Ok(())
        })
        .unwrap();
        entries
    }

    #[test]
    fn of_equal_pictures_the_latest_review_counts() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::create(dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        index.add(&[entry(3, 7, "b"), entry(1, 8, "a")]).unwrap();
        index.add(&[entry(2, 7, "a"), entry(4, 8, "c")]).unwrap();
        let mut labels: Vec<String> = placed(&index).into_iter().map(|e| e.label).collect();
        labels.sort_unstable();
        assert_eq!(labels, ["b", "c"]);
    }

    #[test]
    fn the_split_is_that_of_the_picture_and_grows_with_its_part() {
        let entries: Vec<Entry> = (0..1_000).map(|n| entry(n, n, "a")).collect();
        let val = |part| -> Vec<bool> { entries.iter().map(|e| e.split(part) == "val").collect() };
        let (fifth, half) = (val(0.2), val(0.5));
        let count = fifth.iter().filter(|in_it| **in_it).count();
        assert!((150..250).contains(&count), "{count}");
        assert!(
            fifth
                .iter()
                .zip(&half)
                .all(|(small, large)| !small || *large)
        );
        assert!(val(0.0).iter().all(|in_it| !in_it) && val(1.0).iter().all(|in_it| *in_it));
        assert_eq!(entry(1, 5, "a").split(0.5), entry(2, 5, "b").split(0.5));
    }

    #[test]
    fn classes_are_folders_whatever_they_are_called() {
        for (class, name) in [
            ("aberta", "aberta"),
            ("sem tampa", "sem tampa"),
            ("ção", "ção"),
            ("../../etc", "%2E.%2F..%2Fetc"),
            ("..", "%2E%2E"),
            (".", "%2E"),
            ("a/b\\c", "a%2Fb%5Cc"),
            ("a%2Fb", "a%252Fb"),
            ("x\0y\n", "x%00y%0A"),
            ("end. ", "end.%20"),
            ("", "%00"),
        ] {
            assert_eq!(folder(class), name, "{class:?}");
        }
    }
}
