//! Broken, hostile and odd pictures, made from good ones; the same ones every time.

use super::{jpeg, others, png};
use crate::support::picture;

/// A file to upload, and what is wrong with it.
pub struct Case {
    pub name: String,
    pub bytes: Vec<u8>,
}

impl Case {
    pub fn new(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        let name = name.into();
        Self { name, bytes }
    }
}

/// Every case.
pub fn all() -> Vec<Case> {
    let mut cases = jpeg::cases();
    cases.extend(png::cases());
    cases.extend(others::gif());
    cases.extend(others::webp());
    cases.extend(others::bmp());
    cases.extend(others::tiff());
    cases.extend(others::not_pictures());
    cases.extend(flipped_bits());
    cases
}

/// `file` with `bytes` in the place of what is there.
pub fn patched(file: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

fn flipped_bits() -> Vec<Case> {
    let names = [
        "jpeg-420.jpg",
        "jpeg-progressive.jpg",
        "png-palette8.png",
        "png-adam7.png",
        "gif-interlaced.gif",
        "webp-lossy.webp",
        "webp-lossless.webp",
        "bmp-rle8.bmp",
        "tiff-lzw.tif",
        "tiff-deflate.tif",
    ];
    let mut random = Random(0x5eed);
    let mut cases = Vec::new();
    for name in names {
        for n in 0..12 {
            let mut bytes = picture(name);
            // Half of them in the first bytes, where the headers are.
            let end = if n % 2 == 0 {
                bytes.len().min(200)
            } else {
                bytes.len()
            };
            for _ in 0..=n {
                let at = random.below(end);
                bytes[at] ^= 1 << random.below(8);
            }
            cases.push(Case::new(
                format!("{name} with {} bits flipped, {n}", n + 1),
                bytes,
            ));
        }
    }
    cases
}

/// Knuth's linear congruential generator.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}
