//! Log lines tell the request they belong to, never the client's address, and don't flood.

use serde_json::Value;

use crate::support::{App, Setup, eventually, json, picture};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const ADDRESS: &str = "203.0.113.77";

fn lines(app: &App) -> Vec<Value> {
    let log = app.log();
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    log.lines().map(parse).collect()
}

/// The line of the access log for the request `id`.
async fn access(app: &App, id: &str) -> Value {
    let mut found = Vec::new();
    eventually("the request is logged", async || {
        found = lines(app);
        found.retain(|line| line["request_id"] == id);
        !found.is_empty()
    })
    .await;
    let [line] = &found[..] else {
        panic!("not one line: {found:?}");
    };
    assert_eq!(line["target"], "relance::access");
    line.clone()
}

#[tokio::test]
async fn each_line_is_an_object_that_names_its_request() {
    let app = Setup::new()
        .set("LOG_FORMAT", "json")
        .set("RUST_LOG", "info,relance::access=debug")
        .set("API_USERNAME", "ana")
        .set("API_PASSWORD", "hush hush")
        .set("TRUSTED_PROXIES", "1")
        .start()
        .await;
    assert_eq!(app.get("/health").send().await.unwrap().status(), 200);
    let bytes = picture("jpeg-224x224.jpg");
    let size = bytes.len();
    let request = app
        .post("/predict?top=2")
        .basic_auth("ana", Some("hush hush"))
        .header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-00"))
        .header("x-forwarded-for", ADDRESS)
        .header("content-type", "image/jpeg")
        .body(bytes);
    let answer = request.send().await.unwrap();
    let id = answer.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let sent = answer.bytes().await.unwrap().len();
    let line = access(&app, &id).await;
    assert_eq!(line["level"], "DEBUG");
    assert_eq!(line["trace_id"], TRACE);
    assert_eq!(
        (&line["method"], &line["route"]),
        (&"POST".into(), &"/predict".into())
    );
    assert_eq!(
        (line["status"].as_u64(), line["client"].as_str()),
        (Some(200), Some("ana"))
    );
    assert_eq!(line["bytes"].as_u64(), Some(size as u64));
    assert_eq!(line["sent"].as_u64(), Some(sent as u64));
    let millis = line["millis"].as_f64().unwrap();
    assert!(millis > 0.0 && millis < 10_000.0, "{millis}");
    jiff::Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.fZ", line["timestamp"].as_str().unwrap())
        .or_else(|_| line["timestamp"].as_str().unwrap().parse())
        .unwrap();

    let (status, problem) = json(
        app.get("/requests?limit=x")
            .header("x-forwarded-for", ADDRESS),
    )
    .await;
    assert_eq!(status, 401);
    assert!(problem.get("trace_id").is_none());
    let line = access(&app, problem["request_id"].as_str().unwrap()).await;
    assert_eq!(line["status"], 401);
    assert!(
        line.get("client").is_none() && line.get("trace_id").is_none(),
        "{line}"
    );

    let log = app.log();
    assert!(!log.contains(ADDRESS) && !log.contains("hush"), "{log}");
    assert!(!log.contains("/health"), "{log}");
}

#[tokio::test]
async fn failures_that_repeat_are_logged_some_and_counted_all() {
    const FAILURES: u64 = 300;
    let dir = tempfile::tempdir().unwrap();
    let app = Setup::new().data(dir.path()).start().await;
    let bytes = picture("jpeg-224x224.jpg");
    // A file where the folder of pictures should be: no picture can be stored.
    let pictures = dir.path().join("pictures");
    let _ = std::fs::remove_dir_all(&pictures);
    std::fs::write(&pictures, "").unwrap();
    let mut last = Value::Null;
    for _ in 0..FAILURES {
        let (status, problem) = json(app.post_picture(bytes.clone(), "a.jpg")).await;
        assert!(status.is_server_error(), "{problem}");
        last = problem;
    }
    let suppressed = app.metric("relance_log_lines_suppressed_total").await;
    let logged = app.log().matches(" WARN request ").count() as u64;
    assert_eq!(logged + suppressed, FAILURES, "{last}");
    assert!((1..FAILURES / 2).contains(&logged), "{logged}");
    let log = app.log();
    let line = log
        .lines()
        .find(|line| line.contains(" WARN request "))
        .unwrap();
    assert!(
        line.contains(" route=\"/predict\" ") && line.contains(" request_id=0"),
        "{line}"
    );
    // The next line after a pause tells how many are missing.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    json(app.post_picture(bytes, "a.jpg")).await;
    eventually("the missing lines are told", async || {
        app.log().contains(&format!(" suppressed={suppressed}"))
    })
    .await;
}
