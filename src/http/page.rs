//! The page at `/`, embedded in the program.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

macro_rules! asset {
    ($file:literal, $media_type:literal) => {
        get(|| async { asset($media_type, include_str!(concat!("page/", $file))) })
    };
}

pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", asset!("index.html", "text/html; charset=utf-8"))
        .route(
            "/page/app.js",
            asset!("app.js", "text/javascript; charset=utf-8"),
        )
        .route(
            "/page/style.css",
            asset!("style.css", "text/css; charset=utf-8"),
        )
        .route("/page/icon.svg", asset!("icon.svg", "image/svg+xml"))
}

fn asset(media_type: &'static str, content: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, content)
}
