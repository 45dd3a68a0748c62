//! Results that instances share, in Redis.
//!
//! Nobody ever waits for it longer than [`Shared::get`] does: connecting, writing and signing in happen in the
//! background, and a Redis that is away or slow is not asked.

mod address;
mod breaker;
mod claim;
mod keys;
mod link;
mod login;
mod value;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::Cmd;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::classification::{Known, ResultKey};
use crate::remote::Presence;
use crate::settings::Secret;
use crate::telemetry::metrics::CACHE_SHARED_READ_SECONDS;

pub use address::UrlError;
pub use login::Login;

use keys::Keys;
use link::{Keeper, Live, READ_LIMIT};
use writer::{Write, Writer};

/// How Redis is used.
#[derive(Clone)]
pub struct SharedConfig {
    /// Where it is.
    pub url: Secret,
    /// How it is signed in to.
    pub login: Login,
    /// What results depend on beside model and picture, such as `cpu-f32-exact`; instances share theirs only with
    /// those that compute in the same way.
    pub computation: String,
    /// How long Redis keeps a result; whole seconds, at least one.
    pub ttl: Duration,
}

/// The results in Redis.
pub struct Shared {
    keys: Keys,
    presence: Arc<Presence>,
    live: watch::Receiver<Option<Arc<Live>>>,
    queue: mpsc::Sender<Write>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl Shared {
    /// Starts connecting in the background, on the current runtime.
    ///
    /// # Errors
    /// If the URL cannot be used. That Redis is away is no error.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn start(config: SharedConfig) -> Result<Self, UrlError> {
        let address = address::parse(&config.url, &config.login)?;
        let presence = Arc::new(Presence::new("redis"));
        let (sender, live) = watch::channel(None);
        let keeper = Keeper {
            address,
            login: config.login,
            probe_key: keys::PROBE,
            presence: Arc::clone(&presence),
            live: sender,
        };
        let keys = Keys {
            computation: config.computation,
        };
        let (queue, queued) = mpsc::channel(writer::QUEUE);
        let writer = Writer {
            keys: keys.clone(),
            ttl: config.ttl,
            queue: queued,
            live: live.clone(),
        };
        let keeping = tokio::spawn(async move {
            keeper.run().await;
        });
        let writing = tokio::spawn(writer.run());
        Ok(Self {
            keys,
            presence,
            live,
            queue,
            _tasks: [keeping, writing].map(AbortOnDropHandle::new),
        })
    }

    /// Whether Redis was there when it was last used.
    pub fn presence(&self) -> &Presence {
        &self.presence
    }

    /// Whether [`Shared::get`] would ask at all.
    pub fn is_there(&self) -> bool {
        self.live().is_some()
    }

    /// The result for `key`, if Redis has it and says so within 50 ms.
    pub async fn get(&self, key: &ResultKey) -> Option<Known> {
        let live = self.live()?;
        let start = Instant::now();
        let read = live
            .ask::<Option<Vec<u8>>>(&Cmd::get(self.keys.of(key)), READ_LIMIT)
            .await;
        let (outcome, known) = match read {
            Ok(None) => ("miss", None),
            Ok(Some(bytes)) => match value::decode(&bytes) {
                Some(known) => ("hit", Some(known)),
                None => ("unreadable", None),
            },
            Err(_) => ("error", None),
        };
        metrics::histogram!(CACHE_SHARED_READ_SECONDS, "outcome" => outcome)
            .record(start.elapsed());
        known
    }

    /// Has a result written, unless too many are waiting. Never blocks.
    pub fn put(&self, key: ResultKey, known: Arc<Known>) {
        if self.is_there() {
            self.queue(Write::Put(key, known));
        } else {
            writer::count_dropped(1);
        }
    }

    /// Has a result removed; if Redis is away, once it is back. Never blocks.
    pub fn forget(&self, key: ResultKey) {
        self.queue(Write::Forget(key));
    }

    fn queue(&self, write: Write) {
        if self.queue.try_send(write).is_err() {
            writer::count_dropped(1);
        }
    }

    fn live(&self) -> Option<Arc<Live>> {
        self.live.borrow().clone().filter(|live| live.is_good())
    }
}
