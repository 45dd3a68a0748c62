//! The pixels that reach the model are those of Pillow and Ultralytics' transform.

use std::path::{Path, PathBuf};

use relance::image::{InputSize, Limits, Preparer};
use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// What Pillow reads and the decoders here refuse.
pub const REFUSED: [&str; 2] = ["gif-no-palette.gif", "tiff-palette.tif"];

/// Where the decoders differ from Pillow's, and by how many levels at most: rounding of 5 and 6-bit colours,
/// of CMYK and of JPEG inside TIFF; hidden colours under alpha; metadata that only Pillow reads.
pub const DIFFERENT: [(&str, u8); 8] = [
    ("bmp-16-555.bmp", 2),
    ("bmp-16-565.bmp", 2),
    ("tiff-jpeg.tif", 2),
    ("tiff-cmyk.tif", 2),
    ("webp-offset-frame.webp", 2),
    ("webp-offset-alpha.webp", 255),
    ("tiff-rgba-premultiplied.tif", 255),
    ("png-raw-profile-exif.png", 255),
];

#[test]
fn pixels_equal_pillow_and_ultralytics() {
    let text = std::fs::read_to_string(fixtures().join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let mut preparer = Preparer::new(Limits {
        max_pixels: 50_000_000,
    });
    let mut failures = Vec::new();
    let (mut compared, mut exact) = (0, 0);
    for picture in expected["pictures"].as_array().unwrap() {
        let file = picture["file"].as_str().unwrap();
        let name = Path::new(file).file_name().unwrap().to_str().unwrap();
        let allowed = DIFFERENT
            .iter()
            .find(|(different, _)| *different == name)
            .map_or(1, |(_, levels)| *levels);
        let bytes = std::fs::read(fixtures().join(file)).unwrap();
        for (side, reference) in picture["expected"].as_object().unwrap() {
            let side: u32 = side.parse().unwrap();
            let size = InputSize {
                width: side,
                height: side,
            };
            let (info, rgb) = match preparer.rgb(&bytes, size) {
                Ok(done) => done,
                Err(error) => {
                    if !REFUSED.contains(&name) {
                        failures.push(format!("{name}: {error}"));
                    }
                    continue;
                }
            };
            let told = (
                u64::from(info.width),
                u64::from(info.height),
                info.format.name(),
            );
            let truth = (
                picture["width"].as_u64().unwrap(),
                picture["height"].as_u64().unwrap(),
                picture["format"].as_str().unwrap(),
            );
            if told != truth && allowed < u8::MAX {
                failures.push(format!("{name}: told {told:?}, is {truth:?}"));
            }
            let reference = image::open(fixtures().join(reference.as_str().unwrap()))
                .unwrap()
                .into_rgb8();
            let worst = rgb
                .iter()
                .zip(reference.as_raw())
                .map(|(a, b)| a.abs_diff(*b))
                .max()
                .unwrap();
            assert_eq!(rgb.len(), reference.as_raw().len());
            compared += 1;
            exact += usize::from(worst == 0);
            if worst > allowed {
                failures.push(format!("{name} at {side}: {worst} levels off"));
            }
        }
    }
    println!("{compared} comparisons, {exact} exact, the rest within 1 level");
    assert!(
        failures.is_empty(),
        "{}\n{}",
        failures.len(),
        failures.join("\n")
    );
}
