//! `relance classify` says of files what the service says of requests, and its exit status tells.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{Setup, fixture, repo, small_model};

fn classify(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relance"));
    command.arg("classify").args(args).current_dir(repo());
    for name in ["MODEL", "LABELS", "WORKERS", "MAX_PIXELS"] {
        command.env_remove(name);
    }
    command
}

fn run(args: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = classify(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn rows(jsonl: &str) -> Vec<Value> {
    jsonl
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn files_get_the_answers_that_requests_get() {
    let model = small_model();
    let names = [
        "jpeg-420.jpg",
        "png-rgb.png",
        "webp-lossy.webp",
        "jpeg-exif-6.jpg",
    ];
    let paths = names.map(|name| fixture("pictures").join(name));
    let mut args = vec!["--model", model.to_str().unwrap(), "--format", "jsonl"];
    args.extend(["--workers", "2", "--top", "3"]);
    args.extend(paths.iter().map(|path| path.to_str().unwrap()));
    let (code, out, err) = run(&args);
    assert_eq!(code, 0, "{err}");
    assert_eq!(
        err, "4 pictures, 0 failed\n",
        "nothing but the summary, and no colours"
    );
    let rows = rows(&out);
    assert_eq!(rows.len(), 4);
    let app = Setup::new().start().await;
    for ((path, name), row) in paths.iter().zip(names).zip(rows) {
        let answer = app.predict(std::fs::read(path).unwrap()).await;
        assert_eq!(row["path"], path.to_str().unwrap());
        assert_eq!(row["prediction"], answer["prediction"], "{name}");
        assert_eq!(row["confidence"], answer["confidence"], "{name}");
        assert_eq!(row["top"].as_array().unwrap().len(), 3);
        assert_eq!(row["top"][2]["class"], answer["top"][2]["class"], "{name}");
    }
}

#[test]
fn a_folder_gives_its_pictures_in_order_however_many_workers() {
    let samples = repo().join("models/samples");
    let args = ["--format", "csv", "--workers"];
    let of = |workers| {
        let mut args = args.to_vec();
        args.extend([workers, samples.to_str().unwrap()]);
        run(&args)
    };
    let (code, one, err) = of("1");
    assert_eq!((code, err.as_str()), (0, "8 pictures, 0 failed\n"));
    assert_eq!(one, of("3").1);
    let mut reader = csv::Reader::from_reader(one.as_bytes());
    assert_eq!(
        reader.headers().unwrap().iter().collect::<Vec<_>>(),
        ["path", "prediction", "confidence", "label", "error"]
    );
    for row in reader.records() {
        let row = row.unwrap();
        let name = Path::new(&row[0]).file_name().unwrap().to_str().unwrap();
        assert!(
            name.starts_with(&row[1]),
            "{name} is said to be {}",
            &row[1]
        );
        assert!((0.5..=1.0).contains(&row[2].parse::<f32>().unwrap()));
    }
}

#[test]
fn what_cannot_be_classified_is_named_and_shows_in_the_exit_status() {
    let model = small_model();
    let with = |args: &[&'static str]| {
        let mut all = vec!["--model", model.to_str().unwrap()];
        all.extend(args);
        run(&all)
    };
    let (code, out, err) = with(&["--format", "jsonl", "README.md", "models/samples"]);
    assert_eq!(code, 3);
    let all = rows(&out);
    assert_eq!(all.len(), 9);
    assert!(all[0]["prediction"].is_null());
    assert!(
        all[0]["error"].as_str().unwrap().contains("it is text"),
        "{}",
        all[0]
    );
    assert!(all[1..].iter().all(|row| row["error"].is_null()));
    assert!(
        err.starts_with("9 pictures, 1 failed\n  README.md: "),
        "{err}"
    );

    let (code, _, err) = with(&["nowhere.jpg"]);
    assert_eq!(code, 1);
    assert!(err.contains("nowhere.jpg: No such file"), "{err}");
    let (code, _, err) = with(&["src"]);
    assert_eq!(code, 1);
    assert!(err.contains("no pictures"), "{err}");
    let (code, _, err) = with(&["--workers", "0", "models/samples"]);
    assert_eq!(code, 1);
    assert!(err.contains("WORKERS"), "{err}");
    let (code, _, err) = with(&["--format", "xml", "models/samples"]);
    assert_eq!(code, 2);
    assert!(err.contains("jsonl"), "{err}");
    assert_eq!(with(&[]).0, 2);
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    let mut child = classify(&["--format", "jsonl", "tests/fixtures/pictures"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert!(first.ends_with("}\n"));
    let output = child.wait_with_output().unwrap();
    assert!(
        output.stderr.is_empty(),
        "{:?}",
        String::from_utf8(output.stderr)
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn folders_named_like_classes_give_accuracy_and_agreement() {
    let dir = tempfile::tempdir().unwrap();
    for n in 1..=4 {
        for (folder, class) in [("aberta", "aberta"), ("fechada", "fechada")] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
            let sample = repo().join(format!("models/samples/{class}-{n}.jpg"));
            std::fs::copy(sample, dir.path().join(format!("{folder}/{n}.jpg"))).unwrap();
        }
    }
    // One in the wrong folder.
    let wrong = repo().join("models/samples/aberta-1.jpg");
    std::fs::copy(wrong, dir.path().join("fechada/5.jpg")).unwrap();
    let folder = dir.path().to_str().unwrap();
    let evaluate = ["--labels-from-folders", "--format", "summary", folder];
    let (code, out, err) =
        run(&[&evaluate[..], &["--compare-with", "models/bottle.onnx"]].concat());
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    for part in [
        "9 pictures, 0 failed",
        "accuracy      88.89 % (8 of 9;",
        "expected calibration error",
        "aberta          4   100.00 %    80.00 %",
        "fechada         5    80.00 %   100.00 %",
        "agreement     100.00 % (9 of 9;",
        "differ by up to 0.00e0",
    ] {
        assert!(out.contains(part), "{part:?} is not in\n{out}");
    }

    let small = small_model();
    let (code, _, err) =
        run(&[&evaluate[..], &["--compare-with", small.to_str().unwrap()]].concat());
    assert_eq!(code, 1);
    assert!(err.contains("other classes"), "{err}");
    let (code, _, err) = run(&["--labels-from-folders", "models/samples"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("`samples` is not one of the model's classes (aberta, fechada)"),
        "{err}"
    );
}
