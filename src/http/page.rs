//! The page at `/`, embedded in the program.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

use super::caching::has_copy;
use super::problem::{Kind, Problem};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";
const JSON: &str = "application/json";
const JPEG: &str = "image/jpeg";
const TEXT: &str = "text/plain; charset=utf-8";

/// Path, media type and content of a file.
type Asset = (&'static str, &'static str, &'static [u8]);

macro_rules! asset {
    ($media_type:ident, $file:literal) => {
        (
            concat!("/page/", $file),
            $media_type,
            include_bytes!(concat!("page/", $file)),
        )
    };
}

const ASSETS: &[Asset] = &[
    ("/", HTML, include_bytes!("page/index.html")),
    asset!(SVG, "icon.svg"),
    asset!(STYLE, "classify.css"),
    asset!(STYLE, "live.css"),
    asset!(STYLE, "models.css"),
    asset!(STYLE, "parts.css"),
    asset!(STYLE, "requests.css"),
    asset!(STYLE, "review.css"),
    asset!(STYLE, "style.css"),
    asset!(SCRIPT, "accuracy.js"),
    asset!(SCRIPT, "api.js"),
    asset!(SCRIPT, "app.js"),
    asset!(SCRIPT, "calibration.js"),
    asset!(SCRIPT, "change.js"),
    asset!(SCRIPT, "charts.js"),
    asset!(SCRIPT, "classify.js"),
    asset!(SCRIPT, "detail.js"),
    asset!(SCRIPT, "dom.js"),
    asset!(SCRIPT, "download.js"),
    asset!(SCRIPT, "export.js"),
    asset!(SCRIPT, "figures.js"),
    asset!(SCRIPT, "filters.js"),
    asset!(SCRIPT, "history.js"),
    asset!(SCRIPT, "i18n.js"),
    asset!(SCRIPT, "labels.js"),
    asset!(SCRIPT, "live.js"),
    asset!(SCRIPT, "matrix.js"),
    asset!(SCRIPT, "models.js"),
    asset!(SCRIPT, "patience.js"),
    asset!(SCRIPT, "portuguese.js"),
    asset!(SCRIPT, "quantile.js"),
    asset!(SCRIPT, "requests.js"),
    asset!(SCRIPT, "result.js"),
    asset!(SCRIPT, "review.js"),
    asset!(SCRIPT, "sign-in.js"),
    asset!(SCRIPT, "source.js"),
    asset!(SCRIPT, "thumbnails.js"),
    asset!(SCRIPT, "trial.js"),
    asset!(TEXT, "vendor/uplot.LICENSE"),
    asset!(STYLE, "vendor/uplot.css"),
    asset!(SCRIPT, "vendor/uplot.js"),
];

macro_rules! samples {
    ($first:literal $(, $file:literal)*) => {
        const SAMPLES: &[Asset] = &[
            (
                "/page/samples.json",
                JSON,
                concat!("[\"", $first, "\"" $(, ",\"", $file, "\"")*, "]").as_bytes(),
            ),
            samples!(@file $first),
            $(samples!(@file $file)),*
        ];
    };
    (@file $file:literal) => {
        (
            concat!("/page/samples/", $file),
            JPEG,
            include_bytes!(concat!("../../models/samples/", $file)),
        )
    };
}

// Pictures to try the model with, and `samples.json`, which lists them.
samples!(
    "aberta-1.jpg",
    "fechada-2.jpg",
    "aberta-2.jpg",
    "fechada-3.jpg"
);

struct File {
    media_type: &'static str,
    content: &'static [u8],
    /// Entity tag, with which a browser asks whether its copy is still right.
    tag: HeaderValue,
}

/// The files by path.
static FILES: LazyLock<HashMap<&str, File>> = LazyLock::new(|| {
    let assets = ASSETS.iter().chain(SAMPLES);
    assets
        .map(|&(path, media_type, content)| {
            let digest = hex::encode(&Sha256::digest(content)[..8]);
            let tag = HeaderValue::try_from(format!("\"{digest}\""));
            let file = File {
                media_type,
                content,
                tag: tag.unwrap_or(HeaderValue::from_static("\"\"")),
            };
            (path, file)
        })
        .collect()
});

/// What the page has to know of the settings.
fn about(metrics_apart: bool) -> Response {
    let content = if metrics_apart {
        r#"{"metrics":false}"#
    } else {
        r#"{"metrics":true}"#
    };
    let headers = [
        (header::CONTENT_TYPE, JSON),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, content).into_response()
}

/// The page; its link to the metrics is there unless they are on a port of their own.
pub(super) fn router<S: Clone + Send + Sync + 'static>(metrics_apart: bool) -> Router<S> {
    // One route for all files, lest each has metrics of its own.
    Router::new()
        .route("/", get(file))
        .route("/page/about.json", get(async move || about(metrics_apart)))
        .route("/page/{*file}", get(file))
}

async fn file(uri: Uri, headers: HeaderMap) -> Response {
    let Some(file) = FILES.get(uri.path()) else {
        let detail = format!(
            "there is nothing at {}; /docs lists what there is",
            uri.path()
        );
        return Problem::new(Kind::NotFound, detail).into_response();
    };
    let caching = [
        (header::ETAG, file.tag.clone()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    if has_copy(&headers, &file.tag) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    let about = [
        (header::CONTENT_TYPE, file.media_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (caching, about, file.content).into_response()
}
