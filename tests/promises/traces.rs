//! Traces arrive where they are sent, whole and right; what happens there never reaches those who ask.

mod grpc;
mod insights;
mod stores;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::support::proxy::{Mode, Proxy};
use crate::support::sink::Sink;
use crate::support::{Setup, eventually, json, picture, unique};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// An instance that sends spans soon after they end.
fn setup(collector: &str) -> Setup {
    Setup::new()
        .set("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
        .set("OTEL_BSP_SCHEDULE_DELAY", "50")
        .set("TRACE_MAX_PER_SECOND", "0")
        .set("DRAIN_DELAY_MS", "0")
}

fn called_by(request: RequestBuilder, trace: &str, flags: &str) -> RequestBuilder {
    request
        .header("traceparent", format!("00-{trace}-{CALLER}-{flags}"))
        .header("tracestate", "vendor=opaque")
}

fn attributes(given: &[KeyValue]) -> BTreeMap<String, Value> {
    let value = |value: &AnyValue| match value.value.as_ref().unwrap() {
        Any::StringValue(text) => json!(text),
        Any::IntValue(number) => json!(number),
        Any::BoolValue(truth) => json!(truth),
        other => panic!("{other:?}"),
    };
    let pair = |pair: &KeyValue| (pair.key.clone(), value(pair.value.as_ref().unwrap()));
    given.iter().map(pair).collect()
}

/// What an OTLP collector got: each span with the attributes of its process.
fn collected(sink: &Sink) -> Vec<(Span, BTreeMap<String, Value>)> {
    let mut spans = Vec::new();
    for (path, headers, body) in sink.posts() {
        assert_eq!(path, "/v1/traces");
        assert_eq!(headers["content-type"], "application/x-protobuf");
        for resource in ExportTraceServiceRequest::decode(body)
            .unwrap()
            .resource_spans
        {
            let process = attributes(&resource.resource.unwrap().attributes);
            for scope in resource.scope_spans {
                spans.extend(scope.spans.into_iter().map(|span| (span, process.clone())));
            }
        }
    }
    spans
}

/// Waits for the span of a request, and returns it and the spans below it by name.
async fn tree(sink: &Sink, trace: &str) -> (Span, BTreeMap<String, Span>) {
    let mut server = None;
    eventually("the request's span has arrived", async || {
        let spans = collected(sink).into_iter().map(|(span, _)| span);
        server = spans
            .filter(|span| hex::encode(&span.trace_id) == trace)
            .find(|span| span.kind == SpanKind::Server as i32);
        server.is_some()
    })
    .await;
    let server = server.unwrap();
    let spans = collected(sink).into_iter().map(|(span, _)| span);
    let below = spans.filter(|span| span.parent_span_id == server.span_id);
    let below = below.map(|span| (span.name.clone(), span)).collect();
    (server, below)
}

fn seconds(span: &Span) -> f64 {
    (span.end_time_unix_nano - span.start_time_unix_nano) as f64 / 1e9
}

fn names(spans: &BTreeMap<String, Span>) -> Vec<&str> {
    spans.keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_request_is_a_tree_of_spans_in_the_callers_trace() {
    let sink = Sink::http("");
    let app = setup(&format!("http://{}/", sink.address))
        // The caller's decision counts.
        .set("TRACE_SAMPLE_RATIO", "0")
        .set("OTEL_SERVICE_NAME", "gate-7")
        .set("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
        .set("API_USERNAME", "ana")
        .set("API_PASSWORD", "secret")
        .start()
        .await;
    let bytes = picture("jpeg-1280x960.jpg");
    let size = bytes.len();
    let post = |trace: &str, flags: &str| {
        let request = app
            .post("/predict?top=1")
            .header("content-type", "image/jpeg")
            .basic_auth("ana", Some("secret"))
            .body(bytes.clone());
        called_by(request, trace, flags)
    };
    let answer = post(TRACE, "01").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let header = answer.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["request_id"], header);

    let (server, below) = tree(&sink, TRACE).await;
    assert_eq!(server.name, "POST /predict");
    assert_eq!(hex::encode(&server.parent_span_id), CALLER);
    assert_eq!(server.trace_state, "vendor=opaque");
    let told = attributes(&server.attributes);
    let expected = json!({
        "http.request.method": "POST", "http.route": "/predict", "http.response.status_code": 200,
        "http.request.body.size": size, "url.path": "/predict", "url.scheme": "http", "user.id": "ana",
        "relance.request_id": header, "relance.source": "model", "relance.prediction": answer["prediction"],
    });
    assert_eq!(json!(told), expected);

    let all = [
        "cache",
        "decode",
        "inference",
        "journal",
        "picture",
        "preprocess",
        "queue",
    ];
    assert_eq!(names(&below), all);
    for span in below.values() {
        assert_eq!(hex::encode(&span.trace_id), TRACE);
        assert_eq!(span.kind, SpanKind::Internal as i32);
        assert!(
            span.start_time_unix_nano >= server.start_time_unix_nano,
            "{span:?}"
        );
        assert!(
            span.end_time_unix_nano <= server.end_time_unix_nano,
            "{span:?}"
        );
    }
    let order = [
        "cache",
        "queue",
        "decode",
        "preprocess",
        "inference",
        "picture",
        "journal",
    ];
    for pair in order.windows(2) {
        let (first, second) = (&below[pair[0]], &below[pair[1]]);
        assert!(
            first.end_time_unix_nano <= second.start_time_unix_nano,
            "{pair:?}"
        );
    }
    let sum: f64 = below.values().map(seconds).sum();
    assert!(
        sum <= seconds(&server) && seconds(&server) < 10.0,
        "{sum} {server:?}"
    );
    assert!(seconds(&below["decode"]) > 1e-4, "{:?}", below["decode"]);
    assert!(
        seconds(&below["inference"]) > 1e-4,
        "{:?}",
        below["inference"]
    );

    let (_, process) = collected(&sink).remove(0);
    assert_eq!(process["service.name"], "gate-7");
    assert_eq!(process["service.instance.id"], "test");
    assert_eq!(process["service.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(process["deployment.environment"], "test");

    // Known now, and asked for by nobody's decision, by another's decision against, and for.
    let (status, _) = json(app.get("/models").basic_auth("ana", Some("secret"))).await;
    assert_eq!(status, 200);
    let (against, second) = (TRACE.replace('0', "1"), TRACE.replace('0', "2"));
    assert_eq!(post(&against, "00").send().await.unwrap().status(), 200);
    assert_eq!(post(&second, "01").send().await.unwrap().status(), 200);
    let (server, below) = tree(&sink, &second).await;
    assert_eq!(names(&below), ["cache", "journal"]);
    assert_eq!(attributes(&server.attributes)["relance.source"], "memory");
    for (span, _) in collected(&sink) {
        let trace = hex::encode(&span.trace_id);
        assert!(trace == TRACE || trace == second, "{span:?}");
    }
}

#[tokio::test]
async fn refusals_and_work_in_the_background_are_told_and_probes_are_not() {
    let sink = Sink::http("");
    let app = setup(&format!("http://{}", sink.address))
        .set("TRACE_SAMPLE_RATIO", "1")
        .start()
        .await;
    for path in ["/health", "/health/ready", "/metrics"] {
        assert_eq!(app.get(path).send().await.unwrap().status(), 200);
    }
    let request = app.post_picture(b"no picture".to_vec(), "x.jpg");
    let (status, problem) = json(called_by(request, TRACE, "01")).await;
    assert_eq!(status, 415);
    assert_eq!(problem["trace_id"], TRACE);
    let (server, below) = tree(&sink, TRACE).await;
    let told = attributes(&server.attributes);
    assert_eq!(told["http.response.status_code"], 415);
    assert_eq!(told["relance.request_id"], problem["request_id"]);
    // A client's mistake is no failure of the server.
    assert_eq!(server.status.unwrap_or_default().code, 0);
    assert!(below.is_empty(), "{below:?}");

    // Enough commits for a checkpoint.
    let bytes = picture("jpeg-224x224.jpg");
    for _ in 0..300 {
        app.predict(bytes.clone()).await;
    }
    eventually("the checkpoint's span has arrived", async || {
        let spans = collected(&sink);
        spans
            .iter()
            .any(|(span, _)| span.name == "checkpoint" && span.parent_span_id.is_empty())
    })
    .await;
    eventually("all spans have arrived", async || {
        let spans = collected(&sink);
        spans
            .iter()
            .filter(|(span, _)| span.name == "POST /predict")
            .count()
            == 301
    })
    .await;
    let spans = collected(&sink);
    let probes = spans
        .iter()
        .filter(|(span, _)| span.name.starts_with("GET"));
    assert_eq!(probes.count(), 0);
    let sent = app
        .metric(r#"relance_spans_total{exporter="otlp",outcome="sent"}"#)
        .await;
    assert!(sent >= spans.len() as u64);
}

#[tokio::test]
async fn a_part_of_the_requests_is_recorded() {
    let sink = Sink::http("");
    let mut app = setup(&format!("http://{}", sink.address))
        .set("TRACE_SAMPLE_RATIO", "0.25")
        .start()
        .await;
    for _ in 0..400 {
        assert_eq!(app.get("/models").send().await.unwrap().status(), 200);
    }
    // The end sends what is left.
    app.signal("TERM");
    assert_eq!(app.wait(), Some(0));
    let recorded = collected(&sink).len();
    assert!((50..=150).contains(&recorded), "{recorded}");
}

#[tokio::test]
async fn no_caller_can_make_it_record_more_than_so_many_a_second() {
    let sink = Sink::http("");
    let mut app = setup(&format!("http://{}", sink.address))
        .set("TRACE_MAX_PER_SECOND", "5")
        .start()
        .await;
    let start = Instant::now();
    for _ in 0..200 {
        let answer = called_by(app.get("/models"), TRACE, "01").send().await;
        assert_eq!(answer.unwrap().status(), 200);
    }
    // Each second that was touched has its own five.
    let most = 5 * (start.elapsed().as_secs() as usize + 2);
    app.signal("TERM");
    assert_eq!(app.wait(), Some(0));
    let recorded = collected(&sink).len();
    assert!((5..=most).contains(&recorded), "{recorded} of {most}");
}

/// A collector that is not there, does not answer, or answers badly.
#[tokio::test]
async fn a_collector_that_fails_is_never_felt() {
    for mode in [
        Mode::Refuse,
        Mode::Stall,
        Mode::Cut,
        Mode::Reset,
        Mode::Slow(Duration::from_secs(3)),
        Mode::Answer(503),
        Mode::Answer(400),
    ] {
        let sink = Sink::http("");
        let proxy = Proxy::before(sink.address.to_string(), mode);
        let mut app = setup(&proxy.url())
            .set("TRACE_SAMPLE_RATIO", "1")
            .set("OTEL_BSP_MAX_QUEUE_SIZE", "64")
            .set("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "32")
            .set("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")
            .start()
            .await;
        let bytes = picture("jpeg-224x224.jpg");
        let mut slowest = Duration::ZERO;
        for n in 0..200 {
            let start = Instant::now();
            app.predict(unique(&bytes, n % 20)).await;
            slowest = slowest.max(start.elapsed());
        }
        assert!(slowest < Duration::from_secs(2), "{mode:?}: {slowest:?}");
        eventually("the failure is told", async || {
            app.log().contains("otlp is not there")
        })
        .await;
        let start = Instant::now();
        app.signal("TERM");
        assert_eq!(app.wait(), Some(0), "{mode:?}");
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{mode:?}: {:?}",
            start.elapsed()
        );
        let log = app.log();
        assert_eq!(
            log.matches("otlp is not there").count(),
            1,
            "{mode:?}:\n{log}"
        );
        assert!(log.lines().count() < 15, "{mode:?}:\n{log}");
    }
}

#[tokio::test]
async fn a_collector_that_comes_back_gets_what_comes_then() {
    let sink = Sink::http("");
    let proxy = Proxy::before(sink.address.to_string(), Mode::Refuse);
    let app = setup(&proxy.url())
        .set("TRACE_SAMPLE_RATIO", "1")
        .set("OTEL_EXPORTER_OTLP_TIMEOUT", "500")
        .start()
        .await;
    app.predict(picture("jpeg-224x224.jpg")).await;
    eventually("the failure is told", async || {
        app.log().contains("otlp is not there")
    })
    .await;
    proxy.set(Mode::Pass);
    eventually("spans arrive", async || {
        app.predict(picture("jpeg-224x224.jpg")).await;
        !collected(&sink).is_empty()
    })
    .await;
    eventually("the return is told", async || {
        app.log().contains("otlp is there again")
    })
    .await;
    let up = r#"relance_dependency_up{dependency="otlp"}"#;
    assert_eq!(app.metric(up).await, 1);
}
