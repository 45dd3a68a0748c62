//! The models: which there are, and which one answers.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, Extension, Path, State};
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::Caller;
use super::docs::{ChangeRefusals, ChoiceRefusals};
use super::json::Form;
use super::problem::{Kind, Problem};
use super::{App, client};
use crate::model::{Model, Reference};
use crate::service::{Agreement, Latency, ModelStatus, Psi, State as Duty};

/// Who changes models where nobody has to sign in.
const ANONYMOUS: &str = "anonymous";

/// The models there are.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelList {
    /// Those on duty first.
    models: Vec<ModelFacts>,
    /// Why this instance does not serve what the registry of models says; null if it does, or there is none.
    fault: Option<String>,
    /// Whether models can be changed while the service runs: whether the setting `MODELS` names a registry.
    changeable: bool,
}

/// A model.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelFacts {
    /// Name: its folder in the registry, or the name of the file `MODEL` without extension.
    #[schema(example = "bottle")]
    name: String,
    /// Version: its folder in the registry, or the first digits of the file's SHA-256.
    #[schema(example = "3f1c9a7be042")]
    version: String,
    /// SHA-256 of the file, hexadecimal; null if it was not read yet.
    sha256: Option<String>,
    /// What it does; always `classify`.
    #[schema(example = "classify")]
    task: &'static str,
    /// The file's own words about itself.
    description: Option<String>,
    /// Class names by index; null if they are not known yet.
    #[schema(example = json!(["aberta", "fechada"]))]
    classes: Option<Vec<String>>,
    /// Size and type of the picture it takes; null if it is not loaded.
    input: Option<ModelInput>,
    /// What runs it: `cpu` (ONNX Runtime) or `openvino`; null if it is not loaded.
    #[schema(example = "cpu")]
    provider: Option<String>,
    /// What it is computed in: `f32` or `bf16`; null if it is not loaded.
    #[schema(example = "f32")]
    precision: Option<String>,
    /// Whether it answers `POST /predict`.
    active: bool,
    /// What becomes of it.
    state: Duty,
    /// How long it takes for a picture; null if it is not loaded.
    latency: Option<Latency>,
    /// How far its latest answers are from its baseline; null without a baseline, or after too few answers.
    drift: Option<Psi>,
    /// How far it agrees with the model that answers; null if it is not tried out.
    agreement: Option<Agreement>,
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
///
/// Those that are loaded, with what they have done on this instance, and those in the registry.
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
    Json(listed(&app).await)
}

/// The version that is to answer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Activation {
    /// One of the versions that `GET /models` lists under this name.
    #[schema(example = "2")]
    version: String,
}

const ACTIVATION: Form = Form {
    kind: Kind::BadModelChange,
    what: "choice of a version",
    accepted: r#"{"version": "…"}"#,
};

/// Have a model answer
///
/// It is loaded beside the one that answers, must answer its sample pictures right, and then takes its place at once:
/// no request fails or waits. If anything is wrong with it, all stays as it is. This instance has changed when this is
/// answered, others follow within `MODELS_POLL_SECONDS`.
#[utoipa::path(
    put,
    path = "/models/{name}",
    operation_id = "activate_model",
    tag = "models",
    params(("name" = String, Path, description = "Name of the model")),
    request_body = Activation,
    responses(
        (status = 200, description = "It answers now", body = ModelList),
        ChangeRefusals,
        ChoiceRefusals,
    ),
)]
pub(super) async fn activate(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(Caller(caller)): Extension<Caller>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ModelList>, Problem> {
    let Activation { version } = ACTIVATION.read(&app, &headers, body).await?;
    let by = admin(&app, peer, &headers, caller.as_deref())?;
    let model = Reference { name, version };
    let change = app.service.activate(model, &by).await;
    change.map_err(Problem::from)?;
    Ok(Json(listed(&app).await))
}

/// The name of a caller who may change what is served.
pub(super) fn admin(
    app: &App,
    peer: SocketAddr,
    headers: &HeaderMap,
    caller: Option<&str>,
) -> Result<String, Problem> {
    let may = |admins: &Vec<String>| caller.is_some_and(|name| admins.iter().any(|a| a == name));
    if app.model_admins.as_ref().is_none_or(may) {
        return Ok(caller.unwrap_or(ANONYMOUS).to_owned());
    }
    let who = match caller {
        Some(name) => format!("{name:?}"),
        None => client::address(peer, headers, app.trusted_proxies).to_string(),
    };
    let detail = format!("{who} may not change what is served; MODEL_ADMINS names those who may");
    Err(Problem::new(Kind::Forbidden, detail))
}

async fn listed(app: &App) -> ModelList {
    let (models, fault) = app.service.models().await;
    ModelList {
        models: models.into_iter().map(ModelFacts::from).collect(),
        fault,
        changeable: app.service.fleet().is_changeable(),
    }
}

impl From<ModelStatus> for ModelFacts {
    fn from(status: ModelStatus) -> Self {
        let ModelStatus {
            reference: Reference { name, version },
            state,
            model,
            peek,
            latency,
            drift,
            agreement,
        } = status;
        let known = model.as_deref();
        let peeked = peek.as_ref();
        let digest = known.map(|model| model.digest);
        let own_words = known.and_then(|model| model.description.clone());
        let classes = known.map(|model| model.labels.clone());
        let peeked_classes = || {
            peeked
                .map(|peek| peek.labels.clone())
                .filter(|l| !l.is_empty())
        };
        Self {
            name,
            version,
            sha256: digest
                .or_else(|| peeked.map(|peek| peek.digest))
                .map(hex::encode),
            task: "classify",
            description: own_words.or_else(|| peeked.and_then(|peek| peek.description.clone())),
            classes: classes.or_else(peeked_classes),
            input: known.map(ModelInput::of),
            provider: known.map(|model| model.provider.to_string()),
            precision: known.map(|model| model.precision.to_string()),
            active: state == Duty::Active,
            state,
            latency,
            drift,
            agreement,
        }
    }
}

impl ModelInput {
    fn of(model: &Model) -> Self {
        Self {
            width: model.input.width,
            height: model.input.height,
            r#type: model.input_type(),
        }
    }
}
