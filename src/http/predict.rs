//! `POST /predict`.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, Extension, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::auth::Caller;
use super::docs::Refusals;
use super::problem::{Kind, Problem};
use super::query::{Accepts, Params};
use super::upload::PictureReference;
use super::{App, client, upload};
use crate::model::Reference;
use crate::records::{ClassScore, ModelName, Record};
use crate::service::{Answer, DEFAULT_TOP, Input, Request, Timings};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PredictParams {
    /// How many classes to return, best first; more than the model has means all
    #[param(minimum = 1, maximum = 65_535, default = 5)]
    top: Option<usize>,
    /// The model that is to answer, as `name@version`, instead of the one that answers this client
    #[param(value_type = Option<String>, pattern = "^.+@[^@]+$")]
    pub(super) model: Option<Reference>,
}

const MAX_TOP: usize = 65_535;
const TOP: &str = "a whole number from 1 to 65535";

impl PredictParams {
    /// How many classes are wanted.
    pub(super) fn top(&self) -> Result<usize, Problem> {
        let top = self.top.unwrap_or(DEFAULT_TOP);
        if !(1..=MAX_TOP).contains(&top) {
            let detail = format!("top is {top}; accepted is {TOP}");
            return Err(Problem::new(Kind::BadParameter, detail));
        }
        Ok(top)
    }
}

impl Accepts for PredictParams {
    const ACCEPTED: &[(&str, &str)] = &[
        ("top", TOP),
        ("model", "name@version, as GET /models tells them"),
    ];
}

/// The class of a picture.
#[derive(Serialize, ToSchema)]
pub(super) struct Prediction {
    /// Identifier of this request, for `GET /requests/{request_id}`.
    request_id: Uuid,
    /// File name as it was sent.
    #[schema(example = "garrafa.jpg")]
    image_name: String,
    /// Most likely class.
    #[schema(example = "aberta")]
    prediction: String,
    /// Probability of that class, 0 to 1.
    #[schema(example = 0.98)]
    confidence: f32,
    /// The most likely classes, best first.
    top: Vec<ClassScore>,
    /// The model that answered.
    model: ModelName,
    /// The picture.
    image: PictureFacts,
    /// Where the picture is kept, to classify it again without sending it; null if it is not kept.
    #[schema(example = "0a/1b/0a1b….jpg")]
    image_ref: Option<String>,
    /// Whether an earlier or simultaneous request for the same picture did the work.
    cached: bool,
    /// Milliseconds from the arrival of the picture to its class.
    #[schema(example = 3.2)]
    processing_time: f64,
    /// When the request was taken in (UTC).
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
}

/// What is known of the picture.
#[derive(Serialize, ToSchema)]
pub(super) struct PictureFacts {
    /// SHA-256 of its bytes, hexadecimal.
    sha256: String,
    /// Width in pixels, upright.
    #[schema(example = 640)]
    width: u32,
    /// Height in pixels, upright.
    #[schema(example = 480)]
    height: u32,
    /// `jpeg`, `png`, `webp`, `bmp`, `gif` or `tiff`, told by content.
    #[schema(example = "jpeg")]
    format: String,
}

/// A picture in a form; exactly one of the two fields.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(super) struct PictureForm {
    /// The picture.
    #[schema(value_type = String, format = Binary, required = false)]
    image: Option<Vec<u8>>,
    /// The picture, under its other name.
    #[schema(value_type = String, format = Binary, required = false)]
    file: Option<Vec<u8>>,
}

/// A picture's bytes.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(super) struct PictureBytes(#[allow(dead_code)] Vec<u8>);

/// Classify a picture
///
/// JPEG, PNG, WebP, BMP, GIF or TIFF, told by content; or, as JSON, the `image_ref` of a picture that was sent
/// before. The answer is sent once the picture and the record of
/// the request are stored.
#[utoipa::path(
    post,
    path = "/predict",
    tag = "predict",
    params(PredictParams),
    request_body(content(
        (PictureForm = "multipart/form-data"),
        (PictureBytes = "image/*"),
        (PictureBytes = "application/octet-stream"),
        (PictureReference = "application/json"),
    )),
    responses(
        (status = 200, description = "The class of the picture", body = Prediction, headers(
            ("X-Request-Id" = String, description = "Same as `request_id`"),
            ("Server-Timing" = String, description = "Milliseconds of queue, decode, preprocess and inference"),
            ("RateLimit" = String, description = "What is left of the client's minute, where there is a limit"),
            ("RateLimit-Policy" = String, description = "What is allowed in a minute, where there is a limit"),
        )),
        (status = 400, description = "Empty or malformed body, missing field, several pictures, bad parameter",
            body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No picture is stored under that reference", body = Problem,
            content_type = "application/problem+json"),
        (status = 415, description = "Not a picture in a supported format", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A picture that cannot be decoded", body = Problem,
            content_type = "application/problem+json"),
        Refusals,
    ),
)]
pub(super) async fn predict(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(Caller(caller)): Extension<Caller>,
    Params(params): Params<PredictParams>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let deadline = Instant::now() + app.timeout;
    let top = params.top()?;
    let address = client::address(peer, &headers, app.trusted_proxies);
    let upload = upload::read(&app, &headers, body, deadline).await?;
    let model = app
        .service
        .choose(params.model.as_ref(), caller.as_deref(), Some(address));
    let request = Request {
        input: Input::Picture(upload.bytes.clone()),
        model: model.await?,
        image_name: upload.name.clone(),
        client: caller.as_deref().map(str::to_owned),
        address: Some(address),
        top,
        deadline,
    };
    let Answer {
        record, timings, ..
    } = app.service.classify(request).await?;

    let own_headers = [
        (
            HeaderName::from_static("x-request-id"),
            header_value(record.request_id.to_string()),
        ),
        (
            HeaderName::from_static("server-timing"),
            header_value(server_timing(timings.as_ref())),
        ),
    ];
    Ok((own_headers, Json(Prediction::from(record))).into_response())
}

impl From<Record> for Prediction {
    fn from(record: Record) -> Self {
        Self {
            request_id: record.request_id,
            image_name: record.image_name,
            prediction: record.prediction,
            confidence: record.confidence,
            top: record.top,
            model: record.model,
            image: PictureFacts {
                sha256: record.image_sha256,
                width: record.image_width,
                height: record.image_height,
                format: record.image_format,
            },
            image_ref: record.image_ref,
            cached: record.cached,
            processing_time: record.processing_time,
            timestamp: record.timestamp,
        }
    }
}

fn server_timing(timings: Option<&Timings>) -> String {
    let Some(timings) = timings else {
        return r#"cache;desc="hit""#.into();
    };
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let mut text = String::with_capacity(96);
    for (name, time) in timings.stages() {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{name};dur={:.3}", millis(time));
    }
    text
}

fn header_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}
