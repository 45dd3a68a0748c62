//! Passwords cannot be tried out, and who tries does not shut out others.

use reqwest::RequestBuilder;
use sha2::{Digest, Sha256};

use crate::support::{App, Setup, json, problem};

const LONG: &str = "a-key-that-nobody-can-guess-0123456789";

async fn start(limit: &str) -> App {
    let entry = |name: &str, key: &str| format!("{name}:{}", hex::encode(Sha256::digest(key)));
    let keys = [entry("phone", LONG), entry("weak", "1234")].join(",");
    Setup::new()
        .set("API_USERNAME", "ana")
        .set("API_PASSWORD", "segredo")
        .set("API_KEYS", &keys)
        .set("TRUSTED_PROXIES", "1")
        .set("LOGIN_FAILURES_PER_MINUTE", limit)
        .start()
        .await
}

fn from(app: &App, address: &str) -> RequestBuilder {
    app.get("/models").header("x-forwarded-for", address)
}

fn ana(app: &App, address: &str, password: &str) -> RequestBuilder {
    from(app, address).basic_auth("ana", Some(password))
}

/// Shows wrong credentials until they are no longer looked at; how many were.
async fn tries(request: impl Fn(u32) -> RequestBuilder) -> u32 {
    for n in 0..1000 {
        let answer = request(n).send().await.unwrap();
        match answer.status().as_u16() {
            401 => {}
            429 => return n,
            other => panic!("{other} after {n}"),
        }
    }
    1000
}

async fn comes_in(request: RequestBuilder) {
    let (status, body) = json(request).await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test]
async fn after_ten_wrong_passwords_even_the_right_one_must_wait() {
    let app = start("10").await;
    let here = "192.0.2.1";
    comes_in(ana(&app, here, "segredo")).await;
    assert_eq!(tries(|n| ana(&app, here, &format!("wrong {n}"))).await, 10);
    let answer = ana(&app, here, "segredo").send().await.unwrap();
    let wait: u64 = answer.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert!(!answer.headers().contains_key("www-authenticate"));
    let detail = problem(ana(&app, here, "segredo"), 429, "login-throttled").await;
    assert!(detail.contains("too many wrong credentials"), "{detail}");

    // Others are not shut out: elsewhere, as somebody else, with a key, or where nobody signs in.
    comes_in(ana(&app, "192.0.2.2", "segredo")).await;
    let rui = from(&app, here).basic_auth("rui", Some("?"));
    problem(rui, 401, "unauthorised").await;
    comes_in(from(&app, here).header("x-api-key", LONG)).await;
    comes_in(ana(&app, here, "segredo").header("x-api-key", LONG)).await;
    problem(from(&app, here), 401, "unauthorised").await;
    comes_in(app.get("/health").header("x-forwarded-for", here)).await;

    let metric = |outcome: &str| format!("relance_login_failures_total{{outcome=\"{outcome}\"}}");
    let read = async |outcome: &str| {
        let text = from(&app, here).header("x-api-key", LONG);
        let text = text.build().unwrap();
        let mut text = text;
        text.url_mut().set_path("/metrics");
        let text = app
            .client
            .execute(text)
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(&metric(outcome))?.strip_prefix(' '));
        value.unwrap_or("0").parse::<u32>().unwrap()
    };
    assert_eq!(read("wrong").await, 11);
    assert_eq!(read("throttled").await, 3);
}

#[tokio::test]
async fn keys_that_could_be_guessed_are_held_back_and_others_are_not() {
    let app = start("5").await;
    let here = "2001:db8::1";
    let key = |address: &str, key: &str| from(&app, address).header("x-api-key", key);
    // Each address of one network, one after the other.
    let guess = |n: u32| key(&format!("2001:db8::{n:x}"), &format!("{n:04}"));
    assert_eq!(tries(guess).await, 5);
    problem(key(here, "1234"), 429, "login-throttled").await;
    comes_in(key(here, LONG)).await;
    comes_in(key("2001:db8:0:1::1", "1234")).await;

    // Wrong ones that are long are refused in the same way.
    let long = |n: u32| key("192.0.2.7", &format!("{n:064}"));
    assert_eq!(tries(long).await, 5);
    problem(key("192.0.2.7", "1234"), 429, "login-throttled").await;
    comes_in(key("192.0.2.7", LONG)).await;
}

#[tokio::test]
async fn invented_addresses_give_no_further_tries() {
    let app = Setup::new()
        .set("API_USERNAME", "ana")
        .set("API_PASSWORD", "segredo")
        .start()
        .await;
    let guess = |n: u32| ana(&app, &format!("192.0.2.{n}"), "wrong");
    assert_eq!(tries(guess).await, 10);
}

#[tokio::test]
async fn credentials_that_are_malformed_count_too() {
    let app = start("5").await;
    let forms = ["Basic", "Basic ???", "Bearer x", "Basic Og==", "Negotiate"];
    let malformed =
        |n: u32| from(&app, "192.0.2.1").header("authorization", forms[n as usize % forms.len()]);
    assert_eq!(tries(malformed).await, 5);
    comes_in(ana(&app, "192.0.2.1", "segredo")).await;
}

#[tokio::test]
async fn without_a_limit_all_are_looked_at() {
    let app = start("0").await;
    for _ in 0..30 {
        problem(ana(&app, "192.0.2.1", "wrong"), 401, "unauthorised").await;
    }
    comes_in(ana(&app, "192.0.2.1", "segredo")).await;
}
