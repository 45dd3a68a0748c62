//! Asks for credentials: basic authentication or an API key.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::App;
use super::problem::{Kind, Problem};
use super::{body, client};
use crate::access::{Accepted, Presented, Refused};
use crate::telemetry::request;

/// Who sent the request: a user or key name, if any was needed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller(pub Option<Arc<str>>);

/// Lets in who shows credentials, if any are set, and notes their name in the request.
pub(crate) async fn require(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    if !app.gate.needs_credentials() {
        request.extensions_mut().insert(Caller(None));
        return next.run(request).await;
    }
    let address = client::of(&request, app.trusted_proxies);
    match app.gate.admit(presented(request.headers()), address) {
        Ok(name) => {
            if let Some(name) = &name {
                request::set_client(name);
            }
            request.extensions_mut().insert(Caller(name));
            next.run(request).await
        }
        Err(refused) => {
            body::discard(request.into_body()).await;
            problem(refused, app.gate.accepted()).into_response()
        }
    }
}

fn presented(headers: &HeaderMap) -> Presented<'_> {
    let authorization = headers.get(header::AUTHORIZATION);
    Presented {
        api_key: headers.get("x-api-key").map(HeaderValue::as_bytes),
        authorization: authorization.and_then(|value| value.to_str().ok()),
    }
}

fn problem(refused: Refused, accepted: Accepted) -> Problem {
    let (words, challenge) = match accepted {
        Accepted::Basic => ("basic authentication", BASIC),
        // Browsers show their sign-in dialog only for a scheme they know.
        Accepted::Nothing | Accepted::Key => ("an API key in the header X-API-Key", KEY),
        Accepted::Either => (
            "basic authentication or an API key in the header X-API-Key",
            BASIC,
        ),
    };
    match refused {
        // RFC 9110 wants a challenge.
        Refused::Credentials => Problem::new(
            Kind::Unauthorised,
            format!("no or wrong credentials; accepted is {words}"),
        )
        .with(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(challenge),
        ),
        Refused::Throttled { retry_after } => {
            let seconds = retry_after.as_secs() + 1;
            let detail = format!(
                "too many wrong credentials from this address; these were not looked at; try again in {seconds} s"
            );
            Problem::new(Kind::LoginThrottled, detail).retry_after(seconds)
        }
    }
}

const BASIC: &str = r#"Basic realm="relance", charset="UTF-8""#;
const KEY: &str = r#"ApiKey realm="relance""#;
