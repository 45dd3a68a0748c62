//! Clients that post pictures one after the other, and remember what they were told.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;

use super::{App, unique};

/// What a client was told, what it had sent, and how long it waited.
pub struct Answered {
    pub answer: Value,
    pub sent: Vec<u8>,
    pub latency: Duration,
}

/// Everything that was answered in a time.
#[derive(Default)]
pub struct Told {
    pub answered: Vec<Answered>,
    /// Other answers than 200.
    pub refused: Vec<StatusCode>,
    /// Requests without a whole answer.
    pub broken: u64,
}

impl Told {
    /// The latency that this share of the answers does not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut latencies: Vec<_> = self.answered.iter().map(|one| one.latency).collect();
        latencies.sort_unstable();
        let last = latencies.len().saturating_sub(1);
        latencies
            .get((last as f64 * share).round() as usize)
            .copied()
            .unwrap_or_default()
    }
}

/// Clients at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    told: Arc<Mutex<Told>>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

/// Numbers pictures, so that they stay unlike each other over several loads.
pub type Counter = Arc<AtomicU64>;

impl Load {
    /// Lets `clients` post variants of `base` without a pause; every third one has been sent before.
    pub fn start(app: &App, clients: usize, base: &[u8], counter: &Counter) -> Self {
        Self::paced(app, clients, Duration::ZERO, base, counter)
    }

    /// The same with a pause after each answer.
    pub fn paced(
        app: &App,
        clients: usize,
        pause: Duration,
        base: &[u8],
        counter: &Counter,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::new(Mutex::new(Told::default()));
        let clients = (0..clients).map(|_| {
            let (client, url) = (app.client.clone(), format!("{}/predict", app.url));
            let (stop, told) = (Arc::clone(&stop), Arc::clone(&told));
            let (counter, base) = (Arc::clone(counter), base.to_vec());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    tokio::time::sleep(pause).await;
                    let n = counter.fetch_add(1, Ordering::Relaxed);
                    let sent = unique(&base, if n.is_multiple_of(3) { n / 2 } else { n });
                    let start = Instant::now();
                    let request = client
                        .post(&url)
                        .header("content-type", "image/jpeg")
                        .body(sent.clone());
                    // An answer counts once the client has all of it.
                    let answer = match request.send().await {
                        Ok(response) if response.status() == StatusCode::OK => {
                            response.json::<Value>().await
                        }
                        Ok(response) => {
                            told.lock().unwrap().refused.push(response.status());
                            continue;
                        }
                        Err(error) => Err(error),
                    };
                    let latency = start.elapsed();
                    let mut told = told.lock().unwrap();
                    match answer {
                        Ok(answer) => told.answered.push(Answered {
                            answer,
                            sent,
                            latency,
                        }),
                        Err(_) => {
                            told.broken += 1;
                            return;
                        }
                    }
                }
            })
        });
        Self {
            clients: clients.collect(),
            stop,
            told,
        }
    }

    /// Ends the clients; what they were told.
    pub async fn finish(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}
