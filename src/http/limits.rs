//! Charges each client for the pictures it sends, and tells it what it has left.

use std::net::IpAddr;
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
use crate::access::{Exceeded, Gate, Standing};

/// The fields of draft-ietf-httpapi-ratelimit-headers, in its present form and in the one before.
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Who pays for the request, for handlers that find more than one picture in it.
#[derive(Clone)]
pub(super) struct Account {
    gate: Arc<Gate>,
    name: Option<Arc<str>>,
    address: IpAddr,
}

impl Account {
    /// Charges for `further` pictures after the first: all or none. The standing belongs into the extensions of the
    /// answer.
    pub(super) fn charge(&self, further: NonZeroU32) -> Result<Option<Standing>, Problem> {
        self.pay(further).map_err(|mut exceeded| {
            if further >= exceeded.standing.limit {
                exceeded.retry_after = None;
            }
            refusal(exceeded, further.saturating_add(1))
        })
    }

    fn pay(&self, pictures: NonZeroU32) -> Result<Option<Standing>, Exceeded> {
        self.gate
            .charge(self.name.as_deref(), self.address, pictures)
    }
}

/// Layer for routes that classify: charges for one picture, and gives the handler the [`Account`]. It comes after
/// [`super::auth::require`], which tells who calls.
pub(super) async fn limit(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = request.extensions().get::<Caller>();
    let account = Account {
        name: caller.and_then(|caller| caller.0.clone()),
        address: client::of(&request, app.trusted_proxies),
        gate: Arc::clone(&app.gate),
    };
    let one = NonZeroU32::MIN;
    let standing = match account.pay(one) {
        Ok(standing) => standing,
        Err(exceeded) => {
            body::discard(request.into_body()).await;
            return refusal(exceeded, one).into_response();
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

fn refusal(exceeded: Exceeded, pictures: NonZeroU32) -> Problem {
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
