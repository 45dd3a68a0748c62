//! `POST /predict/batch`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, Extension, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::docs::Refusals;
use super::form::{self, FormPicture};
use super::predict::{PredictParams, Prediction};
use super::problem::{Kind, Problem};
use super::query::Params;
use super::{App, body, client, limits};
use crate::access::Account;
use crate::service::{Input, Request};

/// Pictures of one batch that are worked on at once, for each worker: enough to keep all of them busy, few enough
/// to leave room in the queue for others.
const AT_ONCE_PER_WORKER: usize = 2;

/// What became of one picture of a batch.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum BatchItem {
    /// It was classified.
    Prediction(Prediction),
    /// It was not; `status` and `type` say why.
    Problem(BatchProblem),
}

/// Why a picture of a batch was not classified.
#[derive(Serialize, ToSchema)]
pub(super) struct BatchProblem {
    /// File name as it was sent.
    #[schema(example = "garrafa.jpg")]
    image_name: Option<String>,
    #[serde(flatten)]
    problem: Problem,
}

/// Pictures in a form, each in a field `image` or `file`.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(super) struct BatchForm {
    /// The pictures.
    #[schema(value_type = Vec<String>, format = Binary, min_items = 1)]
    image: Vec<Vec<u8>>,
}

/// Classify several pictures
///
/// Each is stored, recorded and answered as if it had been sent to `/predict`, and counts as one request for rate
/// limits. The answers come in the order of the pictures; one that cannot be classified gets a problem in its place.
/// If none could be for reasons that are ours, the whole request is answered with that problem.
#[utoipa::path(
    post,
    path = "/predict/batch",
    operation_id = "predict_batch",
    tag = "predict",
    params(PredictParams),
    request_body(content((BatchForm = "multipart/form-data"))),
    responses(
        (status = 200, description = "What became of each picture", body = Vec<BatchItem>),
        (status = 400, description = "Malformed body, no picture, too many pictures, bad parameter", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such model", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not a form", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A model that cannot be served", body = Problem,
            content_type = "application/problem+json"),
        Refusals,
    ),
)]
pub(super) async fn predict(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(Caller(caller)): Extension<Caller>,
    Extension(account): Extension<Account>,
    Params(params): Params<PredictParams>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let deadline = Instant::now() + app.timeout;
    let top = params.top()?;
    let boundary = match boundary(&headers) {
        Ok(boundary) => boundary,
        Err(problem) => {
            body::discard(body).await;
            return Err(problem);
        }
    };
    // Its memory is charged until all is answered.
    let received = body::read(&app.budget, &headers, body, app.batch.bytes, deadline).await?;
    let pictures = form::pictures(received.bytes, boundary, app.batch.pictures).await?;
    let standing = account.charge_further(pictures.len());
    let standing = standing.map_err(limits::refusal)?;

    let address = client::address(peer, &headers, app.trusted_proxies);
    let chosen = app
        .service
        .choose(params.model.as_ref(), caller.as_deref(), Some(address));
    let chosen = chosen.await?;
    let request = |picture: &FormPicture| {
        Ok(Request {
            input: Input::Picture(picture.within(app.max_upload)?),
            model: chosen.clone(),
            image_name: picture.name.clone(),
            client: caller.as_deref().map(str::to_owned),
            address: Some(address),
            top,
            deadline,
        })
    };
    let requests: Vec<_> = pictures.iter().map(request).collect();
    let answers = requests.into_iter().map(|request| classify(&app, request));
    let at_once = AT_ONCE_PER_WORKER * app.service.workers();
    let answers: Vec<_> = stream::iter(answers).buffered(at_once).collect().await;
    if let Some(problem) = ours(&answers) {
        return Err(problem);
    }
    let items = pictures.into_iter().zip(answers);
    let items: Vec<_> = items
        .map(|(picture, answer)| item(picture, answer))
        .collect();
    let mut response = Json(items).into_response();
    if let Some(standing) = standing {
        response.extensions_mut().insert(standing);
    }
    Ok(response)
}

async fn classify(app: &App, request: Result<Request, Problem>) -> Result<Prediction, Problem> {
    let answer = app.service.classify(request?).await?;
    Ok(answer.record.into())
}

/// A problem of ours that left no picture answered.
fn ours(answers: &[Result<Prediction, Problem>]) -> Option<Problem> {
    let is_ours = |answer: &Result<_, Problem>| matches!(answer, Err(problem) if problem.is_ours());
    let first = answers.first()?.as_ref().err()?;
    answers.iter().all(is_ours).then(|| first.clone())
}

fn item(picture: FormPicture, answer: Result<Prediction, Problem>) -> BatchItem {
    match answer {
        Ok(prediction) => BatchItem::Prediction(prediction),
        Err(problem) => BatchItem::Problem(BatchProblem {
            image_name: picture.name,
            problem,
        }),
    }
}

fn boundary(headers: &HeaderMap) -> Result<String, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE);
    let text = content_type
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if !form::is_form(text) {
        let detail = format!(
            "the content type {text:?} cannot hold several pictures; send multipart/form-data with each picture in \
             a field `image` or `file`"
        );
        return Err(Problem::new(Kind::UnsupportedType, detail));
    }
    form::boundary(text)
}
