//! The page at `/`, embedded in the program.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";
const JSON: &str = "application/json";
const JPEG: &str = "image/jpeg";

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
    asset!(STYLE, "style.css"),
    asset!(STYLE, "views.css"),
    asset!(SCRIPT, "api.js"),
    asset!(SCRIPT, "app.js"),
    asset!(SCRIPT, "charts.js"),
    asset!(SCRIPT, "classify.js"),
    asset!(SCRIPT, "detail.js"),
    asset!(SCRIPT, "dom.js"),
    asset!(SCRIPT, "export.js"),
    asset!(SCRIPT, "filters.js"),
    asset!(SCRIPT, "history.js"),
    asset!(SCRIPT, "i18n.js"),
    asset!(SCRIPT, "live.js"),
    asset!(SCRIPT, "patience.js"),
    asset!(SCRIPT, "portuguese.js"),
    asset!(SCRIPT, "prometheus.js"),
    asset!(SCRIPT, "requests.js"),
    asset!(SCRIPT, "result.js"),
    asset!(SCRIPT, "sign-in.js"),
    asset!(SCRIPT, "source.js"),
    asset!(SCRIPT, "thumbnails.js"),
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

pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let files = ASSETS.iter().chain(SAMPLES);
    files.fold(Router::new(), |router, &(path, media_type, content)| {
        router.route(
            path,
            get(move || async move { answer(media_type, content) }),
        )
    })
}

fn answer(media_type: &'static str, content: &'static [u8]) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, content)
}
