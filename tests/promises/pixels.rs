//! The pixels that reach the model are those of Pillow and Ultralytics' transform.

use std::path::{Path, PathBuf};

use relance::image::{InputSize, Limits, Preparer};
use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Kinds of TIFF that Pillow reads and relance refuses.
const REFUSED: [&str; 0] = [];

#[test]
fn pixels_equal_pillow_and_ultralytics() {
    let text = std::fs::read_to_string(fixtures().join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let mut preparer = Preparer::new(Limits { max_pixels: 50_000_000 }).unwrap();
    let mut failures = Vec::new();
    let (mut compared, mut exact) = (0, 0);
    for picture in expected["pictures"].as_array().unwrap() {
        let file = picture["file"].as_str().unwrap();
        let name = Path::new(file).file_name().unwrap().to_str().unwrap();
        let bytes = std::fs::read(fixtures().join(file)).unwrap();
        for (side, reference) in picture["expected"].as_object().unwrap() {
            let side: u32 = side.parse().unwrap();
            let size = InputSize { width: side, height: side };
            let (info, rgb) = match preparer.rgb(&bytes, size) {
                Ok(done) => done,
                Err(error) => {
                    if !REFUSED.contains(&name) {
                        failures.push(format!("{name}: {error}"));
                    }
                    continue;
                }
            };
            let told = (u64::from(info.width), u64::from(info.height), info.format.name());
            let truth = (
                picture["width"].as_u64().unwrap(),
                picture["height"].as_u64().unwrap(),
                picture["format"].as_str().unwrap(),
            );
            if told != truth {
                failures.push(format!("{name}: told {told:?}, is {truth:?}"));
            }
            let reference = image::open(fixtures().join(reference.as_str().unwrap())).unwrap().into_rgb8();
            let worst = rgb.iter().zip(reference.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert_eq!(rgb.len(), reference.as_raw().len());
            compared += 1;
            exact += usize::from(worst == 0);
            if worst > 1 {
                failures.push(format!("{name} at {side}: {worst} levels off"));
            }
        }
    }
    println!("{compared} comparisons, {exact} exact, the rest within 1 level");
    assert!(failures.is_empty(), "{}\n{}", failures.len(), failures.join("\n"));
}
