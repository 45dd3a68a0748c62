//! Who may come in: basic authentication or an API key.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::App;
use super::body;
use super::problem::{Kind, Problem};
use crate::settings::{Access, ApiKey};
use crate::telemetry::request;

/// Accepted credentials, as digests.
pub(super) struct Credentials {
    basic: Option<Basic>,
    keys: Vec<ApiKey>,
}

struct Basic {
    user: String,
    /// SHA-256 of `user:password`.
    sha256: [u8; 32],
}

/// Who sent the request: a user or key name, if any was needed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller(pub Option<Arc<str>>);

impl Credentials {
    pub(super) fn new(access: &Access) -> Self {
        let basic = access
            .api_username
            .as_ref()
            .zip(access.api_password.as_ref())
            .map(|(user, password)| Basic {
                user: user.clone(),
                sha256: Sha256::digest(format!("{user}:{}", password.expose())).into(),
            });
        let keys = access.api_keys.clone().unwrap_or_default().0;
        Self { basic, keys }
    }

    fn are_needed(&self) -> bool {
        self.basic.is_some() || !self.keys.is_empty()
    }

    /// The name behind the credentials in `headers`; `None` if there are none that are right.
    fn check(&self, headers: &HeaderMap) -> Option<Arc<str>> {
        let by_key = headers
            .get("x-api-key")
            .and_then(|key| self.check_key(key.as_bytes()));
        by_key.or_else(|| self.check_basic(headers.get(header::AUTHORIZATION)?.to_str().ok()?))
    }

    // Every key is compared in full, so that the time tells nothing about which one came close.
    fn check_key(&self, key: &[u8]) -> Option<Arc<str>> {
        let digest = Sha256::digest(key);
        let mut found = None;
        for key in &self.keys {
            if bool::from(digest.as_slice().ct_eq(&key.sha256)) {
                found = Some(key.name.as_str().into());
            }
        }
        found
    }

    fn check_basic(&self, authorization: &str) -> Option<Arc<str>> {
        let basic = self.basic.as_ref()?;
        let (scheme, encoded) = authorization.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = STANDARD.decode(encoded.trim()).ok()?;
        let same: Choice = Sha256::digest(&pair).as_slice().ct_eq(&basic.sha256);
        bool::from(same).then(|| basic.user.as_str().into())
    }

    fn challenge(&self) -> Problem {
        let accepted = match (&self.basic, self.keys.is_empty()) {
            (Some(_), true) => "basic authentication",
            (None, _) => "an API key in the header X-API-Key",
            (Some(_), false) => "basic authentication or an API key in the header X-API-Key",
        };
        let problem = Problem::new(
            Kind::Unauthorised,
            format!("no or wrong credentials; accepted is {accepted}"),
        );
        // RFC 9110 wants a challenge; browsers show their sign-in dialog only for a scheme they know.
        let challenge = match self.basic {
            Some(_) => r#"Basic realm="relance", charset="UTF-8""#,
            None => r#"ApiKey realm="relance""#,
        };
        problem.with(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(challenge),
        )
    }
}

/// Lets in who shows credentials, if any are set, and notes their name in the request.
pub(crate) async fn require(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = if app.credentials.are_needed() {
        match app.credentials.check(request.headers()) {
            Some(name) => {
                request::set_client(&name);
                Caller(Some(name))
            }
            None => {
                body::discard(request.into_body()).await;
                return app.credentials.challenge().into_response();
            }
        }
    } else {
        Caller(None)
    };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::ApiKeys;

    fn credentials() -> Credentials {
        let digest = hex::encode(Sha256::digest("the key"));
        let keys: ApiKeys = format!("other:{},ci:{digest}", "0".repeat(64))
            .parse()
            .unwrap();
        let access = Access {
            api_username: Some("ana".into()),
            api_password: Some("pão:1".parse().unwrap()),
            api_keys: Some(keys),
            allow_anonymous: false,
        };
        Credentials::new(&access)
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn right_credentials_give_a_name() {
        let right = format!("Basic {}", STANDARD.encode("ana:pão:1"));
        assert_eq!(
            credentials()
                .check(&headers("authorization", &right))
                .as_deref(),
            Some("ana")
        );
        assert_eq!(
            credentials()
                .check(&headers("x-api-key", "the key"))
                .as_deref(),
            Some("ci")
        );
    }

    #[test]
    fn wrong_credentials_give_nothing() {
        for wrong in [
            "Basic",
            "Basic !!",
            "Bearer x",
            &format!("Basic {}", STANDARD.encode("ana:x")),
            "",
        ] {
            assert_eq!(
                credentials().check(&headers("authorization", wrong)),
                None,
                "{wrong}"
            );
        }
        assert_eq!(credentials().check(&headers("x-api-key", "The key")), None);
        assert_eq!(credentials().check(&HeaderMap::new()), None);
    }
}
