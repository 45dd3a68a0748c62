//! `GET /models`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::problem::Problem;

/// The models served.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelList {
    models: Vec<ModelFacts>,
}

/// A model.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelFacts {
    /// File name without extension.
    #[schema(example = "bottle")]
    name: String,
    /// First digits of the file's SHA-256.
    #[schema(example = "3f1c9a7be042")]
    version: String,
    /// SHA-256 of the file, hexadecimal.
    sha256: String,
    /// What it does; always `classify`.
    #[schema(example = "classify")]
    task: &'static str,
    /// The file's own words about itself.
    description: Option<String>,
    /// Class names by index.
    #[schema(example = json!(["aberta", "fechada"]))]
    classes: Vec<String>,
    /// Size and type of the picture it takes.
    input: ModelInput,
    /// What runs it: `cpu` (ONNX Runtime) or `openvino`.
    #[schema(example = "cpu")]
    provider: String,
    /// What it is computed in: `f32` or `bf16`.
    #[schema(example = "f32")]
    precision: String,
    /// Whether it answers `POST /predict`.
    active: bool,
}

/// The picture a model takes.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelInput {
    /// Width in pixels.
    #[schema(example = 224)]
    width: u32,
    /// Height in pixels.
    #[schema(example = 224)]
    height: u32,
    /// Element type of the tensor: `float32` or `float16`.
    #[schema(example = "float32")]
    r#type: &'static str,
}

/// List the models
#[utoipa::path(
    get,
    path = "/models",
    operation_id = "list_models",
    tag = "models",
    responses(
        (status = 200, description = "The models", body = ModelList),
        (status = 401, description = "No or wrong credentials", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(State(app): State<Arc<App>>) -> Json<ModelList> {
    let model = app.service.model();
    let facts = ModelFacts {
        name: model.name.clone(),
        version: model.version.clone(),
        sha256: hex::encode(model.digest),
        task: "classify",
        description: model.description.clone(),
        classes: model.labels.clone(),
        input: ModelInput {
            width: model.input.width,
            height: model.input.height,
            r#type: model.input_type(),
        },
        provider: model.provider.to_string(),
        precision: model.precision.to_string(),
        active: true,
    };
    Json(ModelList {
        models: vec![facts],
    })
}
