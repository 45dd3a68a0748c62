//! Results by model and picture: in memory, and in Redis for those that instances share; there, too, who has what in
//! hand.

mod shared;

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache as Moka;

use crate::classification::{Known, ResultKey, Score};
use crate::remote::Presence;

pub use shared::{Login, Shared, SharedConfig, UrlError};

/// A bounded cache of results in memory, and beside it one that instances share.
pub struct Cache {
    results: Moka<ResultKey, Arc<Known>>,
    shared: Option<Shared>,
}

/// Bookkeeping per entry, beside its scores: key, entry, map and queue nodes.
const ENTRY_BYTES: usize = 300;

impl Cache {
    /// A cache of at most about `bytes` bytes whose entries live for `ttl`; 0 bytes keeps nothing.
    pub fn new(bytes: u64, ttl: Duration) -> Self {
        let weigh = |_: &ResultKey, result: &Arc<Known>| {
            let size = ENTRY_BYTES + size_of::<Score>() * result.classification.ranking.len();
            u32::try_from(size).unwrap_or(u32::MAX)
        };
        Self {
            results: Moka::builder()
                .max_capacity(bytes)
                .weigher(weigh)
                .time_to_live(ttl)
                .build(),
            shared: None,
        }
    }

    /// The same with a shared cache behind it.
    pub fn with_shared(self, shared: Shared) -> Self {
        Self {
            shared: Some(shared),
            ..self
        }
    }

    /// The result for `key`, if it is in memory.
    pub fn get(&self, key: &ResultKey) -> Option<Arc<Known>> {
        self.results.get(key)
    }

    /// Whether [`Cache::get_shared`] would ask at all.
    pub fn asks_shared(&self) -> bool {
        self.shared.as_ref().is_some_and(Shared::is_there)
    }

    /// The result for `key`, if the shared cache has it and says so within 50 ms. From then on it is in memory, for
    /// as long as any other.
    pub async fn get_shared(&self, key: &ResultKey) -> Option<Arc<Known>> {
        let known = Arc::new(self.shared.as_ref()?.get(key).await?);
        self.results.insert(*key, Arc::clone(&known));
        Some(known)
    }

    /// Remembers a result, and has it shared in the background. Never blocks.
    pub fn insert(&self, key: ResultKey, result: Arc<Known>) {
        if let Some(shared) = &self.shared {
            shared.put(key, Arc::clone(&result));
        }
        self.results.insert(key, result);
    }

    /// Forgets a result here, and in the background in the shared cache. Never blocks. Other instances that have it
    /// in memory keep it there until it expires.
    pub fn forget(&self, key: &ResultKey) {
        self.results.invalidate(key);
        if let Some(shared) = &self.shared {
            shared.forget(*key);
        }
    }

    /// Whether `thing` is in the hand of `holder` from now on, for `time`, and in nobody else's at any instance that
    /// shares this cache; without a shared cache it is.
    pub async fn claim(&self, thing: &str, holder: &str, time: Duration) -> bool {
        match &self.shared {
            Some(shared) => shared.claim(thing, holder, time).await,
            None => true,
        }
    }

    /// Lets go of `thing`, if `holder` has it.
    pub async fn release(&self, thing: &str, holder: &str) {
        if let Some(shared) = &self.shared {
            shared.release(thing, holder).await;
        }
    }

    /// Whether the shared cache was there when it was last used; nothing if there is none.
    pub fn presence(&self) -> Option<&Presence> {
        self.shared.as_ref().map(Shared::presence)
    }

    /// Results held.
    pub fn len(&self) -> u64 {
        self.results.run_pending_tasks();
        self.results.entry_count()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classification::Classification;
    use crate::image::{Format, PictureInfo};

    fn result() -> Arc<Known> {
        let picture = PictureInfo {
            format: Format::Png,
            width: 1,
            height: 1,
        };
        Arc::new(Known {
            digest: [0; 32],
            classification: Classification::new(picture, &[0.25, 0.75]),
        })
    }

    fn key(n: u32) -> ResultKey {
        let mut picture = [0; 32];
        picture[..4].copy_from_slice(&n.to_be_bytes());
        ResultKey {
            model: [0; 32],
            picture,
        }
    }

    #[test]
    fn is_bounded_by_bytes() {
        let cache = Cache::new(100_000, Duration::from_secs(60));
        for n in 0..10_000 {
            cache.insert(key(n), result());
        }
        assert!(
            cache.len() > 100 && cache.len() <= 100_000 / ENTRY_BYTES as u64,
            "{}",
            cache.len()
        );
    }

    #[test]
    fn tells_models_apart_and_keeps_nothing_at_zero_bytes() {
        let cache = Cache::new(1 << 20, Duration::from_secs(60));
        cache.insert(key(1), result());
        assert!(cache.get(&key(1)).is_some());
        assert!(
            cache
                .get(&ResultKey {
                    model: [1; 32],
                    ..key(1)
                })
                .is_none()
        );
        let off = Cache::new(0, Duration::from_secs(60));
        off.insert(key(1), result());
        assert!(off.is_empty());
    }

    #[test]
    fn entries_expire() {
        let cache = Cache::new(1 << 20, Duration::from_millis(20));
        cache.insert(key(1), result());
        std::thread::sleep(Duration::from_millis(40));
        assert!(cache.get(&key(1)).is_none());
    }
}
