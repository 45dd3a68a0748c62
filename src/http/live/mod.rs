//! `GET /live`: what happens now, as server-sent events.

mod hub;
mod snapshot;
mod totals;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::App;
use super::problem::{Kind, Problem};
use crate::service::Stage;

pub(super) use hub::Hub;

use hub::Seat;
use snapshot::{Maker, Snapshot};

/// Time from one snapshot to the next.
const EVERY: Duration = Duration::from_secs(1);

/// Silence after which a comment shows that the connection stands. Proxies often wait 30 s.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Tells nginx to pass each event on at once.
const NO_BUFFER: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Watch what happens
///
/// Server-sent events, one a second: the `data` of each is a `Snapshot` as JSON. The last five minutes come first, as
/// far as somebody was listening then. All who listen get the same snapshots; who is too slow misses some. The stream
/// ends when the instance shuts down.
#[utoipa::path(get, path = "/live", tag = "operation",
    responses(
        (status = 200, description = "The events", body = Snapshot, content_type = "text/event-stream"),
        (status = 401, description = "No or wrong credentials", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Too many listen already, or the instance is shutting down", body = Problem,
            content_type = "application/problem+json", headers(("Retry-After" = u64, description = "Seconds to wait"))),
    ))]
pub(super) async fn live(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let busy =
        |why: &str| Problem::new(Kind::Busy, format!("{why}; try again in 5 s")).retry_after(5);
    if app.lifecycle.stage() == Stage::Draining {
        return Err(busy("this instance is shutting down"));
    }
    let maker = Arc::clone(&app);
    let seat = app.live.join(|| tokio::spawn(publish(maker)));
    let seat = seat.ok_or_else(|| busy("too many listen already"))?;
    let stage = app.lifecycle.watch();
    let listener = Listener { app, seat, stage };
    let events = stream::unfold(listener, |mut listener| async move {
        let bytes = listener.next().await?;
        Some((Ok::<_, std::convert::Infallible>(bytes), listener))
    });
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (NO_BUFFER, HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

/// Makes snapshots until the end, or until nobody has listened for a while.
async fn publish(app: Arc<App>) {
    let mut maker = Maker::default();
    let mut stage = app.lifecycle.watch();
    let mut clock = interval(EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = draining(&mut stage) => return,
            _ = clock.tick() => {}
        }
        // What cannot be written as JSON would have failed every test.
        let data = serde_json::to_string(&maker.make(&app)).unwrap_or_default();
        let event = |id| Bytes::from(format!("id: {id}\ndata: {data}\n\n"));
        if !app.live.publish(event) {
            return;
        }
    }
}

async fn draining(stage: &mut watch::Receiver<Stage>) {
    // It fails only when the process is about to end.
    let _ = stage.wait_for(|stage| *stage == Stage::Draining).await;
}

struct Listener {
    app: Arc<App>,
    seat: Seat,
    stage: watch::Receiver<Stage>,
}

impl Listener {
    /// The next part of the stream; nothing at its end.
    async fn next(&mut self) -> Option<Bytes> {
        tokio::select! {
            biased;
            () = draining(&mut self.stage) => None,
            events = self.seat.next(&self.app.live) => Some(events),
            () = sleep(KEEP_ALIVE) => Some(Bytes::from_static(b": still here\n\n")),
        }
    }
}
