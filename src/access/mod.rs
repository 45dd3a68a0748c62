//! Who may come in, how many wrong guesses they have, and how often they may ask. Knows nothing of HTTP.

mod account;
mod credentials;
mod key_file;
mod rate;
mod table;
mod throttle;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;

use crate::settings::{Access, ApiKeys};
use crate::telemetry::metrics::LOGIN_FAILURES;

pub use account::Account;
pub use key_file::KeyFileError;
pub use rate::{Exceeded, Standing};

use credentials::{Credentials, Pair};
use key_file::KeyFile;
use rate::RateLimit;
use throttle::Throttle;

/// Keys of at least this many bytes cannot be guessed, however often one tries. `relance key` makes longer ones.
const UNGUESSABLE: usize = 32;

/// The door of the service, whichever way a request comes.
pub struct Gate {
    credentials: Credentials,
    throttle: Throttle,
    rate: RateLimit,
    accepted: Accepted,
    own_keys: ApiKeys,
    file: Option<KeyFile>,
}

/// Kinds of credentials that are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// None are needed.
    Nothing,
    /// A user and password.
    Basic,
    /// An API key.
    Key,
    /// One or the other.
    Either,
}

/// The credentials that a request carries.
#[derive(Clone, Copy, Default)]
pub struct Presented<'a> {
    /// Content of `X-API-Key`.
    pub api_key: Option<&'a [u8]>,
    /// Content of `Authorization`.
    pub authorization: Option<&'a str>,
}

/// Why somebody may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No credentials, or wrong ones.
    Credentials,
    /// There were too many wrong ones; these were not looked at.
    Throttled {
        /// When they will be.
        retry_after: Duration,
    },
}

impl Gate {
    /// A gate with the keys of the settings and of their file.
    ///
    /// # Errors
    /// If the file cannot be read, or a line of it is wrong.
    pub fn new(access: &Access) -> Result<Self, KeyFileError> {
        let (file, more) = match &access.api_keys_file {
            Some(path) => {
                let (file, keys) = KeyFile::open(path)?;
                (Some(file), keys)
            }
            None => (None, ApiKeys::default()),
        };
        let own_keys = access.api_keys.clone().unwrap_or_default();
        let keys = file.is_some() || !own_keys.0.is_empty();
        let gate = Self {
            accepted: match (access.api_username.is_some(), keys) {
                (false, false) => Accepted::Nothing,
                (true, false) => Accepted::Basic,
                (false, true) => Accepted::Key,
                (true, true) => Accepted::Either,
            },
            credentials: Credentials::new(access),
            throttle: Throttle::new(access.login_failures_per_minute),
            rate: RateLimit::new(access.rate_limit_per_minute),
            own_keys,
            file,
        };
        gate.take(more);
        Ok(gate)
    }

    fn take(&self, more: ApiKeys) {
        let keys: Vec<_> = self.own_keys.0.iter().chain(&more.0).cloned().collect();
        self.rate.set_names(self.credentials.user(), &keys);
        self.credentials.set_keys(keys);
    }

    /// Takes in changes of the file of keys, for ever.
    pub async fn watch_keys(self: Arc<Self>) {
        if let Some(file) = &self.file {
            file.watch(|keys| self.take(keys)).await;
        }
    }

    /// Whether anybody must show credentials.
    pub fn needs_credentials(&self) -> bool {
        self.accepted != Accepted::Nothing
    }

    /// What kinds of credentials are accepted.
    pub fn accepted(&self) -> Accepted {
        self.accepted
    }

    /// The name behind the credentials; none if nobody must show any.
    ///
    /// # Errors
    /// If they are missing or wrong, or there were too many wrong ones from this address.
    pub fn admit(
        &self,
        presented: Presented<'_>,
        address: IpAddr,
    ) -> Result<Option<Arc<str>>, Refused> {
        if !self.needs_credentials() {
            return Ok(None);
        }
        let mut refused = Refused::Credentials;
        if let Some(key) = presented.api_key {
            let guessable = key.len() < UNGUESSABLE;
            match self.attempt("", address, guessable, || self.credentials.check_key(key)) {
                Ok(name) => return Ok(Some(name)),
                Err(error) => refused = error,
            }
        }
        if let Some(authorization) = presented.authorization {
            let pair = Pair::parse(authorization);
            let user = pair.as_ref().map_or("", Pair::user);
            let check = || self.credentials.check_basic(pair.as_ref()?);
            match self.attempt(user, address, true, check) {
                Ok(name) => return Ok(Some(name)),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    // A secret that can be guessed is not even compared while there were too many wrong ones. A long key is, so that
    // its holder is not shut out by others behind the same address.
    fn attempt(
        &self,
        user: &str,
        address: IpAddr,
        guessable: bool,
        check: impl FnOnce() -> Option<Arc<str>>,
    ) -> Result<Arc<str>, Refused> {
        let account = self.throttle.account(user, address);
        let wait = self.throttle.wait(account);
        let found = if guessable && wait.is_some() {
            None
        } else {
            check()
        };
        match (found, wait) {
            (Some(name), _) => Ok(name),
            (None, Some(retry_after)) => {
                counter!(LOGIN_FAILURES, "outcome" => "throttled").increment(1);
                Err(Refused::Throttled { retry_after })
            }
            (None, None) => {
                self.throttle.count(account);
                counter!(LOGIN_FAILURES, "outcome" => "wrong").increment(1);
                Err(Refused::Credentials)
            }
        }
    }

    /// Charges a caller for `pictures` at once: all of them or none. The name is that of [`Gate::admit`]; without one,
    /// the address is charged.
    ///
    /// # Errors
    /// If that is more than the caller has left.
    pub fn charge(
        &self,
        name: Option<&str>,
        address: IpAddr,
        pictures: NonZeroU32,
    ) -> Result<Option<Standing>, Exceeded> {
        self.rate.charge(name, address, pictures)
    }
}

/// What is one client as far as limits go: an IPv4 address, or the /64 of an IPv6 address, since whoever has one of
/// those addresses has them all.
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        // No network in use begins with 32 zero bits, so the two kinds do not meet.
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_is_one_network() {
        let of = |address: &str| network(address.parse().unwrap());
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::9"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
    }
}
