//! Each client may have so many pictures classified a minute, and no trick gives it more.

use std::io::{Read, Write};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::multipart::{Form, Part};
use reqwest::{RequestBuilder, StatusCode};
use sha2::{Digest, Sha256};

use crate::support::{App, Setup, json, picture, problem, wire};

fn entry(name: &str, key: &str) -> String {
    format!("{name}:{}", hex::encode(Sha256::digest(key)))
}

fn limited(per_minute: &str) -> Setup {
    Setup::new().set("RATE_LIMIT_PER_MINUTE", per_minute)
}

async fn send(request: RequestBuilder) -> (StatusCode, HeaderMap) {
    let answer = request.send().await.unwrap();
    (answer.status(), answer.headers().clone())
}

fn post(app: &App) -> RequestBuilder {
    app.post("/predict").body(picture("jpeg-1x1.jpg"))
}

/// How many of `most` requests are answered before the first 429.
async fn accepted(most: usize, request: impl Fn() -> RequestBuilder) -> usize {
    for n in 0..most {
        let (status, _) = send(request()).await;
        if status == StatusCode::TOO_MANY_REQUESTS {
            return n;
        }
        assert_eq!(status, StatusCode::OK);
    }
    most
}

fn number(headers: &HeaderMap, name: &str) -> u64 {
    headers[name].to_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn who_has_used_up_the_minute_is_told_when_to_come_back() {
    let app = limited("5").start().await;
    for left in (0..5).rev() {
        let (status, headers) = send(post(&app)).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers["ratelimit-policy"], "\"minute\";q=5;w=60");
        let reset = number(&headers, "ratelimit-reset");
        assert_eq!(
            headers["ratelimit"],
            format!("\"minute\";r={left};t={reset}").as_str()
        );
        assert_eq!(number(&headers, "ratelimit-limit"), 5);
        assert_eq!(number(&headers, "ratelimit-remaining"), left);
        assert_eq!(reset, 12 * (5 - left));
    }
    let detail = problem(post(&app), 429, "rate-limited").await;
    assert!(detail.contains("5 pictures a minute"), "{detail}");
    let (_, headers) = send(post(&app)).await;
    let wait = number(&headers, "retry-after");
    assert!((1..=12).contains(&wait), "{wait}");
    assert_eq!(headers["ratelimit"], "\"minute\";r=0;t=60");
    assert_eq!(headers["ratelimit-policy"], "\"minute\";q=5;w=60");

    // A large upload is read, so that the client reads the refusal, and nothing is done with it.
    problem(
        app.post("/predict").body(vec![0; 9_000_000]),
        429,
        "rate-limited",
    )
    .await;
    for path in [
        "/",
        "/docs/",
        "/openapi.json",
        "/health",
        "/health/ready",
        "/models",
        "/requests",
        "/metrics",
    ] {
        let (status, headers) = send(app.get(path)).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(!headers.contains_key("ratelimit"), "{path}");
    }
    assert_eq!(
        app.metric("relance_results_total{source=\"model\"}").await,
        1
    );
}

#[tokio::test]
async fn what_is_used_up_comes_back_evenly() {
    let app = limited("60").start().await;
    let mut answered = 0;
    let refusal = loop {
        let (status, headers) = send(post(&app)).await;
        match status {
            StatusCode::OK => answered += 1,
            _ => break headers,
        }
    };
    assert!((60..80).contains(&answered), "{answered}");
    assert_eq!(number(&refusal, "retry-after"), 1);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let again = accepted(10, || post(&app)).await;
    assert!((1..=4).contains(&again), "{again}");
}

#[tokio::test]
async fn invented_addresses_do_not_help() {
    let app = limited("3").start().await;
    let mut n = 0;
    let mut forged = || {
        n += 1;
        post(&app).header("x-forwarded-for", format!("192.0.2.{n}"))
    };
    for _ in 0..3 {
        assert_eq!(send(forged()).await.0, StatusCode::OK);
    }
    problem(forged(), 429, "rate-limited").await;
}

#[tokio::test]
async fn behind_a_proxy_the_address_that_it_saw_counts() {
    let app = limited("3").set("TRUSTED_PROXIES", "1").start().await;
    let from = |forwarded: &str| post(&app).header("x-forwarded-for", forwarded);
    assert_eq!(accepted(9, || from("192.0.2.1")).await, 3);
    // The same one, as Azure writes it and mapped to IPv6, whatever stands to the left.
    for same in [
        "192.0.2.1:4711",
        "::ffff:192.0.2.1",
        "198.51.100.7, 192.0.2.1",
        "nonsense, 192.0.2.1",
    ] {
        assert_eq!(accepted(9, || from(same)).await, 0, "{same}");
    }
    let two = from("192.0.2.9").header("x-forwarded-for", "192.0.2.1");
    problem(two, 429, "rate-limited").await;
    assert_eq!(accepted(9, || from("192.0.2.2")).await, 3);
    // Whoever has one address of an IPv6 network has them all.
    assert_eq!(accepted(9, || from("[2001:db8::1]:443")).await, 3);
    assert_eq!(accepted(9, || from("2001:db8::ffff:2")).await, 0);
    assert_eq!(accepted(9, || from("2001:db8:0:1::1")).await, 3);
    // Without the header, the proxy itself is the client.
    assert_eq!(accepted(9, || post(&app)).await, 3);
    assert_eq!(accepted(9, || from("nonsense")).await, 0);
}

#[tokio::test]
async fn keys_and_users_have_their_own_limits() {
    let keys = [
        entry("phone", "one"),
        entry("phone", "two"),
        format!("{}:7", entry("bulk", "bulk")),
        format!("{}:0", entry("own", "own")),
    ];
    let app = limited("3")
        .set("API_USERNAME", "ana")
        .set("API_PASSWORD", "segredo")
        .set("API_KEYS", &keys.join(","))
        .start()
        .await;
    let key = |key: &'static str| post(&app).header("x-api-key", key);
    assert_eq!(accepted(9, || key("one")).await, 3);
    assert_eq!(accepted(9, || key("two")).await, 0, "both are the phone's");
    assert_eq!(accepted(9, || key("bulk")).await, 7);
    assert_eq!(accepted(20, || key("own")).await, 20);
    let (_, headers) = send(key("own")).await;
    assert!(!headers.contains_key("ratelimit"));
    let ana = || post(&app).basic_auth("ana", Some("segredo"));
    assert_eq!(accepted(9, ana).await, 3);
    // Who may not come in at all has no limit to use up.
    problem(post(&app), 401, "unauthorised").await;
}

#[tokio::test]
async fn a_batch_counts_its_pictures() {
    let app = limited("10").start().await;
    let to = |app: &App, pictures: usize| {
        let part = || Part::bytes(picture("jpeg-1x1.jpg")).file_name("a.jpg");
        let form = (0..pictures).fold(Form::new(), |form, _| form.part("image", part()));
        app.post("/predict/batch").multipart(form)
    };
    let batch = |pictures: usize| to(&app, pictures);
    let (status, headers) = send(batch(4)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(number(&headers, "ratelimit-remaining"), 6);
    // Nothing of it is done, and one of what is left was charged at the door.
    let (status, headers) = send(batch(9)).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    let wait = number(&headers, "retry-after");
    assert!((12..=18).contains(&wait), "8 more where 5 are left: {wait}");
    assert_eq!(send(batch(5)).await.0, StatusCode::OK);
    assert_eq!(send(batch(1)).await.0, StatusCode::TOO_MANY_REQUESTS);
    let (_, list) = json(app.get("/requests")).await;
    assert_eq!(list["requests"].as_array().unwrap().len(), 9);
    let other = limited("10").start().await;
    for many in [11, 12] {
        let answer = to(&other, many).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(
            !answer.headers().contains_key("retry-after"),
            "that will never do"
        );
        let text = answer.text().await.unwrap();
        assert!(text.contains(&format!("{many} pictures at once")), "{text}");
    }
}

#[tokio::test]
async fn without_a_limit_there_is_none() {
    let app = App::start().await;
    assert_eq!(accepted(150, || post(&app)).await, 150);
    assert!(!send(post(&app)).await.1.contains_key("ratelimit"));
}

#[tokio::test]
async fn the_limit_is_100_unless_set() {
    let app = Setup::new().unset("RATE_LIMIT_PER_MINUTE").start().await;
    let (_, headers) = send(post(&app)).await;
    assert_eq!(headers["ratelimit-policy"], "\"minute\";q=100;w=60");
}

/// Sends requests without a picture from the addresses `from..to`, one after the other on one connection.
fn from_addresses(app: &App, from: u32, to: u32) {
    let mut stream = wire::connect(app.address());
    let mut answers = stream.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let (mut refused, mut seen, mut last) = (0, Vec::new(), [0; 64 * 1024]);
        while refused < to - from {
            let length = answers.read(&mut last).unwrap();
            assert!(length > 0, "closed after {refused}");
            seen.extend_from_slice(&last[..length]);
            let mark = b"HTTP/1.1 400 ";
            refused += seen.windows(mark.len()).filter(|w| w == mark).count() as u32;
            let kept = seen.len().saturating_sub(mark.len() - 1);
            seen.drain(..kept);
        }
    });
    for first in (from..to).step_by(500) {
        let requests: String = (first..to.min(first + 500))
            .map(|n| {
                let address = std::net::Ipv4Addr::from(0x0b00_0000 + n);
                format!("POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nX-Forwarded-For: {address}\r\n\r\n")
            })
            .collect();
        stream.write_all(requests.as_bytes()).unwrap();
    }
    reader.join().unwrap();
}

/// More addresses do not take more memory.
#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_the_number_of_addresses() {
    let app = limited("100").set("TRUSTED_PROXIES", "1").start().await;
    from_addresses(&app, 0, 10_000);
    let before = app.resident_kib();
    from_addresses(&app, 10_000, 60_000);
    let grown = app.resident_kib().saturating_sub(before);
    println!("{grown} KiB more for 50 000 addresses");
    assert!(grown < 2_048, "{grown} KiB");
}
