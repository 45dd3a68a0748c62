//! The default model gives the probabilities that it gives in Python.

use reqwest::StatusCode;
use serde_json::Value;

use super::sha256;
use crate::pixels::{DIFFERENT, REFUSED};
use crate::support::{self, Setup, fixture, repo};

/// Probabilities that the reference (Ultralytics and ONNX Runtime in Python) gives every fixture.
fn reference(model_sha256: &str) -> Vec<(String, Vec<f64>)> {
    const STALE: &str = "run `.venv/bin/python tests/fixtures/make_pictures.py --probabilities`";
    let text = std::fs::read_to_string(fixture("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let made_with = &expected["model_sha256"];
    assert!(
        made_with == model_sha256,
        "expected.json is of model {made_with}, not of {model_sha256}: {STALE}"
    );
    let pictures = expected["pictures"].as_array().unwrap();
    let one = |picture: &Value| {
        let file = picture["file"].as_str().unwrap().to_owned();
        let row = picture["probabilities"]
            .as_array()
            .unwrap_or_else(|| panic!("{file} has no probabilities: {STALE}"));
        (
            file,
            row.iter().map(|value| value.as_f64().unwrap()).collect(),
        )
    };
    pictures.iter().map(one).collect()
}

/// Its pixels differ by a level or two, and the default model is undecided about it, which makes more of that.
const UNDECIDED: &str = "tiff-cmyk.tif";

#[tokio::test]
async fn the_default_model_says_what_the_reference_says() {
    let default = repo().join("models/bottle.onnx");
    let bytes = std::fs::read(&default)
        .unwrap_or_else(|error| panic!("{}: {error}; run `make model`", default.display()));
    let reference = reference(&sha256(&bytes));
    let app = Setup::new()
        .set("MODEL", "models/bottle.onnx")
        .start()
        .await;
    let classes = support::json(app.get("/models")).await.1["models"][0]["classes"].clone();
    let (mut largest, mut at, mut failures) = (0.0, String::new(), Vec::new());
    let mut compared = 0;
    for (file, expected) in &reference {
        let name = file.rsplit('/').next().unwrap();
        let post = app
            .post("/predict?top=1000")
            .body(std::fs::read(fixture(file)).unwrap());
        let (status, answer) = support::json(post).await;
        if REFUSED.contains(&name) {
            assert!(status.is_client_error(), "{file}: {status} {answer}");
            continue;
        }
        if status != StatusCode::OK {
            failures.push(format!("{file}: {answer}"));
            continue;
        }
        if DIFFERENT.contains(&(name, u8::MAX)) {
            continue;
        }
        compared += 1;
        let top = answer["top"].as_array().unwrap();
        assert_eq!(top.len(), expected.len(), "{file}");
        let expected_of = |score: &Value| expected[score["index"].as_u64().unwrap() as usize];
        let off =
            |score: &Value| (score["confidence"].as_f64().unwrap() - expected_of(score)).abs();
        let worst = top.iter().map(off).fold(0.0, f64::max);
        if worst > largest {
            (largest, at) = (worst, file.clone());
        }
        // A level or two in the pixels is more in the answer.
        let differs = DIFFERENT.iter().any(|(other, _)| *other == name);
        let tolerance = match name {
            UNDECIDED => 8e-2,
            _ if differs => 1e-2,
            _ => 1e-3,
        };
        // Classes that are equally likely may change places.
        let best = expected.iter().copied().fold(0.0, f64::max);
        if worst > tolerance || expected_of(&top[0]) < best - tolerance {
            failures.push(format!("{file}: {worst:.6} off"));
        }
        assert_eq!(
            answer["prediction"],
            classes[top[0]["index"].as_u64().unwrap() as usize],
            "{file}"
        );
    }
    println!(
        "{compared} of {} pictures compared; the largest difference is {largest:.2e} ({at})",
        reference.len()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
