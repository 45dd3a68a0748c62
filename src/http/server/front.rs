//! Accepts connections on a thread of its own, which also answers probes: whoever asks whether the service is alive is
//! not to wait behind thousands who ask for pictures.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::refusal::Refusals;
use super::{Open, Server};
use crate::telemetry::metrics::CONNECTIONS_REFUSED;

/// Pause after a failed accept (no file descriptors left, usually), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a new connection may take to show what it asks for; later it is served with all others.
const FIRST_BYTES: Duration = Duration::from_millis(50);

/// What probes begin with.
const PROBE: &[u8] = b"GET /health";

/// What accepting connections needs.
#[derive(Clone)]
pub(super) struct Front {
    pub server: Arc<Server>,
    /// All connections.
    pub tasks: TaskTracker,
    /// Where those are served that are no probes.
    pub inside: Handle,
}

impl Front {
    /// Accepts until the server stops, and serves probes until `ended`; what is returned tells when the former is over.
    pub(super) fn open(
        self,
        listener: TcpListener,
        ended: CancellationToken,
    ) -> io::Result<oneshot::Receiver<()>> {
        let listener = listener.into_std()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (closed, closing) = oneshot::channel();
        std::thread::Builder::new()
            .name("front".into())
            .spawn(move || {
                runtime.block_on(async {
                    match TcpListener::from_std(listener) {
                        Ok(listener) => self.accept(listener).await,
                        Err(error) => tracing::error!("connections cannot be accepted: {error}"),
                    }
                    // Nobody waits for it if the process is ending anyway.
                    let _ = closed.send(());
                    ended.cancelled().await;
                });
            })?;
        Ok(closing)
    }

    async fn accept(&self, listener: TcpListener) {
        let free = Arc::new(Semaphore::new(self.server.limits.connections));
        let refusals = Refusals::new();
        loop {
            let stream = tokio::select! {
                () = self.server.stop.cancelled() => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!("a connection could not be accepted: {error}");
                        sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            match Arc::clone(&free).try_acquire_owned() {
                Ok(permit) => {
                    let open = Open::new(permit);
                    self.tasks.spawn(self.clone().receive(stream, open));
                }
                Err(_) => {
                    counter!(CONNECTIONS_REFUSED).increment(1);
                    refusals.send(stream);
                }
            }
        }
    }

    /// Serves a probe, and hands on what is none.
    async fn receive(self, stream: TcpStream, open: Open) {
        let mut first = [0; PROBE.len()];
        let seen = timeout(FIRST_BYTES, stream.peek(&mut first)).await;
        if matches!(seen, Ok(Ok(length)) if first[..length] == *PROBE) {
            return self.server.attend(stream, open).await;
        }
        // A stream belongs to the runtime that it was made in.
        let Ok(stream) = stream.into_std() else {
            return;
        };
        let server = self.server;
        let inside = async move {
            if let Ok(stream) = TcpStream::from_std(stream) {
                server.attend(stream, open).await;
            }
        };
        self.tasks.spawn_on(inside, &self.inside);
    }
}
