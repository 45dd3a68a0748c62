//! OpenAPI description of the whole API.

mod complete;
mod order;
mod refusals;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use serde_json::Value;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::{Config, SwaggerUi};

pub(super) use order::FormsFirst;
pub(super) use refusals::{ChangeRefusals, ChoiceRefusals, InferenceRefusals, Refusals};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "relance",
        description = "Serves YOLO image classifiers. Errors are problem details (RFC 9457) with a stable `type`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "/")),
    tags(
        (name = "predict", description = "Classify pictures"),
        (name = "requests", description = "Read back what was answered"),
        (name = "review", description = "Say whether answers are right, and train with what was said"),
        (name = "inference", description = "The Open Inference Protocol, version 2; errors are `{\"error\": \"…\"}`"),
        (name = "models", description = "What answers"),
        (name = "health", description = "Probes; never need credentials"),
        (name = "operation", description = "For those who run it"),
    ),
    security((), ("basic" = []), ("apiKey" = [])),
    modifiers(&Schemes),
)]
pub(super) struct ApiDoc;

/// The description of all routes, as it is served.
pub(super) fn description(routes: &utoipa::openapi::OpenApi) -> Value {
    // What cannot be written as JSON would have failed every test.
    complete::complete(serde_json::to_value(routes).unwrap_or_default())
}

/// Where the description is.
const DESCRIPTION: &str = "/openapi.json";

/// The description and Swagger UI, which reads it.
pub(super) fn router<S: Clone + Send + Sync + 'static>(description: &Value) -> Router<S> {
    let swagger_ui = SwaggerUi::new("/docs").config(Config::from(DESCRIPTION));
    // What cannot be written as JSON would have failed every test.
    let text = Bytes::from(serde_json::to_vec(&FormsFirst(description)).unwrap_or_default());
    let headers = [(header::CONTENT_TYPE, "application/json")];
    Router::from(swagger_ui).route(DESCRIPTION, get(async move || (headers, text)))
}

/// What Swagger UI may do. The hash is that of the colours in its logo, its only style outside of a file.
const POLICY: &str = "default-src 'none'; script-src 'self'; \
                      style-src 'self' 'sha256-RL3ie0nH+Lzz2YNqQN83mnU0J1ot4QL7b99vMdIX99w='; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// Keeps Swagger UI to its own files and this service.
pub(super) async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_with(Default::default);
        let basic = HttpBuilder::new().scheme(HttpAuthScheme::Basic).build();
        components.add_security_scheme("basic", SecurityScheme::Http(basic));
        let key = ApiKey::Header(ApiKeyValue::new("X-API-Key"));
        components.add_security_scheme("apiKey", SecurityScheme::ApiKey(key));
    }
}
