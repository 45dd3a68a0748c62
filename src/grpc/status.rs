//! Refusals as gRPC statuses.

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tonic::{Code, Status};

use crate::http::limits;
use crate::http::problem::Problem;
use crate::oip::Error;

/// Problems of the layers that gRPC shares with HTTP, told as gRPC tells them.
pub(super) async fn translate(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    match of(&mut response) {
        Some(status) => status.into_http(),
        None => response,
    }
}

/// Why the protocol refuses a request.
pub(super) fn refusal(error: Error) -> Status {
    match error {
        Error::Invalid(text) => Status::invalid_argument(text),
        Error::UnknownModel(text) => Status::not_found(text),
        Error::TooLarge(text) => Status::resource_exhausted(text),
        Error::RateLimited(exceeded) => told(limits::refusal(exceeded)),
        Error::Refused { refusal, place } => told(Problem::about(refusal, place)),
    }
}

fn told(problem: Problem) -> Status {
    of(&mut problem.into_response()).unwrap_or_else(|| Status::internal(""))
}

/// The status of a response that tells a problem.
fn of(response: &mut Response) -> Option<Status> {
    let problem: Problem = response.extensions_mut().remove()?;
    let mut status = Status::new(code(response.status()), problem.into_detail());
    let wait = response.headers().get(header::RETRY_AFTER);
    if let Some(Ok(wait)) = wait.map(|wait| wait.as_bytes().try_into()) {
        status.metadata_mut().insert("retry-after", wait);
    }
    Some(status)
}

fn code(status: StatusCode) -> Code {
    match status.as_u16() {
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        405 => Code::Unimplemented,
        408 | 504 => Code::DeadlineExceeded,
        413 | 429 | 507 => Code::ResourceExhausted,
        503 => Code::Unavailable,
        400..500 => Code::InvalidArgument,
        _ => Code::Internal,
    }
}

/// A status's name in metrics and logs.
pub(super) fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
