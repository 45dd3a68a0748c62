//! The whole route table and the order of the middleware.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{Kind, Problem};
use super::{
    App, auth, batch, candidate, cors, dataset, docs, health, limits, live, metrics, models,
    observe, page, predict, requests, reviews, thumbnail, v2,
};

/// Routes that classify: they need credentials where any are set, and each client may use them so often.
fn limited() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(predict::predict))
        .routes(routes!(batch::predict))
        .routes(routes!(v2::infer))
        .routes(routes!(v2::version_infer))
}

/// Other routes that need credentials where any are set.
fn guarded() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(requests::list))
        .routes(routes!(requests::get, requests::delete))
        .routes(routes!(requests::image))
        .routes(routes!(thumbnail::thumbnail))
        .routes(routes!(reviews::put))
        .routes(routes!(reviews::next))
        .routes(routes!(reviews::summary))
        .routes(routes!(dataset::get))
        .routes(routes!(models::list))
        .routes(routes!(models::activate))
        .routes(routes!(candidate::get, candidate::put, candidate::delete))
        .routes(routes!(live::live))
        .routes(routes!(v2::server))
        .routes(routes!(v2::model))
        .routes(routes!(v2::model_version))
        .routes(routes!(v2::model_ready))
        .routes(routes!(v2::version_ready))
        .routes(routes!(v2::config))
        .routes(routes!(v2::version_config))
        .routes(routes!(v2::index))
}

fn metrics() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(metrics::metrics))
}

/// Routes that are open to all.
fn open() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(health::health))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(v2::live))
        .routes(routes!(v2::ready))
}

/// The service as HTTP.
pub fn router(app: Arc<App>) -> Router {
    let mut guarded = limited()
        .route_layer(from_fn_with_state(Arc::clone(&app), limits::limit))
        .merge(guarded());
    if !app.metrics_apart {
        guarded = guarded.merge(metrics());
    }
    let guarded = guarded.route_layer(from_fn_with_state(Arc::clone(&app), auth::require));
    let (api, description) = OpenApiRouter::with_openapi(docs::ApiDoc::openapi())
        .merge(guarded)
        .merge(open())
        .split_for_parts();
    let docs = docs::router(&docs::description(&description))
        .layer(from_fn(explain_missing))
        .layer(from_fn(docs::protect));
    // A request goes through the layers from the last to the first.
    let all = api
        .merge(page::router(app.metrics_apart))
        .merge(docs)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(v2::plain_errors));
    let all = match &app.cors {
        Some(origins) => all.layer(cors::layer(origins)),
        None => all,
    };
    all.layer(from_fn_with_state(Arc::clone(&app), observe::observe))
        .with_state(app)
}

/// The metrics alone, for a port of their own.
pub fn metrics_router(app: Arc<App>) -> Router {
    let (router, _) = metrics().split_for_parts();
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&app), observe::observe))
        .with_state(app)
}

/// The OpenAPI description of the routes, without starting anything.
pub fn openapi() -> serde_json::Value {
    let routes = OpenApiRouter::with_openapi(docs::ApiDoc::openapi())
        .merge(limited())
        .merge(guarded())
        .merge(metrics())
        .merge(open())
        .into_openapi();
    docs::description(&routes)
}

/// The same as text, in the order in which it is served.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn openapi_text() -> serde_json::Result<String> {
    serde_json::to_string_pretty(&docs::FormsFirst(&openapi()))
}

async fn not_found(uri: Uri) -> Problem {
    Problem::new(
        Kind::NotFound,
        format!(
            "there is nothing at {}; /docs lists what there is",
            uri.path()
        ),
    )
}

// Swagger UI says nothing about files it lacks.
async fn explain_missing(uri: Uri, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if response.status() == StatusCode::NOT_FOUND {
        not_found(uri).await.into_response()
    } else {
        response
    }
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(
        Kind::MethodNotAllowed,
        format!(
            "{} does not answer to {method}; /docs lists what does",
            uri.path()
        ),
    )
}

pub(crate) fn panicked(cause: Box<dyn Any + Send + 'static>) -> Response {
    let cause = cause
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| cause.downcast_ref::<String>().cloned());
    tracing::error!("a handler panicked: {}", cause.unwrap_or_default());
    Problem::new(
        Kind::Internal,
        "something went wrong on our side; the logs say what",
    )
    .into_response()
}
