//! Pictures that are damaged, too large, or none.

use std::time::{Duration, Instant};

use super::{bombs, contains_all, raw};
use crate::support::process::peak_kib;
use crate::support::{self, App, PATIENCE, Setup, picture, problem, unique};

const FORMATS: &str = "JPEG, PNG, WebP, BMP, GIF and TIFF";

#[tokio::test]
async fn content_that_is_no_picture_is_named() {
    let app = App::start().await;
    for (content, found) in [
        (&b"just some text that somebody named photo.jpg"[..], "text"),
        (b"<!DOCTYPE html><html><body>no</body></html>", "HTML"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "PDF"),
        (b"PK\x03\x04\x14\0\0\0\x08\0 and so on", "ZIP"),
        (b"\0\0\0\x24ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "AVIF"),
        (b"\xff\x0a and the rest of a codestream", "JPEG XL"),
        (
            b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\xfe\xfd\xfc\xfb",
            "first bytes",
        ),
        (b"BM", "too short"),
    ] {
        let detail = problem(
            app.post_picture(content.to_vec(), "photo.jpg"),
            415,
            "unsupported-picture",
        )
        .await;
        contains_all(&detail, &[found, FORMATS]);
        problem(raw(&app, "image/jpeg", content), 415, "unsupported-picture").await;
    }
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "multipart/mixed",
        "?",
    ] {
        let detail = problem(
            raw(&app, content_type, picture("jpeg-1x1.jpg")),
            415,
            "unsupported-media-type",
        )
        .await;
        contains_all(
            &detail,
            &[
                content_type,
                "multipart/form-data",
                "image/*",
                "application/octet-stream",
            ],
        );
    }
}

#[tokio::test]
async fn half_a_picture_is_never_classified() {
    let app = App::start().await;
    let refused = async |name: &str, length: usize| {
        let bytes = picture(name)[..length].to_vec();
        let (status, answer) = support::json(app.post_picture(bytes, name)).await;
        assert!(
            matches!(status.as_u16(), 415 | 422),
            "{name} cut at {length}: {status} {answer}"
        );
        answer
    };
    let jpegs = [
        "420",
        "progressive",
        "grey",
        "cmyk",
        "ycck-420",
        "restart-rows",
        "exif-6",
        "rgb",
        "7x5",
        "1280x960",
    ];
    let others = [
        "png-rgb.png",
        "png-adam7.png",
        "png-palette8.png",
        "gif-plain.gif",
        "gif-interlaced.gif",
        "webp-lossy.webp",
        "webp-lossless.webp",
        "webp-alpha-lossy.webp",
        "bmp-24.bmp",
        "bmp-rle8.bmp",
        "bmp-palette1.bmp",
        "tiff-rgb.tif",
        "tiff-lzw.tif",
        "tiff-deflate.tif",
    ];
    let jpegs = jpegs.map(|name| format!("jpeg-{name}.jpg"));
    for name in jpegs.iter().map(String::as_str).chain(others) {
        let whole = picture(name).len();
        for tenth in 1..10 {
            refused(name, whole * tenth / 10).await;
        }
        refused(name, 12).await;
    }
    // A picture that is clearly one, and clearly cut, is told so.
    for name in [
        "jpeg-420.jpg",
        "png-rgb.png",
        "gif-plain.gif",
        "webp-lossy.webp",
        "bmp-24.bmp",
    ] {
        let answer = refused(name, picture(name).len() / 2).await;
        assert_eq!(
            answer["type"], "urn:relance:problem:damaged-picture",
            "{name}: {answer}"
        );
        contains_all(
            answer["detail"].as_str().unwrap(),
            &["truncated", "send the whole file"],
        );
    }
}

/// A JPEG file without its segments of one kind.
fn without(marker: u8, jpeg: &[u8]) -> Vec<u8> {
    let (mut kept, mut rest) = (jpeg[..2].to_vec(), &jpeg[2..]);
    while rest[1] != 0xda {
        let (segment, after) =
            rest.split_at(2 + usize::from(u16::from_be_bytes([rest[2], rest[3]])));
        if segment[1] != marker {
            kept.extend_from_slice(segment);
        }
        rest = after;
    }
    [&kept, rest].concat()
}

#[tokio::test]
async fn no_picture_leaves_anything_behind_for_the_next() {
    let app = Setup::new().set("WORKERS", "1").start().await;
    let good = picture("jpeg-420.jpg");
    let answer = app.predict(good.clone()).await;
    let (tables, no_tables) = (picture("jpeg-optimised.jpg"), without(0xdb, &good));
    let mut befores = vec![
        tables.clone(),
        no_tables.clone(),
        picture("jpeg-progressive.jpg"),
    ];
    for name in ["jpeg-2000x1.jpg", "jpeg-progressive.jpg", "jpeg-cmyk.jpg"] {
        let bytes = picture(name);
        befores.extend(
            (3..bytes.len().min(700))
                .step_by(13)
                .map(|length| bytes[..length].to_vec()),
        );
    }
    for (n, before) in (0..).zip(befores) {
        app.post("/predict")
            .body(unique(&before, n))
            .send()
            .await
            .unwrap();
        assert_eq!(app.predict(unique(&good, n)).await["top"], answer["top"]);
        // This one would be decoded with the tables of whatever came before it.
        let request = app.post("/predict").body(unique(&no_tables, 1000 + n));
        contains_all(&problem(request, 422, "damaged-picture").await, &["table"]);
    }
}

#[tokio::test]
async fn pictures_with_too_many_pixels_are_refused() {
    let app = Setup::new().set("MAX_PIXELS", "51417").start().await;
    assert_eq!(
        app.predict(picture("jpeg-420.jpg")).await["image"]["width"],
        261
    );
    for (name, told) in [
        ("jpeg-640x480.jpg", "640×480"),
        ("jpeg-3000x20.jpg", "3000×20"),
    ] {
        let detail = problem(
            app.post_picture(picture(name), "a.jpg"),
            413,
            "too-many-pixels",
        )
        .await;
        contains_all(&detail, &[told, "at most 51417 pixels"]);
    }
}

#[tokio::test]
async fn decompression_bombs_cost_neither_time_nor_memory() {
    let app = App::start().await;
    // Every decoder is warm before the memory is measured.
    for name in [
        "jpeg-420.jpg",
        "png-rgb.png",
        "gif-plain.gif",
        "webp-lossy.webp",
        "bmp-24.bmp",
        "tiff-rgb.tif",
    ] {
        app.predict(picture(name)).await;
    }
    let before = peak_kib(app.pid());
    for (name, bytes) in bombs::all() {
        let mut quickest = PATIENCE;
        // A loaded machine delays one answer or two; a bomb that goes off delays all.
        for n in 0..3 {
            let start = Instant::now();
            let (status, answer) = support::json(app.post_picture(unique(&bytes, n), name)).await;
            quickest = quickest.min(start.elapsed());
            assert!(
                matches!(status.as_u16(), 413 | 415 | 422),
                "{name}: {status} {answer}"
            );
        }
        assert!(
            quickest < Duration::from_millis(200),
            "{name}: {quickest:?}"
        );
        let grown = peak_kib(app.pid()) - before;
        assert!(grown < 50 * 1024, "{name}: {grown} KiB more");
    }
    let huge = bombs::png(60_000, 60_000);
    contains_all(
        &problem(app.post_picture(huge, "a.png"), 413, "too-many-pixels").await,
        &["60000×60000", "50000000"],
    );
}
