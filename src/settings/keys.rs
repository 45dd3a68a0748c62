//! API keys as they are written down: a name, the SHA-256 of the key, and perhaps a limit.

use std::fmt;
use std::str::FromStr;

/// More would make every check of a key slow, as each is compared with all.
const MOST: usize = 1000;

/// One API key: a name for records and logs, and the SHA-256 of the key.
#[derive(Clone)]
pub struct ApiKey {
    /// Who holds the key.
    pub name: String,
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
    /// Pictures a minute, 0 for any number, where it is not what all others get.
    pub limit: Option<u32>,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:[redacted]", self.name)
    }
}

/// A list of keys.
#[derive(Clone, Debug, Default)]
pub struct ApiKeys(pub Vec<ApiKey>);

/// As in `API_KEYS`: comma separated.
impl FromStr for ApiKeys {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::collect("entry", s.split(','))
    }
}

impl ApiKeys {
    /// As in `API_KEYS_FILE`: one a line, with empty lines and comments after `#`.
    ///
    /// # Errors
    /// If a line is wrong; the text tells its number and never what it holds.
    pub fn from_lines(text: &str) -> Result<Self, String> {
        let bare = |line: &'_ str| line.find('#').map_or(line.len(), |end| end);
        Self::collect("line", text.lines().map(|line| &line[..bare(line)]))
    }

    fn collect<'a>(what: &str, entries: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut keys: Vec<ApiKey> = Vec::new();
        for (n, entry) in (1..).zip(entries) {
            let entry = entry.trim();
            if entry.is_empty() {
                continue;
            }
            let key = parse(entry).ok_or_else(|| {
                format!(
                    "{what} {n} is not name:sha256hex (64 hexadecimal digits) or name:sha256hex:limit \
                     (pictures a minute, 0 for any number); `relance key NAME` prints one"
                )
            })?;
            let mut namesakes = keys.iter().filter(|other| other.name == key.name);
            if namesakes.clone().any(|other| other.sha256 == key.sha256) {
                return Err(format!("{what} {n} appears twice"));
            }
            if namesakes.any(|other| other.limit != key.limit) {
                return Err(format!(
                    "{what} {n} has another limit than an earlier key of the same name; keys of one name share one limit"
                ));
            }
            keys.push(key);
        }
        if keys.len() > MOST {
            return Err(format!("there are more than {MOST} keys"));
        }
        Ok(Self(keys))
    }
}

fn parse(entry: &str) -> Option<ApiKey> {
    let mut parts = entry.split(':').map(str::trim);
    let (name, digest, limit) = (parts.next()?, parts.next()?, parts.next());
    let mut sha256 = [0; 32];
    hex::decode_to_slice(digest, &mut sha256).ok()?;
    let limit = limit.map(str::parse).transpose().ok()?;
    let whole = !name.is_empty() && !name.contains(char::is_control) && parts.next().is_none();
    whole.then(|| ApiKey {
        name: name.to_owned(),
        sha256,
        limit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_parsed_and_never_printed() {
        let digest = "ab".repeat(32);
        let keys: ApiKeys = format!("ci:{digest}, phone:{digest}:600 ,")
            .parse()
            .unwrap();
        let told: Vec<_> = keys.0.iter().map(|k| (k.name.as_str(), k.limit)).collect();
        assert_eq!(told, [("ci", None), ("phone", Some(600))]);
        assert!(!format!("{keys:?}").contains("abab"));
    }

    #[test]
    fn files_hold_a_key_a_line_and_comments() {
        let (one, two) = ("ab".repeat(32), "cd".repeat(32));
        let text = format!("# keys\n\nci:{one} # the old one\r\n  ci:{two}\nphone : {two} : 0\n");
        let keys = ApiKeys::from_lines(&text).unwrap();
        let told: Vec<_> = keys.0.iter().map(|k| (k.name.as_str(), k.limit)).collect();
        assert_eq!(told, [("ci", None), ("ci", None), ("phone", Some(0))]);
        assert!(ApiKeys::from_lines("").unwrap().0.is_empty());
    }

    #[test]
    fn malformed_keys_are_named_by_position_not_by_value() {
        let digest = "ab".repeat(32);
        for wrong in [
            "secret-in-clear",
            "secret:12",
            &format!(":{digest}"),
            &format!("secret:{digest}:many"),
            &format!("secret:{digest}:1:2"),
            &format!("secret:{digest}:-1"),
            &format!("a:{digest}"),
            &format!("a:{}:7", "cd".repeat(32)),
        ] {
            let error = format!("a:{digest},{wrong}").parse::<ApiKeys>();
            let error = error.unwrap_err();
            assert!(error.starts_with("entry 2 "), "{error}");
            assert!(
                !error.contains("secret") && !error.contains("abab"),
                "{error}"
            );
            let error = ApiKeys::from_lines(&format!("\na:{digest}\n{wrong}")).unwrap_err();
            assert!(error.starts_with("line 3 "), "{error}");
        }
    }
}
