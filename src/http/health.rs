//! Health: alive, and ready for traffic.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use crate::remote::{Presence, State};
use crate::service::Stage;

/// The process answers.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// Always `ok`.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether traffic should be sent here.
#[derive(Serialize, ToSchema)]
pub(super) struct Readiness {
    /// `ready`, `starting` or `draining`.
    #[schema(example = "ready")]
    status: &'static str,
    /// Name of this instance.
    instance: String,
    /// Version of the program.
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// Name of the deployed release, from the setting `RELEASE`.
    #[schema(example = "20261121093000-8bedbfc")]
    release: Option<String>,
    /// The model, as name@version.
    #[schema(example = "bottle@3f1c9a7be042")]
    model: String,
    /// `ok`, or why records or pictures cannot be written; does not make an instance unready, since a restart would
    /// not help.
    #[schema(example = "ok")]
    storage: String,
    /// The shared stores, as they were when last used: `ok`, `unknown`, or why not. None makes an instance unready,
    /// for it answers without them.
    dependencies: BTreeMap<&'static str, String>,
}

/// Is the process alive
#[utoipa::path(get, path = "/health", tag = "health", security(()),
    responses((status = 200, description = "It is", body = Health)))]
pub(super) async fn health() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Is the process alive (for liveness probes)
#[utoipa::path(get, path = "/health/live", operation_id = "health_live", tag = "health", security(()),
    responses((status = 200, description = "It is", body = Health)))]
pub(super) async fn live() -> Json<Health> {
    health().await
}

/// Should traffic be sent here (for readiness probes)
#[utoipa::path(get, path = "/health/ready", operation_id = "health_ready", tag = "health", security(()),
    responses(
        (status = 200, description = "The model is warm", body = Readiness),
        (status = 503, description = "Starting or shutting down", body = Readiness),
    ))]
pub(super) async fn ready(
    extract::State(app): extract::State<Arc<App>>,
) -> (StatusCode, Json<Readiness>) {
    let code = match app.lifecycle.stage() {
        Stage::Ready => StatusCode::OK,
        Stage::Starting | Stage::Draining => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, Json(Readiness::of(&app)))
}

impl Readiness {
    /// As it is now.
    pub(super) fn of(app: &App) -> Self {
        let model = app.service.model();
        Self {
            status: match app.lifecycle.stage() {
                Stage::Ready => "ready",
                Stage::Starting => "starting",
                Stage::Draining => "draining",
            },
            instance: app.served_by.to_str().unwrap_or_default().to_owned(),
            version: env!("CARGO_PKG_VERSION"),
            release: app.release.clone(),
            model: model.reference.to_string(),
            storage: app.service.storage().fault().unwrap_or_else(|| "ok".into()),
            dependencies: app.service.dependencies().map(told).collect(),
        }
    }
}

fn told(store: &Presence) -> (&'static str, String) {
    let state = match store.state() {
        State::Unknown => "unknown".into(),
        State::Up => "ok".into(),
        State::Down(why) => why,
    };
    (store.name(), state)
}
