//! Which web pages of other origins may call the API from a browser.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::settings::Origins;

/// How long browsers may remember what a preflight said.
const MAX_AGE: Duration = Duration::from_secs(3600);

const EXPOSED: [&str; 10] = [
    "x-request-id",
    "x-served-by",
    "server-timing",
    "retry-after",
    "ratelimit",
    "ratelimit-policy",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "content-language",
];

/// Answers preflights, which carry no credentials, and marks the answers that pages may read.
///
/// Pages send credentials in headers of their own making. What a browser remembers by itself, it is never asked to
/// send (`Access-Control-Allow-Credentials`), so a page can use nobody's sign-in but the one it was given.
pub(super) fn layer(origins: &Origins) -> CorsLayer {
    let origins = match origins {
        Origins::Any => AllowOrigin::any(),
        Origins::Only(list) => AllowOrigin::list(
            list.iter()
                .filter_map(|one| HeaderValue::from_str(one).ok()),
        ),
    };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::DELETE,
        ])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::CONTENT_DISPOSITION,
            header::ACCEPT_LANGUAGE,
            HeaderName::from_static("x-api-key"),
            HeaderName::from_static("traceparent"),
            HeaderName::from_static("tracestate"),
        ])
        .expose_headers(EXPOSED.map(HeaderName::from_static))
        .max_age(MAX_AGE)
}
