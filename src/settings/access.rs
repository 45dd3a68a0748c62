//! Who may come in, how often, and how many at once.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::{ApiKeys, Secret};

/// Access settings.
#[derive(Args, Clone, Debug)]
pub struct Access {
    /// User name for basic authentication
    #[arg(long, env = "API_USERNAME", hide_env_values = true)]
    pub api_username: Option<String>,
    /// Password for basic authentication
    #[arg(long, env = "API_PASSWORD", hide_env_values = true)]
    pub api_password: Option<Secret>,
    /// Keys accepted in `X-API-Key`, as `name:sha256hex` or `name:sha256hex:limit`, comma separated (`relance key NAME`
    /// makes one); the limit replaces `RATE_LIMIT_PER_MINUTE` for this name
    #[arg(long, env = "API_KEYS", hide_env_values = true)]
    pub api_keys: Option<ApiKeys>,
    /// File with more such keys, one a line; read again when it changes
    #[arg(long, env = "API_KEYS_FILE")]
    pub api_keys_file: Option<PathBuf>,
    /// Serve without credentials on an address that is not loopback
    #[arg(long, env = "ALLOW_ANONYMOUS", default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub allow_anonymous: bool,
    /// Wrong credentials accepted from one address for one user in a minute, before more are answered 429; 0 means no
    /// limit
    #[arg(long, env = "LOGIN_FAILURES_PER_MINUTE", default_value_t = 10)]
    pub login_failures_per_minute: u32,
    /// Pictures a minute that each client may have classified: each key or user, or each address where no credentials
    /// are needed; 0 means no limit
    #[arg(long, env = "RATE_LIMIT_PER_MINUTE", default_value_t = 100)]
    pub rate_limit_per_minute: u32,
    /// Origins of web pages that may call the API from a browser, such as `https://app.example.org`, comma separated;
    /// `*` for all
    #[arg(long, env = "CORS_ALLOW_ORIGINS")]
    pub cors_allow_origins: Option<Origins>,
}

/// Settings of connections.
#[derive(Args, Clone, Copy, Debug)]
pub struct Connections {
    /// Connections open at once; more are answered 503 and closed
    #[arg(long, env = "MAX_CONNECTIONS", default_value_t = 12_000)]
    pub max_connections: usize,
    /// Time for the head of a request to arrive, in milliseconds, before its connection is closed
    #[arg(long, env = "HEAD_TIMEOUT_MS", default_value_t = 10_000)]
    pub head_timeout_ms: u64,
    /// Time without a request, in milliseconds, before a connection is closed; proxies should close theirs earlier
    #[arg(long, env = "IDLE_TIMEOUT_MS", default_value_t = 75_000)]
    pub idle_timeout_ms: u64,
}

/// Web pages that may call the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// All of them.
    Any,
    /// Those from these origins.
    Only(Vec<String>),
}

impl FromStr for Origins {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let entries = s
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        let entries: Vec<&str> = entries.collect();
        if entries == ["*"] {
            return Ok(Self::Any);
        }
        match entries.iter().find(|entry| !is_origin(entry)) {
            Some(wrong) => Err(format!(
                "{wrong:?} is not an origin; accepted is * or origins as browsers send them, such as \
                 https://app.example.org or http://localhost:3000, without a path"
            )),
            None => Ok(Self::Only(entries.into_iter().map(str::to_owned).collect())),
        }
    }
}

// As browsers write them: in lower case, and nothing behind the port.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else {
        return false;
    };
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-:[]_".contains(c);
    matches!(scheme, "http" | "https") && !host.is_empty() && host.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_exact() {
        assert_eq!("*".parse(), Ok(Origins::Any));
        let two = "https://app.example.org, http://localhost:3000,".parse();
        let list = ["https://app.example.org", "http://localhost:3000"];
        assert_eq!(two, Ok(Origins::Only(list.map(str::to_owned).to_vec())));
        for wrong in [
            "app.example.org",
            "https://a.org/",
            "https://A.org",
            "null",
            "https://*.a.org",
            "*,https://a.org",
            "ftp://a.org",
        ] {
            assert!(wrong.parse::<Origins>().is_err(), "{wrong}");
        }
    }
}
