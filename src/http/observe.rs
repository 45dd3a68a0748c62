//! Counts and logs every request.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderName;
use axum::middleware::Next;
use axum::response::Response;
use metrics::{counter, histogram};

use super::App;

const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");

pub(super) async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = request.method().clone();
    // Unknown paths are one series, or a scanner could make any number of them.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("other".into(), |path| path.as_str().to_owned());
    let mut response = next.run(request).await;
    let time = start.elapsed();
    let status = response.status();
    let method_label = if method.is_safe() || method == "POST" {
        method.to_string()
    } else {
        "other".into()
    };
    counter!("relance_http_requests_total", "method" => method_label, "route" => route.clone(),
        "status" => status.as_u16().to_string())
    .increment(1);
    histogram!("relance_http_request_seconds", "route" => route.clone()).record(time);
    let millis = time.as_secs_f64() * 1e3;
    if status.is_server_error() {
        tracing::warn!(%method, route, status = status.as_u16(), millis, "request");
    } else {
        tracing::debug!(%method, route, status = status.as_u16(), millis, "request");
    }
    response
        .headers_mut()
        .insert(SERVED_BY, app.served_by.clone());
    response
}
