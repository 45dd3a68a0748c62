//! Whatever is wrong with a request is told in words, at once, and costs next to nothing.

mod bombs;
mod pictures;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Instant;

use futures_util::stream;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, RequestBuilder, StatusCode};
use serde_json::Value;

use crate::support::{App, PATIENCE, Setup, eventually, picture, problem};

fn raw(app: &App, content_type: &str, body: impl Into<Body>) -> RequestBuilder {
    app.post("/predict")
        .header("content-type", content_type)
        .body(body)
}

fn contains_all(detail: &str, words: &[&str]) {
    assert!(
        words.iter().all(|word| detail.contains(word)),
        "{words:?} are not all in {detail:?}"
    );
}

#[tokio::test]
async fn a_request_without_a_picture_is_told_how_to_send_one() {
    let app = App::start().await;
    let post = |form: Form| app.post("/predict").multipart(form);
    let detail = problem(app.post("/predict"), 400, "empty-body").await;
    contains_all(
        &detail,
        &["empty", "`image` or `file`", "application/octet-stream"],
    );
    problem(raw(&app, "image/png", ""), 400, "empty-body").await;
    let detail = problem(
        raw(&app, "multipart/form-data; boundary=b", ""),
        400,
        "empty-body",
    )
    .await;
    contains_all(&detail, &["empty", "`image` or `file`"]);

    let other = Form::new().text("picture", "x").text("caption", "y");
    let detail = problem(post(other), 400, "missing-field").await;
    contains_all(
        &detail,
        &["no field `image` or `file`", "picture", "caption"],
    );
    let detail = problem(
        raw(&app, "multipart/form-data; boundary=b", "--b--\r\n"),
        400,
        "missing-field",
    )
    .await;
    contains_all(&detail, &["no field"]);

    let empty = Form::new().part("file", Part::bytes(Vec::new()).file_name("a.jpg"));
    let detail = problem(post(empty), 400, "empty-body").await;
    contains_all(&detail, &["\"file\" is empty"]);

    let part = || Part::bytes(picture("jpeg-1x1.jpg")).file_name("a.jpg");
    for second in ["image", "file"] {
        let two = Form::new().part("image", part()).part(second, part());
        let detail = problem(post(two), 400, "several-pictures").await;
        contains_all(&detail, &["more than one", "one picture a request"]);
    }
}

#[tokio::test]
async fn broken_forms_are_told_what_is_broken() {
    let app = App::start().await;
    let detail = problem(
        raw(&app, "multipart/form-data", "--b\r\n"),
        400,
        "malformed-multipart",
    )
    .await;
    contains_all(&detail, &["boundary"]);
    let whole = "--b\r\nContent-Disposition: form-data; name=\"image\"\r\n\r\nxyz\r\n--b--\r\n";
    for (broken, body) in [
        ("another boundary", whole.replace("--b", "--c")),
        ("ends inside the part", whole[..whole.len() - 8].to_owned()),
        ("ends inside the headers", whole[..30].to_owned()),
        (
            "ends before the last boundary",
            whole[..whole.len() - 4].to_owned(),
        ),
        ("a header without a colon", whole.replace(": form", " form")),
        (
            "a header of rubbish",
            whole.replace("Content-Disposition", "\u{1}\u{2} \u{3}"),
        ),
        ("no boundary at all", "xyz".to_owned()),
    ] {
        let response = raw(&app, "multipart/form-data; boundary=b", body)
            .send()
            .await
            .unwrap();
        let problem: Value = response.json().await.unwrap();
        assert_eq!(
            problem["type"], "urn:relance:problem:malformed-multipart",
            "{broken}: {problem}"
        );
        assert_eq!(problem["status"], 400, "{broken}: {problem}");
        contains_all(
            problem["detail"].as_str().unwrap(),
            &["malformed", "`image` or `file`"],
        );
    }
}

#[tokio::test]
async fn large_uploads_are_refused_and_the_client_reads_why() {
    let app = Setup::new()
        .set("MAX_UPLOAD_BYTES", "1000000")
        .start()
        .await;
    let base = picture("jpeg-420.jpg");
    let padded = |length: usize| [&base[..], &vec![0; length - base.len()]].concat();
    assert_eq!(app.predict(padded(1_000_000)).await["cached"], false);
    let slightly = app.post_picture(padded(1_000_001), "a.jpg");
    contains_all(
        &problem(slightly, 413, "too-large").await,
        &["1000001", "1000000"],
    );
    for length in [1_000_001, 1_100_000, 30_000_000] {
        let large = || padded(length);
        let announced = problem(raw(&app, "image/jpeg", large()), 413, "too-large").await;
        contains_all(
            &announced,
            &["larger than the 1000000 bytes that are accepted"],
        );
        let chunks: Vec<_> = large()
            .chunks(60_000)
            .map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec()))
            .collect();
        let chunked = raw(&app, "image/jpeg", Body::wrap_stream(stream::iter(chunks)));
        problem(chunked, 413, "too-large").await;
        problem(app.post_picture(large(), "a.jpg"), 413, "too-large").await;

        // A client that sends everything before it reads anything.
        let mut patient = post_head(&app, &format!("Content-Length: {length}"));
        patient.write_all(&large()).unwrap();
        let answer = read_answer(&mut patient);
        assert!(
            answer.starts_with("HTTP/1.1 413 ") && answer.contains("problem:too-large"),
            "{answer}"
        );
    }
}

/// Sends the head of a `POST /predict` by hand.
fn post_head(app: &App, length: &str) -> TcpStream {
    let mut stream = TcpStream::connect(app.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "POST /predict HTTP/1.1\r\nHost: test\r\nContent-Type: image/jpeg\r\n{length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// Reads until the server closes or the body of a problem has ended.
fn read_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while !answer.ends_with(b"\"}") {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&answer)),
        }
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_408() {
    let app = Setup::new().set("REQUEST_TIMEOUT_MS", "300").start().await;
    let bytes = picture("jpeg-420.jpg");
    for length in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
        let start = Instant::now();
        let mut slow = post_head(&app, length);
        slow.write_all(if length.starts_with('C') {
            &bytes[..100]
        } else {
            b"3\r\nabc\r\n"
        })
        .unwrap();
        let answer = read_answer(&mut slow);
        assert!(
            answer.starts_with("HTTP/1.1 408 ") && answer.contains("problem:slow-body"),
            "{answer}"
        );
        assert!(
            (300..5000).contains(&start.elapsed().as_millis()),
            "{:?}",
            start.elapsed()
        );
    }
    assert_eq!(app.predict(bytes).await["cached"], false);
}

#[tokio::test]
async fn a_body_that_ends_early_costs_only_itself() {
    let app = App::start().await;
    let bytes = picture("jpeg-420.jpg");
    let mut cut = post_head(&app, &format!("Content-Length: {}", bytes.len()));
    cut.write_all(&bytes[..bytes.len() - 1]).unwrap();
    cut.shutdown(Shutdown::Write).unwrap();
    let answer = read_answer(&mut cut);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
        "{answer}"
    );
    assert_eq!(
        app.metric("relance_results_total{source=\"model\"}").await,
        0
    );
    assert_eq!(app.predict(bytes).await["cached"], false);
}

#[tokio::test]
async fn slow_uploads_cannot_take_more_memory_than_allowed() {
    let small = Setup::new()
        .set("MAX_UPLOAD_BYTES", "102400")
        .set("MAX_INFLIGHT_BYTES", "204800");
    let app = small.start().await;
    let bytes = picture("jpeg-1x1.jpg");
    let full = [b"19000\r\n", &vec![0; 102_400][..], b"\r\n"].concat();
    let (mut uploads, mut refused) = (Vec::new(), None);
    eventually("refused for want of memory", async || {
        // Both kinds fill half of the memory; one is refused if it comes at the moment of another request.
        uploads.push(post_head(&app, "Content-Length: 102400"));
        uploads.push(post_head(&app, "Transfer-Encoding: chunked"));
        uploads.last_mut().unwrap().write_all(&full).unwrap();
        let response = app
            .post_picture(bytes.clone(), "a.jpg")
            .send()
            .await
            .unwrap();
        refused = (response.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(response);
        refused.is_some()
    })
    .await;
    let response = refused.unwrap();
    assert_eq!(response.headers()["retry-after"], "1");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["type"], "urn:relance:problem:busy");
    contains_all(
        body["detail"].as_str().unwrap(),
        &["too many uploads", "try again in 1 s"],
    );

    drop(uploads);
    eventually("accepted again", async || {
        app.post_picture(bytes.clone(), "a.jpg")
            .send()
            .await
            .unwrap()
            .status()
            == StatusCode::OK
    })
    .await;
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let app = App::start().await;
    for path in [
        "/nothing",
        "/predict/",
        "/requests/x/y",
        "/docs/nothing.js",
        "/page/../../etc/passwd",
    ] {
        contains_all(
            &problem(app.get(path), 404, "not-found").await,
            &["there is nothing at", "/docs"],
        );
    }
    let wrong = [
        (app.get("/predict"), "POST"),
        (
            app.client.delete(format!("{}/requests", app.url)),
            "GET,HEAD",
        ),
        (app.post("/health"), "GET,HEAD"),
        (app.post("/"), "GET,HEAD"),
    ];
    for (request, allowed) in wrong {
        assert_eq!(
            request.try_clone().unwrap().send().await.unwrap().headers()["allow"],
            allowed
        );
        contains_all(
            &problem(request, 405, "method-not-allowed").await,
            &["does not answer to", "/docs"],
        );
    }
}
