//! The connection to Redis: one for all requests, made and watched in the background.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, FromRedisValue, Pipeline,
    RedisError, RedisResult, ServerErrorKind, SetExpiry, SetOptions,
};
use tokio::sync::watch;
use tokio::time::error::Elapsed;

use super::breaker::{Backoff, Breaker};
use super::login::{Login, Pass};
use crate::remote::{Failure, FailureKind, Presence};
use crate::telemetry::metrics::CACHE_SHARED_ERRORS;

/// The longest wait for the answer to a read.
pub(super) const READ_LIMIT: Duration = Duration::from_millis(50);

/// The longest wait for a connection, TLS and sign-in included; no request waits for it.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The longest wait for the answer to a sign-in on a live connection.
const SIGN_IN_LIMIT: Duration = Duration::from_secs(5);

/// How often a connection is tried that nobody uses.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// For `SET`: whole seconds until the value is gone.
pub(super) fn expiring(ttl: Duration) -> SetOptions {
    SetOptions::default().with_expiration(SetExpiry::EX(ttl.as_secs()))
}

/// A connection, and whether it is still good.
pub(super) struct Live {
    connection: MultiplexedConnection,
    breaker: Breaker,
}

impl Live {
    /// Whether it is worth asking.
    pub(super) fn is_good(&self) -> bool {
        !self.breaker.is_open()
    }

    /// The answer to a command.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        command: &Cmd,
        limit: Duration,
    ) -> Result<T, Failure> {
        let mut connection = self.connection.clone();
        let answer = tokio::time::timeout(limit, command.query_async(&mut connection)).await;
        self.note(answer, limit)
    }

    /// Commands whose answers do not matter, as long as they are good.
    pub(super) async fn tell(&self, commands: &Pipeline, limit: Duration) -> Result<(), Failure> {
        let mut connection = self.connection.clone();
        let answer = tokio::time::timeout(limit, commands.exec_async(&mut connection)).await;
        self.note(answer, limit)
    }

    fn note<T>(
        &self,
        answer: Result<RedisResult<T>, Elapsed>,
        limit: Duration,
    ) -> Result<T, Failure> {
        let outcome = match answer {
            Ok(answer) => answer.map_err(|error| {
                let failure = failure(&error);
                if error.is_unrecoverable_error() || failure.kind == FailureKind::Denied {
                    self.breaker.trip(failure.clone());
                }
                failure
            }),
            Err(_) => Err(Failure::timeout(limit)),
        };
        match &outcome {
            Err(failure) if failure.kind != FailureKind::Rejected => {
                self.breaker.failed(failure.clone());
            }
            _ => self.breaker.succeeded(),
        }
        if outcome.is_err() {
            metrics::counter!(CACHE_SHARED_ERRORS).increment(1);
        }
        outcome
    }
}

// The server's words name commands and keys, never passwords.
fn failure(error: &RedisError) -> Failure {
    use ServerErrorKind as Server;
    let kind = match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed | ErrorKind::Server(Server::NoPerm), _)
        | (_, Some("NOAUTH" | "WRONGPASS")) => FailureKind::Denied,
        (
            ErrorKind::Server(
                Server::BusyLoading
                | Server::MasterDown
                | Server::ClusterDown
                | Server::TryAgain
                | Server::Moved
                | Server::Ask
                | Server::ReadOnly,
            ),
            _,
        ) => FailureKind::Unavailable,
        // It is there, but does not do this: no memory left, or a value that is not ours.
        (ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType, _) => {
            FailureKind::Rejected
        }
        _ => FailureKind::Unavailable,
    };
    Failure::new(kind, error.to_string())
}

/// Makes connections, one after the other, and shows the one that is good.
pub(super) struct Keeper {
    pub address: ConnectionInfo,
    pub login: Login,
    /// What it tries a connection with: reading and writing this key must be allowed.
    pub probe_key: &'static str,
    pub presence: Arc<Presence>,
    pub live: watch::Sender<Option<Arc<Live>>>,
}

impl Keeper {
    pub(super) async fn run(self) -> Infallible {
        let mut backoff = Backoff::new();
        loop {
            let failure = match self.connect().await {
                Ok((live, pass)) => {
                    self.presence.note(&Ok(()));
                    let (live, since) = (Arc::new(live), Instant::now());
                    self.live.send_replace(Some(Arc::clone(&live)));
                    let failure = self.watch(&live, pass).await;
                    self.live.send_replace(None);
                    backoff.lasted(since.elapsed());
                    failure
                }
                Err(failure) => failure,
            };
            self.presence.note::<()>(&Err(failure));
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    async fn connect(&self) -> Result<(Live, Option<Pass>), Failure> {
        let pass = self.login.pass().await?;
        let mut address = self.address.clone();
        if let Some(pass) = &pass {
            let signed = address.redis_settings().clone();
            address = address
                .set_redis_settings(signed.set_username(&pass.user).set_password(&pass.password));
        }
        // Every command has its own limit.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(None);
        let client = Client::open(address).map_err(|error| failure(&error))?;
        let connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(|error| failure(&error))?;
        let live = Live {
            connection,
            breaker: Breaker::default(),
        };
        match self.probe(&live).await {
            Err(failure) if failure.kind != FailureKind::Rejected => Err(failure),
            _ => Ok((live, pass)),
        }
    }

    async fn probe(&self, live: &Live) -> Result<(), Failure> {
        self.read_probe(live).await?;
        let ttl = expiring(Duration::from_secs(60));
        live.ask(&Cmd::set_options(self.probe_key, "", ttl), READ_LIMIT)
            .await
    }

    async fn read_probe(&self, live: &Live) -> Result<(), Failure> {
        live.ask::<Option<Vec<u8>>>(&Cmd::get(self.probe_key), READ_LIMIT)
            .await
            .map(drop)
    }

    /// Looks after a connection until it is no longer good; why it is not.
    async fn watch(&self, live: &Live, pass: Option<Pass>) -> Failure {
        tokio::select! {
            failure = live.breaker.opened() => failure,
            never = self.beat(live) => match never {},
            never = self.renew(live, pass) => match never {},
        }
    }

    // Without it a dead connection would show only when a request needs it.
    async fn beat(&self, live: &Live) -> Infallible {
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            // The breaker has taken note.
            let _ = self.read_probe(live).await;
        }
    }

    async fn renew(&self, live: &Live, mut pass: Option<Pass>) -> Infallible {
        while let Some(current) = pass {
            tokio::time::sleep(current.lasts()).await;
            let renewed = match self.login.pass().await {
                Ok(Some(new)) => sign_in(live, &new).await.map(|()| new),
                Ok(None) => break,
                Err(failure) => Err(failure),
            };
            pass = Some(renewed.unwrap_or_else(|failure| {
                tracing::warn!("signing in to {} again: {failure}", self.presence.name());
                current
            }));
        }
        std::future::pending().await
    }
}

// A refused new token does not end what the old one is still good for, so the breaker is not told.
async fn sign_in(live: &Live, pass: &Pass) -> Result<(), Failure> {
    let mut connection = live.connection.clone();
    let mut command = redis::cmd("AUTH");
    command.arg(&pass.user).arg(&pass.password);
    tokio::time::timeout(SIGN_IN_LIMIT, command.exec_async(&mut connection))
        .await
        .map_err(|_| Failure::timeout(SIGN_IN_LIMIT))?
        .map_err(|error| failure(&error))
}
