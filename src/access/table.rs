//! State of rate limits in a table that does not grow.

use std::hash::{BuildHasher, RandomState};

use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};

/// 8 MiB. Two clients that meet in one slot share its limit; which ones do is different in each process and cannot be
/// found out. To fill the slots of others, an attacker would have to be answered a million times the limit.
const SLOTS: usize = 1 << 20;

/// A slot for each client, found by a keyed hash.
pub(super) struct Table {
    slots: Box<[InMemoryState]>,
    hasher: RandomState,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| InMemoryState::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl StateStore for Table {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let slot = self.hasher.hash_one(key) as usize % SLOTS;
        self.slots[slot].measure_and_replace(&NotKeyed::NonKey, f)
    }
}
