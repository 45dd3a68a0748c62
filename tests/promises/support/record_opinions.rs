//! What every store of records must do with opinions of other models.

use futures_util::future::join_all;
use relance::records::{Filter, ModelName, Opinion, Record, Remark, Remarks};
use uuid::Uuid;

use super::record_reviews::review;
use super::record_store::{RecordStore, fill, record, records};

/// An opinion on a record: of a later `n` the identifier is greater.
pub fn opinion(n: u32, record: &Record, agrees: bool) -> Opinion {
    Opinion {
        opinion_id: Uuid::from_u128((1 << 101) + u128::from(n)),
        model: ModelName {
            name: "candidate \"ção\"".into(),
            version: "0b1c2d3e4f50".into(),
        },
        prediction: match agrees {
            true => record.prediction.clone(),
            false => "outra".into(),
        },
        confidence: 0.1 + (n % 7) as f32 / 10.0,
        inference_ms: f64::from(n) / 3.0,
        agrees,
    }
}

/// An opinion as what is to be added to a record.
pub fn remarks(request_id: Uuid, opinion: &Opinion) -> Remarks {
    Remarks {
        request_id,
        reviews: Vec::new(),
        opinion: Some(opinion.clone()),
    }
}

/// Opinions come back whole, the latest counts whichever comes first, and sending the record again leaves it.
pub async fn opinions_come_back_whole(store: &impl RecordStore) {
    let mut records = records(6);
    fill(store, &records).await;
    let one = records[2].clone();
    let id = one.request_id;
    assert_eq!(store.get(id).await.unwrap().unwrap().opinion, None);
    let [first, second, third] = [1, 2, 3].map(|n| opinion(n, &one, n % 2 == 0));
    let opine = async |opinion: &Opinion| {
        let there = store.remark(&[remarks(id, opinion)]).await;
        assert_eq!(there, [Ok(true)]);
        store.get(id).await.unwrap().unwrap().opinion
    };
    assert_eq!(opine(&second).await.as_ref(), Some(&second));
    assert_eq!(opine(&first).await.as_ref(), Some(&second), "it is earlier");
    assert_eq!(opine(&second).await.as_ref(), Some(&second));
    fill(store, &records[2..3]).await;
    records[2].image_name = "other.jpg".into();
    fill(store, &records[2..3]).await;
    let found = store.get(id).await.unwrap().unwrap();
    assert_eq!(found.image_name, "other.jpg");
    assert_eq!(found.opinion.as_ref(), Some(&second));

    // A record may bring one along, and the later one counts then, too.
    records[2].opinion = Some(first);
    fill(store, &records[2..3]).await;
    let found = store.get(id).await.unwrap().unwrap();
    assert_eq!(found.opinion, Some(second));
    records[2].opinion = Some(third.clone());
    fill(store, &records[2..3]).await;
    assert_eq!(store.get(id).await, Ok(Some(records[2].clone())));

    // With reviews, and without touching each other.
    let said = review(1, "aberta");
    assert_eq!(
        store.review(id, std::slice::from_ref(&said)).await,
        Ok(true)
    );
    let found = store.get(id).await.unwrap().unwrap();
    assert_eq!(found.reviews(), [said]);
    assert_eq!(found.opinion, Some(third));
    records[4].add_reviews([review(5, "aberta")]);
    records[4].opinion = Some(opinion(9, &one, true));
    fill(store, &records[4..5]).await;
    let brought = store.get(records[4].request_id).await;
    assert_eq!(brought, Ok(Some(records[4].clone())));

    assert_eq!(store.delete(id).await, Ok(true));
    let late = remarks(id, &opinion(20, &one, true));
    assert_eq!(store.remark(&[late]).await, [Ok(false)]);
    assert_eq!(store.get(id).await, Ok(None));
}

/// Many remarks at once: each finds its record, and those without one are told.
pub async fn remarks_come_in_batches(store: &impl RecordStore) {
    let mut known = records(300);
    fill(store, &known).await;
    let mut batch = Vec::new();
    for (n, record) in (0..).zip(known.iter_mut().chain(&mut [record(900), record(901)])) {
        let id = record.request_id;
        let late = opinion(2 * n + 1, record, n % 3 == 0);
        if n % 5 > 0 {
            batch.push((id, Remark::Opinion(late.clone())));
            batch.push((id, Remark::Opinion(opinion(2 * n, record, true))));
            record.opinion = Some(late);
        }
        if n % 4 == 0 {
            let said = review(n, "aberta");
            batch.push((id, Remark::Review(said.clone())));
            record.add_reviews([said]);
        }
    }
    let gathered: Vec<Remarks> = Remarks::gather(batch).into_values().collect();
    assert!(gathered.len() > 250);
    let (a, b) = gathered.split_at(gathered.len() / 2);
    let (again, whole, half) = (store.remark(a), store.remark(&gathered), store.remark(b));
    let (again, whole, half) = futures_util::future::join3(again, whole, half).await;
    let there = |one: &Remarks| known.iter().any(|r| r.request_id == one.request_id);
    let expected: Vec<_> = gathered.iter().map(|one| Ok(there(one))).collect();
    assert_eq!(
        expected.iter().filter(|there| **there == Ok(false)).count(),
        2
    );
    assert_eq!(whole, expected);
    assert_eq!([again, half].concat(), expected);
    for record in &known {
        assert_eq!(store.get(record.request_id).await, Ok(Some(record.clone())));
    }
    assert_eq!(store.remark(&[]).await, []);
}

/// A remark that the store will never take keeps no other out.
pub async fn a_rejected_remark_sinks_alone(store: &impl RecordStore) {
    let records = records(40);
    fill(store, &records).await;
    let mut all: Vec<Remarks> = records
        .iter()
        .map(|record| remarks(record.request_id, &opinion(1, record, true)))
        .collect();
    let bad = [0, 17, 39];
    for n in bad {
        all[n].opinion.as_mut().unwrap().prediction = "a\0b".into();
    }
    let outcomes = store.remark(&all).await;
    for (n, (one, outcome)) in all.iter().zip(outcomes).enumerate() {
        let kept = store.get(one.request_id).await.unwrap().unwrap().opinion;
        assert_eq!(outcome.is_err(), bad.contains(&n), "{n}");
        assert_eq!(kept.is_none(), bad.contains(&n), "{n}");
    }
}

/// Of many models at once, the one that said something last is kept.
pub async fn opinions_at_once_leave_the_latest(store: &impl RecordStore) {
    fill(store, &records(1)).await;
    let one = record(0);
    let all: Vec<Remarks> = (0..8)
        .map(|n| remarks(one.request_id, &opinion(n * 5 % 8, &one, false)))
        .collect();
    let said = all
        .iter()
        .map(|one| store.remark(std::slice::from_ref(one)));
    let kept = join_all(said).await;
    assert!(
        kept.iter().all(|outcome| *outcome == [Ok(true)]),
        "{kept:?}"
    );
    let found = store.get(one.request_id).await.unwrap().unwrap();
    assert_eq!(found.opinion, Some(opinion(7, &one, false)));
}

/// Lists by what the other model says, and by the model that answered, find what going through all records finds.
pub async fn opinions_are_found(store: &impl RecordStore) {
    let mut records = records(200);
    for (n, record) in (0_u32..).zip(&mut records) {
        record.model.version = ["v1", "v2"][n as usize / 3 % 2].into();
    }
    fill(store, &records).await;
    let mut all = Vec::new();
    for (n, record) in (0..).zip(&mut records) {
        if n % 3 > 0 {
            let said = opinion(n, record, n % 4 > 0);
            all.push(remarks(record.request_id, &said));
            record.opinion = Some(said);
        }
        if n % 5 == 0 {
            let said = [review(n, &record.prediction)];
            record.add_reviews(said.clone());
            assert_eq!(store.review(record.request_id, &said).await, Ok(true));
        }
    }
    assert!(
        store
            .remark(&all)
            .await
            .iter()
            .all(|kept| *kept == Ok(true))
    );
    records.sort_by_key(|record| std::cmp::Reverse(record.request_id));
    let mut found = 0;
    for prediction in [None, Some("aberta")] {
        for reviewed in [None, Some(true), Some(false)] {
            for differs in [None, Some(true), Some(false)] {
                for version in [None, Some("v1"), Some("v3")] {
                    let mut filter = Filter {
                        prediction: prediction.map(str::to_owned),
                        reviewed,
                        differs,
                        model: version.map(|version| ModelName {
                            name: "bottle".into(),
                            version: version.into(),
                        }),
                        limit: 7,
                        ..Filter::default()
                    };
                    let passes = |record: &&Record| {
                        let says = record
                            .opinion
                            .as_ref()
                            .map(|o| o.prediction != record.prediction);
                        prediction.is_none_or(|class| class == record.prediction)
                            && reviewed.is_none_or(|reviewed| reviewed == record.review.is_some())
                            && (differs.is_none() || says == differs)
                            && version.is_none_or(|version| version == record.model.version)
                    };
                    let expected: Vec<Record> = records.iter().filter(passes).cloned().collect();
                    let mut walked = Vec::new();
                    loop {
                        let page = store.list(&filter).await.unwrap();
                        walked.extend(page.records);
                        filter.before = page.next;
                        if filter.before.is_none() {
                            break;
                        }
                    }
                    assert!(
                        walked == expected,
                        "{filter:?}: {} {}",
                        walked.len(),
                        expected.len()
                    );
                    assert!(expected.iter().all(|record| filter.passes_remarks(record)));
                    found += walked.len();
                }
            }
        }
    }
    assert!(found > 500, "{found}: too little passes to prove anything");
}
