//! What every store of records must do with reviews.

use std::collections::HashMap;

use futures_util::future::join_all;
use jiff::Timestamp;
use relance::records::{Filter, KEPT, Queue, Record, Review, Selection, Tally, UNSURE};
use uuid::Uuid;

use super::record_store::{RecordStore, fill, record, records};

/// A review like no other: of a later `n` the identifier is greater.
pub fn review(n: u32, label: &str) -> Review {
    let selections = [Selection::Doubtful, Selection::Random, Selection::Chosen];
    Review {
        review_id: Uuid::from_u128((1 << 100) + u128::from(n)),
        label: label.into(),
        note: n
            .is_multiple_of(3)
            .then(|| format!("note {n} \"ção\" \n 🍾")),
        reviewer: format!("reviewer {}", n % 4),
        reviewed_at: Timestamp::from_millisecond(1_700_000_000_000 + i64::from(n)).unwrap(),
        selection: selections[n as usize % 3],
    }
}

/// The label that the `n`th record gets: its own class, another, or none.
fn label(record: &Record, n: u32) -> String {
    match n % 4 {
        0 => "outra".into(),
        1 => UNSURE.into(),
        _ => record.prediction.clone(),
    }
}

fn ids(records: &[Record]) -> Vec<Uuid> {
    records.iter().map(|record| record.request_id).collect()
}

/// Reviews come back whole, the same one is there once, and sending the record again leaves them.
pub async fn reviews_come_back_whole(store: &impl RecordStore) {
    let mut records = records(6);
    fill(store, &records).await;
    let id = records[2].request_id;
    assert_eq!(store.get(id).await.unwrap().unwrap().review, None);
    let (first, second) = (review(1, "aberta"), review(3, UNSURE));
    assert_eq!(
        store.review(id, std::slice::from_ref(&second)).await,
        Ok(true)
    );
    // An earlier one may arrive later.
    assert_eq!(
        store.review(id, std::slice::from_ref(&first)).await,
        Ok(true)
    );
    assert_eq!(
        store.review(id, std::slice::from_ref(&second)).await,
        Ok(true)
    );
    fill(store, &records).await;
    records[2].image_name = "other.jpg".into();
    fill(store, &records[2..3]).await;
    let found = store.get(id).await.unwrap().unwrap();
    assert_eq!(found.image_name, "other.jpg");
    assert_eq!(found.reviews(), [first, second.clone()]);
    assert_eq!(found.review, Some(second));
    let nobody = record(99).request_id;
    assert_eq!(
        store.review(nobody, &[review(1, "aberta")]).await,
        Ok(false)
    );

    // A record may bring its reviews along.
    records[4].add_reviews([review(5, "aberta")]);
    fill(store, &records[4..5]).await;
    let brought = store.get(records[4].request_id).await.unwrap();
    assert_eq!(brought.as_ref(), Some(&records[4]));

    assert_eq!(store.delete(id).await, Ok(true));
    assert_eq!(store.review(id, &[review(6, "aberta")]).await, Ok(false));
    fill(store, &records[2..3]).await;
    assert_eq!(store.get(id).await.unwrap().unwrap().review, None);
}

/// Of many reviewers at once, none is lost, as long as there are no more than are kept.
pub async fn reviewers_at_once_lose_nothing(store: &impl RecordStore) {
    fill(store, &records(1)).await;
    let id = record(0).request_id;
    let reviews: Vec<Review> = (0..8).map(|n| review(n, "aberta")).collect();
    let all = reviews
        .iter()
        .map(|one| store.review(id, std::slice::from_ref(one)));
    assert!(join_all(all).await.into_iter().all(|kept| kept == Ok(true)));
    let found = store.get(id).await.unwrap().unwrap();
    assert_eq!(found.reviews(), reviews);

    let many: Vec<Review> = (8..40).map(|n| review(n, "fechada")).collect();
    for some in many.chunks(5) {
        assert_eq!(store.review(id, some).await, Ok(true));
    }
    let found = store.get(id).await.unwrap().unwrap();
    assert_eq!(found.reviews(), &many[many.len() - KEPT..]);
    assert_eq!(found.review.as_ref(), many.last());
}

/// Lists by what was reviewed find what going through all records finds.
pub async fn reviews_are_found(store: &impl RecordStore) {
    let mut records = records(200);
    fill(store, &records).await;
    for (n, record) in (0..).zip(&mut records) {
        if n % 3 > 0 {
            continue;
        }
        let reviews = [review(2 * n, "antes"), review(2 * n + 1, &label(record, n))];
        record.add_reviews(reviews.clone());
        assert_eq!(store.review(record.request_id, &reviews).await, Ok(true));
    }
    records.sort_by_key(|record| std::cmp::Reverse(record.request_id));
    let mut found = 0;
    for prediction in [None, Some("aberta")] {
        for reviewed in [None, Some(true), Some(false)] {
            for label in [
                None,
                Some("outra"),
                Some("aberta"),
                Some(UNSURE),
                Some("antes"),
            ] {
                for disagrees in [None, Some(true), Some(false)] {
                    let mut filter = Filter {
                        prediction: prediction.map(str::to_owned),
                        label: label.map(str::to_owned),
                        reviewed,
                        disagrees,
                        limit: 7,
                        ..Filter::default()
                    };
                    let passes = |record: &&Record| {
                        let latest = record.reviews().last().map(|review| &*review.label);
                        let sure = latest.filter(|label| *label != UNSURE);
                        let differs = sure.map(|label| label != record.prediction);
                        prediction.is_none_or(|class| class == record.prediction)
                            && reviewed.is_none_or(|reviewed| reviewed == latest.is_some())
                            && (label.is_none() || latest == label)
                            && (disagrees.is_none() || differs == disagrees)
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
                    assert_eq!(ids(&walked), ids(&expected), "{filter:?}");
                    assert!(walked == expected, "{filter:?}");
                    found += walked.len();
                }
            }
        }
    }
    assert!(found > 500, "{found}: too little passes to prove anything");
}

/// A queue has what nobody has reviewed, in its order, and no record is in both or gets lost between them.
pub async fn queues_are_in_order(store: &impl RecordStore) {
    let records = records(120);
    fill(store, &records).await;
    let mut left: Vec<Record> = records.clone();
    for round in 0..4 {
        let mut all = Vec::new();
        for queue in [Queue::Doubtful, Queue::Random] {
            let mut expected: Vec<Record> = left
                .iter()
                .filter(|record| Queue::of(record) == Some(queue))
                .cloned()
                .collect();
            match queue {
                Queue::Doubtful => expected.sort_by(|a, b| a.confidence.total_cmp(&b.confidence)),
                Queue::Random => expected.sort_by_key(|r| std::cmp::Reverse(r.request_id)),
            }
            let found = store.unreviewed(queue, 1_000).await.unwrap();
            assert_eq!(found.len(), expected.len());
            let order = |records: &[Record]| -> Vec<f32> {
                records.iter().map(|record| record.confidence).collect()
            };
            match queue {
                Queue::Doubtful => assert_eq!(order(&found), order(&expected)),
                Queue::Random => assert_eq!(ids(&found), ids(&expected)),
            }
            let few = store.unreviewed(queue, 3).await.unwrap();
            assert_eq!(order(&few), order(&expected[..3]));
            all.extend(found);
        }
        all.sort_by_key(|record| record.request_id);
        // Of known pictures only those that chance has taken.
        let mut expected = left.clone();
        expected.retain(|record| !record.cached || record.request_id.as_bytes()[15] < 48);
        expected.sort_by_key(|record| record.request_id);
        assert_eq!(ids(&all), ids(&expected), "round {round}");
        // The first of all, whatever their queue.
        for record in left.drain(..20) {
            let reviews = [review(round, "aberta")];
            assert_eq!(store.review(record.request_id, &reviews).await, Ok(true));
        }
    }
}

/// Figures count the latest review of every reviewed record, of all models or one.
pub async fn figures_count_everything(store: &impl RecordStore) {
    let mut records = records(150);
    for (n, record) in (0_u32..).zip(&mut records) {
        record.model.version = ["v1", "v2"][n as usize % 2].into();
    }
    fill(store, &records).await;
    for (n, record) in (0..).zip(&mut records) {
        if n % 5 < 3 {
            let reviews = [review(2 * n, "antes"), review(2 * n + 1, &label(record, n))];
            record.add_reviews(reviews.clone());
            assert_eq!(store.review(record.request_id, &reviews).await, Ok(true));
        }
    }
    type Kind = (String, String, Selection, usize);
    for version in [None, Some("v1"), Some("nenhuma")] {
        let mut expected: HashMap<Kind, (u64, f64)> = HashMap::new();
        for record in &records {
            let Some(review) = &record.review else {
                continue;
            };
            if version.is_some_and(|version| version != record.model.version) {
                continue;
            }
            let sure = f64::from(record.confidence);
            let kind = (
                record.prediction.clone(),
                review.label.clone(),
                review.selection,
                ((sure * 10.0) as usize).min(9),
            );
            let (count, sum) = expected.entry(kind).or_default();
            *count += 1;
            *sum += sure;
        }
        let model = version.map(|version| relance::records::ModelName {
            name: "bottle".into(),
            version: version.into(),
        });
        let tallies = store.tallies(model.as_ref()).await.unwrap();
        assert_eq!(tallies.len(), expected.len(), "{tallies:?}");
        for Tally {
            prediction,
            label,
            selection,
            bin,
            count,
            confidence,
        } in tallies
        {
            let expected = expected[&(prediction, label, selection, bin)];
            assert_eq!(count, expected.0);
            assert!(
                (confidence - expected.1).abs() < 1e-3,
                "{confidence} {expected:?}"
            );
        }
    }
}
