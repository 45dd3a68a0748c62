//! How often each client may ask: a bucket of one minute's pictures that fills up again evenly.
//!
//! The buckets are those of the crate `governor`. A named client has one of its own. Addresses share a table of fixed
//! size, so that no number of addresses takes more memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock, QuantaInstant};
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::state::{InMemoryState, NotKeyed};
use governor::{InsufficientCapacity, NotUntil, Quota, RateLimiter};

use super::network;
use super::table::Table;
use crate::settings::ApiKey;

type Bucket = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;
type Buckets = RateLimiter<u64, Table, DefaultClock, StateInformationMiddleware>;
type Verdict = Result<Result<StateSnapshot, NotUntil<QuantaInstant>>, InsufficientCapacity>;

pub(super) struct RateLimit {
    /// Pictures a minute, where a name has no limit of its own.
    general: Option<NonZeroU32>,
    /// Begun with the first client that has no name.
    addresses: OnceLock<Buckets>,
    names: RwLock<HashMap<Arc<str>, Named>>,
}

#[derive(Clone)]
struct Named {
    limit: Option<NonZeroU32>,
    bucket: Option<Arc<Bucket>>,
}

/// What a client has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Pictures a minute.
    pub limit: NonZeroU32,
    /// Pictures it may have classified right now.
    pub remaining: u32,
    /// When it may have a whole minute's pictures again.
    pub full_in: Duration,
}

/// A client wanted more than it has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// How many pictures it wanted to send.
    pub pictures: NonZeroU32,
    /// What it has.
    pub standing: Standing,
    /// When it may ask for the same again; none if that is more than a whole minute's pictures.
    pub retry_after: Option<Duration>,
}

impl RateLimit {
    /// A limit of `per_minute` pictures a minute; 0 means none.
    pub(super) fn new(per_minute: u32) -> Self {
        Self {
            general: NonZeroU32::new(per_minute),
            addresses: OnceLock::new(),
            names: RwLock::default(),
        }
    }

    /// Gives names their limits. Who keeps a limit keeps what is left of it.
    pub(super) fn set_names(&self, user: Option<&Arc<str>>, keys: &[ApiKey]) {
        let users = user.map(|name| (Arc::clone(name), None));
        let keys = keys.iter().map(|key| (key.name.as_str().into(), key.limit));
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let mut new = HashMap::new();
        for (name, own) in users.into_iter().chain(keys) {
            let limit = own.map_or(self.general, NonZeroU32::new);
            let known = names.get(&name).filter(|known| known.limit == limit);
            let named = known.cloned().unwrap_or_else(|| Named {
                limit,
                bucket: limit.map(|limit| {
                    let bucket = RateLimiter::direct(Quota::per_minute(limit));
                    Arc::new(bucket.with_middleware())
                }),
            });
            new.insert(name, named);
        }
        *names = new;
    }

    /// Takes `pictures` from the client's bucket: all or none.
    pub(super) fn charge(
        &self,
        name: Option<&str>,
        address: IpAddr,
        pictures: NonZeroU32,
    ) -> Result<Option<Standing>, Exceeded> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(named) = name.and_then(|name| names.get(name)) {
            let Some((bucket, limit)) = named.bucket.as_ref().zip(named.limit) else {
                return Ok(None);
            };
            let verdict = bucket.check_n(pictures);
            return judge(limit, pictures, verdict, bucket.clock()).map(Some);
        }
        drop(names);
        let Some(limit) = self.general else {
            return Ok(None);
        };
        let buckets = self.addresses.get_or_init(|| {
            let clock = DefaultClock::default();
            RateLimiter::new(Quota::per_minute(limit), Table::default(), clock)
        });
        let verdict = buckets.check_key_n(&network(address), pictures);
        judge(limit, pictures, verdict, buckets.clock()).map(Some)
    }
}

fn judge(
    limit: NonZeroU32,
    pictures: NonZeroU32,
    verdict: Verdict,
    clock: &DefaultClock,
) -> Result<Standing, Exceeded> {
    let standing = |remaining: u32| Standing {
        limit,
        remaining,
        full_in: Duration::from_secs(60)
            .mul_f64(f64::from(limit.get().saturating_sub(remaining)) / f64::from(limit.get())),
    };
    match verdict {
        Ok(Ok(snapshot)) => Ok(standing(snapshot.remaining_burst_capacity())),
        Ok(Err(not_until)) => Err(Exceeded {
            pictures,
            standing: standing(0),
            retry_after: Some(not_until.wait_time_from(clock.now())),
        }),
        Err(InsufficientCapacity(_)) => Err(Exceeded {
            pictures,
            standing: standing(0),
            retry_after: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NonZeroU32 = NonZeroU32::MIN;
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn key(name: &str, limit: Option<u32>) -> ApiKey {
        ApiKey {
            name: name.to_owned(),
            sha256: [0; 32],
            limit,
        }
    }

    fn accepted(rate: &RateLimit, name: Option<&str>, address: IpAddr) -> u32 {
        (0..1000)
            .take_while(|_| rate.charge(name, address, ONE).is_ok())
            .count() as u32
    }

    #[test]
    fn each_name_and_each_network_has_a_bucket() {
        let rate = RateLimit::new(20);
        let user = "ana".into();
        rate.set_names(Some(&user), &[key("ci", Some(5)), key("bulk", Some(0))]);
        assert_eq!(accepted(&rate, Some("ana"), HERE), 20);
        assert_eq!(accepted(&rate, Some("ci"), HERE), 5);
        assert_eq!(rate.charge(Some("bulk"), HERE, ONE), Ok(None));
        assert_eq!(accepted(&rate, None, HERE), 20);
        let other = |text: &str| accepted(&rate, None, text.parse().unwrap());
        assert_eq!(other("2001:db8::1"), 20);
        assert_eq!(other("2001:db8::2"), 0);
        assert_eq!(other("2001:db8:0:1::2"), 20);
    }

    #[test]
    fn a_batch_is_charged_whole_or_not_at_all() {
        let rate = RateLimit::new(10);
        let charge = |n| rate.charge(None, HERE, NonZeroU32::new(n).unwrap());
        assert_eq!(charge(6).unwrap().unwrap().remaining, 4);
        let refused = charge(6).unwrap_err();
        let wait = refused.retry_after.unwrap().as_secs_f64();
        assert!((11.0..=12.0).contains(&wait), "two more in 12 s: {wait}");
        assert_eq!(charge(4).unwrap().unwrap().remaining, 0);
        assert_eq!(charge(11).unwrap_err().retry_after, None);
    }

    #[test]
    fn new_keys_do_not_refill_old_buckets() {
        let rate = RateLimit::new(10);
        rate.set_names(None, &[key("ci", None), key("phone", Some(3))]);
        assert_eq!(accepted(&rate, Some("ci"), HERE), 10);
        assert_eq!(accepted(&rate, Some("phone"), HERE), 3);
        rate.set_names(
            None,
            &[key("ci", None), key("phone", Some(4)), key("new", None)],
        );
        assert_eq!(accepted(&rate, Some("ci"), HERE), 0);
        assert_eq!(accepted(&rate, Some("phone"), HERE), 4);
    }
}
