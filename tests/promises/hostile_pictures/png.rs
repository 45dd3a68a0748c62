//! PNG files.

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

use super::corpus::{Case, patched};
use crate::support::picture;

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

pub fn cases() -> Vec<Case> {
    let mut cases = chunks_broken();
    cases.extend(headers());
    cases.extend(bombs());
    cases.extend(oddities());
    cases
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(kind);
    crc.update(data);
    let length = (data.len() as u32).to_be_bytes();
    [&length[..], kind, data, &crc.sum().to_be_bytes()].concat()
}

fn header(width: u32, height: u32, rest: [u8; 5]) -> Vec<u8> {
    let data = [&width.to_be_bytes()[..], &height.to_be_bytes(), &rest].concat();
    chunk(b"IHDR", &data)
}

fn deflated(byte: u8, length: usize) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let block = vec![byte; 1 << 20];
    let mut left = length;
    while left > 0 {
        let next = left.min(block.len());
        encoder.write_all(&block[..next]).unwrap();
        left -= next;
    }
    encoder.finish().unwrap()
}

fn file(chunks: &[Vec<u8>]) -> Vec<u8> {
    [SIGNATURE, &chunks.concat()].concat()
}

/// Where each chunk begins, and its whole length.
fn chunks(file: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = SIGNATURE.len();
    while at + 12 <= file.len() {
        let length = u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize + 12;
        found.push((at, length));
        at += length;
    }
    found
}

fn chunks_broken() -> Vec<Case> {
    let mut cases = Vec::new();
    for name in [
        "png-palette-trns.png",
        "png-rgb.png",
        "png-exif-6.png",
        "png-apng.png",
    ] {
        let whole = picture(name);
        for (at, length) in chunks(&whole) {
            let kind = String::from_utf8_lossy(&whole[at + 4..at + 8]).into_owned();
            let end = at + length;
            let mut add = |what: &str, bytes| {
                cases.push(Case::new(format!("{name}: {kind} at {at} {what}"), bytes))
            };
            add("cut off", whole[..at + length / 2].to_vec());
            add("left out", [&whole[..at], &whole[end..]].concat());
            add("twice", [&whole[..end], &whole[at..]].concat());
            add("with a wrong checksum", patched(&whole, end - 4, &[0; 4]));
            add(
                "with the largest length",
                patched(&whole, at, &[0x7f, 0xff, 0xff, 0xff]),
            );
            add("under an unknown name", patched(&whole, at + 4, b"QqQq"));
        }
    }
    cases
}

fn headers() -> Vec<Case> {
    let pixels = chunk(b"IDAT", &deflated(0, 4096));
    let end = chunk(b"IEND", &[]);
    let variants = [
        ("no width", header(0, 8, [8, 2, 0, 0, 0])),
        ("no height", header(8, 0, [8, 2, 0, 0, 0])),
        ("the largest width", header(u32::MAX, 1, [8, 0, 0, 0, 0])),
        ("a negative height", header(1, 1 << 31, [8, 0, 0, 0, 0])),
        ("0 bits", header(8, 8, [0, 2, 0, 0, 0])),
        ("3 bits", header(8, 8, [3, 0, 0, 0, 0])),
        ("32 bits", header(8, 8, [32, 2, 0, 0, 0])),
        ("16-bit palette", header(8, 8, [16, 3, 0, 0, 0])),
        ("a palette that is missing", header(8, 8, [8, 3, 0, 0, 0])),
        ("colour type 1", header(8, 8, [8, 1, 0, 0, 0])),
        ("colour type 255", header(8, 8, [8, 255, 0, 0, 0])),
        ("compression 1", header(8, 8, [8, 2, 1, 0, 0])),
        ("filter 1", header(8, 8, [8, 2, 0, 1, 0])),
        ("interlace 2", header(8, 8, [8, 2, 0, 0, 2])),
        ("more pixels than data", header(512, 512, [8, 2, 0, 0, 0])),
        (
            "more pixels than data, interlaced",
            header(512, 512, [8, 2, 0, 0, 1]),
        ),
    ];
    let cases = variants.map(|(name, header)| {
        Case::new(
            format!("a PNG with {name}"),
            file(&[header, pixels.clone(), end.clone()]),
        )
    });
    cases.into()
}

fn bombs() -> Vec<Case> {
    let small = header(8, 8, [8, 2, 0, 0, 0]);
    let pixels = chunk(b"IDAT", &deflated(0, 8 * 25));
    let end = || chunk(b"IEND", &[]);
    let large = 200 << 20;
    let text = [&b"Comment\0\0"[..], &deflated(b'x', large)].concat();
    let profile = [&b"ICC\0\0"[..], &deflated(0, large)].concat();
    let international = [&b"Comment\0\x01\0\0\0"[..], &deflated(b'x', large)].concat();
    let with = |more: Vec<u8>| file(&[small.clone(), more, pixels.clone(), end()]);
    vec![
        Case::new("200 MB of text", with(chunk(b"zTXt", &text))),
        Case::new("200 MB of a colour profile", with(chunk(b"iCCP", &profile))),
        Case::new(
            "200 MB of international text",
            with(chunk(b"iTXt", &international)),
        ),
        Case::new(
            "50 texts of 200 MB",
            with(chunk(b"zTXt", &text[..text.len().min(150_000)]).repeat(50)),
        ),
        Case::new(
            "200 MB of pixels for 64",
            file(&[small.clone(), chunk(b"IDAT", &deflated(0, large)), end()]),
        ),
        Case::new(
            "49 million black pixels",
            file(&[
                header(7_000, 7_000, [8, 2, 0, 0, 0]),
                chunk(b"IDAT", &deflated(0, 7_000 * 21_001)),
                end(),
            ]),
        ),
        Case::new(
            "49 million black pixels, interlaced",
            file(&[
                header(7_000, 7_000, [1, 0, 0, 0, 1]),
                chunk(b"IDAT", &deflated(0, 6_400_000)),
                end(),
            ]),
        ),
        Case::new(
            "49 million pixels of 64 bits",
            file(&[
                header(7_000, 7_000, [16, 6, 0, 0, 0]),
                chunk(b"IDAT", &deflated(0, 1 << 20)),
                end(),
            ]),
        ),
        Case::new(
            "one row of 49 million pixels",
            file(&[
                header(49_000_000, 1, [1, 0, 0, 0, 0]),
                chunk(b"IDAT", &deflated(0, 6_125_001)),
                end(),
            ]),
        ),
        Case::new(
            "one column of 49 million pixels",
            file(&[
                header(1, 49_000_000, [1, 0, 0, 0, 0]),
                chunk(b"IDAT", &deflated(0, 98_000_000)),
                end(),
            ]),
        ),
    ]
}

fn oddities() -> Vec<Case> {
    let small = || header(8, 8, [8, 2, 0, 0, 0]);
    let end = || chunk(b"IEND", &[]);
    let data = deflated(0, 8 * 25);
    let bytewise: Vec<Vec<u8>> = data.iter().map(|byte| chunk(b"IDAT", &[*byte])).collect();
    let frames = [&u32::MAX.to_be_bytes()[..], &[0; 4]].concat();
    let palette = header(8, 8, [8, 3, 0, 0, 0]);
    let indices = chunk(b"IDAT", &deflated(255, 8 * 9));
    vec![
        Case::new("a PNG of its signature", SIGNATURE.to_vec()),
        Case::new("a PNG without pixels", file(&[small(), end()])),
        Case::new(
            "pixels in chunks of one byte",
            file(&[small(), bytewise.concat(), end()]),
        ),
        Case::new(
            "10 000 empty chunks of pixels",
            file(&[
                small(),
                chunk(b"IDAT", &[]).repeat(10_000),
                chunk(b"IDAT", &data),
                end(),
            ]),
        ),
        Case::new(
            "100 000 empty texts",
            file(&[
                small(),
                chunk(b"tEXt", b"a\0").repeat(100_000),
                chunk(b"IDAT", &data),
                end(),
            ]),
        ),
        Case::new(
            "pixels that are not deflated",
            file(&[small(), chunk(b"IDAT", &[0xff; 300]), end()]),
        ),
        Case::new(
            "an unknown filter",
            file(&[small(), chunk(b"IDAT", &deflated(77, 8 * 25)), end()]),
        ),
        Case::new(
            "an empty palette",
            file(&[palette.clone(), chunk(b"PLTE", &[]), indices.clone(), end()]),
        ),
        Case::new(
            "a palette of 300 colours",
            file(&[
                palette.clone(),
                chunk(b"PLTE", &[9; 900]),
                indices.clone(),
                end(),
            ]),
        ),
        Case::new(
            "a colour behind the palette",
            file(&[
                palette.clone(),
                chunk(b"PLTE", &[9; 6]),
                indices.clone(),
                end(),
            ]),
        ),
        Case::new(
            "more transparency than colours",
            file(&[
                palette,
                chunk(b"PLTE", &[9; 6]),
                chunk(b"tRNS", &[0; 256]),
                indices,
                end(),
            ]),
        ),
        Case::new(
            "four billion frames",
            file(&[
                small(),
                chunk(b"acTL", &frames),
                chunk(b"IDAT", &data),
                end(),
            ]),
        ),
        Case::new(
            "an end before the pixels",
            file(&[small(), end(), chunk(b"IDAT", &data)]),
        ),
        Case::new(
            "an EXIF chunk of rubbish",
            file(&[
                small(),
                chunk(b"eXIf", &[0x4d; 40_000]),
                chunk(b"IDAT", &data),
                end(),
            ]),
        ),
    ]
}
