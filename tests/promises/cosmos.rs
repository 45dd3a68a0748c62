//! Records in Azure Cosmos DB: all that a store of records does, and what happens while the account is not there.

mod failures;

use std::time::Instant;

use relance::records::cosmos::Cosmos;
use relance::records::{Filter, ModelName, Page, Queue, Record, Remarks, Tally};
use relance::remote::Failure;
use uuid::Uuid;

use crate::support::cosmos::{Emulator, KEY, cosmos, settings};
use crate::support::record_store::{self, RecordStore, records};
use crate::support::{record_opinions, record_reviews};

impl RecordStore for Cosmos {
    async fn upsert(&self, records: &[Record]) -> Vec<Result<(), Failure>> {
        Cosmos::upsert(self, records).await
    }
    async fn get(&self, request_id: Uuid) -> Result<Option<Record>, Failure> {
        Cosmos::get(self, request_id).await
    }
    async fn list(&self, filter: &Filter) -> Result<Page, Failure> {
        Cosmos::list(self, filter).await
    }
    async fn delete(&self, request_id: Uuid) -> Result<bool, Failure> {
        Cosmos::delete(self, request_id).await
    }
    async fn refers_to(&self, image_sha256: &str, except: Uuid) -> Result<bool, Failure> {
        Cosmos::refers_to(self, image_sha256, except).await
    }
    async fn remark(&self, remarks: &[Remarks]) -> Vec<Result<bool, Failure>> {
        Cosmos::remark(self, remarks).await
    }
    async fn unreviewed(&self, queue: Queue, limit: usize) -> Result<Vec<Record>, Failure> {
        Cosmos::unreviewed(self, queue, limit).await
    }
    async fn tallies(&self, model: Option<&ModelName>) -> Result<Vec<Tally>, Failure> {
        Cosmos::tallies(self, model).await
    }
}

#[tokio::test]
async fn records_come_back_whole() {
    let emulator = Emulator::start().await;
    record_store::records_come_back_whole(&cosmos(&emulator.url)).await;
}

#[tokio::test]
async fn upserts_replace() {
    let emulator = Emulator::start().await;
    record_store::upserts_replace(&cosmos(&emulator.url)).await;
}

#[tokio::test]
async fn pages_follow_each_other() {
    let emulator = Emulator::start().await;
    record_store::pages_follow_each_other(&cosmos(&emulator.url)).await;
}

#[tokio::test]
async fn filters_combine() {
    let emulator = Emulator::start().await;
    record_store::filters_combine(&cosmos(&emulator.url)).await;
}

#[tokio::test]
async fn bounds_are_exact() {
    let emulator = Emulator::start().await;
    record_store::bounds_are_exact(&cosmos(&emulator.url)).await;
}

#[tokio::test]
async fn deleted_records_are_gone() {
    let emulator = Emulator::start().await;
    record_store::deleted_records_are_gone(&cosmos(&emulator.url)).await;
}

#[tokio::test]
async fn pictures_are_referred_to() {
    let emulator = Emulator::start().await;
    record_store::pictures_are_referred_to(&cosmos(&emulator.url)).await;
}

#[tokio::test]
async fn reviews_come_back_whole() {
    let emulator = Emulator::start().await;
    record_reviews::reviews_come_back_whole(&cosmos(&emulator.url)).await;
}

#[tokio::test]
async fn reviewers_at_once_lose_nothing() {
    let emulator = Emulator::start().await;
    record_reviews::reviewers_at_once_lose_nothing(&cosmos(&emulator.url)).await;
}

#[tokio::test]
async fn reviews_are_found() {
    let emulator = Emulator::start().await;
    record_reviews::reviews_are_found(&cosmos(&emulator.url)).await;
}

#[tokio::test]
async fn queues_are_in_order() {
    let emulator = Emulator::start().await;
    record_reviews::queues_are_in_order(&cosmos(&emulator.url)).await;
}

#[tokio::test]
async fn figures_count_everything() {
    let emulator = Emulator::start().await;
    record_reviews::figures_count_everything(&cosmos(&emulator.url)).await;
}

#[tokio::test]
async fn opinions_come_back_whole() {
    let emulator = Emulator::start().await;
    record_opinions::opinions_come_back_whole(&cosmos(&emulator.url)).await;
}

#[tokio::test]
async fn remarks_come_in_batches() {
    let emulator = Emulator::start().await;
    record_opinions::remarks_come_in_batches(&cosmos(&emulator.url)).await;
}

#[tokio::test]
async fn opinions_at_once_leave_the_latest() {
    let emulator = Emulator::start().await;
    record_opinions::opinions_at_once_leave_the_latest(&cosmos(&emulator.url)).await;
}

#[tokio::test]
async fn opinions_are_found() {
    let emulator = Emulator::start().await;
    record_opinions::opinions_are_found(&cosmos(&emulator.url)).await;
}

#[tokio::test]
async fn items_lie_as_documented() {
    let emulator = Emulator::start().await;
    let settings = settings(&[("endpoint", &emulator.url), ("key", KEY)]);
    let mut record = record_store::record(0);
    record.timestamp =
        jiff::Timestamp::from_millisecond(jiff::Timestamp::now().as_millisecond()).unwrap();
    record.confidence = 0.98;
    record.cached = false;
    let month = Cosmos::new(&settings, 30).unwrap();
    assert_eq!(month.upsert(std::slice::from_ref(&record)).await, [Ok(())]);
    let item = emulator.items().await.remove(0);
    assert_eq!(item["id"], record.request_id.to_string());
    assert_eq!(item["confidence"].to_string(), "0.98");
    let ttl = item["ttl"].as_i64().unwrap();
    assert!((30 * 86_400 - 60..=30 * 86_400).contains(&ttl), "{ttl}");
    let written = serde_json::to_value(&record).unwrap();
    let fields = written.as_object().unwrap().keys();
    for field in fields {
        assert!(item.get(field).is_some(), "{field} is missing");
    }
    // Names that begin with _ are the service's own.
    let own = item
        .as_object()
        .unwrap()
        .keys()
        .filter(|name| !name.starts_with('_'));
    assert_eq!(
        own.count(),
        written.as_object().unwrap().len() + 3,
        "{item}"
    );
    assert!(["doubtful", "random"].contains(&item["queue"].as_str().unwrap()));
    // A review takes it out of its queue and does not lengthen its life.
    let review = [record_reviews::review(1, "aberta")];
    assert_eq!(month.review(record.request_id, &review).await, Ok(true));
    let item = emulator.items().await.remove(0);
    assert_eq!(
        (item.get("queue"), &item["review"]["label"]),
        (None, &"aberta".into())
    );
    let ttl = item["ttl"].as_i64().unwrap();
    assert!((30 * 86_400 - 60..=30 * 86_400).contains(&ttl), "{ttl}");
    // Without a retention, the container's default holds, which is for ever.
    assert_eq!(cosmos(&emulator.url).upsert(&[record]).await, [Ok(())]);
    assert_eq!(emulator.items().await[0].get("ttl"), None);
}

#[tokio::test]
async fn many_records_are_written_at_once() {
    let emulator = Emulator::start().await;
    let cosmos = cosmos(&emulator.url);
    record_store::fill(&cosmos, &records(100)).await;
    let many = records(3_000);
    let (start, cpu) = (Instant::now(), cpu_seconds());
    record_store::fill(&cosmos, &many).await;
    let (took, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let count = many.len() as f64;
    println!(
        "{:.0} upserts/s, {:.0} µs of CPU each in the client",
        count / took,
        cpu / count * 1e6
    );
    assert_eq!(emulator.items().await.len(), many.len());
}

/// Seconds that this thread has computed, which is all that a test's runtime has.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

#[tokio::test]
async fn it_can_be_used_from_any_thread() {
    let emulator = Emulator::start().await;
    let cosmos = std::sync::Arc::new(cosmos(&emulator.url));
    let one = record_store::record(0);
    let used = tokio::spawn(async move {
        let id = one.request_id;
        let filter = Filter {
            limit: 1,
            ..Filter::default()
        };
        let written = cosmos.upsert(&[one]).await == [Ok(())];
        let read = cosmos.get(id).await.unwrap().is_some();
        let listed = cosmos.list(&filter).await.unwrap().records.len() == 1;
        let referred = cosmos.refers_to("00", Uuid::nil()).await == Ok(false);
        written && read && listed && referred && cosmos.delete(id).await.unwrap()
    });
    assert!(used.await.unwrap());
}
