//! Reads messages within the bounds of size, time and memory that hold for the bodies of HTTP requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::http::App;
use crate::http::body::Received;

/// Bytes in front of a message.
const PREFIX_BYTES: usize = 5;

/// When the client no longer wants its answer.
#[derive(Clone, Copy)]
pub(super) struct Deadline(pub Instant);

/// Takes in the one message of a call before the call begins.
pub(super) async fn receive(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let own = timeout(&parts.headers).unwrap_or(Duration::MAX);
    let deadline = Instant::now() + own.min(app.timeout());
    let max = app.inference().limits.request_bytes + PREFIX_BYTES;
    let received = app.receive(&parts.headers, body, max, deadline).await;
    // The share is held until the answer is made.
    let Received {
        bytes,
        share: _share,
    } = match received {
        Ok(received) => received,
        Err(problem) => return problem.into_response(),
    };
    parts.extensions.insert(Deadline(deadline));
    next.run(Request::from_parts(parts, Body::from(bytes)))
        .await
}

/// The client's own time limit, such as `10S` or `250m`.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u32 = digits.parse().ok()?;
    let unit = match unit {
        "H" => Duration::from_secs(3600),
        "M" => Duration::from_secs(60),
        "S" => Duration::from_secs(1),
        "m" => Duration::from_millis(1),
        "u" => Duration::from_micros(1),
        "n" => Duration::from_nanos(1),
        _ => return None,
    };
    Some(unit * count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        let read = |text: &str| {
            let headers =
                HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), text.parse().unwrap())]);
            timeout(&headers)
        };
        assert_eq!(read("10S"), Some(Duration::from_secs(10)));
        assert_eq!(
            read("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3600))
        );
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        for broken in ["", "S", "10", "-1S", "1.5S", "10s", "99999999999S"] {
            assert_eq!(read(broken), None, "{broken}");
        }
        assert_eq!(timeout(&HeaderMap::new()), None);
    }
}
