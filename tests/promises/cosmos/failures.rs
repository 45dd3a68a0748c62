//! What happens while the account is not there, is too slow, or does not let us in.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use relance::records::cosmos::Cosmos;
use relance::records::{Filter, Record};
use relance::remote::{Failure, FailureKind, State};
use serde_json::json;

use uuid::Uuid;

use crate::support::cosmos::{Emulator, KEY, container, cosmos, settings};
use crate::support::eventually;
use crate::support::proxy::{Mode, Proxy};
use crate::support::record_store::{record, records};

/// Longest time for connecting and the call itself, with some for a loaded machine.
const BOUND: Duration = Duration::from_secs(4 + 4 + 2);

/// Every mode in which nothing works, and what each is called.
fn troubles() -> Vec<(Mode, FailureKind)> {
    use FailureKind::{Denied, Throttled, Unavailable};
    vec![
        (Mode::Refuse, Unavailable),
        (Mode::Stall, Unavailable),
        (Mode::Slow(Duration::from_secs(30)), Unavailable),
        (Mode::Cut, Unavailable),
        (Mode::Reset, Unavailable),
        (Mode::Answer(500), Unavailable),
        (Mode::Answer(503), Unavailable),
        (Mode::Answer(429), Throttled),
        (Mode::Answer(401), Denied),
        (Mode::Answer(403), Denied),
    ]
}

fn check(failure: &Failure, kind: FailureKind, what: &str) {
    assert_eq!(failure.kind, kind, "{what}: {failure}");
    assert!(!failure.message.contains(KEY), "{what}: {failure}");
    assert!(failure.message.len() < 500, "{what}: {failure}");
}

/// Asks for everything that can be asked; all of it must fail so, each within the bound.
async fn all_fail(cosmos: &Cosmos, kind: FailureKind, what: &str) {
    let many: Vec<Record> = records(200);
    let one = many[0].request_id;
    let start = Instant::now();
    let outcomes = cosmos.upsert(&many).await;
    assert!(
        start.elapsed() < BOUND,
        "{what}: upsert {:?}",
        start.elapsed()
    );
    assert_eq!(outcomes.len(), many.len());
    for outcome in outcomes {
        check(&outcome.unwrap_err(), kind, what);
    }
    let start = Instant::now();
    check(&cosmos.get(one).await.unwrap_err(), kind, what);
    assert!(start.elapsed() < BOUND, "{what}: get {:?}", start.elapsed());
    let filter = Filter {
        limit: 10,
        ..Filter::default()
    };
    check(&cosmos.list(&filter).await.unwrap_err(), kind, what);
    check(&cosmos.delete(one).await.unwrap_err(), kind, what);
    check(
        &cosmos.refers_to("00", Uuid::nil()).await.unwrap_err(),
        kind,
        what,
    );
    assert!(
        matches!(cosmos.presence().state(), State::Down(_)),
        "{what}: {:?}",
        cosmos.presence().state()
    );
}

async fn comes_back(cosmos: &Cosmos, what: &str) {
    let start = Instant::now();
    let one = record(0);
    eventually(what, async || {
        cosmos.upsert(std::slice::from_ref(&one)).await == [Ok(())]
    })
    .await;
    assert!(
        start.elapsed() < BOUND,
        "{what}: back after {:?}",
        start.elapsed()
    );
    assert_eq!(cosmos.get(one.request_id).await, Ok(Some(one)), "{what}");
    assert_eq!(cosmos.presence().state(), State::Up, "{what}");
}

#[tokio::test]
async fn an_account_that_was_not_there_at_start_is_used_when_it_comes() {
    let emulator = Emulator::start().await;
    join_all(troubles().into_iter().map(async |(mode, kind)| {
        let proxy = Proxy::before(emulator.address(), mode);
        let start = Instant::now();
        let cosmos = cosmos(&proxy.url());
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "nothing is waited for"
        );
        assert_eq!(cosmos.presence().state(), State::Unknown);
        let what = format!("{mode:?} at start");
        all_fail(&cosmos, kind, &what).await;
        proxy.set(Mode::Pass);
        comes_back(&cosmos, &what).await;
    }))
    .await;
}

#[tokio::test]
async fn an_account_that_goes_away_is_used_again_when_it_is_back() {
    let emulator = Emulator::start().await;
    join_all(troubles().into_iter().map(async |(mode, kind)| {
        let proxy = Proxy::before(emulator.address(), Mode::Pass);
        let cosmos = cosmos(&proxy.url());
        comes_back(&cosmos, "before").await;
        proxy.set(mode);
        let what = format!("{mode:?} later");
        all_fail(&cosmos, kind, &what).await;
        proxy.set(Mode::Pass);
        comes_back(&cosmos, &what).await;
    }))
    .await;
}

#[tokio::test]
async fn an_account_that_is_merely_slow_is_waited_for() {
    let emulator = Emulator::start().await;
    let proxy = Proxy::before(emulator.address(), Mode::Slow(Duration::from_millis(100)));
    let cosmos = cosmos(&proxy.url());
    let many = records(64);
    assert!(cosmos.upsert(&many).await.iter().all(Result::is_ok));
    assert_eq!(
        cosmos.get(many[3].request_id).await,
        Ok(Some(many[3].clone()))
    );
}

#[tokio::test]
async fn calls_meanwhile_fail_at_once() {
    let proxy = Proxy::before("127.0.0.1:9", Mode::Stall);
    let cosmos = cosmos(&proxy.url());
    let one = record(0).request_id;
    // Of those that come together, one connects and all get its outcome.
    let start = Instant::now();
    let all = join_all((0..50).map(|_| cosmos.get(one))).await;
    assert!(all.iter().all(Result::is_err));
    assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
    let start = Instant::now();
    let failure = cosmos.get(one).await.unwrap_err();
    assert!(
        start.elapsed() < Duration::from_millis(200),
        "{:?}",
        start.elapsed()
    );
    assert!(failure.retry_after.is_some());
}

#[tokio::test]
async fn throttled_records_say_when_to_come_again() {
    let emulator = Emulator::empty();
    emulator.create_container(&container(), Some(400)).await;
    let cosmos = cosmos(&emulator.url);
    let mut left = records(300);
    let mut throttled = 0;
    let start = Instant::now();
    while !left.is_empty() {
        let outcomes = cosmos.upsert(&left).await;
        let mut wait = Duration::ZERO;
        let mut again = Vec::new();
        for (record, outcome) in left.into_iter().zip(outcomes) {
            if let Err(failure) = outcome {
                check(&failure, FailureKind::Throttled, "too much");
                wait = wait.max(failure.retry_after.expect("a time"));
                again.push(record);
            }
        }
        throttled += again.len();
        left = again;
        assert!(wait < Duration::from_secs(5), "{wait:?}");
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{} left",
            left.len()
        );
        tokio::time::sleep(wait).await;
    }
    assert!(
        throttled > 0,
        "400 request units a second were enough for 300 records"
    );
}

#[tokio::test]
async fn a_container_that_is_not_there_is_named() {
    let emulator = Emulator::empty();
    let cosmos = cosmos(&emulator.url);
    let missing = cosmos.get(record(0).request_id).await.unwrap_err();
    check(&missing, FailureKind::Denied, "no database");
    for word in ["requests", "relance", "AZURE_COSMOS_CONTAINER"] {
        assert!(missing.message.contains(word), "{missing}");
    }
    emulator.create_container(&container(), None).await;
    comes_back(&cosmos, "made later").await;
}

#[tokio::test]
async fn a_container_that_is_made_anew_is_found() {
    let emulator = Emulator::start().await;
    let cosmos = cosmos(&emulator.url);
    comes_back(&cosmos, "before").await;
    emulator.delete_container().await;
    for outcome in cosmos.upsert(&records(50)).await {
        check(&outcome.unwrap_err(), FailureKind::Denied, "deleted");
    }
    emulator.create_container(&container(), None).await;
    comes_back(&cosmos, "made anew").await;
}

#[tokio::test]
async fn a_container_with_another_partition_key_is_not_used() {
    let emulator = Emulator::empty();
    let mut other = container();
    other["partitionKey"]["paths"] = json!(["/instance"]);
    emulator.create_container(&other, None).await;
    let cosmos = cosmos(&emulator.url);
    let outcomes = cosmos.upsert(&records(3)).await;
    for outcome in outcomes {
        let failure = outcome.unwrap_err();
        check(&failure, FailureKind::Denied, "other key");
        assert!(
            failure.message.contains("not partitioned by /id"),
            "{failure}"
        );
    }
}

#[tokio::test]
async fn a_record_that_is_too_large_is_rejected_alone() {
    let emulator = Emulator::start().await;
    let cosmos = cosmos(&emulator.url);
    let mut some = records(5);
    some[2].image_name = "x".repeat(3 << 20);
    let outcomes = cosmos.upsert(&some).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Err(failure) if n == 2 => check(&failure, FailureKind::Rejected, "too large"),
            outcome => assert_eq!(outcome, Ok(()), "{n}"),
        }
    }
    assert_eq!(cosmos.presence().state(), State::Up);
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let endpoint = ("endpoint", "https://account.documents.azure.com");
    let key = ("key", KEY);
    for (flags, variable) in [
        (vec![key], "AZURE_COSMOS_ENDPOINT"),
        (vec![("endpoint", "account"), key], "AZURE_COSMOS_ENDPOINT"),
        (
            vec![("endpoint", "http://account.example"), key],
            "AZURE_COSMOS_ENDPOINT",
        ),
        (vec![endpoint, ("key", "not a key!")], "AZURE_COSMOS_KEY"),
        (
            vec![endpoint, key, ("database", " ")],
            "AZURE_COSMOS_DATABASE",
        ),
        (
            vec![endpoint, key, ("container", "a/b")],
            "AZURE_COSMOS_CONTAINER",
        ),
    ] {
        let error = Cosmos::new(&settings(&flags), 0).err().unwrap().to_string();
        assert!(error.starts_with(variable), "{error}");
        assert!(
            !error.contains(KEY) && !error.contains("not a key"),
            "{error}"
        );
        assert!(!error.contains('\n'), "{error}");
    }
    let region = ("region", "westeurope");
    assert!(Cosmos::new(&settings(&[endpoint, key, region]), 30).is_ok());
    assert!(
        Cosmos::new(&settings(&[endpoint]), 30).is_ok(),
        "a token is asked for later"
    );
}
