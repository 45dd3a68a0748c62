//! `GET /requests`: what was answered.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::App;
use super::filter::ListParams;
use super::problem::{Kind, Problem};
use super::query::Params;
use crate::image::Format;
use crate::records::Record;
use crate::service::Refusal;

/// Answered requests, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct RequestList {
    /// The requests.
    requests: Vec<Record>,
    /// Give this as `cursor` for the next page; null on the last one.
    next_cursor: Option<String>,
}

/// List answered requests, newest first
#[utoipa::path(
    get,
    path = "/requests",
    operation_id = "list_requests",
    tag = "requests",
    params(ListParams),
    responses(
        (status = 200, description = "A page of requests", body = RequestList),
        (status = 400, description = "Bad parameter", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No or wrong credentials", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Storage not available", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Params(params): Params<ListParams>,
) -> Result<Json<RequestList>, Problem> {
    let mut page = app.service.list(params.filter()?).await?;
    for record in &mut page.records {
        record.review_history = None;
    }
    let next_cursor = page.next.map(|id| URL_SAFE_NO_PAD.encode(id.as_bytes()));
    Ok(Json(RequestList {
        requests: page.records,
        next_cursor,
    }))
}

/// One answered request
#[utoipa::path(
    get,
    path = "/requests/{request_id}",
    operation_id = "get_request",
    tag = "requests",
    params(("request_id" = Uuid, Path, description = "Identifier from the answer to `POST /predict`")),
    responses(
        (status = 200, description = "The request", body = Record),
        (status = 400, description = "Not an identifier", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No or wrong credentials", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such request", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Storage not available", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    request_id: RequestId,
) -> Result<Json<Record>, Problem> {
    find(&app, request_id).await.map(whole)
}

/// A record as it is told alone: with the history of its reviews, if there is none an empty one.
pub(super) fn whole(mut record: Record) -> Json<Record> {
    record.review_history.get_or_insert_default();
    Json(record)
}

/// Remove a request
///
/// Its record goes with its reviews, and its picture too if no other request has it.
#[utoipa::path(
    delete,
    path = "/requests/{request_id}",
    operation_id = "delete_request",
    tag = "requests",
    params(("request_id" = Uuid, Path, description = "Identifier from the answer to `POST /predict`")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 400, description = "Not an identifier", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No or wrong credentials", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such request", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "A store that has it is not available; try again", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    RequestId(id): RequestId,
) -> Result<StatusCode, Problem> {
    // Goes on if the client goes away, lest half of it is done.
    let service = Arc::clone(&app);
    let removal = tokio::spawn(async move { service.service.delete(id).await });
    let removed = removal
        .await
        .map_err(|error| Refusal::Internal(error.to_string()))??;
    if removed {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(missing(id))
    }
}

/// The picture of a request, as it was sent
#[utoipa::path(
    get,
    path = "/requests/{request_id}/image",
    operation_id = "get_request_image",
    tag = "requests",
    params(("request_id" = Uuid, Path, description = "Identifier from the answer to `POST /predict`")),
    responses(
        (status = 200, description = "The picture", body = String, content_type = "image/*"),
        (status = 400, description = "Not an identifier", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No or wrong credentials", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such request, or its picture is gone", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Storage not available", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn image(
    State(app): State<Arc<App>>,
    request_id: RequestId,
) -> Result<Response, Problem> {
    let record = find(&app, request_id).await?;
    let picture = app.service.picture(&record).await?;
    let picture = picture.ok_or_else(|| no_picture(&record))?;
    let reference = record.image_ref.as_deref().unwrap_or_default();
    let extension = reference.rsplit('.').next().unwrap_or_default();
    let media_type =
        Format::from_extension(extension).map_or("application/octet-stream", Format::media_type);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CONTENT_DISPOSITION, disposition(&record.image_name)),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; sandbox"),
        ),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, max-age=31536000, immutable"),
        ),
    ];
    Ok((headers, picture).into_response())
}

/// The identifier in the path.
pub(super) struct RequestId(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let bad = |what: &str| {
            let detail = format!("{what} is not a request identifier; accepted is a UUID");
            Problem::new(Kind::BadParameter, detail)
        };
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| bad("what is not UTF-8"))?;
        let id = text.parse().map_err(|_| bad(&format!("{text:?}")))?;
        Ok(Self(id))
    }
}

pub(super) async fn find(app: &App, RequestId(id): RequestId) -> Result<Record, Problem> {
    let record = app.service.find(id).await?;
    record.ok_or_else(|| missing(id))
}

pub(super) fn no_picture(record: &Record) -> Problem {
    let id = record.request_id;
    Problem::new(
        Kind::NotFound,
        format!("the picture of request {id} is no longer stored"),
    )
}

pub(super) fn missing(id: Uuid) -> Problem {
    Problem::new(Kind::NotFound, format!("there is no request {id}"))
}

// RFC 6266: an ASCII name for old clients and the real one, percent-encoded.
fn disposition(name: &str) -> HeaderValue {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') || c == ' ';
    let ascii: String = name
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    let kept = |b: u8| b.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&b);
    let encoded: String = name
        .bytes()
        .map(|b| {
            if kept(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect();
    let text = format!("inline; filename=\"{ascii}\"; filename*=UTF-8''{encoded}");
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("inline"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_the_header() {
        let value = disposition("gar\"ra;fa\\ ção.jpg");
        assert_eq!(
            value.to_str().unwrap(),
            "inline; filename=\"gar_ra;fa_ __o.jpg\"; filename*=UTF-8''gar%22ra%3Bfa%5C%20%C3%A7%C3%A3o.jpg"
        );
    }
}
