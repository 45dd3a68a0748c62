//! The same picture at the same time is one inference, and too much work is refused quickly.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::Value;

use crate::support::{App, SLOW, Setup, eventually, json, picture, unique};

const INFERENCES: &str = r#"relance_stage_seconds_count{stage="inference"}"#;
const FROM_MODEL: &str = r#"relance_results_total{source="model"}"#;
const FROM_MEMORY: &str = r#"relance_results_total{source="memory"}"#;
const FROM_FLIGHT: &str = r#"relance_results_total{source="flight"}"#;
const ABANDONED: &str = "relance_abandoned_total";
const QUEUED: &str = "relance_queue_length";

/// An answer and how long it took.
struct Timed {
    status: StatusCode,
    retry_after: Option<u64>,
    body: Value,
    took: Duration,
}

async fn post(app: &App, bytes: Vec<u8>) -> Timed {
    let start = Instant::now();
    let response = app.post_picture(bytes, "a.png").send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let retry_after = headers
        .get("retry-after")
        .map(|value| value.to_str().unwrap().parse().unwrap());
    Timed {
        status,
        retry_after,
        body: response.json().await.unwrap(),
        took: start.elapsed(),
    }
}

async fn post_distinct(app: &App, count: u64) -> Vec<Timed> {
    join_all((0..count).map(|n| post(app, unique(&SLOW, n)))).await
}

fn with(answers: &[Timed], status: u16) -> Vec<&Timed> {
    answers
        .iter()
        .filter(|answer| answer.status == status)
        .collect()
}

#[tokio::test]
async fn a_thousand_posts_of_one_picture_are_one_inference() {
    let app = App::start().await;
    let bytes = picture("jpeg-1280x960.jpg");
    let answers = join_all((0..1000).map(|_| post(&app, bytes.clone()))).await;
    assert_eq!(with(&answers, 200).len(), 1000);
    let fresh = answers
        .iter()
        .filter(|answer| answer.body["cached"] == false)
        .count();
    assert_eq!(fresh, 1);
    for answer in &answers {
        assert_eq!(answer.body["top"], answers[0].body["top"]);
    }
    assert_eq!(app.metric(INFERENCES).await, 1);
    assert_eq!(
        (
            app.metric(FROM_MODEL).await,
            app.metric(FROM_MEMORY).await + app.metric(FROM_FLIGHT).await
        ),
        (1, 999)
    );
    let listed = json(app.get("/requests?limit=500")).await.1;
    assert_eq!(
        listed["requests"].as_array().unwrap().len(),
        500,
        "every answer has its own record"
    );
}

/// Keeps the one worker busy with twelve slow pictures, behind which a hundred others wait; the clients of
/// these hang up, and `others` do what they like at the same time.
async fn hang_up(app: &App, others: impl Future<Output = ()>) {
    let small = picture("jpeg-1x1.jpg");
    let slow = async {
        let answers = post_distinct(app, 12).await;
        assert_eq!(with(&answers, 200).len(), 12);
    };
    let impatient = async {
        eventually("slow pictures fill the queue", async || {
            app.metric(QUEUED).await >= 10
        })
        .await;
        let waiting = join_all((0..100).map(|n| post(app, unique(&small, n))));
        tokio::select! {
            _ = waiting => panic!("answered before the slow pictures"),
            () = eventually("the others are queued", async || app.metric(QUEUED).await > 100) => {}
        }
        // Dropping the requests has closed their connections.
    };
    let others = async {
        eventually("slow pictures fill the queue", async || {
            app.metric(QUEUED).await >= 10
        })
        .await;
        others.await;
    };
    tokio::join!(slow, impatient, others);
    eventually("the queue is empty", async || app.metric(QUEUED).await == 0).await;
}

#[tokio::test]
async fn clients_that_hang_up_before_their_turn_cost_no_inference() {
    let app = Setup::new()
        .set("WORKERS", "1")
        .set("MAX_QUEUE_MS", "60000")
        .start()
        .await;
    LazyLock::force(&SLOW);
    hang_up(&app, async {}).await;
    assert_eq!(app.metric(INFERENCES).await, 12);
    // More than 100 were in the queue, of which at most 12 were slow ones.
    assert!(app.metric(ABANDONED).await >= 89);
}

#[tokio::test]
async fn clients_that_hang_up_do_not_take_along_others_with_the_same_picture() {
    let app = Setup::new()
        .set("WORKERS", "1")
        .set("MAX_QUEUE_MS", "60000")
        .start()
        .await;
    LazyLock::force(&SLOW);
    let small = picture("jpeg-1x1.jpg");
    let others = async {
        let answers = join_all((0..100).map(|n| post(&app, unique(&small, n)))).await;
        assert_eq!(with(&answers, 200).len(), 100);
    };
    hang_up(&app, others).await;
    assert_eq!(app.metric(INFERENCES).await, 112);
}

#[tokio::test]
async fn too_much_work_is_refused_at_once_and_hurts_nobody() {
    let app = Setup::new()
        .set("WORKERS", "1")
        .set("MAX_QUEUE_MS", "50")
        .start()
        .await;
    LazyLock::force(&SLOW);
    let flood = post_distinct(&app, 200);
    let probes = async {
        let mut statuses = Vec::new();
        for _ in 0..20 {
            statuses.push(app.get("/health").send().await.unwrap().status());
            statuses.push(app.get("/health/ready").send().await.unwrap().status());
        }
        statuses
    };
    let (answers, probes) = tokio::join!(flood, probes);
    assert!(
        probes.iter().all(|status| *status == StatusCode::OK),
        "{probes:?}"
    );

    let (served, refused) = (with(&answers, 200), with(&answers, 503));
    assert_eq!(served.len() + refused.len(), 200);
    assert!(
        !served.is_empty() && refused.len() >= 100,
        "{} served",
        served.len()
    );
    for answer in &refused {
        assert_eq!(
            answer.body["type"], "urn:relance:problem:busy",
            "{}",
            answer.body
        );
        assert!(
            answer.body["detail"]
                .as_str()
                .unwrap()
                .contains("try again in"),
            "{}",
            answer.body
        );
        assert!(answer.retry_after.is_some_and(|seconds| seconds >= 1));
    }
    let mut times: Vec<Duration> = refused.iter().map(|answer| answer.took).collect();
    times.sort_unstable();
    assert!(
        times[0] >= Duration::from_millis(8),
        "who asks again at once is refused too often: {:?}",
        times[0]
    );
    let median = times[times.len() / 2];
    println!(
        "{} served, {} refused, half of them within {median:?}",
        served.len(),
        refused.len()
    );
    // Generous, for the clients and other tests share the processor; the queue alone is a second long.
    assert!(
        median < Duration::from_millis(500),
        "refusals take {median:?}"
    );
    assert_eq!(app.metric(INFERENCES).await, served.len() as u64);

    let after = post(&app, unique(&SLOW, 1000)).await;
    assert_eq!(after.status, StatusCode::OK, "{}", after.body);
}

#[tokio::test]
async fn what_cannot_be_answered_in_time_is_504() {
    LazyLock::force(&SLOW);
    // Long enough for one picture, on a machine that may be busy, and too short for all.
    let mut limit = 500;
    let (app, answers) = loop {
        let app = Setup::new()
            .set("WORKERS", "1")
            .set("REQUEST_TIMEOUT_MS", &limit.to_string())
            .set("MAX_QUEUE_MS", "60000")
            .start()
            .await;
        let answers = post_distinct(&app, limit / 12).await;
        if limit > 4000 || !with(&answers, 200).is_empty() {
            break (app, answers);
        }
        limit *= 2;
    };
    let (served, late) = (with(&answers, 200), with(&answers, 504));
    assert_eq!(served.len() + late.len(), answers.len());
    assert!(
        !served.is_empty() && !late.is_empty(),
        "{} served within {limit} ms",
        served.len()
    );
    for answer in &late {
        assert_eq!(
            answer.body["type"], "urn:relance:problem:deadline",
            "{}",
            answer.body
        );
        assert!(
            (limit..limit + 4500).contains(&(answer.took.as_millis() as u64)),
            "{:?} of {limit} ms",
            answer.took
        );
    }
    eventually("the queue is empty", async || app.metric(QUEUED).await == 0).await;
    // One picture was with the worker at the deadline, and a few answers were ready too late to be stored in time;
    // the others cost no inference.
    assert!(app.metric(INFERENCES).await <= served.len() as u64 + 3);
    assert!(app.metric(ABANDONED).await > 0);
    eventually("serves again", async || {
        post(&app, picture("jpeg-1x1.jpg")).await.status == StatusCode::OK
    })
    .await;
}
