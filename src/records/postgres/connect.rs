//! From `DATABASE_URL` to connections.

use std::path::PathBuf;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, QueueMode, RecyclingMethod, Runtime};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::{CONNECT_LIMIT, WAIT_LIMIT, tls};

/// Open at most. One sends batches; a few more answer those who look records up.
const CONNECTIONS: usize = 4;

/// After so long without traffic, the server is asked whether it is still there, three times in a row. Firewalls
/// forget quiet connections after a few minutes.
const QUIET: Duration = Duration::from_secs(30);
const BETWEEN_QUESTIONS: Duration = Duration::from_secs(5);

/// A `DATABASE_URL` that cannot work; the text says what can, and never shows it.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// Not the address of a database.
    #[error(
        "DATABASE_URL must be postgres://USER:PASSWORD@HOST[:PORT]/DATABASE[?OPTION=VALUE&…], with special characters \
         written as %XX (@ is %40); options are sslmode, sslrootcert, application_name, connect_timeout, host, \
         hostaddr, channel_binding, target_session_attrs and load_balance_hosts"
    )]
    Url,
    /// Something else about TLS.
    #[error("sslmode in DATABASE_URL must be disable, prefer, require or verify-full")]
    SslMode,
    /// A file of certificates that is none.
    #[error("sslrootcert in DATABASE_URL must be a PEM file of certificates: {}: {reason}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing to check certificates with.
    #[error(
        "no certificate authorities are installed to check PostgreSQL's certificate with: install the package \
         ca-certificates, or name a PEM file as sslrootcert in DATABASE_URL"
    )]
    NoAuthorities,
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// A pool that connects when a connection is first asked for.
///
/// # Errors
/// As [`PostgresError`].
pub fn pool(url: &str) -> Result<Pool, PostgresError> {
    let (mut config, authorities) = parse(url)?;
    let user = config.get_user().unwrap_or_default().to_owned();
    if config.get_application_name().is_none() {
        config.application_name(format!("relance {user}"));
    }
    config
        .keepalives_idle(QUIET)
        .keepalives_interval(BETWEEN_QUESTIONS)
        .keepalives_retries(3);
    let tls = match config.get_ssl_mode() {
        SslMode::Require => tls::checked(authorities.as_deref())?,
        _ => tls::unchecked()?,
    };
    let manager = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    Pool::builder(Manager::from_config(config, tls, manager))
        .max_size(CONNECTIONS)
        .wait_timeout(Some(WAIT_LIMIT))
        .create_timeout(Some(CONNECT_LIMIT))
        .queue_mode(QueueMode::Lifo)
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|_| PostgresError::Url)
}

// libpq knows two words that tokio-postgres does not: `sslmode=verify-full`, which is what `require` means here,
// and `sslrootcert`.
fn parse(url: &str) -> Result<(Config, Option<PathBuf>), PostgresError> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(PostgresError::Url);
    }
    let behind_credentials = url.find('@').unwrap_or(0);
    let (base, query) = match url[behind_credentials..].find('?') {
        Some(at) => url.split_at(behind_credentials + at),
        None => (url, ""),
    };
    let mut options = Vec::new();
    let mut authorities = None;
    for option in query.trim_start_matches('?').split('&') {
        match option.split_once('=') {
            Some(("sslrootcert", path)) => authorities = Some(decoded(path)?.into()),
            Some(("sslmode", "verify-full")) => options.push("sslmode=require"),
            Some(("sslmode", mode)) if !matches!(mode, "disable" | "prefer" | "require") => {
                return Err(PostgresError::SslMode);
            }
            _ => options.push(option),
        }
    }
    let config: Config = format!("{base}?{}", options.join("&"))
        .parse()
        .map_err(|_| PostgresError::Url)?;
    let has_host = !config.get_hosts().is_empty() || !config.get_hostaddrs().is_empty();
    // A host name with @ in it is the end of a password that holds one.
    let garbled =
        |host: &Host| matches!(host, Host::Tcp(name) if name.is_empty() || name.contains('@'));
    let complete = config.get_user().is_some_and(|user| !user.is_empty())
        && config.get_dbname().is_some()
        && has_host
        && !config.get_hosts().iter().any(garbled);
    if complete {
        Ok((config, authorities))
    } else {
        Err(PostgresError::Url)
    }
}

// By the parser of the rest of the address.
fn decoded(value: &str) -> Result<String, PostgresError> {
    let config: Config = format!("postgres:///?application_name={value}")
        .parse()
        .map_err(|_| PostgresError::Url)?;
    Ok(config.get_application_name().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_databases_are_understood() {
        let (config, authorities) = parse(
            "postgresql://ana:p%40ss%2F%3F@db.example:6432/relance?sslrootcert=%2Fetc%2Fa%20b.pem&sslmode=verify-full",
        )
        .unwrap();
        assert_eq!(config.get_user(), Some("ana"));
        assert_eq!(config.get_password(), Some(&b"p@ss/?"[..]));
        assert_eq!(config.get_hosts(), [Host::Tcp("db.example".into())]);
        assert_eq!(config.get_ports(), [6432]);
        assert_eq!(config.get_dbname(), Some("relance"));
        assert_eq!(config.get_ssl_mode(), SslMode::Require);
        assert_eq!(authorities, Some("/etc/a b.pem".into()));
        let (config, _) = parse("postgres://ana@%2Frun%2Fpostgresql/relance").unwrap();
        assert_eq!(config.get_hosts(), [Host::Unix("/run/postgresql".into())]);
        let (config, _) = parse("postgres:///relance?host=/run/postgresql&user=ana").unwrap();
        assert_eq!(config.get_ssl_mode(), SslMode::Prefer);
    }

    #[test]
    fn other_addresses_are_refused_without_being_shown() {
        for url in [
            "",
            "relance",
            "mysql://ana:hush@db/relance",
            "host=db user=ana password=hush dbname=relance",
            "postgres://db/relance",
            "postgres://ana:hush@db",
            "postgres://ana:hush@/relance",
            "postgres://ana:hu@sh@db/relance",
            "postgres://ana:hush@db:port/relance",
            "postgres://ana:hush@db/relance?colour=hush",
            "postgres://ana:hush@db/relance?hush",
        ] {
            let error = pool(url).err().unwrap();
            assert!(matches!(error, PostgresError::Url), "{url}: {error}");
            assert!(!format!("{error} {error:?}").contains("hush"), "{url}");
        }
        let error = pool("postgres://ana:hush@db/relance?sslmode=allow").err();
        assert!(matches!(error, Some(PostgresError::SslMode)));
        let error = pool("postgres://ana:hush@db/relance?sslmode=require&sslrootcert=/nowhere");
        let text = error.err().unwrap().to_string();
        assert!(
            text.contains("/nowhere") && !text.contains("hush"),
            "{text}"
        );
    }
}
