//! Small files that claim to be huge pictures.

use crate::support::picture;

/// Every bomb, with its file name.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("huge.png", png(60_000, 60_000)),
        ("largest.png", png(i32::MAX as u32, i32::MAX as u32)),
        ("huge.jpg", jpeg("jpeg-420.jpg")),
        ("huge-progressive.jpg", jpeg("jpeg-progressive.jpg")),
        ("huge-cmyk.jpg", jpeg("jpeg-cmyk.jpg")),
        ("huge.gif", patched("gif-plain.gif", 6, &[0xff; 4])),
        ("huge-frame.gif", gif_frame()),
        (
            "huge.bmp",
            patched(
                "bmp-24.bmp",
                18,
                &[60_000u32.to_le_bytes(), 60_000u32.to_le_bytes()].concat(),
            ),
        ),
        (
            "huge-rle.bmp",
            patched(
                "bmp-rle8.bmp",
                18,
                &[60_000u32.to_le_bytes(), 60_000u32.to_le_bytes()].concat(),
            ),
        ),
        (
            "huge.webp",
            patched("webp-lossy.webp", 26, &[0xff, 0x3f, 0xff, 0x3f]),
        ),
        (
            "huge-lossless.webp",
            patched("webp-lossless.webp", 21, &[0xff; 4]),
        ),
        (
            "huge-canvas.webp",
            patched("webp-animated.webp", 24, &[0xff, 0xff, 0, 0xff, 0xff, 0]),
        ),
        ("huge.tif", tiff(60_000, 60_000)),
        ("largest.tif", tiff(u32::MAX, u32::MAX)),
        ("long-strip.tif", tiff(40_000_000, 1)),
    ]
}

fn patched(name: &str, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = picture(name);
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

/// A PNG that holds one byte of its pixels.
pub fn png(width: u32, height: u32) -> Vec<u8> {
    let header = [
        &width.to_be_bytes()[..],
        &height.to_be_bytes(),
        &[8, 2, 0, 0, 0],
    ]
    .concat();
    // One stored block of one byte.
    let pixels = [
        0x78, 0x01, 0x01, 0x01, 0x00, 0xfe, 0xff, 0x00, 0x00, 0x01, 0x00, 0x01,
    ];
    let chunks = [
        chunk(b"IHDR", &header),
        chunk(b"IDAT", &pixels),
        chunk(b"IEND", &[]),
    ]
    .concat();
    [&b"\x89PNG\r\n\x1a\n"[..], &chunks].concat()
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [&kind[..], data].concat();
    [
        &(data.len() as u32).to_be_bytes()[..],
        &body,
        &crc32(&body).to_be_bytes(),
    ]
    .concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| {
            if c & 1 == 1 {
                (c >> 1) ^ 0xedb8_8320
            } else {
                c >> 1
            }
        })
    })
}

/// A JPEG whose frame header says 65 500×65 500.
fn jpeg(name: &str) -> Vec<u8> {
    let file = picture(name);
    let frame = file
        .windows(2)
        .position(|marker| matches!(marker, [0xff, 0xc0 | 0xc2]))
        .unwrap();
    patched(
        name,
        frame + 5,
        &[65_500u16.to_be_bytes(), 65_500u16.to_be_bytes()].concat(),
    )
}

/// A GIF with a small canvas and a frame of 65 535×65 535.
fn gif_frame() -> Vec<u8> {
    let mut file = b"GIF89a\x08\0\x08\0\x80\0\0\0\0\0\xff\xff\xff".to_vec();
    file.extend_from_slice(b",\0\0\0\0\xff\xff\xff\xff\0\x02\x02\x4c\x01\0;");
    file
}

/// A TIFF with one strip of a few bytes.
fn tiff(width: u32, height: u32) -> Vec<u8> {
    let entries = [
        (256, width),                        // width
        (257, height),                       // height
        (258, 8),                            // bits a sample
        (259, 1),                            // not compressed
        (262, 1),                            // black is zero
        (273, 8),                            // where the strip begins
        (277, 1),                            // samples a pixel
        (278, height),                       // rows in the strip
        (279, width.saturating_mul(height)), // bytes in the strip
    ];
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    file.extend_from_slice(&(entries.len() as u16).to_le_bytes());
    for (tag, value) in entries {
        file.extend_from_slice(
            &[
                &(tag as u16).to_le_bytes()[..],
                &[4, 0, 1, 0, 0, 0],
                &value.to_le_bytes(),
            ]
            .concat(),
        );
    }
    file.extend_from_slice(&[0; 12]);
    file
}
