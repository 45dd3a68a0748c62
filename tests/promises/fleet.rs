//! Models change while the service runs: no request fails, no answer is another model's, all instances follow.

mod changes;
mod container;
mod following;
mod trials;

use std::path::Path;

use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::support::{App, Setup, fixture, json as read};

/// Three versions of one model with the same classes, and three files that are none.
const VERSIONS: [(&str, &str); 5] = [
    ("1", "models/yolov8n-cls-nc10-64.onnx"),
    ("2", "models/yolo26n-cls-nc10-64.onnx"),
    ("3", "models/yolo11s-cls-nc10-64.onnx"),
    ("broken", "models/truncated.onnx"),
    ("segments", "models/yolov8n-seg-nc10-64.onnx"),
];

/// A registry with [`VERSIONS`] of the model `toy`.
fn registry() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (version, file) in VERSIONS {
        let folder = dir.path().join("toy").join(version);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(fixture(file), folder.join("model.onnx")).unwrap();
    }
    dir
}

fn with(registry: &Path) -> Setup {
    Setup::new()
        .set("MODELS", registry.to_str().unwrap())
        .set("MODELS_POLL_SECONDS", "1")
        .set("WORKERS", "2")
}

fn put(app: &App, path: &str, body: &Value) -> RequestBuilder {
    app.client.put(format!("{}{path}", app.url)).json(body)
}

fn activation(app: &App, version: &str) -> RequestBuilder {
    put(app, "/models/toy", &json!({ "version": version }))
}

/// Has a version of `toy` answer.
async fn activate(app: &App, version: &str) {
    let (status, answer) = read(activation(app, version)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(active(app).await, format!("toy@{version}"));
}

fn trial(app: &App, version: &str, role: &str, share: f64) -> RequestBuilder {
    let model = format!("toy@{version}");
    put(
        app,
        "/candidate",
        &json!({"model": model, "role": role, "share": share}),
    )
}

async fn try_out(app: &App, version: &str, role: &str, share: f64) {
    let (status, answer) = read(trial(app, version, role, share)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

/// The model that answers, by what `GET /models` says.
async fn active(app: &App) -> String {
    let (_, list) = read(app.get("/models")).await;
    let models = list["models"].as_array().unwrap();
    let active: Vec<&Value> = models.iter().filter(|m| m["active"] == true).collect();
    assert_eq!(active.len(), 1, "{list}");
    name(active[0])
}

/// `name@version` of what has both.
fn name(model: &Value) -> String {
    format!(
        "{}@{}",
        model["name"].as_str().unwrap(),
        model["version"].as_str().unwrap()
    )
}

/// The answer of one model to a picture.
async fn asked(app: &App, model: &str, picture: &[u8]) -> Value {
    let request = app
        .post(&format!("/predict?model={model}"))
        .header("content-type", "image/jpeg")
        .body(picture.to_vec());
    let (status, answer) = read(request).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(name(&answer["model"]), model);
    answer
}
