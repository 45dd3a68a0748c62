//! Where there were records before there were opinions.

use relance::records::{Filter, Queue, Remarks, Waiting};
use rusqlite::{Connection, params};

use super::shared::{Store, all_shipped};
use super::*;
use crate::support::postgres;
use crate::support::postgres::Server;
use crate::support::proxy::Mode;
use crate::support::record_opinions::remarks;
use crate::support::record_reviews::review;

/// The database on an instance's disk as the version before made it.
const BEFORE: &str = "
CREATE TABLE requests (
    request_id      BLOB NOT NULL PRIMARY KEY,
    timestamp       INTEGER NOT NULL,
    image_name      TEXT NOT NULL,
    prediction      TEXT NOT NULL,
    confidence      REAL NOT NULL,
    top             TEXT NOT NULL,
    processing_time REAL NOT NULL,
    cached          INTEGER NOT NULL,
    model           TEXT NOT NULL,
    model_version   TEXT NOT NULL,
    image_sha256    BLOB NOT NULL,
    image_ref       TEXT,
    image_format    TEXT NOT NULL,
    image_width     INTEGER NOT NULL,
    image_height    INTEGER NOT NULL,
    user_ip         TEXT,
    client          TEXT,
    instance        TEXT NOT NULL,
    status          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_prediction ON requests (prediction, request_id);
CREATE TABLE outbox (request_id BLOB NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;
ALTER TABLE requests ADD COLUMN reviews TEXT;
CREATE INDEX requests_reviewed ON requests (request_id) WHERE reviews IS NOT NULL;
CREATE TABLE review_outbox (
    review_id  BLOB NOT NULL PRIMARY KEY,
    request_id BLOB NOT NULL,
    review     TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX review_outbox_by_request ON review_outbox (request_id);
CREATE INDEX requests_doubtful ON requests (confidence)
    WHERE NOT cached AND reviews IS NULL AND substr(request_id, 16) >= x'30';
CREATE INDEX requests_random ON requests (request_id)
    WHERE substr(request_id, 16) < x'30' AND reviews IS NULL;
PRAGMA journal_mode = WAL;
PRAGMA user_version = 2;
";

fn insert(database: &Connection, record: &Record) {
    let sql = "INSERT INTO requests VALUES
               (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)";
    let reviews = record.review_history.as_ref();
    let row = params![
        record.request_id.as_bytes(),
        record.timestamp.as_millisecond(),
        record.image_name,
        record.prediction,
        f64::from(record.confidence),
        serde_json::to_string(&record.top).unwrap(),
        record.processing_time,
        record.cached,
        record.model.name,
        record.model.version,
        hex::decode(&record.image_sha256).unwrap(),
        record.image_ref,
        record.image_format,
        record.image_width,
        record.image_height,
        record.user_ip,
        record.client,
        record.instance,
        record.status,
        reviews.map(|all| serde_json::to_string(all).unwrap()),
    ];
    database.execute(sql, row).unwrap();
}

/// Three records, of which the second is reviewed, and a review that waits for each of the others and for one that
/// has been shipped.
fn disk_of_before(dir: &Path) -> (Vec<Record>, Record) {
    let database = Connection::open(dir.join("relance.db")).unwrap();
    database.execute_batch(BEFORE).unwrap();
    let mut records = crate::support::record_store::records(3);
    records[1].add_reviews([review(1, "aberta"), review(2, "fechada")]);
    for record in &records {
        insert(&database, record);
    }
    let mut shipped = record(9);
    for (n, record) in [(3, 0), (4, 2)] {
        records[record].add_reviews([review(n, "unsure")]);
    }
    shipped.add_reviews([review(5, "aberta")]);
    for record in [&records[0], &records[2], &shipped] {
        let waiting = record.review.as_ref().unwrap();
        let row = params![
            waiting.review_id.as_bytes(),
            record.request_id.as_bytes(),
            serde_json::to_string(waiting).unwrap()
        ];
        let sql = "INSERT INTO review_outbox VALUES (?1, ?2, ?3)";
        database.execute(sql, row).unwrap();
    }
    (records, shipped)
}

#[tokio::test]
async fn a_disk_of_the_version_before_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let (mut records, _) = disk_of_before(dir.path());
    let instance = Instance::start(dir.path(), None);
    for record in &mut records {
        let found = instance.storage.find(record.request_id).await.unwrap();
        assert_eq!(found.as_ref(), Some(&*record));
        let said = now(record, false);
        instance.opine(record, &said).await;
        record.opinion = Some(said);
    }
    let filter = Filter {
        differs: Some(true),
        limit: 10,
        ..Filter::default()
    };
    let page = instance.storage.list(filter.clone()).await.unwrap();
    records.sort_by_key(|record| std::cmp::Reverse(record.request_id));
    assert_eq!(page.records, records);
    drop(instance);
    let again = Instance::start(dir.path(), None);
    assert_eq!(again.storage.list(filter).await.unwrap(), page);
    let queue = again.storage.unreviewed(Queue::Doubtful, 10).await.unwrap();
    assert_eq!(queue, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_on_a_disk_of_the_version_before_arrives() {
    let store = Store::postgres().await;
    let remote = store.remote();
    let dir = tempfile::tempdir().unwrap();
    let (mut records, shipped) = disk_of_before(dir.path());
    let bare = Record {
        review: None,
        review_history: None,
        ..shipped.clone()
    };
    assert_eq!(remote.upsert(&[bare]).await, [Ok(())]);
    store.proxy.set(Mode::Refuse);
    let instance = Instance::start(dir.path(), Some(store.remote()));
    let waiting = instance.storage.waiting_remarks();
    assert_eq!((waiting.reviews, waiting.opinions), (3, 0));
    let said = now(&records[1], true);
    instance.opine(&records[1], &said).await;
    records[1].opinion = Some(said);
    store.proxy.set(Mode::Pass);
    all_shipped(&instance).await;
    assert_eq!(instance.storage.waiting_remarks(), Waiting::default());
    records.push(shipped);
    for record in records {
        assert_eq!(remote.get(record.request_id).await, Ok(Some(record)));
    }
}

#[tokio::test]
async fn tables_of_the_version_before_are_brought_up_to_date() {
    let server = Server::start().await;
    let admin = server.admin("relance").await;
    let steps = [
        "SET ROLE relance;
         CREATE TABLE relance_migrations (
             version integer PRIMARY KEY,
             name    text NOT NULL,
             time    timestamptz NOT NULL DEFAULT now()
         )",
        include_str!("../../../src/records/postgres/migrations/0001_requests.sql"),
        include_str!("../../../src/records/postgres/migrations/0002_reviews.sql"),
        "INSERT INTO relance_migrations (version, name) VALUES (1, 'requests'), (2, 'reviews');
         INSERT INTO relance_requests VALUES (
             '018bcfe5-6800-7000-8000-000000000001', '2023-11-14T22:13:20Z', 3.25, 0.98, 640, 480, 200, false, 'aberta',
             'garrafa.jpg', 'jpeg', '\\x00ff', NULL, 'bottle', '3f1c9a7be042', 'here', 'ana', NULL,
             '[{\"class\": \"aberta\", \"index\": 0, \"confidence\": 0.98}]',
             '[{\"review_id\": \"018bcfe5-6801-7000-8000-000000000001\", \"label\": \"aberta\", \"note\": null,
                \"reviewer\": \"ana\", \"reviewed_at\": \"2023-11-14T22:13:21Z\", \"selection\": \"chosen\"}]'
         )",
    ];
    for step in steps {
        admin.batch_execute(step).await.unwrap();
    }
    let records = super::shared::postgres_at(&postgres::url(server.address(), "relance", ""));
    let everything = Filter {
        limit: 10,
        ..Filter::default()
    };
    let mut found = records.list(&everything).await.unwrap().records.remove(0);
    assert_eq!((&*found.image_name, &found.opinion), ("garrafa.jpg", &None));
    assert_eq!(found.review.as_ref().unwrap().reviewer, "ana");
    let said = now(&found, false);
    let all: [Remarks; 1] = [remarks(found.request_id, &said)];
    assert_eq!(records.remark(&all).await, [Ok(true)]);
    found.opinion = Some(said);
    let differing = Filter {
        differs: Some(true),
        ..everything
    };
    assert_eq!(records.list(&differing).await.unwrap().records, [found]);
}
