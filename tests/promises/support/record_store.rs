//! What every store of records must do, whatever it is made of.

use std::collections::HashSet;

use jiff::Timestamp;
use relance::records::{
    ClassScore, Filter, ModelName, Page, Queue, Record, Remarks, Review, Tally,
};
use relance::remote::{Failure, FailureKind};
use uuid::Uuid;

/// A store that is asked the same questions as the others.
pub trait RecordStore {
    async fn upsert(&self, records: &[Record]) -> Vec<Result<(), Failure>>;
    async fn get(&self, request_id: Uuid) -> Result<Option<Record>, Failure>;
    async fn list(&self, filter: &Filter) -> Result<Page, Failure>;
    async fn delete(&self, request_id: Uuid) -> Result<bool, Failure>;
    async fn refers_to(&self, image_sha256: &str, except: Uuid) -> Result<bool, Failure>;
    async fn remark(&self, remarks: &[Remarks]) -> Vec<Result<bool, Failure>>;
    async fn unreviewed(&self, queue: Queue, limit: usize) -> Result<Vec<Record>, Failure>;
    async fn tallies(&self, model: Option<&ModelName>) -> Result<Vec<Tally>, Failure>;

    async fn review(&self, request_id: Uuid, reviews: &[Review]) -> Result<bool, Failure> {
        let remarks = Remarks {
            request_id,
            reviews: reviews.to_vec(),
            opinion: None,
        };
        self.remark(&[remarks]).await.remove(0)
    }
}

/// When the first record was made, in milliseconds.
pub const START: i64 = 1_700_000_000_000;
const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap()
}

/// The time of the `n`th record: four in one millisecond, seven minutes between those, a day after every fifty.
fn millis(n: u64) -> i64 {
    let n = i64::try_from(n).unwrap();
    START + n / 4 * 7 * MINUTE + n / 50 * DAY
}

/// Identifiers rise with `n` in their times; within a millisecond they are in no order.
fn id(n: u64) -> Uuid {
    let random: [u8; 10] = blake3::hash(&n.to_le_bytes()).as_bytes()[..10]
        .try_into()
        .unwrap();
    uuid::Builder::from_unix_timestamp_millis(millis(n).try_into().unwrap(), &random).into_uuid()
}

/// The `n`th record.
pub fn record(n: u64) -> Record {
    let classes = ["aberta", "fechada", "sem tampa"];
    let class = classes[usize::try_from(n * n % 7 % 3).unwrap()];
    let confidence = f32::from(u8::try_from(n * 37 % 101).unwrap()) / 100.0;
    Record {
        request_id: id(n),
        timestamp: at(millis(n)),
        image_name: format!("{n}.jpg"),
        prediction: class.into(),
        confidence,
        top: vec![ClassScore {
            class: class.into(),
            index: 1,
            confidence,
        }],
        processing_time: 3.2 + n as f64 / 7.0,
        cached: n.is_multiple_of(2),
        model: ModelName {
            name: "bottle".into(),
            version: "3f1c9a7be042".into(),
        },
        image_sha256: sha256(n),
        image_ref: (!n.is_multiple_of(3)).then(|| "00/01/0001.jpg".into()),
        image_format: "jpeg".into(),
        image_width: 640,
        image_height: 480,
        user_ip: Some("192.0.2.0".into()),
        client: Some("ana".into()),
        instance: "here".into(),
        status: 200,
        review: None,
        review_history: None,
        opinion: None,
    }
}

/// The picture of the `n`th record, which is that of two.
fn sha256(n: u64) -> String {
    blake3::hash(&(n / 2).to_le_bytes()).to_hex().to_string()
}

pub fn records(count: u64) -> Vec<Record> {
    (0..count).map(record).collect()
}

pub async fn fill(store: &impl RecordStore, records: &[Record]) {
    let outcomes = store.upsert(records).await;
    assert_eq!(outcomes.len(), records.len());
    assert_eq!(outcomes.into_iter().find(Result::is_err), None);
}

/// The first `count` records, put into the store.
pub async fn filled(store: &impl RecordStore, count: u64) -> Vec<Record> {
    let records = records(count);
    for batch in records.chunks(256) {
        fill(store, batch).await;
    }
    records
}

fn everything() -> Filter {
    Filter {
        limit: 1_000,
        ..Filter::default()
    }
}

/// What [`RecordStore::list`] must find.
fn expected(records: &[Record], filter: &Filter) -> Page {
    let passes = |record: &&Record| {
        let time = record.timestamp;
        let class = filter.prediction.as_ref();
        class.is_none_or(|class| *class == record.prediction)
            && filter
                .min_confidence
                .is_none_or(|min| record.confidence >= min)
            && filter
                .max_confidence
                .is_none_or(|max| record.confidence <= max)
            && filter.from.is_none_or(|from| time >= from)
            && filter.to.is_none_or(|to| time < to)
            && filter
                .before
                .is_none_or(|before| record.request_id < before)
    };
    let mut found: Vec<Record> = records.iter().filter(passes).cloned().collect();
    found.sort_by_key(|record| std::cmp::Reverse(record.request_id));
    let more = found.len() > filter.limit;
    found.truncate(filter.limit);
    let last = found.last().map(|record| record.request_id);
    Page {
        next: last.filter(|_| more),
        records: found,
    }
}

fn numbers(page: &Page) -> (Vec<&str>, Option<Uuid>) {
    let names = page.records.iter().map(|r| r.image_name.as_str());
    (names.collect(), page.next)
}

/// A record comes back as it was, with every kind of content.
pub async fn records_come_back_whole(store: &impl RecordStore) {
    let plain = record(0);
    let unknown = Record {
        user_ip: None,
        client: None,
        cached: false,
        ..record(1)
    };
    let strange = Record {
        image_name: "garrafa 🍾 ñandú\u{301} \"quoted\" \\ / \n\t\u{1} '; DROP TABLE requests; --"
            .into(),
        prediction: "日本語のクラス".into(),
        confidence: f32::MIN_POSITIVE,
        processing_time: 0.1 + 0.2,
        image_width: i32::MAX.unsigned_abs(),
        image_height: 1,
        top: (0..200u32)
            .map(|index| ClassScore {
                class: format!("ç{index}"),
                index,
                confidence: 1.0 / (index as f32 + 3.0),
            })
            .collect(),
        status: 207,
        ..record(2)
    };
    let empty = Record {
        image_name: String::new(),
        top: Vec::new(),
        confidence: 1.0,
        processing_time: 0.0,
        ..record(3)
    };
    let all = [plain, unknown, strange, empty];
    fill(store, &all).await;
    for record in &all {
        assert_eq!(store.get(record.request_id).await, Ok(Some(record.clone())));
    }
    assert_eq!(store.get(id(4)).await, Ok(None));
    assert_eq!(store.get(Uuid::nil()).await, Ok(None));
    let everything = everything();
    assert_eq!(
        store.list(&everything).await,
        Ok(expected(&all, &everything)),
        "lists have whole records"
    );
}

/// What is written again is there once, as it was last.
pub async fn upserts_replace(store: &impl RecordStore) {
    let mut records = records(40);
    fill(store, &records).await;
    fill(store, &records).await;
    records[7].image_name = "other.jpg".into();
    records[7].user_ip = None;
    fill(store, &records[7..8]).await;
    // Twice in one call, too.
    let twice = [records[8].clone(), records[8].clone()];
    fill(store, &twice).await;
    fill(store, &[]).await;
    let everything = everything();
    let found = store.list(&everything).await.unwrap();
    assert_eq!(found, expected(&records, &everything));
}

/// Pages follow each other without gap or overlap, whatever their size.
pub async fn pages_follow_each_other(store: &impl RecordStore) {
    let records = records(400);
    fill(store, &records).await;
    for limit in [1, 7, 50, 399, 400, 401, 1_000] {
        let mut filter = Filter {
            limit,
            ..Filter::default()
        };
        if limit == 1 {
            // Far enough to pass several milliseconds and a day.
            filter.from = Some(records[340].timestamp);
        }
        let whole = expected(
            &records,
            &Filter {
                limit: 1_000,
                ..filter.clone()
            },
        );
        let mut walked = Vec::new();
        loop {
            let page = store.list(&filter).await.unwrap();
            assert_eq!(numbers(&page), numbers(&expected(&records, &filter)));
            walked.extend(page.records);
            filter.before = page.next;
            if filter.before.is_none() {
                break;
            }
        }
        assert!(walked == whole.records, "limit {limit}: {}", walked.len());
        let distinct: HashSet<Uuid> = walked.iter().map(|r| r.request_id).collect();
        assert_eq!(distinct.len(), whole.records.len());
    }
}

/// Every filter and every combination finds what going through all records finds.
pub async fn filters_combine(store: &impl RecordStore) {
    let records = records(300);
    fill(store, &records).await;
    let classes = [None, Some("aberta"), Some("sem tampa"), Some("nenhuma")];
    let least = [None, Some(0.37), Some(0.98)];
    let most = [None, Some(0.74)];
    let times = [
        (None, None),
        (Some(records[60].timestamp), None),
        (None, Some(records[240].timestamp)),
        (Some(records[60].timestamp), Some(records[240].timestamp)),
        (Some(records[240].timestamp), Some(records[60].timestamp)),
    ];
    let before = [None, Some(records[150].request_id)];
    let mut found = 0;
    for class in classes {
        for min_confidence in least {
            for max_confidence in most {
                for (from, to) in times {
                    for before in before {
                        let filter = Filter {
                            prediction: class.map(str::to_owned),
                            min_confidence,
                            max_confidence,
                            from,
                            to,
                            before,
                            limit: 20,
                            ..Filter::default()
                        };
                        let page = store.list(&filter).await.unwrap();
                        let expected = expected(&records, &filter);
                        assert_eq!(numbers(&page), numbers(&expected), "{filter:?}");
                        assert!(page == expected, "{filter:?}");
                        found += page.records.len();
                    }
                }
            }
        }
    }
    assert!(
        found > 500,
        "{found}: the filters let too little through to prove anything"
    );
}

/// Bounds are exact: `from` is in, `to` is out, and so it is with probabilities and what `before` names.
pub async fn bounds_are_exact(store: &impl RecordStore) {
    let records = records(100);
    fill(store, &records).await;
    let list = async |filter: Filter| {
        let page = store.list(&filter).await.unwrap();
        assert_eq!(
            numbers(&page),
            numbers(&expected(&records, &filter)),
            "{filter:?}"
        );
        page.records.len()
    };
    let all = everything();
    let of = |record: &Record, nanos: i32| {
        record.timestamp + jiff::SignedDuration::from_nanos(i64::from(nanos))
    };
    let one = &records[20];
    for nanos in [-1_000_000, -1, 0, 1, 999_999, 1_000_000] {
        list(Filter {
            from: Some(of(one, nanos)),
            ..all.clone()
        })
        .await;
    }
    for nanos in [-1_000_000, 0, 1_000_000] {
        list(Filter {
            to: Some(of(one, nanos)),
            ..all.clone()
        })
        .await;
    }
    let instant = Filter {
        from: Some(one.timestamp),
        to: Some(of(one, 1_000_000)),
        ..all.clone()
    };
    assert_eq!(list(instant).await, 4, "all of one millisecond");
    for record in &records[..30] {
        let equal = Filter {
            min_confidence: Some(record.confidence),
            max_confidence: Some(record.confidence),
            ..all.clone()
        };
        assert!(list(equal).await > 0, "{}", record.confidence);
        list(Filter {
            before: Some(record.request_id),
            ..all.clone()
        })
        .await;
    }
    for time in [
        Timestamp::MIN,
        Timestamp::UNIX_EPOCH,
        at(START + 10_000 * DAY),
    ] {
        list(Filter {
            from: Some(time),
            ..all.clone()
        })
        .await;
        list(Filter {
            to: Some(time),
            ..all.clone()
        })
        .await;
    }
    for before in [Uuid::nil(), Uuid::max()] {
        list(Filter {
            before: Some(before),
            ..all.clone()
        })
        .await;
    }
    for limit in [0, 1, 99, 100, 101] {
        list(Filter {
            limit,
            ..all.clone()
        })
        .await;
    }
}

/// What is deleted is gone, and deleting tells whether there was something.
pub async fn deleted_records_are_gone(store: &impl RecordStore) {
    let records = records(10);
    fill(store, &records).await;
    let one = records[4].request_id;
    assert_eq!(store.delete(one).await, Ok(true));
    assert_eq!(store.delete(one).await, Ok(false));
    assert_eq!(store.get(one).await, Ok(None));
    let everything = everything();
    let left: Vec<Record> = records
        .iter()
        .filter(|r| r.request_id != one)
        .cloned()
        .collect();
    assert_eq!(
        store.list(&everything).await,
        Ok(expected(&left, &everything))
    );
    fill(store, &records[4..5]).await;
    assert_eq!(store.get(one).await, Ok(Some(records[4].clone())));
}

/// A picture is referred to as long as any record has it.
pub async fn pictures_are_referred_to(store: &impl RecordStore) {
    let records = records(20);
    fill(store, &records).await;
    for record in &records {
        let nobody = store.refers_to(&record.image_sha256, Uuid::nil()).await;
        assert_eq!(nobody, Ok(true));
        let itself = store.refers_to(&record.image_sha256, record.request_id);
        assert_eq!(itself.await, Ok(true), "its neighbour has it, too");
    }
    assert_eq!(store.refers_to(&sha256(20), Uuid::nil()).await, Ok(false));
    store.delete(records[6].request_id).await.unwrap();
    let refers = async |except| store.refers_to(&sha256(6), except).await;
    assert_eq!(refers(Uuid::nil()).await, Ok(true));
    assert_eq!(refers(records[7].request_id).await, Ok(false));
    store.delete(records[7].request_id).await.unwrap();
    assert_eq!(refers(Uuid::nil()).await, Ok(false));
}

/// A record that the store will never take does not keep its neighbours from it.
pub async fn a_rejected_record_sinks_alone(store: &impl RecordStore, spoil: fn(&mut Record)) {
    let mut records = records(256);
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
