//! What the fuzz targets begin with, and what they have found, is answered well and soon.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use relance::image::{InputSize, Preparer};
use relance::model;
use relance::settings::{ApiKeys, JpegScaling, PictureSettings};

// The other half of them says what the fuzzer's bytes mean.
#[path = "../../fuzz/src"]
mod fuzz {
    pub mod house;
    pub mod inputs;
}

use fuzz::house::{self, House};
use fuzz::inputs;

/// The most that an input may take.
const SOON: Duration = Duration::from_secs(1);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn each_seed(target: &str, mut run: impl FnMut(&[u8])) {
    let folder = root().join("fuzz/seeds").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let seeds: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(!seeds.is_empty(), "no seeds of {target}");
    for seed in seeds {
        let bytes = fs::read(&seed).unwrap();
        let start = Instant::now();
        run(&bytes);
        assert!(start.elapsed() < SOON, "{seed:?}: {:?}", start.elapsed());
    }
}

#[test]
fn requests() {
    let house = House::open(root());
    each_seed("multipart", |data| {
        if let Some(request) = inputs::multipart(data) {
            house.post(request);
        }
    });
    each_seed("inference_json", |data| {
        house.post(inputs::inference_json(data));
    });
    each_seed("inference_binary", |data| {
        if let Some(request) = inputs::inference_binary(data) {
            house.post(request);
        }
    });
    each_seed("inference_grpc", |data| {
        house.call(inputs::inference_grpc(data));
    });
}

#[test]
fn pictures() {
    let input = InputSize {
        width: 224,
        height: 224,
    };
    let mut out = vec![0.0; 3 * 224 * 224];
    for jpeg_scaling in [JpegScaling::Exact, JpegScaling::Fast, JpegScaling::Fastest] {
        let mut preparer = Preparer::new(PictureSettings {
            max_pixels: 50_000_000,
            jpeg_scaling,
        });
        each_seed("picture", |data| {
            let _ = preparer.prepare(data, input, &mut out);
        });
    }
}

#[test]
fn models() {
    let folder = tempfile::tempdir().unwrap();
    let settings = house::settings(root(), folder.path()).model;
    let bare = root().join("fuzz/bare.onnx");
    let bare = fs::read(bare).unwrap();
    let path = folder.path().join("model.onnx");
    let mut loaded = 0;
    each_seed("model_metadata", |data| {
        fs::write(&path, inputs::model_with_metadata(&bare, data)).unwrap();
        loaded += usize::from(model::load(&settings, &path, 1).is_ok());
    });
    // Metadata that is added like this is read.
    assert!(loaded >= 1);
}

#[test]
fn keys() {
    each_seed("key_file", |data| {
        let text = str::from_utf8(data).unwrap();
        let _ = ApiKeys::from_lines(text);
        let _ = text.parse::<ApiKeys>();
    });
}
