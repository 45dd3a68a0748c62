//! Answers are compared with those of the model's evaluation, and it shows when they are others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use relance::model::Baseline;
use serde_json::{Value, json};

use crate::support::{App, Setup, eventually, json as ask, repo, small_model, unique};

/// Answers before anything is said, and those that are compared at most.
const FEWEST: usize = 500;
const ANSWERS: usize = 2_000;

const LINE: &str = "answers drift from the baseline of the model";

/// A model in a folder of its own, without a baseline beside it.
fn copy(model: &Path, dir: &Path) -> PathBuf {
    let path = dir.join("model.onnx");
    fs::copy(model, &path).unwrap();
    path
}

fn shipped_model() -> PathBuf {
    repo().join("models/bottle.onnx")
}

/// Exit status and what is said on standard error.
fn classify(args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_relance"))
        .args(["classify", "--format", "summary"])
        .args(args)
        .current_dir(repo())
        .env_remove("MODEL")
        .env_remove("LABELS")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), said)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn evaluation() -> Vec<PathBuf> {
    let classes = ["aberta", "fechada"].map(|class| repo().join("models/evaluation").join(class));
    let files = classes.iter().flat_map(|dir| fs::read_dir(dir).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

/// Sends pictures, each made one that was never sent.
async fn send(app: &App, pictures: impl Iterator<Item = &PathBuf>, from: u64) {
    let mut numbered = (from..).zip(pictures).peekable();
    while numbered.peek().is_some() {
        let some: Vec<_> = numbered.by_ref().take(8).collect();
        let sent = some.into_iter().map(async |(n, path)| {
            let answer = app.predict(unique(&fs::read(path).unwrap(), n)).await;
            assert_eq!(answer["cached"], false);
        });
        futures_util::future::join_all(sent).await;
    }
}

/// The value of `relance_drift_psi`, if it is there.
async fn psi(app: &App, of: &str) -> Option<f64> {
    let answer = app.get("/metrics").send().await.unwrap();
    let series = format!("relance_drift_psi{{of=\"{of}\"}} ");
    let text = answer.text().await.unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(&series));
    value.map(|value| value.parse().unwrap())
}

/// A picture that the model is hardly sure of.
async fn unsure(app: &App, pictures: &[PathBuf]) -> PathBuf {
    for path in pictures {
        let answer = app.predict(fs::read(path).unwrap()).await;
        if answer["confidence"].as_f64().unwrap() < 0.6 {
            return path.clone();
        }
    }
    panic!("it is sure of all pictures");
}

#[tokio::test]
async fn the_mix_of_the_baseline_is_no_drift_and_one_class_alone_is() {
    let app = Setup::new()
        .set("MODEL", text(&shipped_model()))
        .set("WORKERS", "2")
        .start()
        .await;
    let pictures = evaluation();
    assert_eq!(pictures.len(), 240);
    send(&app, pictures.iter().cycle().take(FEWEST - 1), 0).await;
    // A picture that is known is no answer to count.
    let known = unique(&fs::read(&pictures[0]).unwrap(), 0);
    assert_eq!(app.predict(known).await["cached"], true);
    assert_eq!(psi(&app, "classes").await, None, "one answer is missing");
    send(&app, pictures[..1].iter(), 1_000).await;
    let (classes, confidence) = (psi(&app, "classes").await, psi(&app, "confidence").await);
    assert!(classes.unwrap() < 0.01, "{classes:?}");
    assert!(confidence.unwrap() < 0.02, "{confidence:?}");
    assert!(!app.log().contains(LINE), "{}", app.log());

    let clear = [repo().join("models/samples/aberta-1.jpg")];
    send(&app, clear.iter().cycle().take(FEWEST), 2_000).await;
    let (classes, confidence) = (psi(&app, "classes").await, psi(&app, "confidence").await);
    assert!((0.2..0.6).contains(&classes.unwrap()), "{classes:?}");
    // Most answers of the baseline are as sure, the more of them the better the model, so this shows less.
    assert!(confidence.unwrap() > 0.02, "{confidence:?}");
    let unsure = [unsure(&app, &pictures).await];
    send(&app, unsure.iter().cycle().take(FEWEST), 3_000).await;
    let confidence = psi(&app, "confidence").await;
    assert!(confidence.unwrap() > 0.2, "{confidence:?}");
    eventually("the log tells it", async || app.log().contains(LINE)).await;
    let log = app.log();
    let line = log.lines().find(|line| line.contains(LINE)).unwrap();
    for part in ["WARN", "psi=", "classes=", "confidence=", "answers="] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}

#[tokio::test]
async fn what_classify_writes_is_what_the_service_compares_with() {
    let dir = tempfile::tempdir().unwrap();
    let model = copy(&small_model(), dir.path());
    let file = dir.path().join("model.baseline.json");
    let args = [
        "--model",
        text(&model),
        "--baseline",
        text(&file),
        "models/samples",
    ];
    let (code, said) = classify(&args);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("baseline of 8 pictures; with so few"),
        "{said}"
    );

    let written: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let app = Setup::new().set("MODEL", text(&model)).start().await;
    let facts = ask(app.get("/models")).await.1["models"][0].clone();
    assert_eq!(written["model_sha256"], facts["sha256"]);
    assert_eq!(written["pictures"], 8);
    let shares = written["classes"].as_object().unwrap();
    let names: Vec<&str> = shares.keys().map(String::as_str).collect();
    assert!(
        names
            .iter()
            .all(|name| facts["classes"].as_array().unwrap().contains(&json!(name)))
    );
    assert_eq!(names.len(), 10);
    let sum =
        |values: &mut dyn Iterator<Item = &Value>| values.map(|v| v.as_f64().unwrap()).sum::<f64>();
    assert!((sum(&mut shares.values()) - 1.0).abs() < 1e-9);
    let bins = written["confidence"].as_array().unwrap();
    assert!(bins.len() == 10 && (sum(&mut bins.iter()) - 1.0).abs() < 1e-9);

    let samples: Vec<PathBuf> = fs::read_dir(repo().join("models/samples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(samples.len(), 8);
    // More than are remembered, and as many of each.
    send(&app, samples.iter().cycle().take(ANSWERS + 8), 0).await;
    for of in ["classes", "confidence"] {
        let psi = psi(&app, of).await.unwrap();
        assert!(psi.abs() < 1e-9, "{of}: {psi}");
    }
    assert!(!app.log().contains("WARN"), "{}", app.log());
}

#[tokio::test]
async fn files_that_are_no_baseline_of_the_model_are_told_and_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let model = copy(&small_model(), dir.path());
    let file = dir.path().join("model.baseline.json");
    let foreign = fs::read_to_string(repo().join("models/bottle.baseline.json")).unwrap();
    for (content, reason) in [
        ("", "EOF while parsing"),
        ("{\"model_sha256\": 3}", "invalid type"),
        (foreign.as_str(), "it was made with another model"),
        (&" ".repeat(1_100_000), "it has more than 1 MiB"),
    ] {
        fs::write(&file, content).unwrap();
        let app = Setup::new().set("MODEL", text(&model)).start().await;
        let log = app.log();
        let warnings: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
        let [warning] = warnings[..] else {
            panic!("{log}")
        };
        for part in [text(&file), reason, "relance classify FOLDER"] {
            assert!(warning.contains(part), "{part} is not in {warning}");
        }
        app.predict(fs::read(repo().join("models/samples/aberta-1.jpg")).unwrap())
            .await;
        assert_eq!(psi(&app, "classes").await, None);
    }
    fs::remove_file(&file).unwrap();
    let app = Setup::new().set("MODEL", text(&model)).start().await;
    assert!(
        !app.log().contains("WARN"),
        "none is missed:\n{}",
        app.log()
    );
}

/// Another processor may give a picture on the edge of a bin to its neighbour.
#[test]
fn the_shipped_baseline_is_that_of_the_shipped_model() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("new.json");
    let (code, said) = classify(&["--baseline", text(&file), "models/evaluation"]);
    assert_eq!(code, 0, "{said}");
    let read =
        |path: &Path| -> Baseline { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let (new, shipped) = (
        read(&file),
        read(&repo().join("models/bottle.baseline.json")),
    );
    assert_eq!(new.model_sha256, shipped.model_sha256, "run make baseline");
    assert_eq!((new.pictures, shipped.pictures), (240, 240));
    let pairs = new.confidence.iter().zip(&shipped.confidence);
    let classes = new
        .classes
        .iter()
        .map(|(class, share)| (share, &shipped.classes[class]));
    for (new, shipped) in pairs.chain(classes) {
        assert!(
            (new - shipped).abs() < 0.02,
            "{new} {shipped}: run make baseline"
        );
    }
    // It travels with the model.
    for name in ["Dockerfile", ".dockerignore"] {
        let text = fs::read_to_string(repo().join(name)).unwrap();
        assert!(text.contains("models/bottle.baseline.json"), "{name}");
    }
}

#[test]
fn a_baseline_that_cannot_be_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let sample = "models/samples/aberta-1.jpg";
    let missing = dir.path().join("nowhere/x.json");
    for (file, reason) in [
        ("models/bottle.onnx", "ends in .json"),
        (text(dir.path()), "ends in .json"),
        (text(&missing), "there is no folder"),
    ] {
        let (code, said) = classify(&["--baseline", file, sample]);
        assert!(code == 2 && said.contains(reason), "{code} {said}");
    }
    let file = dir.path().join("x.json");
    let (code, said) = classify(&["--baseline", text(&file), "README.md"]);
    assert!(
        code == 1 && said.contains("there is no baseline to write"),
        "{said}"
    );
    assert!(!file.exists());
    // What could be classified counts.
    let (code, said) = classify(&["--baseline", text(&file), "README.md", sample]);
    assert!(
        code == 3 && said.contains("baseline of 1 pictures"),
        "{said}"
    );
    let (code, said) = classify(&["--baseline", "/proc/x.json", sample]);
    assert!(code == 1 && said.contains("/proc/x.json: "), "{said}");
}
