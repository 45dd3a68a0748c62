//! Records in PostgreSQL.
//!
//! Nothing belongs to a connection: statements are not prepared, and settings hold for one transaction. So a pooler
//! such as PgBouncer may give each transaction another connection.

mod connect;
mod errors;
mod migrations;
mod queries;
mod remarks;
mod reviews;
mod tls;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use futures_util::future::join3;
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::bounds::first_id_at;
use super::{Filter, Page, Record, Remarks};
use crate::remote::{Failure, FailureKind, Presence};
use crate::settings::Shared;
use queries::{Columns, ListParams, Param};

pub use connect::PostgresError;

/// How long a call waits for one of the connections.
const WAIT_LIMIT: Duration = Duration::from_secs(3);

/// How long connecting may take, with TLS and signing in.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// How long a transaction may take before its connection is given up. The server has stopped it before that.
const CALL_LIMIT: Duration = Duration::from_secs(5);

const READ: &str = "BEGIN READ ONLY; SET LOCAL statement_timeout = 4000; \
                    SET LOCAL idle_in_transaction_session_timeout = 4000";
const WRITE: &str = "BEGIN; SET LOCAL statement_timeout = 4000; \
                     SET LOCAL idle_in_transaction_session_timeout = 4000";

/// Records a statement adds.
const BATCH: usize = 256;

/// Records a statement removes.
const EXPIRY_STEP: i64 = 2_000;

/// Records in a PostgreSQL database.
pub struct Postgres {
    pool: Pool,
    // Whether the tables are known to be as this program needs them.
    up_to_date: AtomicBool,
    presence: Presence,
}

impl Postgres {
    /// The database of `DATABASE_URL`. No connection is made: it connects when first used, and again after failures.
    ///
    /// # Errors
    /// If `DATABASE_URL` makes no sense.
    pub fn new(settings: &Shared) -> Result<Self, PostgresError> {
        let url = settings.database_url.as_ref().ok_or(PostgresError::Url)?;
        Ok(Self {
            pool: connect::pool(url.expose())?,
            up_to_date: AtomicBool::new(false),
            presence: Presence::new("postgres"),
        })
    }

    /// Whether it was there when it was last used.
    pub fn presence(&self) -> &Presence {
        &self.presence
    }

    /// Adds records, or replaces those with the same identifier; one outcome for each, in order.
    ///
    /// A record that is rejected does not keep others out. Of several with one identifier, the last is kept.
    pub async fn upsert(&self, records: &[Record]) -> Vec<Result<(), Failure>> {
        let mut outcomes = vec![Ok(()); records.len()];
        // In the order of their keys, so that two instances never wait for each other's rows.
        let mut order: Vec<usize> = (0..records.len()).collect();
        order.sort_by_key(|&i| records[i].request_id);
        let rows: Vec<&[usize]> = order
            .chunk_by(|&a, &b| records[a].request_id == records[b].request_id)
            .collect();
        let mut parts: Vec<&[&[usize]]> = rows.chunks(BATCH).collect();
        while let Some(part) = parts.pop() {
            let last = part.iter().filter_map(|same| same.last());
            let Err(failure) = self.insert(last.map(|&i| &records[i])).await else {
                continue;
            };
            let rejected = failure.kind == FailureKind::Rejected;
            if rejected && part.len() > 1 {
                let (a, b) = part.split_at(part.len() / 2);
                parts.extend([a, b]);
                continue;
            }
            // What did not work now would not work for the rest either.
            let rest = if rejected {
                Vec::new()
            } else {
                std::mem::take(&mut parts)
            };
            for &i in rest.into_iter().chain([part]).flatten().copied().flatten() {
                outcomes[i] = Err(failure.clone());
            }
        }
        outcomes
    }

    /// The record of one request.
    ///
    /// # Errors
    /// [`Failure`], within a few seconds; so do the others.
    pub async fn get(&self, request_id: Uuid) -> Result<Option<Record>, Failure> {
        let rows = self
            .call(READ, queries::GET, &[(&request_id, Type::UUID)])
            .await?;
        rows.first().map(queries::record).transpose()
    }

    /// Records that pass the filter, newest first.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn list(&self, filter: &Filter) -> Result<Page, Failure> {
        // PostgreSQL refuses text with a NUL in it, so no record has one.
        let model = filter.model.iter().flat_map(|m| [&m.name, &m.version]);
        let mut texts = filter.prediction.iter().chain(&filter.label).chain(model);
        if texts.any(|text| text.contains('\0')) {
            return Ok(Page {
                records: Vec::new(),
                next: None,
            });
        }
        let params = ListParams::of(filter);
        let rows = self.call(READ, queries::LIST, &params.params()).await?;
        let more = rows.len() > filter.limit;
        let records = rows
            .iter()
            .take(filter.limit)
            .map(queries::record)
            .collect::<Result<Vec<_>, _>>()?;
        let next = records.last().filter(|_| more).map(|last| last.request_id);
        Ok(Page { records, next })
    }

    /// Removes the record of one request; whether there was one.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn delete(&self, request_id: Uuid) -> Result<bool, Failure> {
        let rows = self
            .call(WRITE, queries::DELETE, &[(&request_id, Type::UUID)])
            .await?;
        Ok(!rows.is_empty())
    }

    /// Whether a record other than `except` has the picture with this SHA-256, given in hexadecimal.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn refers_to(&self, image_sha256: &str, except: Uuid) -> Result<bool, Failure> {
        let Ok(digest) = hex::decode(image_sha256) else {
            return Ok(false);
        };
        let rows = self
            .call(
                READ,
                queries::REFERS_TO,
                &[(&digest, Type::BYTEA), (&except, Type::UUID)],
            )
            .await?;
        Ok(!rows.is_empty())
    }

    /// Removes records older than `before`, some thousand at a time; how many.
    ///
    /// # Errors
    /// As [`Self::get`]. What was removed until then stays removed.
    pub async fn expire(&self, before: Timestamp) -> Result<u64, Failure> {
        let (before, mut removed) = (first_id_at(before), 0);
        loop {
            let params: [Param<'_>; 2] = [(&before, Type::UUID), (&EXPIRY_STEP, Type::INT8)];
            let rows = self.call(WRITE, queries::EXPIRE, &params).await?.len();
            removed += rows as u64;
            if (rows as u64) < EXPIRY_STEP.unsigned_abs() {
                return Ok(removed);
            }
        }
    }

    async fn insert<'a>(
        &self,
        records: impl Iterator<Item = &'a Record> + Clone,
    ) -> Result<(), Failure> {
        let columns = Columns::of(records.clone())?;
        self.call(WRITE, queries::UPSERT, &columns.params()).await?;
        // Few have any: those that were kept on a disk before there was a shared store.
        let reviewed: Vec<Remarks> = records
            .filter(|record| !record.reviews().is_empty())
            .map(Record::remarks)
            .collect();
        if reviewed.is_empty() {
            return Ok(());
        }
        let outcomes = self.remark(&reviewed).await;
        outcomes
            .into_iter()
            .try_for_each(|outcome| outcome.map(drop))
    }

    async fn call(
        &self,
        begin: &str,
        statement: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, Failure> {
        let outcome = self.try_call(begin, statement, params).await;
        let gone = |failure: &Failure| failure.kind == FailureKind::Unavailable;
        if outcome.as_ref().is_err_and(gone) {
            // Other connections are likely to have gone the same way, and the tables may be others next time.
            self.up_to_date.store(false, Ordering::Relaxed);
            self.pool.retain(|_, _| false);
        }
        self.presence.note(&outcome);
        outcome
    }

    async fn try_call(
        &self,
        begin: &str,
        statement: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, Failure> {
        let connection = self.pool.get().await;
        let connection = Lent(Some(connection.map_err(|e| errors::connect_failure(&e))?));
        let client = connection.client()?;
        if !self.up_to_date.load(Ordering::Relaxed) {
            migrations::bring_up_to_date(client).await?;
            self.up_to_date.store(true, Ordering::Relaxed);
        }
        // Sent together: one round trip. If the statement fails, COMMIT rolls back.
        let transaction = join3(
            client.batch_execute(begin),
            client.query_typed(statement, params),
            client.batch_execute("COMMIT"),
        );
        let (begun, rows, ended) = tokio::time::timeout(CALL_LIMIT, transaction)
            .await
            .map_err(|_| Failure::timeout(CALL_LIMIT))?;
        let outcome = begun.and(rows).and_then(|rows| ended.map(|()| rows));
        let outcome = outcome.map_err(|e| errors::failure(&e));
        connection.give_back_after(&outcome);
        outcome
    }
}

/// A connection from the pool. It goes back when a call has ended well; one that was left in the middle of a call is
/// closed.
struct Lent(Option<Object>);

impl Lent {
    fn client(&self) -> Result<&Object, Failure> {
        let gone = || Failure::new(FailureKind::Unavailable, "connection closed");
        self.0.as_ref().ok_or_else(gone)
    }

    fn give_back_after<T>(mut self, outcome: &Result<T, Failure>) {
        let unsound = |failure: &Failure| failure.kind == FailureKind::Unavailable;
        if !outcome.as_ref().is_err_and(unsound) {
            self.0 = None;
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}
