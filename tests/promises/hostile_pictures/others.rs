//! GIF, WebP, BMP and TIFF files, and files that only say they are pictures.

use super::corpus::{Case, patched};
use crate::support::picture;

pub fn gif() -> Vec<Case> {
    let plain = picture("gif-plain.gif");
    let image = |left: u16, top: u16, width: u16, height: u16, data: &[u8]| {
        let edges = [left, top, width, height].map(u16::to_le_bytes).concat();
        [b",", &edges[..], b"\0", data].concat()
    };
    let screen = |width: u16, height: u16| {
        let size = [width.to_le_bytes(), height.to_le_bytes()].concat();
        [b"GIF89a", &size[..], b"\x80\0\0\0\0\0\xff\xff\xff"].concat()
    };
    // Clear, 1, end, in codes of three bits.
    let data = b"\x02\x02\x4c\x01\0";
    let frame = image(0, 0, 8, 8, data);
    let comment = [
        b"!\xfe",
        &[&[255][..], &[b'x'; 255]].concat().repeat(30_000)[..],
        b"\0",
    ]
    .concat();
    let mut cases = vec![
        Case::new(
            "a screen without size",
            [&screen(0, 0), &frame[..], b";"].concat(),
        ),
        Case::new(
            "a frame without size",
            [&screen(8, 8), &image(0, 0, 0, 0, data)[..], b";"].concat(),
        ),
        Case::new(
            "a frame outside of the screen",
            [&screen(8, 8), &image(60_000, 60_000, 8, 8, data)[..], b";"].concat(),
        ),
        Case::new(
            "a frame of 49 million pixels",
            [&screen(8, 8), &image(0, 0, 7_000, 7_000, data)[..], b";"].concat(),
        ),
        Case::new(
            "a screen of 49 million pixels",
            [&screen(7_000, 7_000), &frame[..], b";"].concat(),
        ),
        Case::new(
            "50 000 frames",
            [&screen(8, 8), &frame.repeat(50_000)[..], b";"].concat(),
        ),
        Case::new(
            "7 MB of comments",
            [&screen(8, 8), &comment[..], &frame, b";"].concat(),
        ),
        Case::new("no frames", [&screen(8, 8)[..], b";"].concat()),
        Case::new(
            "an unknown block",
            [&screen(8, 8)[..], b"X", &frame].concat(),
        ),
        Case::new(
            "an extension without end",
            [&screen(8, 8)[..], b"!\xf9\x04"].concat(),
        ),
        Case::new("a version nobody knows", patched(&plain, 3, b"99z")),
    ];
    for size in [0, 1, 9, 12, 13, 255] {
        let odd = image(0, 0, 8, 8, &[size, 2, 0x4c, 1, 0]);
        cases.push(Case::new(
            format!("codes of {size} bits"),
            [&screen(8, 8), &odd[..], b";"].concat(),
        ));
    }
    cases.extend((6..20).chain([100, 300]).map(|end| {
        let bytes = plain[..end.min(plain.len())].to_vec();
        Case::new(format!("a GIF of {end} bytes"), bytes)
    }));
    cases
}

pub fn webp() -> Vec<Case> {
    let mut cases = Vec::new();
    for name in [
        "webp-lossy.webp",
        "webp-lossless.webp",
        "webp-alpha-lossy.webp",
        "webp-animated.webp",
        "webp-exif-8.webp",
    ] {
        let whole = picture(name);
        let mut at = 12;
        while at + 8 <= whole.len() {
            let length = u32::from_le_bytes(whole[at + 4..at + 8].try_into().unwrap()) as usize;
            let end = (at + 8 + length + length % 2).min(whole.len());
            let mut add = |what: &str, bytes| {
                cases.push(Case::new(format!("{name}: chunk at {at} {what}"), bytes))
            };
            add("cut off", whole[..at + (end - at) / 2].to_vec());
            add("left out", [&whole[..at], &whole[end..]].concat());
            add("twice", [&whole[..end], &whole[at..]].concat());
            add("of no length", patched(&whole, at + 4, &[0; 4]));
            add("of the largest length", patched(&whole, at + 4, &[0xff; 4]));
            add(
                "of zeros",
                patched(&whole, at + 8, &vec![0; (end - at - 8).min(64)]),
            );
            add(
                "of ones",
                patched(&whole, at + 8, &vec![0xff; (end - at - 8).min(64)]),
            );
            at = end;
        }
        for length in [0u32, 4, u32::MAX] {
            cases.push(Case::new(
                format!("{name} says it has {length} bytes"),
                patched(&whole, 4, &length.to_le_bytes()),
            ));
        }
    }
    cases
}

pub fn bmp() -> Vec<Case> {
    let mut cases = Vec::new();
    let whole = picture("bmp-24.bmp");
    let mut add = |what: String, at: usize, bytes: &[u8]| {
        cases.push(Case::new(
            format!("a BMP with {what}"),
            patched(&whole, at, bytes),
        ));
    };
    for offset in [0u32, 2, 13, 1 << 20, u32::MAX] {
        add(format!("pixels at {offset}"), 10, &offset.to_le_bytes());
    }
    for size in [0u32, 12, 16, 64, 124, 255, u32::MAX] {
        add(format!("a header of {size} bytes"), 14, &size.to_le_bytes());
    }
    for width in [0i32, -1, i32::MIN, i32::MAX] {
        add(format!("a width of {width}"), 18, &width.to_le_bytes());
        add(format!("a height of {width}"), 22, &width.to_le_bytes());
    }
    for planes in [0u16, 2, u16::MAX] {
        add(format!("{planes} planes"), 26, &planes.to_le_bytes());
    }
    for bits in [0u16, 2, 3, 5, 64, u16::MAX] {
        add(format!("{bits} bits a pixel"), 28, &bits.to_le_bytes());
    }
    for compression in [1u32, 2, 3, 4, 5, 6, 11, 13, u32::MAX] {
        add(
            format!("compression {compression}"),
            30,
            &compression.to_le_bytes(),
        );
    }
    let coded = picture("bmp-rle8.bmp");
    let pixels = u32::from_le_bytes(coded[10..14].try_into().unwrap()) as usize;
    let beyond = [&coded[..pixels], &[0, 2, 255, 255].repeat(2_000)[..]].concat();
    cases.push(Case::new("runs that leave the BMP", beyond));
    let palette = picture("bmp-palette8.bmp");
    for colours in [1u32, 257, u32::MAX] {
        cases.push(Case::new(
            format!("a BMP palette of {colours}"),
            patched(&palette, 46, &colours.to_le_bytes()),
        ));
    }
    cases
}

pub fn tiff() -> Vec<Case> {
    let whole = picture("tiff-rgb.tif");
    let number = |at: usize| u16::from_le_bytes(whole[at..at + 2].try_into().unwrap());
    let directory = u32::from_le_bytes(whole[4..8].try_into().unwrap()) as usize;
    let count = usize::from(number(directory));
    let mut cases = Vec::new();
    for index in 0..count {
        let entry = directory + 2 + 12 * index;
        let tag = number(entry);
        for value in [0u32, 1, 0x7fff, u32::MAX] {
            cases.push(Case::new(
                format!("TIFF tag {tag} is {value}"),
                patched(&whole, entry + 8, &value.to_le_bytes()),
            ));
        }
        cases.push(Case::new(
            format!("TIFF tag {tag} of four billion values"),
            patched(&whole, entry + 4, &[0xff; 4]),
        ));
        cases.push(Case::new(
            format!("TIFF tag {tag} of an unknown type"),
            patched(&whole, entry + 2, &[0xff; 2]),
        ));
    }
    let next = directory + 2 + 12 * count;
    let back = (directory as u32).to_le_bytes();
    for (name, at, bytes) in [
        ("whose directory leads to itself", next, &back[..]),
        ("whose directory is behind its end", 4, &[0xff; 4]),
        ("whose directory is its header", 4, &[0; 4]),
        ("of 65 535 entries", directory, &[0xff; 2]),
        ("without entries", directory, &[0; 2]),
        ("of the larger kind", 2, &[43, 0]),
    ] {
        cases.push(Case::new(
            format!("a TIFF {name}"),
            patched(&whole, at, bytes),
        ));
    }
    cases
}

pub fn not_pictures() -> Vec<Case> {
    let jpeg = picture("jpeg-420.jpg");
    let gif = picture("gif-plain.gif");
    let page = b"<!doctype html><script>alert(1)</script>".to_vec();
    let archive = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"
        .to_vec();
    let entity = b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><svg>&b;</svg>".to_vec();
    let text: Vec<u8> = "texto com acentuação ".repeat(1000).into_bytes();
    vec![
        Case::new("one byte", vec![0xff]),
        Case::new("two bytes", vec![0xff, 0xd8]),
        Case::new("a megabyte of zeros", vec![0; 1 << 20]),
        Case::new("a megabyte of 0xff", vec![0xff; 1 << 20]),
        Case::new("a web page", page.clone()),
        Case::new("an SVG that reads a file", svg),
        Case::new("an SVG with an external entity", entity),
        Case::new("an empty archive", archive.clone()),
        Case::new("a PDF", b"%PDF-1.7\n1 0 obj".to_vec()),
        Case::new(
            "a program",
            [&b"\x7fELF\x02\x01\x01"[..], &[0; 500]].concat(),
        ),
        Case::new("a gzip file", [&b"\x1f\x8b\x08"[..], &[0; 500]].concat()),
        Case::new("a film", [&b"\0\0\0\x20ftypisom"[..], &[0; 500]].concat()),
        Case::new("text", text),
        Case::new(
            "an EPS file",
            b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) run".to_vec(),
        ),
        Case::new(
            "an ImageMagick script",
            b"push graphic-context\nfill 'url(https://127.0.0.1/)'".to_vec(),
        ),
        Case::new(
            "a picture that is also an archive",
            [&jpeg[..], &archive].concat(),
        ),
        Case::new(
            "a picture that is also a web page",
            [&jpeg[..], &page].concat(),
        ),
        Case::new(
            "a picture that is also a script",
            [&gif[..6], b"=1/*", &gif[10..], b"*/;alert(1)"].concat(),
        ),
        Case::new(
            "a web page that is also a picture",
            [&page[..], &jpeg].concat(),
        ),
        Case::new(
            "a PDF that is also a picture",
            [&b"%PDF-1.7\n"[..], &jpeg].concat(),
        ),
        Case::new(
            "the head of one picture on the body of another",
            [&gif[..10], &jpeg[10..]].concat(),
        ),
    ]
}
