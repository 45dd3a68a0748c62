//! Query parameters whose errors are problems.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::{Kind, Problem};

/// As [`Query`].
pub(super) struct Params<T>(pub T);

/// Parameters that can say what they accept.
pub(super) trait Accepts: DeserializeOwned {
    /// Name of each parameter that is not any text, and what it accepts.
    const ACCEPTED: &[(&str, &str)];
}

impl<S: Send + Sync, T: Accepts> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => Err(Problem::new(
                Kind::BadParameter,
                detail::<T>(&rejection.body_text()),
            )),
        }
    }
}

// The extractor says "Failed to deserialize query string: limit: invalid digit found in string".
fn detail<T: Accepts>(text: &str) -> String {
    let reason = text
        .split_once("query string: ")
        .map_or(text, |(_, reason)| reason);
    let name = reason.split_once(": ").map_or("", |(name, _)| name);
    match T::ACCEPTED.iter().find(|(known, _)| *known == name) {
        Some((_, accepted)) => format!("{reason}; accepted is {accepted}"),
        None => reason.to_owned(),
    }
}
