//! JPEG files.

use super::corpus::{Case, patched};
use crate::support::picture;

const BASES: [&str; 6] = [
    "jpeg-420.jpg",
    "jpeg-progressive.jpg",
    "jpeg-exif-6.jpg",
    "jpeg-icc-comment.jpg",
    "jpeg-restart-rows.jpg",
    "jpeg-cmyk-no-adobe.jpg",
];

const SOF0: u8 = 0xc0;
const DHT: u8 = 0xc4;
const SOS: u8 = 0xda;
const DQT: u8 = 0xdb;
const DRI: u8 = 0xdd;
const APP1: u8 = 0xe1;
const APP2: u8 = 0xe2;
const COM: u8 = 0xfe;

pub fn cases() -> Vec<Case> {
    let mut cases = cut_at_markers();
    cases.extend(without_segments());
    cases.extend(lying_lengths());
    cases.extend(frames());
    cases.extend(tables());
    cases.extend(scans());
    cases.extend(metadata());
    cases
}

/// Where each marker begins, scan data and restarts left out, and which it is.
fn markers(file: &[u8]) -> Vec<(usize, u8)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + 1 < file.len() {
        let marker = file[at + 1];
        let counts = file[at] == 0xff && !matches!(marker, 0 | 0xff | 0xd0..=0xd7);
        if !counts {
            at += 1;
            continue;
        }
        found.push((at, marker));
        at += 2;
        if !matches!(marker, 0xd8 | 0xd9 | SOS) {
            at += usize::from(u16::from_be_bytes([file[at], file[at + 1]]));
        }
    }
    found
}

fn position(file: &[u8], marker: u8) -> usize {
    let all = markers(file);
    all.iter().find(|(_, found)| *found == marker).unwrap().0
}

fn segment(marker: u8, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u16 + 2).to_be_bytes();
    [&[0xff, marker][..], &length, data].concat()
}

/// `file` with `more` directly behind its first marker.
fn with_front(file: &[u8], more: &[u8]) -> Vec<u8> {
    [&file[..2], more, &file[2..]].concat()
}

fn cut_at_markers() -> Vec<Case> {
    let mut cases = Vec::new();
    for name in BASES {
        let file = picture(name);
        for (at, marker) in markers(&file) {
            for more in [0, 1, 3] {
                let end = (at + more).min(file.len());
                cases.push(Case::new(
                    format!("{name} cut {more} bytes into marker {marker:02x} at {at}"),
                    file[..end].to_vec(),
                ));
            }
        }
    }
    cases
}

fn without_segments() -> Vec<Case> {
    let file = picture("jpeg-420.jpg");
    let mut cases = Vec::new();
    let all = markers(&file);
    for (index, (at, marker)) in all.iter().enumerate() {
        let end = all.get(index + 1).map_or(file.len(), |(next, _)| *next);
        let without = [&file[..*at], &file[end..]].concat();
        cases.push(Case::new(
            format!("without marker {marker:02x} at {at}"),
            without,
        ));
        let twice = [&file[..end], &file[*at..]].concat();
        cases.push(Case::new(
            format!("marker {marker:02x} at {at} twice"),
            twice,
        ));
    }
    cases
}

fn lying_lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for name in ["jpeg-420.jpg", "jpeg-progressive.jpg"] {
        let file = picture(name);
        for (at, marker) in markers(&file) {
            if matches!(marker, 0xd8 | 0xd9) {
                continue;
            }
            for length in [0u16, 1, 2, 3, u16::MAX] {
                let bytes = patched(&file, at + 2, &length.to_be_bytes());
                cases.push(Case::new(
                    format!("{name}: marker {marker:02x} says it has {length} bytes"),
                    bytes,
                ));
            }
        }
    }
    cases
}

fn frames() -> Vec<Case> {
    let file = picture("jpeg-420.jpg");
    let at = position(&file, SOF0);
    let mut cases = Vec::new();
    for (height, width) in [
        (0, 0),
        (0, 100),
        (100, 0),
        (65_500, 1),
        (1, 65_500),
        (7_000, 7_000),
        (5_000, 9_999),
    ] {
        let size = [u16::to_be_bytes(height), u16::to_be_bytes(width)].concat();
        cases.push(Case::new(
            format!("says it is {width}×{height}"),
            patched(&file, at + 5, &size),
        ));
    }
    for precision in [0, 1, 12, 16, 255] {
        cases.push(Case::new(
            format!("{precision} bits a sample"),
            patched(&file, at + 4, &[precision]),
        ));
    }
    for components in [0, 2, 4, 255] {
        cases.push(Case::new(
            format!("{components} components"),
            patched(&file, at + 9, &[components]),
        ));
    }
    for sampling in [0x00, 0x01, 0x33, 0x55, 0xff] {
        cases.push(Case::new(
            format!("sampling {sampling:02x}"),
            patched(&file, at + 11, &[sampling]),
        ));
    }
    // Lossless, hierarchical, arithmetic, and what nobody has defined.
    for kind in [0xc1, 0xc3, 0xc5, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xcf, 0xf0] {
        cases.push(Case::new(
            format!("as frame {kind:02x}"),
            patched(&file, at + 1, &[kind]),
        ));
    }
    cases
}

fn tables() -> Vec<Case> {
    let file = picture("jpeg-420.jpg");
    let (huffman, quantisation) = (position(&file, DHT), position(&file, DQT));
    let mut all_long = vec![0; 17];
    all_long[16] = 255;
    all_long.extend(0..255);
    let rubbish = [
        (
            "Huffman codes that overlap",
            patched(&file, huffman + 5, &[255; 4]),
        ),
        (
            "a Huffman table without codes",
            patched(&file, huffman + 5, &[0; 16]),
        ),
        (
            "a Huffman table of number 15",
            patched(&file, huffman + 4, &[0x0f]),
        ),
        (
            "255 codes of 16 bits",
            with_front(&file, &segment(DHT, &all_long)),
        ),
        (
            "quantisation by zero",
            patched(&file, quantisation + 5, &[0; 64]),
        ),
        (
            "a quantisation table of number 15",
            patched(&file, quantisation + 4, &[0x0f]),
        ),
        (
            "a restart after every block",
            with_front(&file, &segment(DRI, &[0, 1])),
        ),
        (
            "restarts that never come",
            with_front(&file, &segment(DRI, &[0xff, 0xff])),
        ),
    ];
    rubbish.map(|(name, bytes)| Case::new(name, bytes)).into()
}

fn scans() -> Vec<Case> {
    let progressive = picture("jpeg-progressive.jpg");
    let all = markers(&progressive);
    let first = all.iter().position(|(_, marker)| *marker == SOS).unwrap();
    let (start, end) = (all[first].0, all[first + 1].0);
    let last = all.last().unwrap().0;
    let frame = all.iter().find(|(_, marker)| *marker == 0xc2).unwrap().0;
    let scan = &progressive[start..end];
    let repeated = |times: usize, side: Option<u16>| {
        let mut file = [
            &progressive[..end],
            &scan.repeat(times),
            &progressive[last..],
        ]
        .concat();
        if let Some(side) = side {
            let size = [side.to_be_bytes(), side.to_be_bytes()].concat();
            file = patched(&file, frame + 5, &size);
        }
        file
    };
    let file = picture("jpeg-420.jpg");
    let at = position(&file, SOS);
    vec![
        Case::new("50 scans", repeated(50, None)),
        Case::new("2 000 scans", repeated(2_000, None)),
        Case::new("20 scans of 49 million pixels", repeated(20, Some(7_000))),
        Case::new("90 scans of 49 million pixels", repeated(90, Some(7_000))),
        Case::new("90 scans of 4 million pixels", repeated(90, Some(2_000))),
        Case::new(
            "2 000 scans of 49 million pixels",
            repeated(2_000, Some(7_000)),
        ),
        Case::new("a scan of no components", patched(&file, at + 4, &[0])),
        Case::new("a scan of 255 components", patched(&file, at + 4, &[255])),
        Case::new(
            "a scan of a component that is not there",
            patched(&file, at + 5, &[99]),
        ),
        Case::new(
            "a scan with tables that are not there",
            patched(&file, at + 6, &[0x33]),
        ),
        Case::new(
            "spectral selection backwards",
            patched(&file, at + 11, &[63, 0]),
        ),
        Case::new("nothing but a scan", [&file[..2], &file[at..]].concat()),
        Case::new(
            "scan data of one byte",
            [&file[..at + 15], &[0xff, 0xd9]].concat(),
        ),
        Case::new(
            "scan data of 0xff",
            [&file[..at + 14], &[0xff; 50_000][..]].concat(),
        ),
    ]
}

fn metadata() -> Vec<Case> {
    let file = picture("jpeg-420.jpg");
    let comments = segment(COM, &[b'x'; 65_533]).repeat(140);
    let mut looped = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0".to_vec();
    looped.extend_from_slice(&8u32.to_be_bytes());
    let mut crowded = b"Exif\0\0II*\0\x08\0\0\0\xff\xff".to_vec();
    crowded.extend_from_slice(&b"\x12\x01\x03\0\xff\xff\xff\xff\x06\0\0\0".repeat(5_000));
    let far = b"Exif\0\0II*\0\xff\xff\xff\xff".to_vec();
    let wrong_type = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x63\0\x01\0\0\0\x06\0\0\0".to_vec();
    let ninth = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0".to_vec();
    let profile: Vec<u8> = (0..140)
        .flat_map(|n: u32| {
            let head = [&b"ICC_PROFILE\0"[..], &[(n % 256) as u8, 1]].concat();
            segment(APP2, &[&head[..], &[0xee; 65_000]].concat())
        })
        .collect();
    let inner = [
        &file[..2],
        &segment(APP1, &file[..file.len().min(60_000)]),
        &file[2..],
    ]
    .concat();
    vec![
        Case::new("9 MB of comments", with_front(&file, &comments)),
        Case::new("9 MB of a colour profile", with_front(&file, &profile)),
        Case::new(
            "EXIF that leads back to itself",
            with_front(&file, &segment(APP1, &looped)),
        ),
        Case::new(
            "EXIF of 65 535 entries",
            with_front(&file, &segment(APP1, &crowded)),
        ),
        Case::new(
            "EXIF that begins behind the end",
            with_front(&file, &segment(APP1, &far)),
        ),
        Case::new(
            "an orientation of an unknown type",
            with_front(&file, &segment(APP1, &wrong_type)),
        ),
        Case::new(
            "a ninth orientation",
            with_front(&file, &segment(APP1, &ninth)),
        ),
        Case::new(
            "a thousand empty EXIF segments",
            with_front(&file, &segment(APP1, b"Exif\0\0").repeat(1000)),
        ),
        Case::new("a picture in a picture's EXIF", inner),
        Case::new(
            "10 000 fill bytes",
            [&file[..2], &[0xff; 10_000], &file[2..]].concat(),
        ),
        Case::new("rubbish before the picture", [&[0; 64][..], &file].concat()),
        Case::new("two pictures in a row", [&file[..], &file].concat()),
        Case::new(
            "begins with its end",
            [&[0xff, 0xd8, 0xff, 0xd9][..], &file[2..]].concat(),
        ),
        Case::new("nothing but a beginning", vec![0xff, 0xd8, 0xff]),
    ]
}
