//! Records in PostgreSQL are those that were written, whatever happens to the server.

mod failures;
mod measured;
mod pgbouncer;
mod rights;
mod tls;

use std::sync::Arc;

use jiff::Timestamp;
use relance::records::{Filter, ModelName, Page, Postgres, Queue, Record, Remarks, Tally};
use relance::remote::{Failure, FailureKind, State};
use uuid::Uuid;

use crate::support::postgres::{Server, settings, url};
use crate::support::record_store::{self as suite, RecordStore, record};
use crate::support::{record_opinions, record_reviews};

impl RecordStore for Postgres {
    async fn upsert(&self, records: &[Record]) -> Vec<Result<(), Failure>> {
        Postgres::upsert(self, records).await
    }
    async fn get(&self, request_id: Uuid) -> Result<Option<Record>, Failure> {
        Postgres::get(self, request_id).await
    }
    async fn list(&self, filter: &Filter) -> Result<Page, Failure> {
        Postgres::list(self, filter).await
    }
    async fn delete(&self, request_id: Uuid) -> Result<bool, Failure> {
        Postgres::delete(self, request_id).await
    }
    async fn refers_to(&self, image_sha256: &str, except: Uuid) -> Result<bool, Failure> {
        Postgres::refers_to(self, image_sha256, except).await
    }
    async fn remark(&self, remarks: &[Remarks]) -> Vec<Result<bool, Failure>> {
        Postgres::remark(self, remarks).await
    }
    async fn unreviewed(&self, queue: Queue, limit: usize) -> Result<Vec<Record>, Failure> {
        Postgres::unreviewed(self, queue, limit).await
    }
    async fn tallies(&self, model: Option<&ModelName>) -> Result<Vec<Tally>, Failure> {
        Postgres::tallies(self, model).await
    }
}

/// The records in the database `relance` at `address`.
fn records_at(address: impl std::fmt::Display) -> Postgres {
    records_in(address, "relance")
}

fn records_in(address: impl std::fmt::Display, database: &str) -> Postgres {
    Postgres::new(&settings(&url(address, database, ""))).unwrap()
}

#[tokio::test]
async fn does_what_every_store_of_records_must() {
    let server = Server::start().await;
    let store = async |name: &str| {
        server.create_database(name).await;
        records_in(server.address(), name)
    };
    suite::records_come_back_whole(&store("a").await).await;
    suite::upserts_replace(&store("b").await).await;
    suite::pages_follow_each_other(&store("c").await).await;
    suite::filters_combine(&store("d").await).await;
    suite::bounds_are_exact(&store("i").await).await;
    suite::deleted_records_are_gone(&store("e").await).await;
    suite::pictures_are_referred_to(&store("j").await).await;
    record_reviews::reviews_come_back_whole(&store("k").await).await;
    record_reviews::reviewers_at_once_lose_nothing(&store("l").await).await;
    record_reviews::reviews_are_found(&store("m").await).await;
    record_reviews::queues_are_in_order(&store("n").await).await;
    record_reviews::figures_count_everything(&store("o").await).await;
    record_opinions::opinions_come_back_whole(&store("p").await).await;
    record_opinions::remarks_come_in_batches(&store("q").await).await;
    record_opinions::a_rejected_remark_sinks_alone(&store("r").await).await;
    record_opinions::opinions_at_once_leave_the_latest(&store("s").await).await;
    record_opinions::opinions_are_found(&store("t").await).await;
    suite::a_rejected_record_sinks_alone(&store("f").await, |r| r.image_name = "a\0b".into()).await;
    // Such a class fits its column and not the index, not even compressed.
    let too_long = |r: &mut Record| {
        let noise = std::iter::successors(Some(1_u64), |n| {
            Some(n.wrapping_mul(6_364_136_223_846_793_005) + 1)
        });
        r.prediction = noise.take(1_000).map(|n| format!("{n:x}")).collect();
    };
    suite::a_rejected_record_sinks_alone(&store("g").await, too_long).await;
    suite::a_rejected_record_sinks_alone(&store("h").await, |r| r.image_sha256 = "xy".into()).await;
}

#[tokio::test]
async fn asking_for_what_cannot_be_there_finds_nothing() {
    let server = Server::start().await;
    let records = records_at(server.address());
    suite::filled(&records, 3).await;
    let filter = Filter {
        prediction: Some("a\0b".into()),
        limit: usize::MAX,
        ..Filter::default()
    };
    assert!(records.list(&filter).await.unwrap().records.is_empty());
    assert_eq!(records.refers_to("no digest", Uuid::nil()).await, Ok(false));
    let everything = Filter {
        limit: usize::MAX,
        from: Some(Timestamp::MIN),
        to: Some(Timestamp::MAX),
        ..Filter::default()
    };
    assert_eq!(records.list(&everything).await.unwrap().records.len(), 3);
}

#[tokio::test]
async fn records_expire_by_their_time() {
    let server = Server::start().await;
    let records = records_at(server.address());
    let mut written = suite::filled(&records, 5_000).await;
    written.sort_by_key(|r| r.request_id);
    let before = written[4_500].timestamp;
    let older = written.iter().filter(|r| r.timestamp < before).count();
    assert!((4_400..=4_500).contains(&older), "{older}");
    // Several instances may do so at once, and none waits for another.
    let (a, b) = tokio::join!(records.expire(before), records.expire(before));
    assert_eq!(a.unwrap() + b.unwrap(), older as u64);
    assert_eq!(records.expire(before).await, Ok(0));
    let filter = Filter {
        limit: 5_000,
        ..Filter::default()
    };
    let left = records.list(&filter).await.unwrap().records;
    assert!(left.iter().eq(written[older..].iter().rev()));
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_made_once_when_eight_instances_start_together() {
    let server = Server::start().await;
    let start = Arc::new(tokio::sync::Barrier::new(8));
    let instances: Vec<_> = (0..8)
        .map(|n| {
            let (records, start) = (records_at(server.address()), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                records.upsert(&[record(n)]).await
            })
        })
        .collect();
    for instance in instances {
        assert_eq!(instance.await.unwrap(), [Ok(())]);
    }
    let admin = server.admin("relance").await;
    let steps = "SELECT array_agg(version ORDER BY version) = '{1,2,3}', (SELECT count(*) FROM relance_requests) \
                 FROM relance_migrations";
    let row = admin.query_one(steps, &[]).await.unwrap();
    assert_eq!((row.get(0), row.get(1)), (true, 8_i64));
}

#[tokio::test]
async fn tables_of_a_newer_version_are_left_alone() {
    let server = Server::start().await;
    suite::filled(&records_at(server.address()), 1).await;
    let admin = server.admin("relance").await;
    let newer = "INSERT INTO relance_migrations (version, name) VALUES (4, 'future')";
    admin.batch_execute(newer).await.unwrap();
    let records = records_at(server.address());
    let refusal = records.upsert(&[record(1)]).await.remove(0).unwrap_err();
    assert_eq!(refusal.kind, FailureKind::Denied);
    assert!(refusal.message.contains("newer version"), "{refusal}");
    assert_eq!(records.presence().state(), State::Down(refusal.message));
    let older = "DELETE FROM relance_migrations WHERE version = 4";
    admin.batch_execute(older).await.unwrap();
    assert_eq!(records.upsert(&[record(1)]).await, [Ok(())]);
    assert_eq!(records.presence().state(), State::Up);
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_never_wait_for_each_other_s_rows() {
    let server = Server::start().await;
    suite::filled(&records_at(server.address()), 256).await;
    let instances: Vec<_> = (0..4)
        .map(|instance| {
            let records = records_at(server.address());
            tokio::spawn(async move {
                for round in 0..20 {
                    let mut batch: Vec<_> = (0..256).map(record).collect();
                    // Each has the same records to write, and in an order of its own.
                    batch.rotate_left(instance * 61);
                    if instance % 2 == 0 {
                        batch.reverse();
                    }
                    for record in &mut batch {
                        record.image_name = format!("{instance} {round}");
                    }
                    assert_eq!(records.upsert(&batch).await, vec![Ok(()); 256]);
                }
            })
        })
        .collect();
    for instance in instances {
        instance.await.unwrap();
    }
}

#[tokio::test]
async fn a_socket_is_as_good_as_a_port() {
    let server = Server::start().await;
    let records = records_at(server.socket());
    suite::filled(&records, 3).await;
    let read = records.get(record(2).request_id).await;
    assert_eq!(read, Ok(Some(record(2))));
}

#[tokio::test]
async fn connections_are_few_and_named() {
    let server = Server::start().await;
    let records = Arc::new(records_at(server.address()));
    let calls: Vec<_> = (0..50)
        .map(|n| {
            let records = Arc::clone(&records);
            tokio::spawn(async move { records.upsert(&[record(n)]).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), [Ok(())]);
    }
    let admin = server.admin("relance").await;
    let sessions = "SELECT count(*), bool_and(application_name = 'relance ' || usename) \
                    FROM pg_stat_activity WHERE usename = 'relance'";
    let row = admin.query_one(sessions, &[]).await.unwrap();
    let (count, named): (i64, bool) = (row.get(0), row.get(1));
    assert!((1..=4).contains(&count) && named, "{count} {named}");
}
