//! The endpoint at which Azure App Service gives a program its managed identity.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const SECRET: &str = "only this process may ask";

/// Gives tokens to whoever shows the secret, on a thread of its own, until the test process ends.
pub struct Identity {
    address: SocketAddr,
    desk: Arc<Desk>,
}

struct Desk {
    given: AtomicUsize,
    refusal: AtomicU16,
    lifetime: AtomicU64,
}

#[derive(serde::Deserialize)]
struct Ask {
    resource: String,
}

impl Identity {
    /// Starts it.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Arc::new(Desk {
            given: AtomicUsize::new(0),
            refusal: AtomicU16::new(0),
            lifetime: AtomicU64::new(3600),
        });
        let app = Router::new()
            .route("/msi/token", get(token))
            .with_state(Arc::clone(&desk));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, app).await.unwrap();
            });
        });
        Self { address, desk }
    }

    /// The variables that App Service sets.
    pub fn variables(&self) -> [(&'static str, String); 2] {
        [
            (
                "IDENTITY_ENDPOINT",
                format!("http://{}/msi/token", self.address),
            ),
            ("IDENTITY_HEADER", SECRET.to_owned()),
        ]
    }

    /// From now on it answers with this status; with tokens again if it is 0.
    pub fn refuse(&self, status: u16) {
        self.desk.refusal.store(status, Ordering::SeqCst);
    }

    /// From now on tokens are good for so many seconds.
    pub fn lifetime(&self, seconds: u64) {
        self.desk.lifetime.store(seconds, Ordering::SeqCst);
    }

    /// Tokens given so far.
    pub fn given(&self) -> usize {
        self.desk.given.load(Ordering::SeqCst)
    }
}

async fn token(
    State(desk): State<Arc<Desk>>,
    Query(ask): Query<Ask>,
    headers: HeaderMap,
) -> Response {
    let refusal = desk.refusal.load(Ordering::SeqCst);
    if refusal != 0 {
        return StatusCode::from_u16(refusal).unwrap().into_response();
    }
    let shown = headers.get("x-identity-header");
    if shown.is_none_or(|value| value != SECRET) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    desk.given.fetch_add(1, Ordering::SeqCst);
    let lifetime = desk.lifetime.load(Ordering::SeqCst);
    let expires = now() + lifetime;
    let answer = json!({
        "access_token": web_token(&ask.resource, lifetime),
        "expires_on": expires.to_string(),
        "resource": ask.resource,
        "token_type": "Bearer",
    });
    Json(answer).into_response()
}

/// A token like those of Microsoft Entra ID, but for its signature, for an `audience` such as
/// `https://storage.azure.com`; good for so many seconds.
pub fn web_token(audience: &str, lifetime: u64) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let now = now();
    let head = part(json!({"typ": "JWT", "alg": "RS256"}));
    let claims = part(json!({
        "aud": audience,
        "iss": "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/",
        "iat": now - 5,
        "nbf": now - 5,
        "exp": now + lifetime,
        "oid": "11059fcc-5514-4800-b5f8-49808b9cfab6",
        "sub": "11059fcc-5514-4800-b5f8-49808b9cfab6",
        "tid": "ab1f708d-50f6-404c-a006-d71b2ac7a606",
        "ver": "1.0",
    }));
    format!("{head}.{claims}.{}", URL_SAFE_NO_PAD.encode("unsigned"))
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}
