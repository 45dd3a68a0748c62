//! Where Redis is, as `REDIS_URL` says.

use std::str::FromStr;

use redis::io::tcp::TcpSettings;
use redis::{ConnectionAddr, ConnectionInfo};

use super::login::Login;
use crate::settings::Secret;

/// A URL that cannot be used; the text does not repeat it, for it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not a URL of Redis.
    #[error(
        "REDIS_URL must be redis://[user:password@]host[:port][/db], or rediss:// for TLS, with special characters of user and password percent-encoded"
    )]
    Malformed,
    /// A token would be sent in the clear, or two ways to sign in are set.
    #[error(
        "REDIS_URL must be rediss://host[:port][/db], without user and password, when REDIS_AUTH is entra"
    )]
    NotForTokens,
}

/// The address in `url`, and whom it names.
pub(super) fn parse(url: &Secret, login: &Login) -> Result<ConnectionInfo, UrlError> {
    let url = url.expose().trim();
    // Options and fragments are not for this service: among them is one that turns the checks of TLS off.
    let known = ["redis://", "rediss://"].iter().any(|s| url.starts_with(s));
    if !known || url.contains(['?', '#']) {
        return Err(UrlError::Malformed);
    }
    let info = ConnectionInfo::from_str(url).map_err(|_| UrlError::Malformed)?;
    let redis = info.redis_settings();
    let (user, password) = (redis.username(), redis.password());
    match (login, info.addr()) {
        (_, ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. })
            if host.is_empty() =>
        {
            Err(UrlError::Malformed)
        }
        // A user without a password would not be signed in.
        (Login::Url, _) if user.is_some() && password.is_none() => Err(UrlError::Malformed),
        (Login::Url, _) => Ok(()),
        (Login::Entra(_), ConnectionAddr::TcpTls { .. }) if user.or(password).is_none() => Ok(()),
        (Login::Entra(_), _) => Err(UrlError::NotForTokens),
    }?;
    let settings = redis
        .clone()
        .set_lib_name(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    // Small requests must not wait for one another.
    let tcp = TcpSettings::default().set_nodelay(true);
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str) -> Result<ConnectionInfo, UrlError> {
        parse(&url.parse().unwrap(), &Login::Url)
    }

    #[test]
    fn urls_of_redis_are_accepted() {
        for url in [
            "redis://cache",
            "redis://[::1]:6380/3",
            "rediss://cache:10000",
        ] {
            assert!(check(url).is_ok(), "{url}");
        }
        let info = check(" rediss://us%40er:p%23w@cache:6380/2 ").unwrap();
        assert_eq!(info.addr().to_string(), "cache:6380");
        let redis = info.redis_settings();
        assert_eq!(redis.username(), Some("us@er"));
        assert_eq!((redis.password(), redis.db()), (Some("p#w"), 2));
        assert_eq!(
            check("redis://:secret@cache")
                .unwrap()
                .redis_settings()
                .username(),
            None
        );
    }

    #[test]
    fn others_are_refused_without_repeating_them() {
        for url in [
            "",
            "cache:6379",
            "http://:hush@cache",
            "redis://",
            "redis://:hush@",
            "redis://:hush@:6379",
            "redis://:hush@cache:port",
            "redis://:hush@cache/first",
            "redis://:hu#sh@cache",
            "rediss://:hush@cache#insecure",
            "redis://:hush@cache?protocol=resp3",
            "redis://hush@cache",
            "redis://:hush@0.0.0.0",
            "unix:///run/redis.sock",
        ] {
            let error = check(url).unwrap_err();
            let text = error.to_string();
            assert_eq!(error, UrlError::Malformed, "{url}");
            assert!(text.starts_with("REDIS_URL ") && !text.contains("hush"));
        }
    }
}
