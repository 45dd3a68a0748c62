//! The tables, made and changed step by step.

use std::cmp::Ordering;
use std::time::Duration;

use deadpool_postgres::Object;
use tokio_postgres::types::Type;

use super::errors::failure;
use crate::remote::{Failure, FailureKind};

struct Migration {
    version: i32,
    name: &'static str,
    sql: &'static str,
}

// What has been released never changes; a change is a new step at the end.
const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "requests",
        sql: include_str!("migrations/0001_requests.sql"),
    },
    Migration {
        version: 2,
        name: "reviews",
        sql: include_str!("migrations/0002_reviews.sql"),
    },
    Migration {
        version: 3,
        name: "opinions",
        sql: include_str!("migrations/0003_opinions.sql"),
    },
];

/// How long all steps together may take, waiting for another instance counted in.
const LIMIT: Duration = Duration::from_secs(60);

// Any number that other programs in the same database do not use for theirs.
const BEGIN: &str = "
BEGIN;
SET LOCAL statement_timeout = 60000;
SET LOCAL idle_in_transaction_session_timeout = 60000;
SELECT pg_advisory_xact_lock(8241996500122957413);
CREATE TABLE IF NOT EXISTS relance_migrations (
    version integer PRIMARY KEY,
    name    text NOT NULL,
    time    timestamptz NOT NULL DEFAULT now()
)";

/// Brings the tables to the version this program knows. Several instances can do so at once.
///
/// # Errors
/// The server's, as [`failure`]; and `Denied` if a newer program has been here.
pub async fn bring_up_to_date(client: &Object) -> Result<(), Failure> {
    // Without a lock, and without the right to create anything, as long as there is nothing to do.
    let version = tokio::time::timeout(super::CALL_LIMIT, version(client))
        .await
        .map_err(|_| Failure::timeout(super::CALL_LIMIT))??;
    if !is_behind(version)? {
        return Ok(());
    }
    tokio::time::timeout(LIMIT, apply(client))
        .await
        .map_err(|_| Failure::timeout(LIMIT))?
}

async fn apply(client: &Object) -> Result<(), Failure> {
    let run = async |sql: &str| client.batch_execute(sql).await.map_err(|e| failure(&e));
    run(BEGIN).await?;
    // Another instance may have been faster.
    let version = version(client).await?;
    if is_behind(version)? {
        for step in MIGRATIONS.iter().filter(|step| step.version > version) {
            run(step.sql).await?;
            let sql = "INSERT INTO relance_migrations (version, name) VALUES ($1, $2)";
            client
                .execute_typed(
                    sql,
                    &[(&step.version, Type::INT4), (&step.name, Type::TEXT)],
                )
                .await
                .map_err(|e| failure(&e))?;
            tracing::info!(
                "postgres: applied migration {}, {}",
                step.version,
                step.name
            );
        }
    }
    run("COMMIT").await
}

// 0 before the first step.
async fn version(client: &Object) -> Result<i32, Failure> {
    let number = async |sql: &str| -> Result<i32, Failure> {
        let row = client.query_typed_one(sql, &[]).await;
        row.and_then(|row| row.try_get(0)).map_err(|e| failure(&e))
    };
    if number("SELECT (to_regclass('relance_migrations') IS NOT NULL)::integer").await? == 0 {
        return Ok(0);
    }
    number("SELECT coalesce(max(version), 0) FROM relance_migrations").await
}

fn is_behind(version: i32) -> Result<bool, Failure> {
    let known = MIGRATIONS.last().map_or(0, |step| step.version);
    match version.cmp(&known) {
        Ordering::Less => Ok(true),
        Ordering::Equal => Ok(false),
        Ordering::Greater => Err(Failure::new(
            FailureKind::Denied,
            format!(
                "a newer version of relance has changed the tables (to version {version}, and this one knows {known}): \
                 update this instance"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_step_in_its_place() {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/records/postgres/migrations"
        );
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let steps: Vec<_> = MIGRATIONS
            .iter()
            .map(|step| format!("{:04}_{}.sql", step.version, step.name))
            .collect();
        assert_eq!(files, steps);
        assert!((1..).zip(MIGRATIONS).all(|(n, step)| step.version == n));
    }

    #[test]
    fn a_newer_database_is_refused() {
        assert!(is_behind(0).unwrap());
        let known = MIGRATIONS.last().unwrap().version;
        assert!(!is_behind(known).unwrap());
        let refusal = is_behind(known + 1).unwrap_err();
        assert_eq!(refusal.kind, FailureKind::Denied);
        assert!(refusal.message.contains("newer"), "{refusal}");
    }
}
