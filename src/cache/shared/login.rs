//! Who the service is to Redis.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use azure_core::credentials::TokenCredential;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::remote::{Failure, FailureKind};

/// What tokens for Redis are asked for.
const SCOPE: &str = "https://redis.azure.com/.default";

/// The longest wait for a token; nothing but the connection waits for it.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Credentials keep a token until five minutes before it expires; asked sooner they would give the same again.
const KEPT_UNTIL: Duration = Duration::from_secs(290);

/// Between attempts to renew a token that has expired.
const PAUSE: Duration = Duration::from_secs(30);

/// How Redis is signed in to.
#[derive(Clone)]
pub enum Login {
    /// By the user and password in the URL, if there are any.
    Url,
    /// By tokens of Microsoft Entra ID.
    Entra(Arc<dyn TokenCredential>),
}

/// User name and password for a while.
pub(super) struct Pass {
    pub user: String,
    pub password: String,
    expires: SystemTime,
}

impl Login {
    /// A pass that is good now; nothing if none is needed.
    pub(super) async fn pass(&self) -> Result<Option<Pass>, Failure> {
        match self {
            Self::Url => Ok(None),
            Self::Entra(credential) => {
                let asked = credential.get_token(&[SCOPE], None);
                let token = tokio::time::timeout(TOKEN_TIMEOUT, asked)
                    .await
                    .map_err(|_| denied(format!("no token within {TOKEN_TIMEOUT:?}")))?
                    .map_err(|error| denied(format!("no token: {error}")))?;
                let password = token.token.secret().to_owned();
                let user = object_id(&password)
                    .ok_or_else(|| denied("the token names no object ID (claim oid)"))?;
                Ok(Some(Pass {
                    user,
                    password,
                    expires: token.expires_on.into(),
                }))
            }
        }
    }
}

fn denied(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Denied, message)
}

impl Pass {
    /// How long it need not be renewed.
    pub(super) fn lasts(&self) -> Duration {
        let left = self
            .expires
            .duration_since(SystemTime::now())
            .unwrap_or_default();
        renewal(left)
    }
}

// A token that is good for an hour is renewed five minutes before its end; if that fails, or if it was short-lived
// from the start, once half of what is left has passed. Once it has expired there is no hurry any more.
fn renewal(left: Duration) -> Duration {
    if left.is_zero() {
        return PAUSE;
    }
    left.saturating_sub(KEPT_UNTIL)
        .max(left / 2)
        .max(Duration::from_secs(1))
}

// A token is three Base64 parts with dots between them; the second one holds the claims. Redis checks the signature.
fn object_id(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        oid: String,
    }
    let claims = token.split('.').nth(1)?;
    let claims = BASE64_URL_SAFE_NO_PAD
        .decode(claims.trim_end_matches('='))
        .ok()?;
    serde_json::from_slice::<Claims>(&claims)
        .ok()
        .map(|claims| claims.oid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_name_their_object_id() {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"aud":"x","oid":"0b1c"}"#);
        assert_eq!(object_id(&format!("e30.{claims}.sig")).unwrap(), "0b1c");
        let none = BASE64_URL_SAFE_NO_PAD.encode("{}");
        for token in ["", "a", "a.b", "e30.!.sig", &format!("e30.{none}.sig")] {
            assert_eq!(object_id(token), None, "{token}");
        }
    }

    #[test]
    fn tokens_are_renewed_well_before_they_expire() {
        let seconds = |left| renewal(Duration::from_secs(left)).as_secs();
        assert_eq!(seconds(3600), 3310);
        assert_eq!(seconds(86_400), 86_110);
        assert_eq!(seconds(290), 145);
        assert_eq!(seconds(6), 3);
        assert_eq!(seconds(1), 1);
        assert_eq!(seconds(0), 30);
    }
}
