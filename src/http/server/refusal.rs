//! Tells clients that there are too many connections.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::http::problem::{Kind, Problem};

/// Clients that are told at the same time; the connections of more are just closed.
const AT_ONCE: usize = 128;

/// How long a client may take to read it. A connection with unread bytes would be reset, and the answer with it.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Refusals {
    places: Arc<Semaphore>,
    answer: Arc<[u8]>,
}

impl Refusals {
    pub(super) fn new() -> Self {
        let problem = Problem::new(
            Kind::Busy,
            "too many connections are open; try again in 1 s",
        );
        let body = serde_json::to_string(&problem).unwrap_or_default();
        let answer = format!(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\
             Retry-After: 1\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE)),
            answer: answer.into_bytes().into(),
        }
    }

    pub(super) fn send(&self, mut stream: TcpStream) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return;
        };
        let answer = Arc::clone(&self.answer);
        tokio::spawn(async move {
            let _place = place;
            let telling = async {
                stream.write_all(&answer).await?;
                stream.shutdown().await?;
                let mut rest = [0; 4096];
                while stream.read(&mut rest).await? > 0 {}
                Ok::<_, std::io::Error>(())
            };
            // Whether the client listens is its own affair.
            let _ = timeout(PATIENCE, telling).await;
        });
    }
}
