//! Which way up a picture is: EXIF, and XMP where EXIF is silent.

use image::ImageDecoder;
use image::metadata::Orientation;

/// Orientation of a JPEG, from its APP1 segments.
pub(super) fn of_jpeg(bytes: &[u8]) -> Orientation {
    const EXIF: &[u8] = b"Exif\0\0";
    const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
    let mut exif = None;
    let mut xmp = None;
    for segment in app1_segments(bytes) {
        if let Some(chunk) = segment.strip_prefix(EXIF) {
            exif = exif.or_else(|| Orientation::from_exif_chunk(chunk));
        } else if let Some(packet) = segment.strip_prefix(XMP) {
            xmp = xmp.or_else(|| in_xmp(packet));
        }
    }
    exif.or(xmp).unwrap_or(Orientation::NoTransforms)
}

/// Orientation of a WebP, from its EXIF and XMP chunks. The decoder would allocate whatever their lengths say.
pub(super) fn of_webp(bytes: &[u8]) -> Orientation {
    let exif = webp_chunk(bytes, b"EXIF").and_then(Orientation::from_exif_chunk);
    exif.or_else(|| in_xmp(webp_chunk(bytes, b"XMP ")?))
        .unwrap_or(Orientation::NoTransforms)
}

// The first chunk of that name; only files that begin with VP8X have any.
fn webp_chunk<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    let mut rest = bytes.get(12..)?;
    if !rest.starts_with(b"VP8X") {
        return None;
    }
    loop {
        let length = u32::from_le_bytes(rest.get(4..8)?.try_into().ok()?) as usize;
        let data = rest.get(8..length.checked_add(8)?)?;
        if rest.starts_with(name) {
            return Some(data);
        }
        rest = rest.get(8 + length.next_multiple_of(2)..)?;
    }
}

/// Orientation of another picture that the `image` crate decodes.
pub(super) fn of_decoder(decoder: &mut impl ImageDecoder, bytes: &[u8]) -> Orientation {
    let from_exif = |chunk: &[u8]| Orientation::from_exif_chunk(chunk);
    let exif = decoder
        .exif_metadata()
        .ok()
        .flatten()
        .and_then(|chunk| from_exif(&chunk));
    exif.or_else(|| png_exif(bytes).and_then(from_exif))
        .or_else(|| in_xmp(&decoder.xmp_metadata().ok().flatten()?))
        .or_else(|| decoder.orientation().ok())
        .unwrap_or(Orientation::NoTransforms)
}

// The segments between the first bytes and the first scan.
fn app1_segments(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    const APP1: u8 = 0xe1;
    const START_OF_SCAN: u8 = 0xda;
    let mut rest = bytes.get(2..).unwrap_or_default();
    std::iter::from_fn(move || {
        loop {
            let [0xff, marker, tail @ ..] = rest else {
                return None;
            };
            match (marker, tail) {
                // Padding, and markers that stand alone.
                (0xff, _) => rest = &rest[1..],
                (0x01 | 0xd0..=0xd8, tail) => rest = tail,
                (&START_OF_SCAN, _) => return None,
                (_, [high, low, ..]) => {
                    let length = usize::from(u16::from_be_bytes([*high, *low]));
                    let segment = tail.get(2..length)?;
                    rest = &tail[length..];
                    if *marker == APP1 {
                        return Some(segment);
                    }
                }
                _ => return None,
            }
        }
    })
}

// The decoder stops at the pixels, and the chunk may come behind them.
fn png_exif(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    loop {
        let length = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        let data = rest.get(8..length.checked_add(8)?)?;
        if &rest[4..8] == b"eXIf" {
            return Some(data);
        }
        rest = rest.get(length + 12..)?;
    }
}

// As an attribute (`tiff:Orientation="6"`) or an element (`<tiff:Orientation>6<`).
fn in_xmp(packet: &[u8]) -> Option<Orientation> {
    const NAME: &[u8] = b"tiff:Orientation";
    packet
        .windows(NAME.len())
        .enumerate()
        .filter(|(_, window)| *window == NAME)
        .find_map(|(at, _)| match &packet[at + NAME.len()..] {
            [b'=', b'"', digit @ b'0'..=b'9', ..] | [b'>', digit @ b'0'..=b'9', ..] => {
                Some(Orientation::from_exif(digit - b'0').unwrap_or(Orientation::NoTransforms))
            }
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xmp_in_both_spellings() {
        assert_eq!(
            in_xmp(b"<x tiff:Orientation=\"6\"/>"),
            Some(Orientation::Rotate90)
        );
        assert_eq!(
            in_xmp(b"<tiff:Orientation>3</tiff:Orientation>"),
            Some(Orientation::Rotate180)
        );
        assert_eq!(
            in_xmp(b"tiff:Orientation tiff:Orientation=\"9\""),
            Some(Orientation::NoTransforms)
        );
        assert_eq!(in_xmp(b"tiff:Orientatio"), None);
    }

    #[test]
    fn chunks_of_webp_are_found_and_their_lengths_not_believed() {
        let file = |rest: &[u8]| [b"RIFF\0\0\0\0WEBP", rest].concat();
        let two = file(b"VP8X\x03\0\0\0abc\0EXIF\x02\0\0\0hi");
        assert_eq!(webp_chunk(&two, b"EXIF"), Some(&b"hi"[..]));
        assert_eq!(webp_chunk(&two, b"XMP "), None);
        for broken in [
            &b""[..],
            b"VP8X",
            b"VP8X\xff\xff\xff\xff",
            b"VP8X\0\0\0\0EXIF\xff\xff\xff\xffhi",
            b"VP8 \0\0\0\0EXIF\x02\0\0\0hi",
        ] {
            assert_eq!(webp_chunk(&file(broken), b"EXIF"), None, "{broken:?}");
        }
    }

    #[test]
    fn broken_segments_end_the_search() {
        for bytes in [
            &b"\xff\xd8"[..],
            b"\xff\xd8\xff",
            b"\xff\xd8\xff\xe1",
            b"\xff\xd8\xff\xe1\0\0",
            b"\xff\xd8\xff\xe1\xff\xff",
        ] {
            assert_eq!(of_jpeg(bytes), Orientation::NoTransforms);
        }
        assert_eq!(png_exif(b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIDAT"), None);
    }
}
