//! Streams that clients keep open (watching health, reflection) must not hold up the end.

use std::future::ready;

use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::response::Response;
use futures_util::stream::{self, StreamExt};
use http_body_util::{BodyStream, StreamBody};
use hyper::body::Frame;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Ends the response's stream when `stop` is cancelled, if it has not ended by then.
pub(super) async fn end(State(stop): State<CancellationToken>, response: Response) -> Response {
    // The status of an answer without messages is in its headers.
    if response.body().is_end_stream() {
        return response;
    }
    let (head, ()) = Status::unavailable("shutting down")
        .into_http::<()>()
        .into_parts();
    let last = stream::once(ready(Ok(Frame::trailers(head.headers))));
    response.map(|body| {
        let frames = BodyStream::new(body).take_until(stop.cancelled_owned());
        Body::new(StreamBody::new(frames.chain(last)))
    })
}
