//! `GET /metrics` for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use metrics::gauge;

use super::App;
use crate::telemetry;
use crate::telemetry::metrics::{
    BACKLOG_BYTES, BACKLOG_OPINIONS, BACKLOG_RECORDS, BACKLOG_REVIEWS, CACHE_ENTRIES, DRIFT_PSI,
    QUEUE_LENGTH, QUEUE_OLDEST_SECONDS, STORAGE_UP, WORKERS, gauge_text,
};

/// Metrics in Prometheus' text format
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain; version=0.0.4")))]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let load = app.service.load();
    gauge!(CACHE_ENTRIES).set(load.cached as f64);
    gauge!(QUEUE_LENGTH).set(load.waiting as f64);
    gauge!(QUEUE_OLDEST_SECONDS).set(load.longest_wait.as_secs_f64());
    gauge!(BACKLOG_RECORDS).set(app.service.storage().waiting() as f64);
    let remarks = app.service.storage().waiting_remarks();
    gauge!(BACKLOG_REVIEWS).set(remarks.reviews as f64);
    gauge!(BACKLOG_OPINIONS).set(remarks.opinions as f64);
    gauge!(BACKLOG_BYTES).set(app.service.storage().waiting_bytes() as f64);
    gauge!(WORKERS).set(app.service.workers() as f64);
    gauge!(STORAGE_UP).set(if app.service.storage().fault().is_none() {
        1.0
    } else {
        0.0
    });
    let mut text = telemetry::render(&app.metrics);
    if let Some(psi) = app.service.drift() {
        let values = [("classes", psi.classes), ("confidence", psi.confidence)];
        text.push_str(&gauge_text(DRIFT_PSI, "of", &values));
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
