//! The model that is tried out beside the one that answers.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, Extension, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::App;
use super::auth::Caller;
use super::docs::{ChangeRefusals, ChoiceRefusals};
use super::json::Form;
use super::models::admin;
use super::problem::{Kind, Problem};
use crate::model::Reference;
use crate::registry::Role;
use crate::service::TrialReport;

/// A model that is to be tried out.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CandidateForm {
    /// The model, as `name@version`.
    #[schema(value_type = String, pattern = "^.+@[^@]+$", example = "bottle@3")]
    model: Reference,
    /// `shadow`: classifies a share of the new pictures again, after they were answered and when nothing else waits.
    /// `canary`: answers a share of the clients, always the same ones, and is compared as a shadow is on the others'.
    role: Role,
    /// Share of the traffic, above 0 and up to 1.
    #[schema(exclusive_minimum = 0, maximum = 1, example = 0.1)]
    share: f64,
}

const CANDIDATE: Form = Form {
    kind: Kind::BadModelChange,
    what: "candidate",
    accepted: r#"{"model": "name@version", "role": "shadow" or "canary", "share": a number above 0 and up to 1}"#,
};

/// How the candidate does
///
/// On this instance, since the candidate was loaded here: how far it agrees with the model that answers, how long it
/// takes, and where they differ. What it said of single requests is in their records, too.
#[utoipa::path(
    get,
    path = "/candidate",
    operation_id = "candidate",
    tag = "models",
    responses(
        (status = 200, description = "The report", body = TrialReport),
        (status = 401, description = "No or wrong credentials", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No model is tried out", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get(State(app): State<Arc<App>>) -> Result<Json<TrialReport>, Problem> {
    Ok(Json(app.service.trial()?))
}

/// Try a model out
///
/// Instead of the one that is, if any. Other instances follow within `MODELS_POLL_SECONDS`. To have it answer for good,
/// `PUT /models/{name}`.
#[utoipa::path(
    put,
    path = "/candidate",
    operation_id = "try_candidate",
    tag = "models",
    request_body = CandidateForm,
    responses(
        (status = 200, description = "It is tried out now", body = TrialReport),
        ChangeRefusals,
        ChoiceRefusals,
    ),
)]
pub(super) async fn put(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(Caller(caller)): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<TrialReport>, Problem> {
    let CandidateForm { model, role, share } = CANDIDATE.read(&app, &headers, body).await?;
    let by = admin(&app, peer, &headers, caller.as_deref())?;
    app.service.try_out(model, role, share, &by).await?;
    Ok(Json(app.service.trial()?))
}

/// Try it out no more
#[utoipa::path(
    delete,
    path = "/candidate",
    operation_id = "drop_candidate",
    tag = "models",
    responses(
        (status = 204, description = "No model is tried out now"),
        ChangeRefusals,
    ),
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(Caller(caller)): Extension<Caller>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let by = admin(&app, peer, &headers, caller.as_deref())?;
    app.service.drop_candidate(&by).await?;
    Ok(StatusCode::NO_CONTENT)
}
