//! `GET /metrics` for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use metrics::gauge;

use super::App;

/// Metrics in Prometheus' text format
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain; version=0.0.4")))]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let (cached, queued) = app.service.load();
    gauge!("relance_cache_entries").set(cached as f64);
    gauge!("relance_queue_length").set(queued as f64);
    gauge!("relance_workers").set(app.service.workers() as f64);
    gauge!("relance_storage_up").set(if app.service.storage().fault().is_none() {
        1.0
    } else {
        0.0
    });
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        app.metrics.render(),
    )
}
