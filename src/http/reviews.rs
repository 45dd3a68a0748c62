//! Reviews: whether answers are right.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::auth::Caller;
use super::filter::model;
use super::json::Form;
use super::problem::{Kind, Problem};
use super::query::{Accepts, Params};
use super::requests::{self, RequestId};
use super::{App, client};
use crate::records::{Record, Review};
use crate::service::{Judgement, Reviewed, Reviewer, Summary};

/// Who reviews where nobody has to sign in.
const ANONYMOUS: &str = "anonymous";

const MAX_NOTE: usize = 1_000;

/// Classes that are named when a label is none of them.
const NAMED: usize = 20;

/// What somebody says of an answer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReviewForm {
    /// The right class: one of the model that answered, or `unsure`.
    #[schema(example = "aberta")]
    label: String,
    /// What else there is to say. Control characters other than line breaks are left out.
    #[schema(example = "the cap lies beside it", max_length = 1000)]
    note: Option<String>,
}

const FORM: Form = Form {
    kind: Kind::BadReview,
    what: "review",
    accepted: r#"{"label": "…", "note": "…"}, where the note may be left out and has at most 1000 characters"#,
};

/// Review a request
///
/// The answer is sent once the review is stored. Who reviewed and when is kept with it, and so are the reviews before
/// it, up to 20. Saying the same again changes nothing.
#[utoipa::path(
    put,
    path = "/requests/{request_id}/review",
    operation_id = "review_request",
    tag = "review",
    params(("request_id" = Uuid, Path, description = "Identifier from the answer to `POST /predict`")),
    request_body = ReviewForm,
    responses(
        (status = 200, description = "The review", body = Review),
        (status = 400, description = "Not an identifier, or a body that is no review", body = Problem,
            content_type = "application/problem+json"),
        (status = 401, description = "No or wrong credentials", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such request", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "Too many bytes", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No class of the model that answered; tells those that are accepted",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Storage not available", body = Problem,
            content_type = "application/problem+json",
            headers(("Retry-After" = u64, description = "Seconds to wait"))),
        (status = 507, description = "Storage full", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn put(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(Caller(caller)): Extension<Caller>,
    RequestId(id): RequestId,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Review>, Problem> {
    let judgement = judgement(FORM.read(&app, &headers, body).await?)?;
    let label = judgement.label.clone();
    let key = key(&app, peer, &headers, caller.as_deref());
    let reviewer = Reviewer {
        name: caller.as_deref().unwrap_or(ANONYMOUS),
        key: &key,
    };
    match app.service.review(id, judgement, reviewer).await? {
        Reviewed::Kept(review) => Ok(Json(review)),
        Reviewed::NoRequest => Err(requests::missing(id)),
        Reviewed::UnknownLabel(accepted) => Err(unknown(&label, &accepted)),
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct NextParams {
    /// Another one than this, which then comes last
    skip: Option<Uuid>,
}

impl Accepts for NextParams {
    const ACCEPTED: &[(&str, &str)] = &[("skip", "a request_id")];
}

/// The next request to review
///
/// Mostly the one that the model was least sure of, about one time in five one by chance. It is kept for whoever asks
/// for ten minutes, and asking again gives the same one.
#[utoipa::path(
    get,
    path = "/review/next",
    operation_id = "next_review",
    tag = "review",
    params(NextParams),
    responses(
        (status = 200, description = "A request that nobody has reviewed", body = Record),
        (status = 204, description = "There is none, or others have those that there are"),
        (status = 400, description = "Bad parameter", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No or wrong credentials", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Storage not available", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn next(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(Caller(caller)): Extension<Caller>,
    Params(params): Params<NextParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let reviewer = key(&app, peer, &headers, caller.as_deref());
    let next = app.service.next_for_review(&reviewer, params.skip).await?;
    Ok(match next {
        Some(record) => requests::whole(record).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SummaryParams {
    /// Only answers of this model, as `name@version`
    #[param(pattern = "^.+@[^@]+$")]
    model: Option<String>,
}

impl Accepts for SummaryParams {
    const ACCEPTED: &[(&str, &str)] = &[];
}

/// Figures made of the reviews
///
/// Accuracy, confusion and calibration. The accuracy of `random` is that of all answers, as far as they are many; the
/// other figures are made mostly of doubtful answers.
#[utoipa::path(
    get,
    path = "/review/summary",
    operation_id = "review_summary",
    tag = "review",
    params(SummaryParams),
    responses(
        (status = 200, description = "The figures", body = Summary),
        (status = 400, description = "Bad parameter", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No or wrong credentials", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Storage not available", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn summary(
    State(app): State<Arc<App>>,
    Params(params): Params<SummaryParams>,
) -> Result<Json<Summary>, Problem> {
    let model = params.model.map(model).transpose()?;
    Ok(Json(app.service.review_summary(model).await?))
}

/// What tells reviewers from each other: their name, or else where they are.
fn key(app: &App, peer: SocketAddr, headers: &HeaderMap, caller: Option<&str>) -> String {
    match caller {
        Some(name) => name.to_owned(),
        None => client::address(peer, headers, app.trusted_proxies).to_string(),
    }
}

fn judgement(form: ReviewForm) -> Result<Judgement, Problem> {
    let note = form.note.unwrap_or_default();
    if note.chars().count() > MAX_NOTE {
        return Err(FORM.bad("the note is too long"));
    }
    let note: String = note
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect();
    let note = note.trim();
    Ok(Judgement {
        label: form.label,
        note: (!note.is_empty()).then(|| note.to_owned()),
    })
}

fn unknown(label: &str, accepted: &[String]) -> Problem {
    // The last one is no class.
    let mut named: Vec<&str> = accepted.iter().map(String::as_str).collect();
    let rest = named.len().saturating_sub(NAMED + 1);
    if rest > 0 {
        named.drain(NAMED..NAMED + rest);
    }
    let more = if rest > 0 {
        format!(", and {rest} more classes that GET /models tells")
    } else {
        String::new()
    };
    let label: String = label.chars().take(100).collect();
    let detail = format!(
        "label is {label:?}; accepted is one of {}{more}",
        named.join(", ")
    );
    Problem::new(Kind::UnknownLabel, detail)
}
