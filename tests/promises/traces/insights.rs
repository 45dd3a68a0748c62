//! What Application Insights gets, over TLS, and that nothing else gets its key.

use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::{CALLER, TRACE, called_by};
use crate::support::sink::Sink;
use crate::support::{App, Setup, json, picture};

const KEY: &str = "9e1a2b3c-4d5e-4f60-8a7b-0123456789ab";

/// The items that Application Insights got.
fn envelopes(sink: &Sink) -> Vec<Value> {
    let mut all = Vec::new();
    for (path, headers, body) in sink.posts() {
        assert_eq!(path, "/v2/track");
        assert_eq!(headers["content-encoding"], "gzip");
        let mut text = String::new();
        GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
        all.extend(serde_json::from_str::<Vec<Value>>(&text).unwrap());
    }
    all
}

fn insights(sink: &Sink, certificate: &Path) -> Setup {
    let endpoint = format!("https://localhost:{}/", sink.address.port());
    let connection = format!("InstrumentationKey={KEY};IngestionEndpoint={endpoint}");
    Setup::new()
        .set("APPLICATIONINSIGHTS_CONNECTION_STRING", &connection)
        .set("SSL_CERT_FILE", certificate.to_str().unwrap())
        .set("OTEL_BSP_SCHEDULE_DELAY", "50")
        .set("TRACE_SAMPLE_RATIO", "0.5")
        .set("RUST_LOG", "trace")
        .set("DRAIN_DELAY_MS", "0")
}

#[tokio::test]
async fn application_insights_gets_requests_and_their_stages_and_the_log_never_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let certificate = dir.path().join("sink.pem");
    let sink = Sink::https(
        r#"{"itemsReceived":1,"itemsAccepted":1,"errors":[]}"#,
        &certificate,
    );
    let mut app = insights(&sink, &certificate).start().await;
    let request = app.post_picture(picture("jpeg-640x480.jpg"), "a.jpg");
    let (status, answer) = json(called_by(request, TRACE, "01")).await;
    assert_eq!(status, 200);
    app.signal("TERM");
    assert_eq!(app.wait(), Some(0));
    let items = envelopes(&sink);
    let kind = |kind: &str| -> Vec<&Value> {
        let of_kind = items.iter().filter(|item| item["data"]["baseType"] == kind);
        of_kind
            .filter(|item| item["tags"]["ai.operation.id"] == TRACE)
            .collect()
    };
    let [request] = kind("RequestData")[..] else {
        panic!("not one request: {items:?}");
    };
    assert_eq!(request["iKey"], KEY);
    assert_eq!(request["tags"]["ai.operation.parentId"], CALLER);
    assert_eq!(request["tags"]["ai.cloud.role"], "relance");
    assert_eq!(request["tags"]["ai.cloud.roleInstance"], "test");
    // Half of the requests are recorded, so each counts for two.
    assert_eq!(request["sampleRate"], 50.0);
    let data = &request["data"]["baseData"];
    assert_eq!(data["name"], "POST /predict");
    assert_eq!(
        (&data["responseCode"], &data["success"]),
        (&json!("200"), &json!(true))
    );
    assert_eq!(
        data["properties"]["relance.request_id"],
        answer["request_id"]
    );
    let mut stages = Vec::new();
    for stage in kind("RemoteDependencyData") {
        assert_eq!(stage["tags"]["ai.operation.parentId"], data["id"]);
        assert_eq!(stage["data"]["baseData"]["type"], "InProc");
        stages.push(stage["data"]["baseData"]["name"].as_str().unwrap());
    }
    stages.sort_unstable();
    let all = [
        "cache",
        "decode",
        "inference",
        "journal",
        "picture",
        "preprocess",
        "queue",
    ];
    assert_eq!(stages, all);

    let log = app.log();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "{log}");
    for secret in [KEY, "InstrumentationKey", "9e1a2b3c"] {
        assert!(!log.contains(secret), "the log tells {secret}");
    }
}

#[tokio::test]
async fn settings_that_cannot_work_are_one_line_without_their_value() {
    for connection in [
        KEY.to_owned(),
        format!("InstrumentationKey={KEY};IngestionEndpoint=localhost"),
        format!("InstrumentationKey={KEY};IngestionEndpoint=http://localhost"),
        format!("Key={KEY}"),
    ] {
        let line = Setup::new()
            .set("APPLICATIONINSIGHTS_CONNECTION_STRING", &connection)
            .refusal();
        assert!(
            line.contains("APPLICATIONINSIGHTS_CONNECTION_STRING"),
            "{line}"
        );
        assert!(
            line.contains("accepted is") && !line.contains(KEY),
            "{line}"
        );
    }
    for endpoint in [
        "localhost:4318",
        "user:hush@host",
        "http://",
        "ftp://hush@host",
    ] {
        let line = Setup::new()
            .set("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            .refusal();
        assert!(
            line.contains("OTEL_EXPORTER_OTLP_ENDPOINT") && !line.contains("hush"),
            "{line}"
        );
    }
    for ratio in ["-0.1", "1.5", "NaN"] {
        let line = Setup::new().set("TRACE_SAMPLE_RATIO", ratio).refusal();
        assert!(line.contains("TRACE_SAMPLE_RATIO"), "{line}");
    }
    // Portals set variables to nothing to mean "not set".
    let app: App = Setup::new()
        .set("APPLICATIONINSIGHTS_CONNECTION_STRING", "")
        .set("OTEL_EXPORTER_OTLP_ENDPOINT", " ")
        .start()
        .await;
    assert!(!app.log().contains("cannot"), "{}", app.log());
}
