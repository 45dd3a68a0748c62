//! What the service may not do, it says, without showing how it signs in.

use relance::records::Postgres;
use relance::remote::{Failure, FailureKind, State};

use super::{records_at, records_in};
use crate::support::postgres::{PASSWORD, Server, settings, url};
use crate::support::record_store::{filled, record};

async fn denied(records: &Postgres) -> Failure {
    let failure = records.upsert(&[record(1)]).await.remove(0).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Denied, "{failure}");
    let read = records.get(record(1).request_id).await.unwrap_err();
    assert_eq!(read.kind, FailureKind::Denied, "{read}");
    assert_eq!(records.presence().state(), State::Down(read.message));
    assert!(!format!("{failure:?}").contains("hush"), "{failure:?}");
    failure
}

#[tokio::test]
async fn a_wrong_password() {
    let server = Server::start().await;
    let records = records_at(server.address());
    let admin = server.admin("postgres").await;
    let change = "ALTER ROLE relance PASSWORD 'hush, another'";
    admin.batch_execute(change).await.unwrap();
    let failure = denied(&records).await;
    assert!(failure.message.contains("28P01"), "{failure}");
    let back = format!("ALTER ROLE relance PASSWORD '{PASSWORD}'");
    admin.batch_execute(&back).await.unwrap();
    filled(&records, 3).await;
    assert_eq!(records.presence().state(), State::Up);
}

#[tokio::test]
async fn no_password() {
    let server = Server::start().await;
    let without = format!("postgres://relance@{}/relance", server.address());
    let failure = denied(&Postgres::new(&settings(&without)).unwrap()).await;
    assert!(failure.message.contains("password"), "{failure}");
}

#[tokio::test]
async fn a_server_without_tls_where_it_is_required() {
    let server = Server::start().await;
    let required = url(server.address(), "relance", "?sslmode=require");
    let failure = denied(&Postgres::new(&settings(&required)).unwrap()).await;
    assert!(failure.message.contains("TLS"), "{failure}");
}

#[tokio::test]
async fn a_missing_database() {
    let server = Server::start().await;
    let records = records_in(server.address(), "later");
    let failure = denied(&records).await;
    let says = ["\"later\" does not exist", "must be created"];
    assert!(
        says.iter().all(|text| failure.message.contains(text)),
        "{failure}"
    );
    server.create_database("later").await;
    filled(&records, 3).await;
}

#[tokio::test]
async fn missing_rights() {
    let server = Server::start().await;
    let admin = server.admin("relance").await;
    // Without the right to make tables.
    let take = "ALTER DATABASE relance OWNER TO chief; REVOKE CREATE ON SCHEMA public FROM PUBLIC";
    admin.batch_execute(take).await.unwrap();
    let records = records_at(server.address());
    let failure = denied(&records).await;
    let says = ["42501", "docs/postgresql.md"];
    assert!(
        says.iter().all(|text| failure.message.contains(text)),
        "{failure}"
    );

    // With tables that somebody else made, and the rights of docs/postgresql.md.
    for step in [
        include_str!("../../../src/records/postgres/migrations/0001_requests.sql"),
        include_str!("../../../src/records/postgres/migrations/0002_reviews.sql"),
        include_str!("../../../src/records/postgres/migrations/0003_opinions.sql"),
    ] {
        admin.batch_execute(step).await.unwrap();
    }
    let page = std::fs::read_to_string(crate::support::repo().join("docs/postgresql.md")).unwrap();
    let block = |begin: &str| {
        let from = page
            .find(begin)
            .unwrap_or_else(|| panic!("{begin} is not in the page"));
        page[from..].split("```").next().unwrap().to_owned()
    };
    admin
        .batch_execute(&block("CREATE TABLE relance_migrations"))
        .await
        .unwrap();
    denied(&records).await;
    admin
        .batch_execute(&block("GRANT SELECT, INSERT"))
        .await
        .unwrap();
    filled(&records, 3).await;
    assert_eq!(records.delete(record(1).request_id).await, Ok(true));
    assert_eq!(records.expire(jiff::Timestamp::now()).await, Ok(2));

    // Reading alone is something.
    let revoke = "REVOKE INSERT, UPDATE, DELETE ON relance_requests FROM relance";
    admin.batch_execute(revoke).await.unwrap();
    let failure = records.upsert(&[record(1)]).await.remove(0).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Denied, "{failure}");
    assert_eq!(records.get(record(1).request_id).await, Ok(None));
}
