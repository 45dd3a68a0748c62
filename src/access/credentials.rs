//! Accepted credentials, as digests.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::settings::{Access, ApiKey};

/// Longer keys and passwords are wrong; hashing what anybody sends must not become work.
const LONGEST: usize = 1024;

pub(super) struct Credentials {
    basic: Option<Basic>,
    keys: RwLock<Vec<Key>>,
}

struct Basic {
    user: Arc<str>,
    /// SHA-256 of `user:password`.
    sha256: [u8; 32],
}

struct Key {
    name: Arc<str>,
    sha256: [u8; 32],
}

/// `user:password` as it came in.
pub(super) struct Pair(Vec<u8>);

impl Pair {
    pub(super) fn parse(authorization: &str) -> Option<Self> {
        let (scheme, encoded) = authorization.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        Some(Self(STANDARD.decode(encoded.trim()).ok()?))
    }

    /// Who it claims to be.
    pub(super) fn user(&self) -> &str {
        let user = self.0.split(|byte| *byte == b':').next();
        user.and_then(|user| str::from_utf8(user).ok())
            .unwrap_or_default()
    }
}

impl Credentials {
    pub(super) fn new(access: &Access) -> Self {
        let pair = access
            .api_username
            .as_ref()
            .zip(access.api_password.as_ref());
        let basic = pair.map(|(user, password)| Basic {
            user: user.as_str().into(),
            sha256: Sha256::digest(format!("{user}:{}", password.expose())).into(),
        });
        Self {
            basic,
            keys: RwLock::default(),
        }
    }

    pub(super) fn set_keys(&self, keys: Vec<ApiKey>) {
        let keys = keys.into_iter().map(|key| Key {
            name: key.name.into(),
            sha256: key.sha256,
        });
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.collect();
    }

    pub(super) fn user(&self) -> Option<&Arc<str>> {
        self.basic.as_ref().map(|basic| &basic.user)
    }

    // Every key is compared in full, so that the time tells nothing about which one came close.
    pub(super) fn check_key(&self, key: &[u8]) -> Option<Arc<str>> {
        if key.len() > LONGEST {
            return None;
        }
        let digest = Sha256::digest(key);
        let mut found = None;
        for key in &*self.keys.read().unwrap_or_else(PoisonError::into_inner) {
            if bool::from(digest.as_slice().ct_eq(&key.sha256)) {
                found = Some(Arc::clone(&key.name));
            }
        }
        found
    }

    pub(super) fn check_basic(&self, Pair(pair): &Pair) -> Option<Arc<str>> {
        let basic = self.basic.as_ref()?;
        if pair.len() > LONGEST {
            return None;
        }
        let same: Choice = Sha256::digest(pair).as_slice().ct_eq(&basic.sha256);
        bool::from(same).then(|| Arc::clone(&basic.user))
    }
}
