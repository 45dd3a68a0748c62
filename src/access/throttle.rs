//! How many wrong credentials an address may show.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::network;

/// 4 MiB, begun with the first failure. In another minute a client has another slot, so nobody shares one for long.
const SLOTS: usize = 1 << 20;

const MINUTE: Duration = Duration::from_secs(60);

/// A slot holds the minute it was last used in and, in these lower bits, the failures of that minute.
const COUNT_BITS: u32 = 10;

pub(super) struct Throttle {
    /// Failures a minute; 0 means no limit.
    limit: u32,
    slots: OnceLock<Box<[AtomicU32]>>,
    hasher: RandomState,
    start: Instant,
}

/// A user at an address, in the current minute. Failures for one user do not shut out others behind the same address.
#[derive(Clone, Copy)]
pub(super) struct Account {
    slot: usize,
    minute: u32,
    /// Time until the minute is over.
    left: Duration,
}

impl Throttle {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            limit,
            slots: OnceLock::new(),
            hasher: RandomState::new(),
            start: Instant::now(),
        }
    }

    pub(super) fn account(&self, user: &str, address: IpAddr) -> Account {
        self.account_at(user, address, self.start.elapsed())
    }

    fn account_at(&self, user: &str, address: IpAddr, age: Duration) -> Account {
        let minute = (age.as_secs() / MINUTE.as_secs()) as u32;
        let hash = self.hasher.hash_one((minute, network(address), user));
        Account {
            slot: hash as usize % SLOTS,
            minute,
            left: MINUTE * (minute + 1) - age,
        }
    }

    /// How long the account must wait, if it has failed too often.
    pub(super) fn wait(&self, account: Account) -> Option<Duration> {
        let slots = self.slots.get()?;
        let count = account.failures(slots[account.slot].load(Ordering::Relaxed));
        (count >= self.limit).then_some(account.left)
    }

    /// Counts a failure.
    pub(super) fn count(&self, account: Account) {
        if self.limit == 0 {
            return;
        }
        let slots = self
            .slots
            .get_or_init(|| (0..SLOTS).map(|_| AtomicU32::new(0)).collect());
        let more = |slot| {
            let count = (account.failures(slot) + 1).min(self.limit);
            Some(account.minute << COUNT_BITS | count)
        };
        // The function never says no.
        let _ = slots[account.slot].fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }
}

impl Account {
    fn failures(&self, slot: u32) -> u32 {
        if slot >> COUNT_BITS == self.minute << COUNT_BITS >> COUNT_BITS {
            slot & ((1 << COUNT_BITS) - 1)
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_for_one_user_at_one_address_and_one_minute() {
        let throttle = Throttle::new(3);
        let at = |user: &str, address: &str, seconds: u64| {
            throttle.account_at(user, address.parse().unwrap(), Duration::from_secs(seconds))
        };
        for second in [61, 62, 63, 64] {
            throttle.count(at("ana", "192.0.2.1", second));
        }
        let wait = |account| throttle.wait(account);
        assert_eq!(
            wait(at("ana", "192.0.2.1", 70)),
            Some(Duration::from_secs(50))
        );
        assert_eq!(wait(at("ana", "192.0.2.1", 120)), None);
        assert_eq!(wait(at("ana", "192.0.2.2", 70)), None);
        assert_eq!(wait(at("rui", "192.0.2.1", 70)), None);
        throttle.count(at("ana", "192.0.2.1", 121));
        assert_eq!(wait(at("ana", "192.0.2.1", 122)), None);
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let throttle = Throttle::new(0);
        let account = throttle.account("ana", "192.0.2.1".parse().unwrap());
        throttle.count(account);
        assert_eq!(throttle.wait(account), None);
        assert!(throttle.slots.get().is_none());
    }
}
