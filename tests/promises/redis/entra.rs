//! Redis signed in to with tokens of Microsoft Entra ID, as Azure Managed Redis is.
//!
//! The tokens come from an endpoint like App Service's. They are not signed, which only Azure would check; to this
//! redis-server they are passwords of a user named by their object ID.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{away, there, written};
use crate::support::redis::Redis;
use crate::support::{Setup, eventually, picture};

const OBJECT_ID: &str = "3f2504e0-4f89-11d3-9a0c-0305e82c3301";
const LIFE: Duration = Duration::from_secs(8);

/// Hands out tokens that are good for [`LIFE`].
#[derive(Clone, Default)]
struct Identity {
    handed_out: Arc<Mutex<Vec<(String, Instant)>>>,
}

impl Identity {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new()
            .route("/token", get(token))
            .with_state(self.clone());
        tokio::spawn(async { axum::serve(listener, routes).await.unwrap() });
        format!("http://{address}/token")
    }

    fn token(&self, n: usize) -> String {
        let claims = json!({ "oid": OBJECT_ID, "jti": n }).to_string();
        let [head, claims] =
            [r#"{"alg":"none"}"#, &claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        format!("{head}.{claims}.")
    }

    /// How many were handed out, and when the first one was.
    fn handed_out(&self) -> (usize, Instant) {
        let handed_out = self.handed_out.lock().unwrap();
        (handed_out.len(), handed_out[0].1)
    }
}

async fn token(
    State(identity): State<Identity>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    if headers
        .get("x-identity-header")
        .is_none_or(|value| value != "open")
    {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let mut handed_out = identity.handed_out.lock().unwrap();
    let token = identity.token(handed_out.len());
    handed_out.push((token.clone(), Instant::now()));
    let expires = (SystemTime::now() + LIFE)
        .duration_since(UNIX_EPOCH)
        .unwrap();
    Ok(Json(json!({
        "access_token": token,
        "expires_on": expires.as_secs().to_string(),
        "resource": query["resource"],
        "token_type": "Bearer",
    })))
}

/// A field of `INFO commandstats` about the command AUTH.
fn sign_ins(redis: &Redis, field: &str) -> u64 {
    let stats: String = redis.run_command("INFO commandstats");
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_auth:"));
    let value = line.and_then(|line| {
        line.split(',')
            .find_map(|part| part.strip_prefix(field)?.strip_prefix('='))
    });
    value.map_or(0, |value| value.parse().unwrap())
}

/// Identifiers of the connections of [`OBJECT_ID`].
fn connections(redis: &Redis) -> Vec<String> {
    let list: String = redis.run_command("CLIENT LIST");
    let ours = list
        .lines()
        .filter(|line| line.contains(&format!("user={OBJECT_ID}")));
    ours.map(|line| line.split(' ').next().unwrap().to_owned())
        .collect()
}

fn accept_only(redis: &Redis, token: &str) {
    redis.run_command::<()>(&format!(
        "ACL SETUSER {OBJECT_ID} reset on >{token} ~relance:* +get +set +del"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_is_shown_before_the_old_one_expires() {
    let redis = Redis::with_tls();
    let identity = Identity::default();
    let endpoint = identity.start().await;
    accept_only(&redis, &identity.token(0));
    let app = Setup::new()
        .set(
            "REDIS_URL",
            &format!("rediss://localhost:{}", redis.tls_port),
        )
        .set("REDIS_AUTH", "entra")
        .set("SSL_CERT_FILE", redis.authority().to_str().unwrap())
        .set("IDENTITY_ENDPOINT", &endpoint)
        .set("IDENTITY_HEADER", "open")
        .start()
        .await;
    there(&app).await;
    app.predict(picture("jpeg-1x1.jpg")).await;
    written(&redis, 1).await;
    let connection = connections(&redis);
    assert_eq!((connection.len(), sign_ins(&redis, "calls")), (1, 1));

    // Who is signed in stays so; but whoever signs in from now on needs the second token.
    accept_only(&redis, &identity.token(1));
    eventually("it has signed in again", async || {
        sign_ins(&redis, "calls") == 2
    })
    .await;
    let (tokens, first) = identity.handed_out();
    println!(
        "signed in again {:?} after a token for {LIFE:?}",
        first.elapsed()
    );
    assert_eq!(tokens, 2);
    assert!(
        first.elapsed() < LIFE - Duration::from_secs(1),
        "{:?}",
        first.elapsed()
    );
    assert_eq!(sign_ins(&redis, "failed_calls"), 0);
    assert_eq!(connections(&redis), connection, "on the same connection");

    // A refused token is not the end: the connection is kept, and the next token tried.
    eventually("it has tried in vain", async || {
        sign_ins(&redis, "failed_calls") > 0
    })
    .await;
    assert_eq!(connections(&redis), connection);
    accept_only(&redis, &identity.token(identity.handed_out().0));
    let accepted = async || sign_ins(&redis, "calls") - sign_ins(&redis, "failed_calls");
    eventually("it has signed in a third time", async || {
        accepted().await == 3
    })
    .await;

    // A new connection is signed in with a token of its own time.
    redis.run_command::<()>(&format!("ACL SETUSER {OBJECT_ID} nopass"));
    redis.run_command::<i64>(&format!("CLIENT KILL {}", connection[0].replace('=', " ")));
    eventually("it is connected again", async || {
        let new = connections(&redis);
        new.len() == 1 && new != connection
    })
    .await;
    for n in 0..identity.handed_out().0 {
        assert!(
            !app.log().contains(&identity.token(n)),
            "a token is in the log"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_it_serves_alone() {
    let redis = Redis::with_tls();
    let identity = Identity::default();
    let app = Setup::new()
        .set(
            "REDIS_URL",
            &format!("rediss://localhost:{}", redis.tls_port),
        )
        .set("REDIS_AUTH", "entra")
        .set("SSL_CERT_FILE", redis.authority().to_str().unwrap())
        .set("IDENTITY_ENDPOINT", &identity.start().await)
        .set("IDENTITY_HEADER", "wrong")
        .start()
        .await;
    assert_eq!(app.predict(picture("jpeg-1x1.jpg")).await["cached"], false);
    away(&app).await;
    assert!(app.log().contains("no token"), "{}", app.log());
    assert_eq!(connections(&redis).len(), 0);
}
