//! What errors of the client mean.

use std::error::Error;
use std::time::Duration;

use azure_data_cosmos::CosmosError;

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

fn message(error: &CosmosError) -> String {
    let mut text = error.to_string();
    // Of troubles on the way, the last cause says most: "Connection refused".
    let mut cause = error.source();
    while let Some(next) = cause.and_then(Error::source) {
        cause = Some(next);
    }
    if let Some(cause) = cause {
        text = format!("{text}: {cause}");
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(MESSAGE).collect()
}
