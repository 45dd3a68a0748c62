//! A result as bytes, the same on every machine.
//!
//! | bytes | |
//! |---|---|
//! | 1 | version of this form |
//! | 1 | picture format |
//! | 4 + 4 | width and height in pixels, upright |
//! | 32 | SHA-256 of the picture |
//! | 4 | number of classes |
//! | 4 each | probabilities in class order, IEEE 754 single precision |
//!
//! Numbers are little-endian. The ranking is not stored: it follows from the probabilities.

use crate::classification::{Classification, Known};
use crate::image::{Format, PictureInfo};

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 46;

/// The bytes of `known`.
pub(super) fn encode(known: &Known) -> Vec<u8> {
    let Known {
        digest,
        classification: Classification { picture, ranking },
    } = known;
    let mut bytes = vec![0; HEADER_BYTES + size_of::<f32>() * ranking.len()];
    bytes[0] = VERSION;
    bytes[1] = format_code(picture.format);
    bytes[2..6].copy_from_slice(&picture.width.to_le_bytes());
    bytes[6..10].copy_from_slice(&picture.height.to_le_bytes());
    bytes[10..42].copy_from_slice(digest);
    let classes = u32::try_from(ranking.len()).unwrap_or(u32::MAX);
    bytes[42..46].copy_from_slice(&classes.to_le_bytes());
    let (probabilities, _) = bytes[HEADER_BYTES..].as_chunks_mut();
    for score in ranking.iter() {
        if let Some(place) = probabilities.get_mut(score.index as usize) {
            *place = score.confidence.to_le_bytes();
        }
    }
    bytes
}

/// The result that `bytes` hold; nothing if they are not whole, of another version, or make no sense.
pub(super) fn decode(bytes: &[u8]) -> Option<Known> {
    let ([VERSION, format], bytes) = bytes.split_first_chunk()? else {
        return None;
    };
    let (width, bytes) = bytes.split_first_chunk()?;
    let (height, bytes) = bytes.split_first_chunk()?;
    let (digest, bytes) = bytes.split_first_chunk()?;
    let (classes, bytes) = bytes.split_first_chunk()?;
    let (probabilities, rest) = bytes.as_chunks();
    let classes = u32::from_le_bytes(*classes) as usize;
    if classes == 0 || probabilities.len() != classes || !rest.is_empty() {
        return None;
    }
    let probabilities: Vec<f32> = probabilities
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    if !probabilities.iter().all(|p| (0.0..=1.0).contains(p)) {
        return None;
    }
    let picture = PictureInfo {
        format: Format::ALL
            .into_iter()
            .find(|known| format_code(*known) == *format)?,
        width: u32::from_le_bytes(*width),
        height: u32::from_le_bytes(*height),
    };
    Some(Known {
        digest: *digest,
        classification: Classification::new(picture, &probabilities),
    })
}

// Other versions of the program read these: numbers are never given anew.
fn format_code(format: Format) -> u8 {
    match format {
        Format::Jpeg => 1,
        Format::Png => 2,
        Format::WebP => 3,
        Format::Bmp => 4,
        Format::Gif => 5,
        Format::Tiff => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(format: Format, probabilities: &[f32]) -> Known {
        let picture = PictureInfo {
            format,
            width: 640,
            height: 70_000,
        };
        Known {
            digest: std::array::from_fn(|i| i as u8),
            classification: Classification::new(picture, probabilities),
        }
    }

    #[test]
    fn a_result_comes_back_as_it_was() {
        for format in Format::ALL {
            for probabilities in [&[1.0][..], &[0.25, 0.5, 0.25, 0.0], &[1e-40; 1000]] {
                let known = known(format, probabilities);
                assert_eq!(decode(&encode(&known)), Some(known));
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_version_1() {
        let bytes = encode(&known(Format::WebP, &[0.25, 0.75]));
        assert_eq!(bytes.len(), 54);
        assert_eq!(bytes[..10], [1, 3, 0x80, 2, 0, 0, 0x70, 0x11, 1, 0]);
        assert_eq!(
            bytes[41..],
            [31, 2, 0, 0, 0, 0, 0, 0x80, 0x3e, 0, 0, 0x40, 0x3f]
        );
    }

    #[test]
    fn anything_else_is_no_result() {
        let whole = encode(&known(Format::Jpeg, &[0.25, 0.75]));
        for length in 0..whole.len() {
            assert_eq!(decode(&whole[..length]), None, "{length} bytes");
        }
        assert_eq!(decode(&[&whole[..], &[0]].concat()), None);
        assert_eq!(decode(&[&whole[..], &[0; 4]].concat()), None);
        let with = |at: usize, bytes: &[u8]| {
            let mut changed = whole.clone();
            changed[at..at + bytes.len()].copy_from_slice(bytes);
            decode(&changed)
        };
        assert_eq!(with(0, &[2]), None, "version");
        assert_eq!(with(1, &[0]), None, "format");
        assert_eq!(with(1, &[7]), None, "format");
        for wrong in [f32::NAN, f32::INFINITY, -0.5, 1.5] {
            assert_eq!(with(46, &wrong.to_le_bytes()), None, "{wrong}");
        }
        assert_eq!(decode(&encode(&known(Format::Jpeg, &[]))), None);
    }
}
