//! What happens is told once a second, to all who listen alike, and costs nothing while nobody does.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{Stream, StreamExt};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use crate::support::{App, PATIENCE, Setup, eventually, json, picture, problem, unique};

/// Reads server-sent events.
struct Listener {
    body: std::pin::Pin<Box<dyn Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    text: String,
}

impl Listener {
    async fn of(request: RequestBuilder) -> Self {
        // The client's own patience is for whole answers.
        let answer = request.timeout(10 * PATIENCE).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        Self {
            body: Box::pin(answer.bytes_stream()),
            text: String::new(),
        }
    }

    async fn join(app: &App) -> Self {
        Self::of(app.get("/live")).await
    }

    /// The next event as it is written; nothing at the end of the stream.
    async fn event(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = event.to_owned();
                self.text = rest.to_owned();
                return Some(event);
            }
            let part = timeout(PATIENCE, self.body.next()).await.unwrap()?;
            self.text += std::str::from_utf8(&part.unwrap()).unwrap();
        }
    }

    async fn snapshot(&mut self) -> Value {
        let event = self.event().await.unwrap();
        let (_, data) = event.split_once("\ndata: ").unwrap();
        serde_json::from_str(data).unwrap()
    }
}

fn sum(snapshots: &[Value], pointer: &str) -> u64 {
    let values = snapshots.iter().map(|one| match one.pointer(pointer) {
        Some(Value::Array(counts)) => counts.iter().map(|count| count.as_u64().unwrap()).sum(),
        Some(Value::Object(counts)) => counts.values().map(|count| count.as_u64().unwrap()).sum(),
        Some(count) => count.as_u64().unwrap(),
        None => panic!("no {pointer} in {one}"),
    });
    values.sum()
}

#[tokio::test]
async fn snapshots_add_up_to_what_happened() {
    // It needs no metrics on its own port.
    let app = Setup::new().set("METRICS_PORT", "0").start().await;
    let known = picture("jpeg-224x224.jpg");
    app.predict(known.clone()).await;
    let mut listener = Listener::join(&app).await;
    let first = listener.snapshot().await;
    // What was before is not told as if it had just happened.
    assert_eq!(
        (&first["seconds"], &first["answers"]),
        (&0.0.into(), &0.into())
    );
    assert_eq!(first["requests_per_second"], Value::Null);
    assert_eq!(
        (&first["instance"], &first["status"]),
        (&"test".into(), &"ready".into())
    );
    assert_eq!(
        (&first["storage"], &first["cache"]["entries"]),
        (&"ok".into(), &1.into())
    );

    for n in 0..4 {
        app.predict(unique(&known, n)).await;
    }
    app.predict(known.clone()).await;
    json(app.post_picture(b"nothing".to_vec(), "x")).await;
    json(app.get("/requests")).await;
    let mut snapshots = Vec::new();
    while sum(&snapshots, "/requests/4xx") == 0 || sum(&snapshots, "/answers") < 5 {
        snapshots.push(listener.snapshot().await);
    }
    snapshots.push(listener.snapshot().await);

    for (pointer, expected) in [
        ("/answers", 5),
        ("/requests/2xx", 5),
        ("/requests/4xx", 1),
        ("/requests/5xx", 0),
        ("/requests/refused", 0),
        ("/latency/counts", 6),
        ("/classes", 5),
        ("/confidence/counts", 5),
        ("/cache/hits", 1),
        ("/cache/misses", 4),
    ] {
        assert_eq!(
            sum(&snapshots, pointer),
            expected,
            "{pointer}: {snapshots:#?}"
        );
    }
    let busy = snapshots.iter().find(|one| one["answers"] != 0).unwrap();
    let seconds = busy["seconds"].as_f64().unwrap();
    assert!((0.5..3.0).contains(&seconds), "{busy}");
    let rate = busy["requests_per_second"]["2xx"].as_f64().unwrap();
    let expected = busy["requests"]["2xx"].as_f64().unwrap() / seconds;
    assert!((rate - expected).abs() < 0.01, "{busy}");
    let quantiles = ["p50", "p95", "p99"].map(|name| busy["latency"][name].as_f64().unwrap());
    assert!(quantiles[0] > 0.0 && quantiles.is_sorted(), "{busy}");
    assert_eq!(busy["latency"]["bounds"].as_array().unwrap().len(), 20);
    assert!(busy["cpu"].as_f64().unwrap() >= 0.0);
    assert!(busy["memory_bytes"].as_u64().unwrap() > 10_000_000);

    let quiet = snapshots.last().unwrap();
    assert_eq!(
        (&quiet["latency"]["p50"], &quiet["cache"]["ratio"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(quiet["in_flight"], 0);
}

#[tokio::test]
async fn all_get_the_same_and_whoever_comes_later_the_last_minutes_first() {
    let app = App::start().await;
    let mut early = Listener::join(&app).await;
    let mut events = Vec::new();
    for _ in 0..4 {
        events.push(early.event().await.unwrap());
    }
    assert_eq!(events[0].lines().next(), Some("id: 1"));
    let start = Instant::now();
    let mut late = Listener::join(&app).await;
    for event in &events {
        assert_eq!(late.event().await.as_ref(), Some(event));
    }
    assert!(
        start.elapsed() < Duration::from_millis(900),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(early.event().await, late.event().await);
    assert_eq!(app.metric("relance_live_listeners").await, 2);
    drop(early);
    drop(late);
    eventually("nobody listens", async || {
        app.metric("relance_live_listeners").await == 0
    })
    .await;
    // Who comes back soon finds no gap.
    let mut back = Listener::join(&app).await;
    assert_eq!(back.event().await.as_ref(), Some(&events[0]));
}

#[tokio::test]
async fn only_so_many_may_listen() {
    let app = App::start().await;
    let mut listeners = join_all((0..64).map(|_| Listener::join(&app))).await;
    let detail = problem(app.get("/live"), 503, "busy").await;
    assert!(detail.contains("too many listen"), "{detail}");
    let refused = app.get("/live").send().await.unwrap();
    assert_eq!(refused.headers()["retry-after"], "5");
    // Others are served as ever.
    app.predict(picture("jpeg-1x1.jpg")).await;
    let snapshots = join_all(listeners.iter_mut().map(Listener::event)).await;
    assert!(snapshots.iter().all(|event| *event == snapshots[0]));
    listeners.pop();
    eventually("a place is free", async || {
        let answer = app.get("/live").send().await.unwrap();
        answer.status() == StatusCode::OK
    })
    .await;
}

#[tokio::test]
async fn it_needs_the_credentials_and_no_picture_of_the_limit() {
    let app = Setup::new()
        .set("API_USERNAME", "ana")
        .set("API_PASSWORD", "secret")
        .set("RATE_LIMIT_PER_MINUTE", "1")
        .start()
        .await;
    problem(app.get("/live"), 401, "unauthorised").await;
    for _ in 0..3 {
        let mut listener = Listener::of(app.get("/live").basic_auth("ana", Some("secret"))).await;
        listener.snapshot().await;
    }
    let one = app
        .post_picture(picture("jpeg-1x1.jpg"), "a.jpg")
        .basic_auth("ana", Some("secret"));
    assert_eq!(one.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn streams_do_not_hold_up_the_end() {
    let mut app = Setup::new().set("DRAIN_DELAY_MS", "2000").start().await;
    let mut listeners = join_all((0..3).map(|_| Listener::join(&app))).await;
    for listener in &mut listeners {
        listener.snapshot().await;
    }
    let start = Instant::now();
    app.signal("TERM");
    for listener in &mut listeners {
        while listener.event().await.is_some() {}
    }
    assert!(
        start.elapsed() < Duration::from_millis(1_500),
        "{:?}",
        start.elapsed()
    );
    let detail = problem(app.get("/live"), 503, "busy").await;
    assert!(detail.contains("shutting down"), "{detail}");
    assert_eq!(app.wait(), Some(0));
    assert!(
        start.elapsed() < Duration::from_secs(6),
        "{:?}",
        start.elapsed()
    );
}
