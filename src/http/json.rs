//! Small bodies of JSON.

use std::time::Instant;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use super::problem::{Kind, Problem};
use super::{App, body};

const MAX_BYTES: usize = 16 * 1024;

/// What a body is to be.
pub(super) struct Form {
    /// The problem if it is not.
    pub kind: Kind,
    /// What it says.
    pub what: &'static str,
    /// What it looks like.
    pub accepted: &'static str,
}

impl Form {
    /// Reads such a body.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        app: &App,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<T, Problem> {
        let deadline = Instant::now() + app.timeout;
        if !is_json(headers) {
            body::discard(body).await;
            let given = headers.get(header::CONTENT_TYPE);
            let given = given
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default();
            let detail = format!(
                "the content type {given:?} cannot hold a {}; send application/json",
                self.what
            );
            return Err(Problem::new(Kind::UnsupportedType, detail));
        }
        let received = body::read(&app.budget, headers, body, MAX_BYTES, deadline).await?;
        let read = serde_json::from_slice(&received.bytes);
        read.map_err(|error| self.bad(&format!("the body is no {} ({error})", self.what)))
    }

    /// The problem, and what is accepted.
    pub(super) fn bad(&self, why: &str) -> Problem {
        Problem::new(self.kind, format!("{why}; accepted is {}", self.accepted))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE);
    let media = value.and_then(|value| value.to_str().ok()?.parse().ok());
    media.is_some_and(|media: mime::Mime| {
        (media.type_(), media.subtype()) == (mime::APPLICATION, mime::JSON)
    })
}
