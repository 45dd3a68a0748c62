//! Accepts connections, bounds their number and their time, and ends them in order.

mod activity;
mod front;
mod refusal;
mod stream;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use metrics::{counter, gauge};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::settings::Settings;
use crate::telemetry::metrics::{CONNECTIONS, CONNECTIONS_EXPIRED};

use activity::{Activity, Late};
use front::Front;
use stream::{Tracked, Watched};

/// How long a connection that is told to end may take for it.
const FAREWELL: Duration = Duration::from_secs(1);

/// Most of a request's head, in bytes; a larger one is answered 431. Uploads are read in pieces of this size too.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Most streams of one HTTP/2 connection at the same time.
const MAX_STREAMS: u32 = 100;

/// Most streams that an HTTP/2 client may have reset before they were even looked at; one more ends the connection.
const MAX_RESET_STREAMS: usize = 20;

/// Files that are not connections of clients: the database, pictures, stores elsewhere.
const OTHER_FILES: u64 = 256;

/// Bounds of connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open at once.
    pub connections: usize,
    /// Time for the head of a request, from its first byte.
    pub head: Duration,
    /// Time without a request.
    pub idle: Duration,
    /// Time without progress of an answer.
    pub stalled: Duration,
}

impl Limits {
    /// The limits of the settings, as far as the system lets this process open files; asks it to let it open more.
    pub fn new(settings: &Settings) -> Self {
        let wanted = settings.connections.max_connections;
        let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024);
        let room = usize::try_from(files.saturating_sub(OTHER_FILES).max(64)).unwrap_or(wanted);
        if room < wanted {
            tracing::warn!(
                "at most {room} connections are accepted and not the {wanted} of MAX_CONNECTIONS, as this process may \
                 open {files} files (ulimit -n)"
            );
        }
        let idle = Duration::from_millis(settings.connections.idle_timeout_ms);
        Self {
            connections: wanted.min(room),
            head: Duration::from_millis(settings.connections.head_timeout_ms),
            idle,
            stalled: idle + Duration::from_millis(settings.limits.request_timeout_ms),
        }
    }

    /// For a port that only monitoring uses.
    pub fn few(self) -> Self {
        Self {
            connections: 64.min(self.connections),
            ..self
        }
    }
}

/// What connections share.
struct Server {
    router: Router,
    builder: Builder<TokioExecutor>,
    limits: Limits,
    stop: CancellationToken,
}

/// Serves until `stop` is cancelled, then lets the requests in flight finish, for `grace` at most.
///
/// Returns whether all of them did.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
    grace: Duration,
) -> bool {
    let tasks = TaskTracker::new();
    let ended = CancellationToken::new();
    let front = Front {
        server: Arc::new(Server {
            router,
            builder: builder(),
            limits,
            stop: stop.clone(),
        }),
        tasks: tasks.clone(),
        inside: Handle::current(),
    };
    let closing = match front.open(listener, ended.clone()) {
        Ok(closing) => closing,
        Err(error) => {
            tracing::error!("connections cannot be accepted: {error}");
            return false;
        }
    };
    // It is dropped if the thread dies, which nothing in it should make it do.
    let _ = closing.await;
    tasks.close();
    let finished = timeout(grace, tasks.wait()).await.is_ok();
    ended.cancel();
    finished
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS);
    builder
}

/// An open connection, counted.
struct Open {
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        gauge!(CONNECTIONS).increment(1.0);
        Self { _permit: permit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        gauge!(CONNECTIONS).decrement(1.0);
    }
}

impl Server {
    /// Serves one connection to its end.
    async fn attend(self: Arc<Self>, stream: TcpStream, _open: Open) {
        let Ok(peer) = stream.peer_addr() else {
            return;
        };
        // Answers are written in one piece; waiting to fill packets only delays them.
        let _ = stream.set_nodelay(true);
        let activity = Arc::new(Activity::new(self.limits));
        let handler = service_fn(|mut request: Request<Incoming>| {
            let in_flight = activity.begin(request.version() == Version::HTTP_2);
            request.extensions_mut().insert(ConnectInfo(peer));
            let answering = self
                .router
                .clone()
                .oneshot(request.map(axum::body::Body::new));
            async move {
                let response = answering.await?;
                Ok::<_, std::convert::Infallible>(
                    response.map(|body| Tracked::new(body, in_flight)),
                )
            }
        });
        let stream = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
        let mut connection = pin!(self.builder.serve_connection(stream, handler));
        let mut alarm = pin!(sleep_until(activity.deadline()));
        let mut ending = false;
        loop {
            let event = poll_fn(|context| {
                if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                    return Poll::Ready(Some(ended));
                }
                // What has just begun may be due before what was waited for.
                let deadline = activity.deadline();
                if !ending && deadline < alarm.deadline() {
                    alarm.as_mut().reset(deadline);
                }
                alarm.as_mut().poll(context).map(|()| None)
            });
            tokio::select! {
                event = event => match event {
                    Some(Ok(())) => return,
                    Some(Err(error)) => {
                        tracing::debug!("a connection ended: {error}");
                        return;
                    }
                    None => match activity.late() {
                        None => alarm.as_mut().reset(activity.deadline()),
                        Some(Late::Request) if !ending => {
                            ending = true;
                            connection.as_mut().graceful_shutdown();
                            alarm.as_mut().reset(Instant::now() + FAREWELL);
                        }
                        Some(late) => {
                            counter!(CONNECTIONS_EXPIRED, "late" => late.name()).increment(1);
                            return;
                        }
                    },
                },
                () = self.stop.cancelled(), if !ending => {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}
