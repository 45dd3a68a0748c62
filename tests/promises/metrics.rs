//! Metrics are what Prometheus takes, mean what they say, and answer what dashboards ask.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use relance::telemetry::metrics::ALL;

use crate::support::prometheus::{Prometheus, promtool};
use crate::support::sink::Sink;
use crate::support::{App, Setup, eventually, fixture, json, picture, repo, unique};

const RULES: &str = "infra/local/prometheus/relance.rules.yml";

async fn text(app: &App) -> String {
    app.get("/metrics")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap()
}

/// Some of everything: new pictures, known ones, what is no picture, and what is not there.
async fn traffic(app: &App, length: Duration) -> u64 {
    let pictures = [picture("jpeg-224x224.jpg"), picture("jpeg-640x480.jpg")];
    let start = Instant::now();
    let mut answered = 0;
    while start.elapsed() < length {
        for bytes in &pictures {
            app.predict(unique(bytes, answered)).await;
            app.predict(bytes.clone()).await;
            answered += 2;
        }
        json(app.post_picture(b"nothing".to_vec(), "x")).await;
        json(app.get("/nowhere")).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    answered
}

#[tokio::test]
async fn a_real_prometheus_scrapes_it_and_answers_what_dashboards_ask() {
    let rules = repo().join(RULES);
    let (content, said) = promtool(&["check", "rules", rules.to_str().unwrap()], None);
    assert!(content, "{said}");
    let sink = Sink::http("");
    let app = Setup::new()
        .set(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            &format!("http://{}", sink.address),
        )
        .set("OTEL_BSP_SCHEDULE_DELAY", "200")
        .set("TRACE_SAMPLE_RATIO", "1")
        .start()
        .await;
    let prometheus = Prometheus::watch(&app, &rules).await;
    let answered = traffic(&app, Duration::from_secs(9)).await;
    tokio::time::sleep(Duration::from_millis(2_200)).await;

    assert_eq!(prometheus.value("up").await, 1.0);
    assert!(prometheus.value("count_over_time(up[1m])").await >= 8.0);
    assert_eq!(prometheus.value("min_over_time(up[1m])").await, 1.0);
    let targets = prometheus.api("targets", &[]).await;
    assert_eq!(targets["activeTargets"][0]["lastError"], "");
    assert_eq!(prometheus.log(), "");

    let groups = prometheus.api("rules", &[]).await["groups"].clone();
    let rules = groups
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap());
    let mut names = 0;
    for rule in rules {
        let name = rule["name"].as_str().unwrap();
        assert_eq!(rule["health"], "ok", "{rule}");
        let series = prometheus.query(name).await;
        assert!(!series.is_empty(), "{name} gives nothing");
        for (labels, value) in series {
            assert!(value.is_finite() && value >= 0.0, "{labels} {value}");
            let bounded = name.contains("ratio");
            assert!(!bounded || value <= 1.0 + 1e-9, "{labels} {value}");
            let quick = name.contains("_seconds:") && !name.contains("uptime");
            assert!(!quick || value <= 10.0, "{labels} {value}");
        }
        names += 1;
    }
    assert!(names > 25, "{names}");

    // The recorder has counted what was asked for.
    let counted = prometheus.value("sum(relance_predictions_total)").await;
    assert_eq!(counted, answered as f64);
    assert_eq!(
        prometheus
            .value("sum(relance_prediction_confidence_ratio_count)")
            .await,
        counted
    );
    let predict = r#"relance_http_requests_total{route="/predict",status="200"}"#;
    assert_eq!(prometheus.value(predict).await, counted);
    let rate = r#"sum(relance:http_requests:rate1m{route="/predict",status="200"})"#;
    assert!(prometheus.value(rate).await > 1.0);
    for shares in [
        "relance:results:ratio_rate1m",
        "relance:predictions:ratio_rate1m",
    ] {
        let sum = prometheus.value(&format!("sum({shares})")).await;
        assert!((sum - 1.0).abs() < 1e-6, "{shares}: {sum}");
    }
    let known = prometheus
        .value(r#"relance:results:ratio_rate1m{source="memory"}"#)
        .await;
    assert!((0.3..0.7).contains(&known), "{known}");
    assert_eq!(prometheus.value("relance:instances:count").await, 1.0);
    assert_eq!(
        prometheus
            .value(r#"relance:dependency_up:min{dependency="otlp"}"#)
            .await,
        1.0
    );
    let uptime = prometheus.value("relance:uptime_seconds").await;
    assert!((9.0..120.0).contains(&uptime), "{uptime}");
    assert!(prometheus.value("relance:resident_memory_bytes").await > 2e7);
    // Fractions of a second are there, so that the rate over a few seconds means something.
    let cpu = prometheus.value("process_cpu_seconds_total").await;
    assert!(
        cpu > 0.0 && prometheus.value("relance:cpu:rate1m").await > 0.0,
        "{cpu}"
    );
    let model = prometheus
        .query("relance:inferences:rate1m")
        .await
        .remove(0)
        .0;
    assert!(
        model["model"].as_str().unwrap().contains("-nc10-64@"),
        "{model}"
    );

    let file = app.data.join("metrics.txt");
    fs::write(&file, text(&app).await).unwrap();
    let (content, said) = promtool(&["check", "metrics"], Some(file));
    assert!(content && said.is_empty(), "{said}");
}

#[tokio::test]
async fn many_classes_are_few_series() {
    let app = Setup::new()
        .set(
            "MODEL",
            fixture("models/yolov8n-cls-nc1000-224.onnx")
                .to_str()
                .unwrap(),
        )
        .start()
        .await;
    for n in 0..8 {
        app.predict(unique(&picture("jpeg-224x224.jpg"), n)).await;
    }
    let text = text(&app).await;
    let classes = text
        .lines()
        .filter(|line| line.starts_with("relance_predictions_total{"));
    assert_eq!(classes.count(), 65);
    assert!(
        text.contains("relance_predictions_total{class=\"other\"}"),
        "{text}"
    );
    assert!(text.lines().count() < 1_500, "{}", text.lines().count());
}

#[tokio::test]
async fn a_client_that_goes_away_is_counted_and_nothing_stays_in_flight() {
    let app = Setup::new().set("WORKERS", "1").start().await;
    let in_flight = "relance_http_requests_in_flight";
    let bytes = picture("jpeg-1280x960.jpg");
    let ask = |n| app.post_picture(unique(&bytes, n), "a.jpg").send();
    let asking: Vec<_> = (0..60).map(|n| tokio::spawn(ask(n))).collect();
    eventually("many wait for the worker", async || {
        app.metric(in_flight).await > 30
    })
    .await;
    for request in asking {
        request.abort();
    }
    eventually("nothing is in flight", async || {
        app.metric(in_flight).await == 0
    })
    .await;
    let gone = r#"relance_http_requests_total{method="POST",route="/predict",status="499"}"#;
    let answered = r#"relance_http_requests_total{method="POST",route="/predict",status="200"}"#;
    let (gone, answered) = (app.metric(gone).await, app.metric(answered).await);
    assert!(
        gone > 10 && gone + answered <= 60,
        "{gone} had gone, {answered} were answered"
    );
}

/// Every word like a metric's name in the documents and rules is one, and every metric is documented.
#[test]
fn names_are_documented_and_exist() {
    let page = fs::read_to_string(repo().join("docs/telemetry.md")).unwrap();
    let rules = fs::read_to_string(repo().join(RULES)).unwrap();
    for (name, kind, _) in ALL {
        assert!(
            page.contains(&format!("| `{name}` | {kind} |")),
            "{name} is not in docs/telemetry.md"
        );
    }
    let known: BTreeSet<&str> = ALL.iter().map(|(name, ..)| *name).collect();
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':');
    for text in [&page, &rules] {
        for name in text.split(word).filter(|name| name.starts_with("relance_")) {
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            assert!(
                known.contains(name) || base.is_some_and(|base| known.contains(base)),
                "{name}"
            );
        }
    }
}
