//! What is written to Redis, in the background: new results, and pictures to forget.

use std::sync::Arc;
use std::time::Duration;

use redis::Pipeline;
use tokio::sync::{mpsc, watch};

use super::link::{Live, expiring};
use super::{keys::Keys, value};
use crate::classification::{Known, ResultKey};
use crate::telemetry::metrics::CACHE_SHARED_DROPPED;

/// Writes that may wait; more are dropped.
pub(super) const QUEUE: usize = 1024;

/// Writes sent at once.
const BATCH: usize = 64;

/// Pictures remembered as still to be forgotten while Redis is away.
const MOST_FORGOTTEN: usize = 10_000;

/// When to try again to remove what could not be removed.
const RETRY: Duration = Duration::from_secs(1);

/// The longest wait until a batch is written.
const WRITE_LIMIT: Duration = Duration::from_secs(1);

pub(super) enum Write {
    Put(ResultKey, Arc<Known>),
    Forget(ResultKey),
}

pub(super) struct Writer {
    pub keys: Keys,
    pub ttl: Duration,
    pub queue: mpsc::Receiver<Write>,
    pub live: watch::Receiver<Option<Arc<Live>>>,
}

pub(super) fn count_dropped(writes: usize) {
    metrics::counter!(CACHE_SHARED_DROPPED).increment(writes as u64);
}

impl Writer {
    pub(super) async fn run(mut self) {
        let mut forgotten: Vec<ResultKey> = Vec::new();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                count = self.queue.recv_many(&mut batch, BATCH) => if count == 0 { return },
                () = tokio::time::sleep(RETRY), if !forgotten.is_empty() => {}
            }
            forgotten.extend(batch.iter().filter_map(|write| match write {
                Write::Forget(key) => Some(*key),
                Write::Put(..) => None,
            }));
            let live = self.live.borrow().clone();
            let written = match live.filter(|live| live.is_good()) {
                Some(live) => {
                    let commands = self.commands(&forgotten, &batch);
                    live.tell(&commands, WRITE_LIMIT).await.is_ok()
                }
                None => false,
            };
            if written {
                forgotten.clear();
            } else {
                let puts = batch.iter().filter(|w| matches!(w, Write::Put(..)));
                count_dropped(puts.count() + forgotten.len().saturating_sub(MOST_FORGOTTEN));
                forgotten.truncate(MOST_FORGOTTEN);
            }
            batch.clear();
        }
    }

    // In the order of the batch: a result may be put, forgotten and put again.
    fn commands(&self, forgotten: &[ResultKey], batch: &[Write]) -> Pipeline {
        let mut commands = redis::pipe();
        for key in forgotten {
            commands.del(self.keys.of(key)).ignore();
        }
        for write in batch {
            match write {
                Write::Put(key, known) => {
                    let ttl = expiring(self.ttl);
                    commands.set_options(self.keys.of(key), value::encode(known), ttl);
                }
                Write::Forget(key) => {
                    commands.del(self.keys.of(key));
                }
            }
            commands.ignore();
        }
        commands
    }
}
