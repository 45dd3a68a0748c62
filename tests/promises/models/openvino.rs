//! PROVIDER=openvino.

use std::process::Command;

use super::{assert_says, compare_all};
use crate::support::{Setup, json, repo};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_export_answers_as_in_python() {
    compare_all("openvino").await;
}

/// Where there is no bf16 the program says so and computes in f32; then the answers are even closer.
#[tokio::test]
async fn bf16_is_a_little_off_and_says_what_it_computes_in() {
    let exact = Setup::new()
        .set("MODEL", "models/bottle.onnx")
        .start()
        .await;
    let bf16 = Setup::new()
        .set("MODEL", "models/bottle.onnx")
        .set("PROVIDER", "openvino")
        .set("PRECISION", "bf16")
        .start()
        .await;
    let model = json(bf16.get("/models")).await.1["models"][0].clone();
    let has_bf16 = std::fs::read_to_string("/proc/cpuinfo")
        .unwrap()
        .split_whitespace()
        .any(|flag| flag == "avx512_bf16" || flag == "amx_bf16" || flag == "bf16");
    let warned = bf16.log().contains("this processor has no bf16");
    assert_eq!(model["precision"], if has_bf16 { "bf16" } else { "f32" });
    assert_eq!(warned, !has_bf16);
    let mut largest = 0.0f64;
    for entry in std::fs::read_dir(repo().join("models/samples")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let (a, b) = (
            exact.predict(bytes.clone()).await,
            bf16.predict(bytes).await,
        );
        assert_eq!(a["prediction"], b["prediction"]);
        let confidence = |answer: &serde_json::Value| answer["confidence"].as_f64().unwrap();
        largest = largest.max((confidence(&a) - confidence(&b)).abs());
    }
    println!("bf16 differs from f32 by up to {largest:.1e}");
    assert!(largest < 2e-2, "{largest}");
}

#[test]
fn bf16_needs_openvino() {
    let line = Setup::new().set("PRECISION", "bf16").refusal();
    assert_says(&line, &["PRECISION must be f32 with PROVIDER=cpu"]);
}

#[test]
fn a_missing_openvino_is_named_with_its_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("relance");
    std::fs::copy(env!("CARGO_BIN_EXE_relance"), &program).unwrap();
    let classify = || {
        let output = Command::new(&program)
            .args(["classify", "--provider", "openvino", "--model"])
            .arg(repo().join("models/bottle.onnx"))
            .arg(repo().join("models/samples"))
            .env("ORT_DYLIB_PATH", repo().join("lib/libonnxruntime.so"))
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let remedy = ["`make openvino`", "PROVIDER=cpu"];
    assert_says(
        &classify(),
        &[&["OpenVINO is missing"], &remedy[..]].concat(),
    );
    let library = dir.path().join("lib/openvino/libopenvino_c.so");
    std::fs::create_dir_all(library.parent().unwrap()).unwrap();
    std::fs::write(&library, "not a library").unwrap();
    assert_says(&classify(), &[&["cannot be used"], &remedy[..]].concat());
}
