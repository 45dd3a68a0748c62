//! Whatever fails, a call ends in time, says what can be done, and works again afterwards.

use std::time::{Duration, Instant};

use relance::records::Postgres;
use relance::remote::{Failure, FailureKind, State};

use super::records_at;
use crate::support::eventually;
use crate::support::postgres::Server;
use crate::support::proxy::{Mode, Proxy};
use crate::support::record_store::{filled, record};

/// Connecting and a call each have a few seconds.
const BOUND: Duration = Duration::from_secs(9);

/// Two calls that must both fail in time, in the same way; how.
async fn failure(records: &Postgres) -> Failure {
    let start = Instant::now();
    let outcomes = records.upsert(&[record(1), record(2)]).await;
    let failure = outcomes[0].clone().unwrap_err();
    assert_eq!(outcomes[1], Err(failure.clone()));
    let read = records.get(record(1).request_id).await.unwrap_err();
    assert_eq!(read.kind, failure.kind, "{read}");
    assert!(start.elapsed() < 2 * BOUND, "{:?}", start.elapsed());
    assert_eq!(records.presence().state(), State::Down(read.message));
    failure
}

async fn works(records: &Postgres) {
    assert_eq!(records.upsert(&[record(1)]).await, [Ok(())]);
    let read = records.get(record(1).request_id).await;
    assert_eq!(read, Ok(Some(record(1))));
    assert_eq!(records.presence().state(), State::Up);
}

async fn recovers(records: &Postgres) {
    eventually("works again", async || {
        records.upsert(&[record(1)]).await == [Ok(())]
    })
    .await;
    works(records).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_at_first() {
    let mut server = Server::start().await;
    server.stop();
    let records = records_at(server.address());
    assert_eq!(records.presence().state(), State::Unknown);
    let start = Instant::now();
    let refused = failure(&records).await;
    assert_eq!(refused.kind, FailureKind::Unavailable);
    assert!(start.elapsed() < Duration::from_secs(1), "refused at once");
    server.run().await;
    works(&records).await;
}

#[tokio::test]
async fn a_server_that_restarts_or_crashes_under_use() {
    let mut server = Server::start().await;
    let records = records_at(server.address());
    works(&records).await;
    // Between two calls, a restart is not even seen.
    server.stop();
    server.run().await;
    works(&records).await;
    for crash in [false, true] {
        if crash {
            server.kill();
        } else {
            server.stop();
        }
        assert_eq!(failure(&records).await.kind, FailureKind::Unavailable);
        server.run().await;
        works(&records).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_crash() {
    let mut server = Server::start().await;
    let records = std::sync::Arc::new(records_at(server.address()));
    works(&records).await;
    let writer = {
        let records = std::sync::Arc::clone(&records);
        tokio::spawn(async move {
            let mut written = Vec::new();
            for n in 0.. {
                let batch: Vec<_> = (0..20).map(|i| record(n * 20 + i)).collect();
                let outcomes = records.upsert(&batch).await;
                if let Some(Err(failure)) = outcomes.iter().find(|outcome| outcome.is_err()) {
                    assert_eq!(failure.kind, FailureKind::Unavailable, "{failure}");
                    return written;
                }
                written.extend(batch);
            }
            written
        })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.kill();
    let written = writer.await.unwrap();
    assert!(written.len() > 20, "{}", written.len());
    server.run().await;
    for record in written {
        let read = records.get(record.request_id).await;
        assert_eq!(read, Ok(Some(record)));
    }
}

#[tokio::test]
async fn sessions_ended_by_an_administrator() {
    let server = Server::start().await;
    let records = records_at(server.address());
    works(&records).await;
    let admin = server.admin("relance").await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'relance'";
    assert_eq!(admin.query(end, &[]).await.unwrap().len(), 1);
    recovers(&records).await;
}

#[tokio::test]
async fn a_network_that_fails() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.address(), Mode::Pass);
    let records = records_at(proxy.address);
    for mode in [Mode::Stall, Mode::Cut, Mode::Reset, Mode::Refuse] {
        // Once with a connection that is open, once while connecting.
        proxy.set(Mode::Pass);
        recovers(&records).await;
        proxy.set(mode);
        let broken = failure(&records).await;
        assert_eq!(broken.kind, FailureKind::Unavailable, "{mode:?}: {broken}");
        let broken = failure(&records_at(proxy.address)).await;
        assert_eq!(broken.kind, FailureKind::Unavailable, "{mode:?}: {broken}");
    }
    proxy.set(Mode::Pass);
    recovers(&records).await;
}

#[tokio::test]
async fn a_slow_network_costs_one_round_trip_a_call() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.address(), Mode::Pass);
    let records = records_at(proxy.address);
    let batch = filled(&records, 256).await;
    // The server answers BEGIN, the statement and COMMIT one by one, and the proxy holds back the first answer and
    // then the others together. Three trips a call would be 2.4 s.
    proxy.set(Mode::Slow(Duration::from_millis(400)));
    let start = Instant::now();
    assert!(records.upsert(&batch).await.iter().all(Result::is_ok));
    let read = records.get(batch[3].request_id).await;
    assert_eq!(read.as_ref(), Ok(&Some(batch[3].clone())));
    assert!(
        start.elapsed() < Duration::from_millis(2200),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_caller_that_walks_away_leaves_nothing_behind() {
    let server = Server::start().await;
    let proxy = Proxy::before(server.address(), Mode::Pass);
    let records = records_at(proxy.address);
    works(&records).await;
    proxy.set(Mode::Stall);
    for _ in 0..10 {
        let call = records.get(record(1).request_id);
        let impatient = tokio::time::timeout(Duration::from_millis(50), call).await;
        assert!(impatient.is_err());
    }
    proxy.set(Mode::Pass);
    works(&records).await;
}

#[tokio::test]
async fn a_row_that_somebody_else_has_locked() {
    let server = Server::start().await;
    let records = records_at(server.address());
    works(&records).await;
    let admin = server.admin("relance").await;
    let lock = "BEGIN; LOCK TABLE relance_requests IN ACCESS EXCLUSIVE MODE";
    admin.batch_execute(lock).await.unwrap();
    let start = Instant::now();
    let locked = records.upsert(&[record(1)]).await.remove(0).unwrap_err();
    assert_eq!(locked.kind, FailureKind::Unavailable);
    assert!(
        locked.message.contains("57014"),
        "the server stopped it: {locked}"
    );
    assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
    admin.batch_execute("ROLLBACK").await.unwrap();
    works(&records).await;
}

#[tokio::test]
async fn a_server_with_no_connection_to_spare() {
    let server = Server::start_with(&["max_connections=8"]).await;
    let mut others = Vec::new();
    while let Ok(client) = server.try_admin("postgres").await {
        others.push(client);
    }
    let records = records_at(server.address());
    let full = failure(&records).await;
    assert_eq!(full.kind, FailureKind::Unavailable);
    assert!(full.message.contains("53300"), "{full}");
    drop(others);
    recovers(&records).await;
}

#[tokio::test]
async fn tables_that_were_dropped_are_made_again() {
    let server = Server::start().await;
    let records = records_at(server.address());
    works(&records).await;
    let admin = server.admin("relance").await;
    let drop = "DROP TABLE relance_requests, relance_migrations";
    admin.batch_execute(drop).await.unwrap();
    recovers(&records).await;
}
