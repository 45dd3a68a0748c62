//! What a model file says of itself, and the file of labels.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use relance::model;
use relance_fuzz::{house, inputs};
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("a temporary folder"));
static BARE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = relance_fuzz::root().join("fuzz/bare.onnx");
    std::fs::read(path).expect("the model")
});

fuzz_target!(|data: &[u8]| {
    let path = FOLDER.path().join("model.onnx");
    std::fs::write(&path, inputs::model_with_metadata(&BARE, data)).expect("a written model");
    let settings = house::settings(relance_fuzz::root(), FOLDER.path()).model;
    match model::load(&settings, &path, 1) {
        Ok(loaded) => {
            let labels = &loaded.model.labels;
            assert_eq!(labels.len(), 10);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
