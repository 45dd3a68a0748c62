//! Errors as clients of the Open Inference Protocol read them: `{"error": "…"}`.

use axum::Json;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::limits;
use crate::http::problem::Problem;
use crate::oip::Error;

/// An error of the Open Inference Protocol.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ErrorAnswer {
    /// What is wrong, and what is accepted.
    #[schema(example = "there is no model \"x\"; the one served is \"bottle\"")]
    pub error: String,
}

/// Why a request is not answered.
pub(in crate::http) enum Fault {
    /// As elsewhere; [`plain_errors`] gives it its form.
    Problem(Box<Problem>),
    /// Of this protocol alone.
    Told(StatusCode, String),
}

impl Fault {
    pub(super) fn invalid(text: impl Into<String>) -> Self {
        Self::Told(StatusCode::BAD_REQUEST, text.into())
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(text) => Self::invalid(text),
            Error::UnknownModel(text) => Self::Told(StatusCode::NOT_FOUND, text),
            Error::TooLarge(text) => Self::Told(StatusCode::PAYLOAD_TOO_LARGE, text),
            Error::RateLimited(exceeded) => limits::refusal(exceeded).into(),
            Error::Refused { refusal, place } => Problem::about(refusal, place).into(),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        match self {
            Self::Problem(problem) => problem.into_response(),
            Self::Told(status, error) => (status, Json(ErrorAnswer { error })).into_response(),
        }
    }
}

/// Problems under `/v2`, also those of wrong credentials and unknown routes, in the form of the protocol.
pub(in crate::http) async fn plain_errors(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let here = path == "/v2" || path.starts_with("/v2/");
    let mut response = next.run(request).await;
    if !here {
        return response;
    }
    let Some(problem) = response.extensions_mut().remove::<Problem>() else {
        return response;
    };
    let error = problem.into_detail();
    let (mut parts, body) = Json(ErrorAnswer { error }).into_response().into_parts();
    let content_type = parts.headers.clone();
    parts.status = response.status();
    parts.headers = std::mem::take(response.headers_mut());
    parts.headers.extend(content_type);
    Response::from_parts(parts, body)
}
