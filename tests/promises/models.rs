//! Every Ultralytics classification export is served as Python serves it; anything else is refused in one line.

mod openvino;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::support::{Setup, fixture, json, picture, small_model};

fn entries() -> Vec<Value> {
    let text = std::fs::read_to_string(fixture("models.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    all.as_array().unwrap().clone()
}

fn file(entry: &Value) -> &str {
    entry["file"].as_str().unwrap()
}

/// Settings for the model of an entry, or another file of the fixtures.
fn setup(file: &str) -> Setup {
    Setup::new()
        .set("MODEL", fixture(file).to_str().unwrap())
        .set("WORKERS", "1")
}

fn labels_file(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("labels.txt");
    std::fs::write(&path, text).unwrap();
    path
}

fn assert_says(line: &str, words: &[&str]) {
    assert!(line.starts_with("relance: ") && line.len() < 600, "{line}");
    assert!(
        words.iter().all(|word| line.contains(word)),
        "{words:?} are not all in {line:?}"
    );
}

/// How far fp16 and int8 may be off: the reference rounds in another order. OpenVINO fuses int8 layers in its own
/// way, and in a model of random weights anything may come of that.
fn tolerance(file: &str, provider: &str) -> f64 {
    match provider {
        "openvino" if file.contains("int8") => 1.0,
        _ if file.contains("fp16") || file.contains("int8") => 2e-2,
        _ => 1e-3,
    }
}

/// Serves the model and compares its answers with those of ONNX Runtime in Python; the largest difference.
async fn compare(entry: &Value, provider: &str) -> f64 {
    let file = file(entry);
    let mut setup = setup(file).set("PROVIDER", provider);
    let dir = tempfile::tempdir().unwrap();
    let names = if entry["metadata"] == true {
        entry["labels"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    } else {
        let names: Vec<String> = (0..entry["nc"].as_u64().unwrap())
            .map(|n| format!("nome {n}"))
            .collect();
        setup = setup.set(
            "LABELS",
            labels_file(dir.path(), &names.join("\n")).to_str().unwrap(),
        );
        names
    };
    let app = setup
        .try_start()
        .unwrap_or_else(|log| panic!("{file} is not served:\n{log}"));

    let model = json(app.get("/models")).await.1["models"][0].clone();
    assert_eq!(model["provider"], provider);
    let input = &model["input"];
    let told = [&input["height"], &input["width"], &input["type"]];
    assert_eq!(
        told,
        [&entry["imgsz"][0], &entry["imgsz"][1], &entry["dtype"]],
        "{file}"
    );
    let classes = model["classes"].as_array().unwrap();
    assert_eq!(classes.len() as u64, entry["nc"], "{file}");
    // The fixture lists the first names.
    assert_eq!(classes[..names.len()], names, "{file}");

    let mut largest = 0.0f64;
    for (name, expected) in entry["probabilities"].as_object().unwrap() {
        let (_, answer) = json(app.post("/predict?top=1000").body(picture(name))).await;
        let scores = answer["top"]
            .as_array()
            .unwrap_or_else(|| panic!("{file}: {answer}"));
        let expected = &expected.as_array().unwrap()[..];
        for wanted in &expected[..expected.len().min(5)] {
            let score = scores
                .iter()
                .find(|score| score["index"] == wanted["index"])
                .unwrap();
            let off = (score["confidence"].as_f64().unwrap()
                - wanted["probability"].as_f64().unwrap())
            .abs();
            assert!(
                off <= tolerance(file, provider),
                "{file}, {name}: {score} is not {wanted}"
            );
            assert_eq!(
                score["class"],
                classes[wanted["index"].as_u64().unwrap() as usize],
                "{file}"
            );
            largest = largest.max(off);
        }
        // The order may differ only between classes that are as good as equal.
        for (score, wanted) in scores.iter().zip(expected).take(5) {
            let gap = (score["confidence"].as_f64().unwrap()
                - wanted["probability"].as_f64().unwrap())
            .abs();
            assert!(
                gap <= tolerance(file, provider),
                "{file}, {name}: {score} stands where {wanted} should"
            );
        }
    }
    largest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_export_answers_as_in_python() {
    compare_all("cpu").await;
}

async fn compare_all(provider: &'static str) {
    let valid: Vec<Value> = entries()
        .into_iter()
        .filter(|entry| entry["valid"] == true)
        .collect();
    let count = valid.len();
    assert!(count >= 25, "only {count} models");
    let places = Arc::new(Semaphore::new(3));
    let mut running = JoinSet::new();
    for entry in valid {
        let places = Arc::clone(&places);
        running.spawn(async move {
            let _place = places.acquire().await.unwrap();
            (compare(&entry, provider).await, file(&entry).to_owned())
        });
    }
    let mut differences = running.join_all().await;
    differences.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!("{count} models with {provider}; the largest differences:");
    differences
        .iter()
        .take(5)
        .for_each(|(off, file)| println!("{off:.2e} {file}"));
}

#[test]
fn other_files_are_refused_in_one_line() {
    let refused: Vec<Value> = entries()
        .into_iter()
        .filter(|entry| entry["valid"] == false)
        .collect();
    let reasons = [
        ("models/yolov8n-cls-nc10-64-ch1.onnx", "[1, 1, 64, 64]"),
        ("models/yolov8n-nc10-64.onnx", "\"detect\""),
        ("models/yolov8n-seg-nc10-64.onnx", "\"segment\""),
        ("models/truncated.onnx", "not a whole, valid ONNX file"),
        ("models/text.onnx", "not a whole, valid ONNX file"),
        ("models/empty.onnx", "not a whole, valid ONNX file"),
        ("models/add.onnx", "2 inputs"),
    ];
    let listed: Vec<&str> = refused.iter().map(file).collect();
    assert_eq!(listed, reasons.map(|(file, _)| file));
    for (file, reason) in reasons {
        assert_says(
            &setup(file).refusal(),
            &[file, reason, "`yolo export format=onnx`"],
        );
    }
}

#[test]
fn a_missing_model_is_said_to_be_missing() {
    let line = setup("models/nothing.onnx").refusal();
    assert_says(
        &line,
        &[
            "models/nothing.onnx",
            "No such file",
            "set MODEL to the ONNX file",
        ],
    );
    assert_says(&setup("models").refusal(), &["directory", "set MODEL"]);
}

#[test]
fn class_names_must_fit_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let stripped = "models/yolo11n-cls-nc10-64-stripped.onnx";
    assert_says(
        &setup(stripped).refusal(),
        &[stripped, "no class names", "LABELS"],
    );
    let accepted = "one class name a line";
    let ten = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n";
    for (text, words) in [
        ("a\nb\nc\n", &["10 class scores", "3 class names"][..]),
        (&ten.repeat(2), &["10 class scores", "20 class names"]),
        (
            &ten.replace('c', " "),
            &["labels.txt", "line 3 is blank", accepted],
        ),
        (
            &format!("{ten}\n"),
            &["labels.txt", "line 11 is blank", accepted],
        ),
        ("", &["labels.txt", "empty", accepted]),
    ] {
        let labels = labels_file(dir.path(), text);
        assert_says(
            &setup(stripped)
                .set("LABELS", labels.to_str().unwrap())
                .refusal(),
            words,
        );
    }
    let missing = setup(stripped)
        .set("LABELS", "/nonexistent/labels.txt")
        .refusal();
    assert_says(
        &missing,
        &["/nonexistent/labels.txt", "No such file", accepted],
    );
    std::fs::write(dir.path().join("latin1.txt"), b"garrafa\nr\xf3tulo\n").unwrap();
    let latin1 = setup(stripped)
        .set("LABELS", dir.path().join("latin1.txt").to_str().unwrap())
        .refusal();
    assert_says(&latin1, &["latin1.txt", "UTF-8", accepted]);
}

#[tokio::test]
async fn a_labels_file_replaces_the_names_in_the_model() {
    let dir = tempfile::tempdir().unwrap();
    // As an editor on Windows writes it.
    let names = [
        "um", "dois", "três", "quatro", "cinco", "seis", "sete", "oito", "nove", "dez",
    ];
    let labels = labels_file(dir.path(), &format!("\u{feff}{}\r\n", names.join(" \r\n")));
    let app = Setup::new()
        .set("LABELS", labels.to_str().unwrap())
        .start()
        .await;
    assert_eq!(
        json(app.get("/models")).await.1["models"][0]["classes"],
        serde_json::json!(names)
    );
    let answer = app.predict(picture("jpeg-420.jpg")).await;
    assert_eq!(
        answer["prediction"],
        names[answer["top"][0]["index"].as_u64().unwrap() as usize]
    );
}

#[test]
fn a_missing_or_wrong_onnx_runtime_is_named_with_its_remedy() {
    let with = |path: &str| Setup::new().set("ORT_DYLIB_PATH", path).refusal();
    let fetch = "scripts/fetch-onnxruntime";
    assert_says(
        &with("/nonexistent"),
        &[
            "ONNX Runtime is missing",
            "/nonexistent",
            fetch,
            "ORT_DYLIB_PATH",
        ],
    );
    // A shared library of something else: the C library that this test runs on.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let library = maps
        .split_whitespace()
        .find(|word| word.starts_with('/') && word.contains("/libc.so"))
        .unwrap();
    for wrong in [library, small_model().to_str().unwrap(), "/"] {
        assert_says(&with(wrong), &["cannot be used", wrong, fetch]);
    }
}
