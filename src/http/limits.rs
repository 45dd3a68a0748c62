//! Charges each client for the pictures it sends, and tells it what it has left.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::auth::Caller;
use super::problem::{Kind, Problem};
use super::{App, body, client};
use crate::access::{Account, Exceeded, Standing};

/// The fields of draft-ietf-httpapi-ratelimit-headers, in its present form and in the one before.
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Layer for routes that classify: charges for one picture, and gives the handler the [`Account`], for those that find more than one picture. It comes after
/// [`super::auth::require`], which tells who calls.
pub(crate) async fn limit(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = request.extensions().get::<Caller>();
    let name = caller.and_then(|caller| caller.0.clone());
    let account = Account::new(&app.gate, name, client::of(&request, app.trusted_proxies));
    let standing = match account.charge(NonZeroU32::MIN) {
        Ok(standing) => standing,
        Err(exceeded) => {
            body::discard(request.into_body()).await;
            return refusal(exceeded).into_response();
        }
    };
    request.extensions_mut().insert(account);
    let mut response = next.run(request).await;
    let newest = response.extensions().get::<Standing>().copied();
    if let Some(standing) = newest.or(standing)
        && !response.headers().contains_key(STATE)
    {
        tell(response.headers_mut(), &standing);
    }
    response
}

fn tell(headers: &mut HeaderMap, standing: &Standing) {
    headers.reserve(5);
    for (name, value) in fields(standing) {
        headers.insert(name, value);
    }
}

fn fields(standing: &Standing) -> [(HeaderName, HeaderValue); 5] {
    let (limit, remaining) = (standing.limit.get(), standing.remaining);
    let reset = whole(standing.full_in);
    let text = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
    [
        (POLICY, text(format!("\"minute\";q={limit};w=60"))),
        (STATE, text(format!("\"minute\";r={remaining};t={reset}"))),
        (LIMIT, limit.into()),
        (REMAINING, remaining.into()),
        (RESET, reset.into()),
    ]
}

/// What an exceeded limit is told as.
pub(crate) fn refusal(exceeded: Exceeded) -> Problem {
    let pictures = exceeded.pictures;
    let limit = exceeded.standing.limit;
    let problem = match exceeded.retry_after {
        Some(wait) => {
            let seconds = whole(wait).max(1);
            let detail =
                format!("the limit is {limit} pictures a minute; try again in {seconds} s");
            Problem::new(Kind::RateLimited, detail).retry_after(seconds)
        }
        None => Problem::new(
            Kind::RateLimited,
            format!(
                "{pictures} pictures at once are more than the limit of {limit} a minute ever allows; send fewer"
            ),
        ),
    };
    let headers = fields(&exceeded.standing);
    headers
        .into_iter()
        .fold(problem, |problem, (name, value)| problem.with(name, value))
}

/// Seconds, rounded up.
fn whole(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
