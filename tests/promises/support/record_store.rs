//! What every shared store of records must do, whichever it is.

use std::collections::HashMap;

use jiff::Timestamp;
use relance::records::{ClassScore, Filter, ModelName, Page, Record};
use relance::remote::{Failure, FailureKind};
use uuid::Uuid;

/// A store of records, empty at first.
pub trait RecordStore {
    async fn upsert(&self, records: &[Record]) -> Vec<Result<(), Failure>>;
    async fn get(&self, request_id: Uuid) -> Result<Option<Record>, Failure>;
    async fn list(&self, filter: &Filter) -> Result<Page, Failure>;
    async fn delete(&self, request_id: Uuid) -> Result<bool, Failure>;
    async fn refers_to(&self, image_sha256: &str) -> Result<bool, Failure>;
}

/// 2026-03-01T00:00:00Z.
pub const START: i64 = 1_772_323_200_000;

const CLASSES: [&str; 4] = ["aberta", "fechada", "çà 漢字 🍾", "O'Neill; \"x\" %_\\"];

/// The `n`th record. Records come in bursts: several within a millisecond, then seconds, hours or days of nothing.
pub fn record(n: u64) -> Record {
    let (burst, place) = (n / 7, n % 7);
    let pauses = [0, 1, 61_000, 3_600_000, 86_400_000, 1_000, 40 * 3_600_000];
    let week: i64 = pauses.iter().sum();
    let so_far: i64 = pauses[..=(burst % 7) as usize].iter().sum();
    let millis = START + week * (burst / 7) as i64 + so_far;
    let class = CLASSES[(n * n % 5 % 4) as usize];
    let confidence = [0.25, 0.5, 0.1 + 0.7, 0.999_999_9, 1.0][(n % 5) as usize];
    Record {
        request_id: id(millis, (place << 32) | n),
        timestamp: Timestamp::from_millisecond(millis).unwrap(),
        image_name: format!("garrafa {n} é ünï 漢字 🍾.jpg"),
        prediction: class.into(),
        confidence,
        top: CLASSES
            .iter()
            .zip(0..)
            .map(|(class, index)| ClassScore {
                class: (*class).into(),
                index,
                confidence: confidence / (index + 1) as f32,
            })
            .collect(),
        processing_time: n as f64 / 3.0,
        cached: n.is_multiple_of(3),
        model: ModelName {
            name: "bottle".into(),
            version: format!("v{}", n % 2),
        },
        image_sha256: format!("{:064x}", u128::from(n / 2 + 1) << 100),
        image_ref: format!("00/01/{n}.jpg"),
        image_format: "jpeg".into(),
        image_width: 640,
        image_height: u32::try_from(n).unwrap(),
        user_ip: n.is_multiple_of(2).then(|| "2001:db8::".into()),
        client: n.is_multiple_of(3).then(|| "ana \"ü\"".into()),
        instance: "here".into(),
        status: 200,
    }
}

/// A UUIDv7 of that time.
pub fn id(millis: i64, rest: u64) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    bytes[6] = 0x70;
    bytes[8..].copy_from_slice(&(rest | 1 << 63).to_be_bytes());
    Uuid::from_bytes(bytes)
}

/// `count` records in the store, oldest first.
pub async fn filled(store: &impl RecordStore, count: u64) -> Vec<Record> {
    let records: Vec<_> = (0..count).map(record).collect();
    for batch in records.chunks(256) {
        assert_eq!(store.upsert(batch).await, vec![Ok(()); batch.len()]);
    }
    records
}

/// What is written is read back, field by field.
pub async fn a_record_comes_back_whole(store: &impl RecordStore) {
    let mut extreme = record(1);
    extreme.request_id = Uuid::from_u128(u128::MAX - 1);
    extreme.image_name = "\u{1}\t\r\n\u{7f}\u{200f}\u{fffd}\u{10ffff}{}'\"\\,NULL".into();
    extreme.client = Some(String::new());
    extreme.user_ip = None;
    extreme.confidence = f32::MIN_POSITIVE;
    extreme.processing_time = 1.0 / 3.0;
    extreme.top.clear();
    extreme.image_width = i32::MAX as u32;
    let written = [record(0), record(1), record(6), extreme];
    assert_eq!(store.upsert(&written).await, [const { Ok(()) }; 4]);
    for record in written {
        let read = store.get(record.request_id).await.unwrap();
        assert_eq!(read, Some(record));
    }
    assert_eq!(store.get(Uuid::nil()).await, Ok(None));
    assert_eq!(store.upsert(&[]).await, []);
}

/// Writing twice is writing once; other content replaces what was there.
pub async fn upsert_twice_is_once(store: &impl RecordStore) {
    let records: Vec<_> = (0..300).map(record).collect();
    for _ in 0..2 {
        assert_eq!(store.upsert(&records).await, vec![Ok(()); 300]);
    }
    let mut changed = record(7);
    changed.image_ref = "elsewhere".into();
    changed.prediction = "other".into();
    changed.client = None;
    // The same identifier twice in a batch: the last one is kept.
    let batch = [record(3), record(7), changed.clone(), record(3)];
    assert_eq!(store.upsert(&batch).await, [const { Ok(()) }; 4]);
    assert_eq!(store.get(changed.request_id).await.unwrap(), Some(changed));
    assert_eq!(all(store, Filter::default(), 500).await.len(), 300);
}

/// Pages of every size follow each other without gap or overlap, newest first.
pub async fn pages_follow_each_other(store: &impl RecordStore) {
    let mut expected: Vec<Uuid> = filled(store, 700)
        .await
        .iter()
        .map(|r| r.request_id)
        .collect();
    expected.sort();
    expected.reverse();
    for limit in [1, 7, 100, 349, 350, 699, 700, 701] {
        let read = all(store, Filter::default(), limit).await;
        let read: Vec<_> = read.iter().map(|r| r.request_id).collect();
        assert_eq!(read, expected, "pages of {limit}");
    }
    let whole = page(store, Filter::default(), 700).await;
    assert_eq!((whole.records.len(), whole.next), (700, None));
    let none = page(store, Filter::default(), 0).await;
    assert_eq!((none.records.len(), none.next), (0, None));
}

/// Every filter and every combination of filters gives what a look at each record gives.
pub async fn filters_combine(store: &impl RecordStore) {
    let mut records = filled(store, 400).await;
    records.sort_by_key(|r| std::cmp::Reverse(r.request_id));
    let time = |n: usize, nanos: i32| {
        let time = records[n].timestamp.as_nanosecond() + i128::from(nanos);
        Some(Timestamp::from_nanosecond(time).unwrap())
    };
    let predictions = [None, Some(CLASSES[2]), Some(CLASSES[3]), Some("nobody")];
    let least = [None, Some(0.1_f32 + 0.7), Some(2.0)];
    let most = [None, Some(0.5), Some(-1.0)];
    let from = [None, time(300, 0), time(300, 1), time(150, -1)];
    let to = [None, time(40, 0), time(40, 1), time(300, 0)];
    let before = [None, Some(records[100].request_id)];
    let (mut asked, mut found) = (0, 0);
    for prediction in predictions {
        for min_confidence in least {
            for max_confidence in most {
                for (from, to) in from.iter().flat_map(|f| to.iter().map(move |t| (*f, *t))) {
                    for before in before {
                        let filter = Filter {
                            prediction: prediction.map(str::to_owned),
                            min_confidence,
                            max_confidence,
                            from,
                            to,
                            before,
                            limit: 23,
                        };
                        let expected: Vec<_> =
                            records.iter().filter(|r| passes(r, &filter)).collect();
                        let page = store.list(&filter).await.unwrap();
                        let read: Vec<_> = page.records.iter().collect();
                        let (first, rest) = expected.split_at(expected.len().min(23));
                        assert_eq!(read, first, "{filter:?}");
                        let next = first.last().map(|r| r.request_id);
                        assert_eq!(page.next, next.filter(|_| !rest.is_empty()), "{filter:?}");
                        asked += 1;
                        found += first.len();
                    }
                }
            }
        }
    }
    assert!(
        asked == 4 * 3 * 3 * 16 * 2 && found > 1000,
        "{asked} {found}"
    );
    let pages = all(
        store,
        Filter {
            prediction: Some(CLASSES[0].into()),
            min_confidence: Some(0.5),
            ..Filter::default()
        },
        11,
    );
    let expected = records
        .iter()
        .filter(|r| r.prediction == CLASSES[0] && r.confidence >= 0.5);
    assert!(pages.await.iter().eq(expected));
}

// Records hold whole milliseconds, so comparing times says what comparing identifiers must say; only a bound
// between two milliseconds is taken down to the first of them.
fn passes(record: &Record, filter: &Filter) -> bool {
    let to = filter
        .to
        .map(|to| Timestamp::from_millisecond(to.as_millisecond()).unwrap());
    filter
        .prediction
        .as_ref()
        .is_none_or(|p| *p == record.prediction)
        && filter.min_confidence.is_none_or(|c| record.confidence >= c)
        && filter.max_confidence.is_none_or(|c| record.confidence <= c)
        && filter.from.is_none_or(|from| record.timestamp >= from)
        && to.is_none_or(|to| record.timestamp < to)
        && filter.before.is_none_or(|id| record.request_id < id)
}

/// What is deleted is gone, and a picture is referred to as long as one of its records is there.
pub async fn delete_and_refers_to(store: &impl RecordStore) {
    filled(store, 10).await;
    let (one, other) = (record(4), record(5));
    assert_eq!(one.image_sha256, other.image_sha256);
    assert_eq!(store.refers_to(&one.image_sha256).await, Ok(true));
    assert_eq!(store.refers_to(&"f".repeat(64)).await, Ok(false));
    assert_eq!(store.delete(one.request_id).await, Ok(true));
    assert_eq!(store.delete(one.request_id).await, Ok(false));
    assert_eq!(store.get(one.request_id).await, Ok(None));
    assert_eq!(store.refers_to(&one.image_sha256).await, Ok(true));
    assert_eq!(store.delete(other.request_id).await, Ok(true));
    assert_eq!(store.refers_to(&one.image_sha256).await, Ok(false));
    assert_eq!(all(store, Filter::default(), 500).await.len(), 8);
}

/// Records that the store cannot take are told apart, wherever they stand in a batch.
pub async fn a_rejected_record_sinks_alone(store: &impl RecordStore, spoil: fn(&mut Record)) {
    let mut records: Vec<_> = (0..256).map(record).collect();
    let bad = [0, 100, 101, 255];
    for i in bad {
        spoil(&mut records[i]);
    }
    let outcomes = store.upsert(&records).await;
    for (i, (record, outcome)) in records.iter().zip(outcomes).enumerate() {
        let read = store.get(record.request_id).await.unwrap();
        if bad.contains(&i) {
            assert_eq!(outcome.unwrap_err().kind, FailureKind::Rejected, "{i}");
            assert_eq!(read, None, "{i}");
        } else {
            assert_eq!(outcome, Ok(()), "{i}");
            assert_eq!(read.as_ref(), Some(record), "{i}");
        }
    }
}

async fn page(store: &impl RecordStore, filter: Filter, limit: usize) -> Page {
    store.list(&Filter { limit, ..filter }).await.unwrap()
}

/// All pages together; no record may come twice.
async fn all(store: &impl RecordStore, mut filter: Filter, limit: usize) -> Vec<Record> {
    let (mut records, mut seen) = (Vec::new(), HashMap::new());
    loop {
        let page = page(store, filter.clone(), limit).await;
        for record in page.records {
            assert_eq!(seen.insert(record.request_id, ()), None, "twice");
            records.push(record);
        }
        filter.before = page.next;
        if filter.before.is_none() {
            return records;
        }
    }
}
