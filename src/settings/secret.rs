//! Values that must never be printed.

use std::fmt;
use std::str::FromStr;

/// A secret string whose `Debug` form hides it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Ok(Self(s.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// One API key: a name for records and logs, and the SHA-256 of the key.
#[derive(Clone)]
pub struct ApiKey {
    /// Who holds the key.
    pub name: String,
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:[redacted]", self.name)
    }
}

/// The keys of `API_KEYS`.
#[derive(Clone, Debug, Default)]
pub struct ApiKeys(pub Vec<ApiKey>);

impl FromStr for ApiKeys {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let mut keys: Vec<ApiKey> = Vec::new();
        for (i, entry) in s.split(',').map(str::trim).enumerate() {
            if entry.is_empty() {
                continue;
            }
            let key = parse_key(entry).ok_or_else(|| {
                format!("entry {} is not name:sha256hex (64 hexadecimal digits); `relance key NAME` prints one", i + 1)
            })?;
            if keys.iter().any(|k| k.name == key.name) {
                return Err(format!("the key name {:?} appears twice", key.name));
            }
            keys.push(key);
        }
        Ok(Self(keys))
    }
}

fn parse_key(entry: &str) -> Option<ApiKey> {
    let (name, digest) = entry.split_once(':')?;
    let mut sha256 = [0; 32];
    hex::decode_to_slice(digest.trim(), &mut sha256).ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| ApiKey {
        name: name.to_owned(),
        sha256,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_parsed_and_never_printed() {
        let digest = "ab".repeat(32);
        let keys: ApiKeys = format!("ci:{digest}, phone:{digest} ,").parse().unwrap();
        assert_eq!(keys.0.len(), 2);
        assert_eq!(keys.0[1].name, "phone");
        assert!(!format!("{keys:?}").contains("abab"));
        assert!(!format!("{:?}", "hush".parse::<Secret>().unwrap()).contains("hush"));
    }

    #[test]
    fn malformed_keys_are_named_by_position_not_by_value() {
        let digest = "ab".repeat(32);
        let error = format!("ci:{digest},secret-in-clear")
            .parse::<ApiKeys>()
            .unwrap_err();
        assert!(error.contains("entry 2") && !error.contains("secret"));
        assert!(
            format!("a:{digest},a:{digest}")
                .parse::<ApiKeys>()
                .unwrap_err()
                .contains("twice")
        );
    }
}
