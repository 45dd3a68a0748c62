//! Credentials appear in nothing that the service writes.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::RequestBuilder;
use sha2::{Digest, Sha256};

use crate::support::sink::Sink;
use crate::support::{App, Setup, eventually, picture};

const PASSWORD: &str = "segredo-de-estado";
const KEY: &str = "relance_the-key-of-the-phone-0123456789";
const FILED: &str = "relance_the-key-in-the-file-0123456789";
const WRONG: &str = "a-wrong-key-that-is-almost-right-01234";
const WRONG_PASSWORD: &str = "segredo-de-estada";
const IN_CLEAR: &str = "in-clear-by-mistake";

/// All forms in which a secret could show up.
fn forms() -> Vec<String> {
    let mut forms = Vec::new();
    for secret in [PASSWORD, KEY, FILED, WRONG, WRONG_PASSWORD, IN_CLEAR] {
        let digest = Sha256::digest(secret);
        forms.extend([
            secret.to_owned(),
            STANDARD.encode(secret),
            hex::encode(digest),
        ]);
    }
    for password in [PASSWORD, WRONG_PASSWORD] {
        let pair = format!("ana:{password}");
        let digest = hex::encode(Sha256::digest(&pair));
        forms.extend([STANDARD.encode(&pair), digest]);
    }
    forms
}

fn holds(written: &[u8], text: &str) -> bool {
    let mut windows = written.windows(text.len());
    windows.any(|window| window == text.as_bytes())
}

/// Fails if `written` holds any form of a secret.
fn assert_clean(what: &str, written: &[u8]) {
    for secret in forms() {
        assert!(!holds(written, &secret), "{secret} is in {what}");
    }
}

/// Everything that comes back: status line, headers and body.
async fn answer(request: RequestBuilder) -> Vec<u8> {
    let response = request.send().await.unwrap();
    let head = format!("{:?}", response);
    // The address that was asked is the client's own doing.
    let head = head.split_once("headers:").unwrap().1.to_owned();
    [head.as_bytes(), &response.bytes().await.unwrap()].concat()
}

fn files(folder: &Path, all: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else {
            all.push(fs::read(&path).unwrap());
        }
    }
}

fn with_every_kind(request: RequestBuilder) -> Vec<RequestBuilder> {
    let with = |name: &str, value: &str| request.try_clone().unwrap().header(name, value);
    let basic = |password| {
        request
            .try_clone()
            .unwrap()
            .basic_auth("ana", Some(password))
    };
    vec![
        basic(PASSWORD),
        basic(WRONG_PASSWORD),
        with("x-api-key", KEY),
        with("x-api-key", FILED),
        with("x-api-key", WRONG),
        with("authorization", &format!("Bearer {KEY}")),
        with("authorization", &format!("Basic {KEY}")),
    ]
}

async fn http2(app: &App) {
    let output = Command::new("curl")
        .args(["-sS", "--noproxy", "*", "--http2-prior-knowledge"])
        .args([
            "-u",
            &format!("ana:{PASSWORD}"),
            "-H",
            &format!("X-API-Key: {KEY}"),
        ])
        .arg(format!("{}/models", app.url))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_clean("an answer over HTTP/2", &output.stdout);
}

#[tokio::test]
async fn credentials_are_in_nothing_that_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    let entry = |name: &str, key: &str| format!("{name}:{}", hex::encode(Sha256::digest(key)));
    fs::write(&file, entry("filed", FILED)).unwrap();
    let sink = Sink::http("");
    let app = Setup::new()
        .set("API_USERNAME", "ana")
        .set("API_PASSWORD", PASSWORD)
        .set("API_KEYS", &entry("phone", KEY))
        .set("API_KEYS_FILE", file.to_str().unwrap())
        .set("RUST_LOG", "trace")
        .set(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            &format!("http://{}", sink.address),
        )
        .set("OTEL_BSP_SCHEDULE_DELAY", "100")
        .set("TRACE_SAMPLE_RATIO", "1")
        .set("TRACE_MAX_PER_SECOND", "0")
        .set("RATE_LIMIT_PER_MINUTE", "3")
        .start()
        .await;

    let mut answers = Vec::new();
    for _ in 0..3 {
        for request in [
            app.get("/models"),
            app.get("/requests"),
            app.get("/nothing"),
            app.get("/metrics"),
            app.post("/predict").body(picture("jpeg-1x1.jpg")),
            app.post("/predict").body("no picture"),
        ] {
            for request in with_every_kind(request) {
                answers.push(answer(request).await);
            }
        }
        http2(&app).await;
    }
    let told = answers.concat();
    for kind in [
        "unauthorised",
        "login-throttled",
        "rate-limited",
        "not-found",
        "unsupported-picture",
    ] {
        let mark = format!("urn:relance:problem:{kind}");
        assert!(holds(&told, &mark), "{kind} was never answered");
    }
    fs::write(&file, format!("phone:{IN_CLEAR}")).unwrap();
    eventually("the broken file is noticed", async || {
        app.log().contains("line 1 is not name:sha256hex")
    })
    .await;
    eventually("traces have arrived", async || {
        let traces = sink.posts().into_iter().map(|(_, _, body)| unpacked(&body));
        holds(&traces.collect::<Vec<_>>().concat(), "/predict")
    })
    .await;

    for answer in &answers {
        assert_clean("an answer", answer);
    }
    let log = app.log();
    assert!(
        log.contains("TRACE") && log.contains("/predict"),
        "the log is not at its most talkative"
    );
    assert_clean("the log", log.as_bytes());
    for (path, headers, body) in sink.posts() {
        assert_clean("a trace", format!("{path} {headers:?}").as_bytes());
        assert_clean("a trace", &unpacked(&body));
    }
    let mut stored = Vec::new();
    files(&app.data, &mut stored);
    assert!(stored.len() >= 3, "a database, its log and a picture");
    for content in stored {
        assert_clean("the data folder", &content);
    }
}

/// Traces may come compressed.
fn unpacked(body: &[u8]) -> Vec<u8> {
    use std::io::Read;
    let mut plain = Vec::new();
    match flate2::read::GzDecoder::new(body).read_to_end(&mut plain) {
        Ok(_) => plain,
        Err(_) => body.to_vec(),
    }
}
