//! `GET /dataset.zip`: reviewed pictures for training.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;

use super::App;
use super::filter::DatasetParams;
use super::problem::Problem;
use super::query::Params;

/// Reviewed pictures as a dataset
///
/// A ZIP archive with `train/LABEL/REQUEST_ID.EXT` and `val/…`, which Ultralytics trains with, and `manifest.jsonl`
/// with the origin of each picture. Equal pictures are in it once, with the label of their latest review; those that
/// the reviewer was unsure of are left out. It is streamed: if it cannot be completed, the connection breaks.
#[utoipa::path(
    get,
    path = "/dataset.zip",
    operation_id = "download_dataset",
    tag = "review",
    params(DatasetParams),
    responses(
        (status = 200, description = "The archive", body = String, content_type = "application/zip"),
        (status = 400, description = "Bad parameter", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No or wrong credentials", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Storage not available, or two others are being written", body = Problem,
            content_type = "application/problem+json",
            headers(("Retry-After" = u64, description = "Seconds to wait"))),
    ),
)]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Params(params): Params<DatasetParams>,
) -> Result<Response, Problem> {
    let mut pieces = app.service.dataset(params.wanted()?).await?;
    let stream = stream::poll_fn(move |context| pieces.poll_recv(context));
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/zip"),
        ),
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment; filename=\"dataset.zip\""),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::from_stream(stream)).into_response())
}
