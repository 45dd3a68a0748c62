//! `/v2`: the Open Inference Protocol over REST.

mod elements;
mod fault;
mod message;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, Extension, FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::auth::Caller;
use super::docs::InferenceRefusals;
use super::{App, body, client};
use crate::access::Account;
use crate::oip::{self, ModelConfig, ModelIndex, ModelMetadata, ServerMetadata};

pub(super) use fault::{ErrorAnswer, plain_errors};

use fault::Fault;
use message::{InferenceAnswer, InferenceRequest};

/// Bytes of a request for the index.
const MAX_INDEX_BYTES: usize = 16 * 1024;

/// The server answers.
#[derive(Serialize, ToSchema)]
pub(super) struct Live {
    /// Always true.
    live: bool,
}

/// Whether traffic should be sent here.
#[derive(Serialize, ToSchema)]
pub(super) struct Ready {
    /// Always true; if not, the status is 503.
    ready: bool,
}

/// Whether traffic for a model should be sent here.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelReady {
    /// The model.
    #[schema(example = "bottle")]
    name: String,
    /// Always true; if not, the status is 503.
    ready: bool,
}

/// What to list.
#[derive(Default, Deserialize, ToSchema)]
pub(super) struct IndexRequest {
    /// Only models that are ready.
    #[serde(default)]
    ready: bool,
}

/// A model's name, and its version if the path has one.
#[derive(Deserialize)]
pub(super) struct ModelPath {
    model: String,
    #[serde(default)]
    version: String,
}

impl<S: Send + Sync> FromRequestParts<S> for ModelPath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let path = Path::<Self>::from_request_parts(parts, state).await;
        path.map(|Path(path)| path)
            .map_err(|_| Fault::invalid("the name of the model is not UTF-8"))
    }
}

fn not_ready() -> Fault {
    Fault::Told(
        StatusCode::SERVICE_UNAVAILABLE,
        "not ready: starting or shutting down".into(),
    )
}

/// The server and the extensions of the protocol that it knows
#[utoipa::path(get, path = "/v2", tag = "inference",
    operation_id = "inference_server",
    responses((status = 200, description = "The server", body = ServerMetadata)))]
pub(super) async fn server(State(app): State<Arc<App>>) -> Json<ServerMetadata> {
    Json(app.inference().metadata())
}

/// Is the process alive
#[utoipa::path(get, path = "/v2/health/live", tag = "inference",
    operation_id = "inference_live",
    security(()),
    responses((status = 200, description = "It is", body = Live)))]
pub(super) async fn live() -> Json<Live> {
    Json(Live { live: true })
}

/// Should traffic be sent here
#[utoipa::path(get, path = "/v2/health/ready", tag = "inference",
    operation_id = "inference_ready",
    security(()),
    responses((status = 200, description = "It should", body = Ready),
        (status = 503, description = "Starting or shutting down", body = ErrorAnswer)))]
pub(super) async fn ready(State(app): State<Arc<App>>) -> Result<Json<Ready>, Fault> {
    if !app.inference().is_ready() {
        return Err(not_ready());
    }
    Ok(Json(Ready { ready: true }))
}

/// The tensors of a model
#[utoipa::path(get, path = "/v2/models/{model}", tag = "inference",
    operation_id = "inference_model",
    params(("model" = String, Path, description = "Name, as `GET /models` tells it")),
    responses((status = 200, description = "The model", body = ModelMetadata),
        (status = 404, description = "No such model", body = ErrorAnswer)))]
pub(super) async fn model(
    State(app): State<Arc<App>>,
    path: ModelPath,
) -> Result<Json<ModelMetadata>, Fault> {
    let metadata = app.inference().model_metadata(&path.model, &path.version)?;
    Ok(Json(metadata))
}

/// The tensors of a version of a model
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}", tag = "inference",
    operation_id = "inference_version",
    params(("model" = String, Path, description = "Name"), ("version" = String, Path, description = "Version")),
    responses((status = 200, description = "The model", body = ModelMetadata),
        (status = 404, description = "No such model or version", body = ErrorAnswer)))]
pub(super) async fn model_version(
    app: State<Arc<App>>,
    path: ModelPath,
) -> Result<Json<ModelMetadata>, Fault> {
    model(app, path).await
}

/// Should traffic for a model be sent here
#[utoipa::path(get, path = "/v2/models/{model}/ready", tag = "inference",
    operation_id = "inference_model_ready",
    params(("model" = String, Path, description = "Name")),
    responses((status = 200, description = "It should", body = ModelReady),
        (status = 404, description = "No such model", body = ErrorAnswer),
        (status = 503, description = "Starting or shutting down", body = ErrorAnswer)))]
pub(super) async fn model_ready(
    State(app): State<Arc<App>>,
    path: ModelPath,
) -> Result<Json<ModelReady>, Fault> {
    if !app.inference().is_model_ready(&path.model, &path.version)? {
        return Err(not_ready());
    }
    Ok(Json(ModelReady {
        name: path.model,
        ready: true,
    }))
}

/// Should traffic for a version of a model be sent here
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}/ready", tag = "inference",
    operation_id = "inference_version_ready",
    params(("model" = String, Path, description = "Name"), ("version" = String, Path, description = "Version")),
    responses((status = 200, description = "It should", body = ModelReady),
        (status = 404, description = "No such model or version", body = ErrorAnswer),
        (status = 503, description = "Starting or shutting down", body = ErrorAnswer)))]
pub(super) async fn version_ready(
    app: State<Arc<App>>,
    path: ModelPath,
) -> Result<Json<ModelReady>, Fault> {
    model_ready(app, path).await
}

/// The configuration of a model, as Triton's clients ask for it
#[utoipa::path(get, path = "/v2/models/{model}/config", tag = "inference",
    operation_id = "inference_model_config",
    params(("model" = String, Path, description = "Name")),
    responses((status = 200, description = "The configuration", body = ModelConfig),
        (status = 404, description = "No such model", body = ErrorAnswer)))]
pub(super) async fn config(
    State(app): State<Arc<App>>,
    path: ModelPath,
) -> Result<Json<ModelConfig>, Fault> {
    let config = app.inference().model_config(&path.model, &path.version)?;
    Ok(Json(config))
}

/// The configuration of a version of a model
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}/config", tag = "inference",
    operation_id = "inference_version_config",
    params(("model" = String, Path, description = "Name"), ("version" = String, Path, description = "Version")),
    responses((status = 200, description = "The configuration", body = ModelConfig),
        (status = 404, description = "No such model or version", body = ErrorAnswer)))]
pub(super) async fn version_config(
    app: State<Arc<App>>,
    path: ModelPath,
) -> Result<Json<ModelConfig>, Fault> {
    config(app, path).await
}

/// List the models
#[utoipa::path(post, path = "/v2/repository/index", tag = "inference",
    operation_id = "inference_index",
    request_body(content = Option<IndexRequest>),
    responses((status = 200, description = "The models", body = Vec<ModelIndex>),
        (status = 400, description = "Not a request for the index", body = ErrorAnswer)))]
pub(super) async fn index(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Vec<ModelIndex>>, Fault> {
    let deadline = Instant::now() + app.timeout;
    let received = body::read(&app.budget, &headers, body, MAX_INDEX_BYTES, deadline).await?;
    let body = received.bytes;
    let wanted = if body.is_empty() {
        IndexRequest::default()
    } else {
        // As a map first, for a struct could also be read from an array.
        let fields = serde_json::from_slice::<Option<Map<_, _>>>(&body);
        let wanted = fields
            .and_then(|fields| serde_json::from_value(Value::Object(fields.unwrap_or_default())));
        wanted.map_err(|error| {
            Fault::invalid(format!(
                "the body is not a request for the index ({error}); accepted is nothing, or {{\"ready\": true}}"
            ))
        })?
    };
    Ok(Json(app.inference().index(wanted.ready)))
}

/// Classify pictures or tensors
///
/// Tensors are in the JSON or in binary form behind it (`Inference-Header-Content-Length`). Each picture has a record
/// of its own, as if it had come to `POST /predict`.
#[utoipa::path(post, path = "/v2/models/{model}/infer", tag = "inference",
    operation_id = "infer",
    params(("model" = String, Path, description = "Name")),
    request_body = InferenceRequest,
    responses((status = 200, description = "The outputs", body = InferenceAnswer),
        InferenceRefusals))]
pub(super) async fn infer(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(Caller(caller)): Extension<Caller>,
    account: Option<Extension<Account>>,
    path: ModelPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let deadline = Instant::now() + app.timeout;
    let server = app.inference();
    let max = server.limits.request_bytes;
    let received = body::read(&app.budget, &headers, body, max, deadline).await?;
    // The share is held until the answer is made.
    let (message, _share) = message::read(&headers, received, max).await?;
    let mut request = message.request;
    request.model = path.model;
    request.version = path.version;
    let caller = oip::Caller {
        client: caller.as_deref().map(str::to_owned),
        address: Some(client::address(peer, &headers, app.trusted_proxies)),
        account: account.map(|Extension(account)| account),
        deadline,
    };
    let response = server.infer(request, caller).await?;
    message::answer(response, &message.form)
}

/// Classify pictures or tensors with a version of a model
#[utoipa::path(post, path = "/v2/models/{model}/versions/{version}/infer", tag = "inference",
    operation_id = "infer_version",
    params(("model" = String, Path, description = "Name"), ("version" = String, Path, description = "Version")),
    request_body = InferenceRequest,
    responses((status = 200, description = "The outputs", body = InferenceAnswer),
        InferenceRefusals))]
pub(super) async fn version_infer(
    app: State<Arc<App>>,
    peer: ConnectInfo<SocketAddr>,
    caller: Extension<Caller>,
    account: Option<Extension<Account>>,
    path: ModelPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    infer(app, peer, caller, account, path, headers, body).await
}
