//! The pixels that reach the model are those of Pillow and Ultralytics' transform.

use std::path::{Path, PathBuf};

use relance::image::{InputSize, Preparer};
use relance::settings::{JpegScaling, PictureSettings};
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
    let mut preparer = Preparer::new(PictureSettings {
        max_pixels: 50_000_000,
        jpeg_scaling: JpegScaling::Exact,
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

/// A picture with something to see everywhere, as a JPEG file.
fn photograph(width: usize, height: usize) -> Vec<u8> {
    let wave = |x: usize, y: usize, n: f64| {
        let (x, y) = (x as f64 / width as f64, y as f64 / height as f64);
        let value = (40.0 * x * n).sin() * (30.0 * y + n).cos() + (9.0 * (x + y) * n).sin();
        (127.5 + 55.0 * value) as u8
    };
    let pixel = |n: usize| [1.0, 1.7, 2.3].map(|channel| wave(n % width, n / width, channel));
    let image = turbojpeg::Image {
        pixels: (0..width * height).flat_map(pixel).collect::<Vec<u8>>(),
        width,
        pitch: 3 * width,
        height,
        format: turbojpeg::PixelFormat::RGB,
    };
    turbojpeg::compress(image.as_deref(), 90, turbojpeg::Subsamp::Sub2x2)
        .unwrap()
        .to_vec()
}

/// Decoded at a fraction a picture is nearly the same, in the same place, and not decoded smaller than allowed.
#[test]
fn scaled_jpegs_are_close_to_exact_ones() {
    let size = InputSize {
        width: 224,
        height: 224,
    };
    let rgb = |jpeg: &[u8], jpeg_scaling| {
        let mut preparer = Preparer::new(PictureSettings {
            max_pixels: 50_000_000,
            jpeg_scaling,
        });
        let (info, rgb) = preparer.rgb(jpeg, size).unwrap();
        (info, rgb.to_vec())
    };
    // (sides, whether each mode decodes at a fraction)
    let cases = [
        ((447, 447), (false, false)),
        ((448, 449), (false, true)),
        ((895, 1203), (false, true)),
        ((1203, 897), (true, true)),
        ((4001, 3003), (true, true)),
        ((1793, 3999), (true, true)),
    ];
    for ((width, height), (fast, fastest)) in cases {
        let jpeg = photograph(width, height);
        let (info, exact) = rgb(&jpeg, JpegScaling::Exact);
        for (scaling, changes, most) in [
            (JpegScaling::Fast, fast, (0.5, 12)),
            (JpegScaling::Fastest, fastest, (1.5, 41)),
        ] {
            let (scaled_info, scaled) = rgb(&jpeg, scaling);
            assert_eq!(scaled_info, info, "the size told is that of the picture");
            let differences = exact
                .iter()
                .zip(&scaled)
                .map(|(a, b)| u32::from(a.abs_diff(*b)));
            let (sum, worst) = differences.fold((0, 0), |(sum, worst), d| (sum + d, worst.max(d)));
            let mean = f64::from(sum) / exact.len() as f64;
            println!("{width}x{height} {scaling:?}: mean {mean:.3}, worst {worst} levels");
            assert_eq!(worst > 0, changes, "{width}x{height} {scaling:?}");
            assert!(
                mean < most.0 && worst <= most.1,
                "{width}x{height} {scaling:?}: {mean}, {worst}"
            );
        }
    }
}
