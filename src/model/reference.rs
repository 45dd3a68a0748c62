//! What a model is called.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Name and version of a model; as text `name@version`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    /// Name; the versions of one name answer the same question.
    pub name: String,
    /// Version.
    pub version: String,
}

/// Text that is no reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not name@version")]
pub struct NoReference(String);

impl FromStr for Reference {
    type Err = NoReference;

    fn from_str(text: &str) -> Result<Self, NoReference> {
        match text.rsplit_once('@') {
            Some((name, version)) if !name.is_empty() && !version.is_empty() => Ok(Self {
                name: name.to_owned(),
                version: version.to_owned(),
            }),
            _ => Err(NoReference(text.chars().take(100).collect())),
        }
    }
}

impl TryFrom<String> for Reference {
    type Error = NoReference;

    fn try_from(text: String) -> Result<Self, NoReference> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_follows_the_last_at() {
        let reference: Reference = "a@b@2".parse().unwrap();
        assert_eq!((&*reference.name, &*reference.version), ("a@b", "2"));
        assert_eq!(reference.to_string(), "a@b@2");
        for text in ["", "bottle", "@2", "bottle@"] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }
}
