//! Small pictures are the pictures, upright, made once, and never at the cost of those who classify.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use image::{RgbImage, imageops};
use reqwest::StatusCode;
use serde_json::Value;

use crate::support::{App, Setup, json, picture, problem, unique};

const LONGER_SIDE: u32 = 160;

fn path(answer: &Value) -> String {
    format!(
        "/requests/{}/thumbnail",
        answer["request_id"].as_str().unwrap()
    )
}

async fn fetch(app: &App, answer: &Value) -> Vec<u8> {
    let got = app.get(&path(answer)).send().await.unwrap();
    assert_eq!(
        got.status(),
        StatusCode::OK,
        "{}",
        got.text().await.unwrap()
    );
    assert_eq!(got.headers()["content-type"], "image/jpeg");
    got.bytes().await.unwrap().to_vec()
}

fn decoded(jpeg: &[u8]) -> RgbImage {
    image::load_from_memory(jpeg).unwrap().to_rgb8()
}

/// Mean difference of two pictures' values, of 255.
fn difference(a: &RgbImage, b: &RgbImage) -> f64 {
    assert_eq!(a.dimensions(), b.dimensions());
    let differences = a
        .iter()
        .zip(b.iter())
        .map(|(a, b)| f64::from(a.abs_diff(*b)));
    differences.sum::<f64>() / a.len() as f64
}

/// The only stored picture of an instance.
fn stored(folder: &Path) -> PathBuf {
    let mut folders = vec![folder.join("pictures")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.metadata().unwrap().len() > 0 {
                files.push(path);
            }
        }
    }
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

#[tokio::test]
async fn every_format_gets_one_with_its_shape() {
    let app = App::start().await;
    for name in [
        "jpeg-1280x960.jpg",
        "jpeg-progressive.jpg",
        "jpeg-cmyk.jpg",
        "jpeg-20x3000.jpg",
        "jpeg-1x1.jpg",
        "png-rgb.png",
        "webp-lossy.webp",
        "gif-plain.gif",
        "bmp-24.bmp",
        "tiff-rgb.tif",
    ] {
        let answer = app.predict(picture(name)).await;
        let small = decoded(&fetch(&app, &answer).await);
        let side = |name: &str| answer["image"][name].as_f64().unwrap();
        let (width, height) = (side("width"), side("height"));
        let longer = small.width().max(small.height());
        assert_eq!(longer, LONGER_SIDE.min(width.max(height) as u32), "{name}");
        let scale = f64::from(longer) / width.max(height);
        let expected = ((width * scale).max(1.0), (height * scale).max(1.0));
        assert!(
            (f64::from(small.width()) - expected.0).abs() <= 0.5,
            "{name}: {expected:?}"
        );
        assert!(
            (f64::from(small.height()) - expected.1).abs() <= 0.5,
            "{name}: {expected:?}"
        );
        // The same pixels, but for scaling and compression.
        if name.starts_with("png") || name.starts_with("jpeg-1280") {
            let whole = decoded(&picture(name));
            let (width, height) = small.dimensions();
            let reference = imageops::resize(&whole, width, height, imageops::FilterType::Triangle);
            let off = difference(&small, &reference);
            assert!(off < 6.0, "{name}: {off}");
        }
    }
}

#[tokio::test]
async fn a_turned_photograph_is_upright() {
    let app = App::start().await;
    let upright = app.predict(picture("jpeg-exif-1.jpg")).await;
    let upright = decoded(&fetch(&app, &upright).await);
    for turn in 2..=8 {
        let bytes = picture(&format!("jpeg-exif-{turn}.jpg"));
        let as_stored = decoded(&bytes);
        let small = decoded(&fetch(&app, &app.predict(bytes).await).await);
        let (width, height) = small.dimensions();
        let stored = imageops::resize(&as_stored, width, height, imageops::FilterType::Triangle);
        // Each of these fixtures is another picture as stored; upright, size and content change with the turn.
        let swapped = turn >= 5;
        assert_eq!(
            swapped,
            (as_stored.width() > as_stored.height()) != (width > height)
        );
        let turned = match turn {
            2 => imageops::flip_horizontal(&as_stored),
            3 => imageops::rotate180(&as_stored),
            4 => imageops::flip_vertical(&as_stored),
            5 => imageops::flip_horizontal(&imageops::rotate90(&as_stored)),
            6 => imageops::rotate90(&as_stored),
            7 => imageops::flip_horizontal(&imageops::rotate270(&as_stored)),
            _ => imageops::rotate270(&as_stored),
        };
        let turned = imageops::resize(&turned, width, height, imageops::FilterType::Triangle);
        let (right, wrong) = (difference(&small, &turned), difference(&small, &stored));
        assert!(
            right < 6.0 && wrong > 2.0 * right,
            "{turn}: {right} and {wrong}"
        );
    }
    assert!(upright.width() <= LONGER_SIDE);
}

#[tokio::test]
async fn it_is_made_once_and_kept() {
    let app = App::start().await;
    let bytes = picture("jpeg-640x480.jpg");
    let first = app.predict(bytes.clone()).await;
    let again = app.predict(bytes).await;
    let small = fetch(&app, &first).await;
    assert!(small.len() < 20_000, "{} bytes", small.len());
    // Without the picture it could not be made a second time.
    std::fs::remove_file(stored(&app.data)).unwrap();
    assert_eq!(fetch(&app, &first).await, small);
    assert_eq!(fetch(&app, &again).await, small);

    let answer = app.get(&path(&first)).send().await.unwrap();
    let sha256 = first["image"]["sha256"].as_str().unwrap();
    let tag = format!("\"{sha256}\"");
    assert_eq!(answer.headers()["etag"], tag.as_str());
    assert_eq!(
        answer.headers()["cache-control"],
        "private, max-age=31536000, immutable"
    );
    let known = app.get(&path(&first)).header("If-None-Match", &tag);
    let known = known.send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(known.headers()["etag"], tag.as_str());
    assert!(known.bytes().await.unwrap().is_empty());
    let other = app.get(&path(&first)).header("If-None-Match", "\"other\"");
    assert_eq!(other.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn what_is_not_there_or_cannot_be_read_is_told() {
    let app = App::start().await;
    problem(
        app.get("/requests/nonsense/thumbnail"),
        400,
        "bad-parameter",
    )
    .await;
    let nobody = "/requests/01a1fe85-e09c-74fe-b2c3-5c65b71074c8/thumbnail";
    problem(app.get(nobody), 404, "not-found").await;

    let answer = app.predict(picture("png-rgb.png")).await;
    let file = stored(&app.data);
    let whole = std::fs::read(&file).unwrap();
    // A file that is not the one its name says is a fault of the disk; the picture itself says the same.
    let image = path(&answer).replace("thumbnail", "image");
    for broken in [&whole[..whole.len() / 2], b"no picture at all", b""] {
        std::fs::write(&file, broken).unwrap();
        for path in [&path(&answer), &image] {
            problem(app.get(path), 503, "storage-unavailable").await;
        }
    }
    std::fs::remove_file(&file).unwrap();
    problem(app.get(&path(&answer)), 404, "not-found").await;

    // A failure is not remembered.
    std::fs::write(&file, &whole).unwrap();
    fetch(&app, &answer).await;
    let request = answer["request_id"].as_str().unwrap();
    let gone = app.client.delete(format!("{}/requests/{request}", app.url));
    assert_eq!(gone.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let tag = format!("\"{}\"", answer["image"]["sha256"].as_str().unwrap());
    problem(app.get(&path(&answer)), 404, "not-found").await;
    let asked = app.get(&path(&answer)).header("If-None-Match", tag);
    problem(asked, 404, "not-found").await;
}

#[tokio::test]
async fn the_limit_of_pixels_holds_for_them_too() {
    let app = App::start().await;
    let answer = app.predict(picture("jpeg-640x480.jpg")).await;
    let data = app.data.clone();
    let kept = tempfile::tempdir().unwrap();
    let status = std::process::Command::new("cp")
        .args([
            "-r",
            data.to_str().unwrap(),
            kept.path().join("data").to_str().unwrap(),
        ])
        .status();
    assert!(status.unwrap().success());
    drop(app);
    let strict = Setup::new()
        .set("MAX_PIXELS", "300000")
        .data(&kept.path().join("data"))
        .start()
        .await;
    let detail = problem(strict.get(&path(&answer)), 422, "damaged-picture").await;
    assert!(
        detail.starts_with("the stored picture cannot be read: ") && detail.contains("300000"),
        "{detail}"
    );
}

#[tokio::test]
async fn they_need_the_credentials_and_no_picture_of_the_limit() {
    let app = Setup::new()
        .set("API_USERNAME", "ana")
        .set("API_PASSWORD", "secret")
        .set("RATE_LIMIT_PER_MINUTE", "1")
        .start()
        .await;
    let ana = |request: reqwest::RequestBuilder| request.basic_auth("ana", Some("secret"));
    let (status, answer) = json(ana(app.post_picture(picture("png-rgb.png"), "a.png"))).await;
    assert_eq!(status, StatusCode::OK);
    problem(app.get(&path(&answer)), 401, "unauthorised").await;
    for _ in 0..3 {
        let got = ana(app.get(&path(&answer))).send().await.unwrap();
        assert_eq!(got.status(), StatusCode::OK);
    }
}

/// A large photograph, or what costs as much.
fn large() -> Vec<u8> {
    let value = |x: u32, y: u32, k: u32| ((x * 7 + y * 13 * k + (x * y) / 97) % 256) as u8;
    let pixels = RgbImage::from_fn(3000, 2250, |x, y| {
        image::Rgb([value(x, y, 1), value(x, y, 2), value(x, y, 3)])
    });
    let mut bytes = Cursor::new(Vec::new());
    pixels
        .write_to(&mut bytes, image::ImageFormat::Jpeg)
        .unwrap();
    bytes.into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rush_for_them_does_not_stop_those_who_classify() {
    let app = Setup::new()
        .set("CACHE_BYTES", "0")
        .set("MAX_PIXELS", "10000000")
        .start()
        .await;
    let base = large();
    let mut answers = Vec::new();
    for n in 0..24 {
        answers.push(app.predict(unique(&base, n)).await);
    }
    let small = picture("jpeg-224x224.jpg");
    let quickest = async |count: u64, from: u64| {
        let mut times = Vec::new();
        for n in from..from + count {
            let start = Instant::now();
            app.predict(unique(&small, n)).await;
            times.push(start.elapsed());
        }
        times.sort_unstable();
        times[times.len() / 2]
    };
    let calm = quickest(20, 0).await;
    // Each is asked for several times at once, more than may wait.
    let rush = async {
        let asked = answers.iter().cycle().take(8 * answers.len());
        join_all(asked.map(|answer| async {
            let got = app.get(&path(answer)).send().await.unwrap();
            let retry = got.headers().get("retry-after").is_some();
            (got.status(), retry)
        }))
        .await
    };
    let (outcomes, busy) = tokio::join!(rush, quickest(20, 100));
    let made = outcomes
        .iter()
        .filter(|(status, _)| *status == StatusCode::OK);
    let refused = outcomes
        .iter()
        .filter(|outcome| **outcome == (StatusCode::SERVICE_UNAVAILABLE, true));
    let (made, refused) = (made.count(), refused.count());
    println!(
        "{made} made, {refused} told to come back; median {calm:?} before, {busy:?} meanwhile"
    );
    assert_eq!(made + refused, outcomes.len());
    assert!(made >= 64 && refused > 0, "{made} and {refused}");
    assert!(
        busy < calm * 10 + Duration::from_millis(100),
        "{calm:?}, then {busy:?}"
    );
    for answer in &answers {
        fetch(&app, answer).await;
    }
}
