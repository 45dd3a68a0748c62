//! What the SDK's errors mean.

use std::error::Error as _;
use std::time::Duration;

use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::{
    ERROR_CODE, Headers, RETRY_AFTER, RETRY_AFTER_MS, X_MS_RETRY_AFTER_MS,
};
use azure_core::http::policies::get_retry_after;
use azure_core::time::OffsetDateTime;

use crate::remote::{Failure, FailureKind};

/// Longest text taken over from elsewhere, in characters.
const LONGEST: usize = 300;

/// The failure that an error is.
pub(super) fn failure(error: &Error) -> Failure {
    match error.kind() {
        ErrorKind::HttpResponse {
            status,
            raw_response,
            ..
        } => {
            let headers = raw_response.as_deref().map(|answer| answer.headers());
            answered(u16::from(*status), code(error).unwrap_or_default(), headers)
        }
        ErrorKind::Credential => {
            let text = format!("no token of Microsoft Entra ID: {}", credential_text(error));
            Failure::new(FailureKind::Denied, text)
        }
        _ => {
            let text = format!("Blob Storage cannot be reached: {}", cause(error));
            Failure::new(FailureKind::Unavailable, text)
        }
    }
}

/// Status and code of the service's answer, if there was one.
pub(super) fn answer(error: &Error) -> Option<(u16, &str)> {
    let status = error.http_status()?;
    Some((status.into(), code(error).unwrap_or_default()))
}

/// The innermost cause of an error, on one line. The outer ones only say that something failed, or repeat the address.
pub(super) fn cause(error: &Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    one_line(&innermost.to_string())
}

fn code(error: &Error) -> Option<&str> {
    let ErrorKind::HttpResponse { raw_response, .. } = error.kind() else {
        return None;
    };
    let code = raw_response
        .as_ref()?
        .headers()
        .get_optional_str(&ERROR_CODE)?;
    let is_code = code.len() < 100 && code.bytes().all(|b| b.is_ascii_alphanumeric());
    is_code.then_some(code)
}

fn answered(status: u16, code: &str, headers: Option<&Headers>) -> Failure {
    let retry_after = headers.and_then(retry_after);
    let kind = match (status, code) {
        // These are about the container, the account or the version of the service, not about the picture.
        (_, code) if code.starts_with("Container") || code.starts_with("Account") => {
            FailureKind::Denied
        }
        (400, "InvalidHeaderValue" | "UnsupportedHeader") => FailureKind::Denied,
        (400, "Md5Mismatch") => FailureKind::Unavailable,
        (400, "InvalidAuthenticationInfo") | (401 | 403 | 404 | 407, _) => FailureKind::Denied,
        (429, _) | (503, "ServerBusy") => FailureKind::Throttled,
        (503, _) if retry_after.is_some() => FailureKind::Throttled,
        // No store answers 1xx to 3xx here, but something in between may.
        (408 | 500.. | ..400, _) => FailureKind::Unavailable,
        _ => FailureKind::Rejected,
    };
    let hint = match code {
        "ContainerNotFound" => {
            ": there is no such container; it is made with `az storage container create --auth-mode login \
             --account-name ACCOUNT --name CONTAINER` or in the portal"
        }
        "AuthorizationPermissionMismatch" => {
            ": the identity needs the role Storage Blob Data Contributor on the container"
        }
        "InvalidHeaderValue" => ": Azurite older than 3.37 needs --skipApiVersionCheck",
        _ => "",
    };
    let mut failure = Failure::new(
        kind,
        format!("Blob Storage answered {status} {code}")
            .trim_end()
            .to_owned()
            + hint,
    );
    failure.retry_after = retry_after;
    failure
}

fn retry_after(headers: &Headers) -> Option<Duration> {
    let names = [X_MS_RETRY_AFTER_MS, RETRY_AFTER_MS, RETRY_AFTER];
    let time = get_retry_after(headers, OffsetDateTime::now_utc, &names)?;
    time.try_into().ok()
}

/// The text of a credential's error itself: it says what is missing. Around it is what the request says.
pub(super) fn credential_text(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        match inner.downcast_ref::<Error>() {
            Some(inner) if *inner.kind() == ErrorKind::Credential => text = inner.to_string(),
            _ => break,
        }
        source = inner.source();
    }
    one_line(&text)
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(LONGEST).collect()
}
