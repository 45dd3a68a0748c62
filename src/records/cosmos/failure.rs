//! What errors of the client mean.

use std::error::Error;
use std::time::Duration;

use azure_core::http::StatusCode;
use azure_data_cosmos::CosmosError;
use serde::Deserialize;

use crate::remote::{Failure, FailureKind};

/// Longest message, in characters; the service's own can fill pages.
const MESSAGE: usize = 400;

/// Sub-statuses of 404: a replica that lags behind, and a container that is not there.
const BEHIND: u16 = 1002;
const NO_CONTAINER: u16 = 1003;

/// Whether an item is not there, in a container that is.
pub fn is_missing_item(error: &CosmosError) -> bool {
    error.status().is_not_found() && !matches!(sub_status(error), Some(BEHIND | NO_CONTAINER))
}

/// What went wrong.
pub fn of(error: &CosmosError) -> Failure {
    let kind = match u16::from(error.status().status_code()) {
        429 => FailureKind::Throttled,
        401 | 403 => FailureKind::Denied,
        404 if sub_status(error) != Some(BEHIND) => FailureKind::Denied,
        // The client has such statuses for troubles of its own, which say nothing about the item.
        400 | 413 if error.is_from_wire() => FailureKind::Rejected,
        _ => FailureKind::Unavailable,
    };
    let wait = error
        .response()
        .and_then(|response| response.headers().retry_after_ms)
        .map(Duration::from_millis);
    Failure {
        kind,
        message: message(error),
        retry_after: wait,
    }
}

fn sub_status(error: &CosmosError) -> Option<u16> {
    error.status().sub_status().map(|status| status.value())
}

#[derive(Deserialize)]
struct Answer {
    message: String,
}

fn message(error: &CosmosError) -> String {
    let answer = error.response().map(|response| response.body().clone());
    let said = answer.and_then(|body| body.into_single::<Answer>().ok());
    let text = match (said, error.source()) {
        (Some(answer), _) => format!("{}: {}", error.status(), answer.message),
        // Of troubles on the way, the last cause says most: "Connection refused".
        (None, Some(cause)) if error.status().status_code() == StatusCode::ServiceUnavailable => {
            last_cause(cause).to_string()
        }
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(MESSAGE).collect()
}

fn last_cause<'a>(mut cause: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause
}

#[cfg(test)]
mod tests {
    use super::*;
    use azure_data_cosmos::CosmosStatus;

    fn failure(status: u16, sub_status: u16) -> Failure {
        let status = CosmosStatus::new(status.into()).with_sub_status(sub_status);
        of(&CosmosError::builder().with_status(status).build())
    }

    #[test]
    fn statuses_tell_what_can_be_done() {
        use FailureKind::{Denied, Throttled, Unavailable};
        for (status, sub_status, kind) in [
            (401, 0, Denied),
            (403, 5301, Denied),
            (404, NO_CONTAINER, Denied),
            (404, BEHIND, Unavailable),
            (408, 0, Unavailable),
            (410, 1002, Unavailable),
            (429, 3200, Throttled),
            (449, 0, Unavailable),
            (500, 0, Unavailable),
            (503, 20003, Unavailable),
            // Not said by the service, so not about the item.
            (400, 20118, Unavailable),
        ] {
            assert_eq!(
                failure(status, sub_status).kind,
                kind,
                "{status}/{sub_status}"
            );
        }
    }

    #[test]
    fn a_container_that_is_missing_is_no_missing_item() {
        let missing = |sub_status| {
            let status = CosmosStatus::new(StatusCode::NotFound).with_sub_status(sub_status);
            is_missing_item(&CosmosError::builder().with_status(status).build())
        };
        assert!(missing(0));
        assert!(!missing(NO_CONTAINER) && !missing(BEHIND));
    }
}
