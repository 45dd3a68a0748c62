//! What results are called in Redis.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;

use crate::classification::ResultKey;

/// A key that holds nothing: whether it can be read and written shows whether Redis can be used.
pub(super) const PROBE: &str = "relance:1:probe";

/// What says who has `thing` in hand.
pub(super) fn claim(thing: &str) -> String {
    format!("relance:1:claim:{thing}")
}

/// A holder's name, which may be an address, as nobody can read it.
pub(super) fn holder(name: &str) -> String {
    BASE64.encode(blake3::hash(name.as_bytes()).as_bytes())
}

/// `relance:1:MODEL:COMPUTATION:PICTURE`, both digests whole.
///
/// The number changes when a new version of the program would compute other results from the same picture.
#[derive(Clone)]
pub(super) struct Keys {
    /// What else a result depends on, such as `cpu-f32-exact`.
    pub computation: String,
}

impl Keys {
    pub(super) fn of(&self, key: &ResultKey) -> String {
        let (model, picture) = (BASE64.encode(key.model), BASE64.encode(key.picture));
        format!("relance:1:{model}:{}:{picture}", self.computation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_computations_and_pictures_have_their_own_keys() {
        let keys = |computation: &str| Keys {
            computation: computation.to_owned(),
        };
        let key = |model, picture| ResultKey {
            model: [model; 32],
            picture: [picture; 32],
        };
        let exact = keys("cpu-f32-exact").of(&key(0, 1));
        let (zeros, ones) = (
            "A".repeat(43),
            "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
        );
        assert_eq!(exact, format!("relance:1:{zeros}:cpu-f32-exact:{ones}"));
        assert_ne!(exact, keys("cpu-f32-fast").of(&key(0, 1)));
        assert_ne!(exact, keys("cpu-f32-exact").of(&key(1, 1)));
        assert_ne!(exact, keys("cpu-f32-exact").of(&key(0, 0)));
    }
}
