//! `GET /requests/{request_id}/thumbnail`: a small copy of a picture.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use super::App;
use super::caching::has_copy;
use super::problem::{Kind, Problem};
use super::requests::{self, RequestId};
use crate::service::Refusal;

/// A small copy of the picture of a request
///
/// A JPEG, upright, whose longer side has at most 160 pixels. It is made when it is first asked for.
#[utoipa::path(
    get,
    path = "/requests/{request_id}/thumbnail",
    operation_id = "get_request_thumbnail",
    tag = "requests",
    params(("request_id" = Uuid, Path, description = "Identifier from the answer to `POST /predict`")),
    responses(
        (status = 200, description = "The small picture", body = String, content_type = "image/jpeg", headers(
            ("ETag" = String, description = "For `If-None-Match`"))),
        (status = 304, description = "The copy that `If-None-Match` names is still right"),
        (status = 400, description = "Not an identifier", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No or wrong credentials", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such request, or its picture is gone", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "The stored picture can no longer be read", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Too many are being made, or storage not available", body = Problem,
            content_type = "application/problem+json",
            headers(("Retry-After" = u64, description = "Seconds to wait"))),
        (status = 504, description = "Not made in time", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn thumbnail(
    State(app): State<Arc<App>>,
    request_id: RequestId,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let record = requests::find(&app, request_id).await?;
    let tag = HeaderValue::try_from(format!("\"{}\"", record.image_sha256));
    let tag = tag.unwrap_or(HeaderValue::from_static("\"\""));
    let caching = [
        (header::ETAG, tag.clone()),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, max-age=31536000, immutable"),
        ),
    ];
    if record.image_ref.is_some() && has_copy(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    let made = timeout(app.timeout, app.service.thumbnail(&record)).await;
    let made = made.unwrap_or(Err(Refusal::Deadline));
    let small = made
        .map_err(problem)?
        .ok_or_else(|| requests::no_picture(&record))?;
    let about = [
        (header::CONTENT_TYPE, "image/jpeg"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox",
        ),
    ];
    Ok((caching, about, small).into_response())
}

/// Nothing was sent that could be of a wrong type or too large.
fn problem(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Picture(error) => Problem::new(
            Kind::DamagedPicture,
            format!("the stored picture cannot be read: {error}"),
        ),
        other => other.into(),
    }
}
