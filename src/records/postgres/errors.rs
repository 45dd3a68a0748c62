//! PostgreSQL's errors as failures of a store.

use std::error::Error as _;
use std::io;

use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::error::{DbError, SqlState};

use super::{CONNECT_LIMIT, WAIT_LIMIT};
use crate::remote::{Failure, FailureKind};

/// The failure that an error is, in words without the address or the password.
pub fn failure(error: &tokio_postgres::Error) -> Failure {
    match error.as_db_error() {
        Some(error) => refusal(error),
        None => Failure::new(FailureKind::Unavailable, words(error)),
    }
}

/// As [`failure`], of an attempt to connect.
pub fn connect_failure(error: &PoolError) -> Failure {
    match error {
        PoolError::Timeout(TimeoutType::Wait) => Failure::new(
            FailureKind::Unavailable,
            format!("no connection was free within {} s", WAIT_LIMIT.as_secs()),
        ),
        PoolError::Timeout(_) => Failure::timeout(CONNECT_LIMIT),
        PoolError::Backend(error) if disagrees(error) => {
            Failure::new(FailureKind::Denied, words(error))
        }
        PoolError::Backend(error) => failure(error),
        other => Failure::new(FailureKind::Unavailable, other.to_string()),
    }
}

fn refusal(error: &DbError) -> Failure {
    let code = error.code();
    let (kind, hint) = match code.code().get(..2).unwrap_or_default() {
        "28" => (FailureKind::Denied, ""),
        "3D" => (
            FailureKind::Denied,
            ": DATABASE_URL names it, and it must be created first",
        ),
        _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => (
            FailureKind::Denied,
            ": docs/postgresql.md lists the rights that are needed",
        ),
        // Data that has no place in its column, and what is larger than the server can hold or index.
        "22" | "23" | "54" => (FailureKind::Rejected, ""),
        _ => (FailureKind::Unavailable, ""),
    };
    // Its detail can show the row, which is not for logs.
    let message = format!("{}{hint} (SQLSTATE {})", error.message(), code.code());
    Failure::new(kind, message)
}

// Neither the network nor the server failed: the two do not agree on how to sign in. The server wants a password
// and there is none, or TLS is required and the server has none.
fn disagrees(error: &tokio_postgres::Error) -> bool {
    error
        .source()
        .is_some_and(|cause| !cause.is::<io::Error>() && !cause.is::<DbError>())
}

fn words(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
