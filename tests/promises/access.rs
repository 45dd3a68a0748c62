//! Nobody comes in without credentials where some are set.

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use uuid::Uuid;

use crate::support::{App, Setup, json, picture, problem};

/// A key made by `relance key`, and its entry for `API_KEYS`.
fn new_key(name: &str) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_relance"))
        .args(["key", name])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let value = |label: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(label))
            .unwrap()
            .trim()
            .to_owned()
    };
    (value("key (shown only now):"), value("entry for API_KEYS:"))
}

fn basic(request: RequestBuilder, user: &str, password: &str) -> RequestBuilder {
    request.basic_auth(user, Some(password))
}

/// The record of a picture posted with `credentials`.
async fn record(app: &App, credentials: impl Fn(RequestBuilder) -> RequestBuilder) -> Value {
    let (status, answer) = json(credentials(
        app.post_picture(picture("jpeg-1x1.jpg"), "a.jpg"),
    ))
    .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let path = format!("/requests/{}", answer["request_id"].as_str().unwrap());
    let (status, record) = json(credentials(app.get(&path))).await;
    assert_eq!(status, StatusCode::OK, "{record}");
    record
}

#[tokio::test]
async fn on_loopback_no_credentials_are_needed() {
    let app = App::start().await;
    let record = record(&app, |request| request).await;
    assert_eq!(
        (&record["client"], &record["user_ip"]),
        (&Value::Null, &Value::from("127.0.0.0"))
    );
}

#[tokio::test]
async fn an_open_door_on_the_network_must_be_asked_for() {
    for host in ["0.0.0.0", "::"] {
        let line = Setup::new().set("HOST", host).refusal();
        for word in [
            "without credentials",
            host,
            "API_USERNAME",
            "API_KEYS",
            "ALLOW_ANONYMOUS=true",
        ] {
            assert!(line.contains(word), "{line}");
        }
    }
    let half = Setup::new().set("API_USERNAME", "ana").refusal();
    assert!(
        half.contains("API_USERNAME") && half.contains("API_PASSWORD"),
        "{half}"
    );
    let app = Setup::new()
        .set("HOST", "0.0.0.0")
        .set("ALLOW_ANONYMOUS", "true")
        .start()
        .await;
    assert_eq!(app.predict(picture("jpeg-1x1.jpg")).await["cached"], false);
    let app = Setup::new()
        .set("HOST", "0.0.0.0")
        .set("API_KEYS", &new_key("ci").1)
        .start()
        .await;
    problem(app.get("/models"), 401, "unauthorised").await;
}

#[tokio::test]
async fn only_health_and_documentation_are_open() {
    let app = Setup::new()
        .set("API_USERNAME", "ana")
        .set("API_PASSWORD", "segredo")
        .start()
        .await;
    let description: Value = app
        .get("/openapi.json")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let (mut open, mut closed) = (Vec::new(), Vec::new());
    for (path, operations) in description["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let url = format!(
                "{}{}",
                app.url,
                path.replace("{request_id}", &Uuid::now_v7().to_string())
            );
            let is_v2 = path.starts_with("/v2");
            let method: Method = method.to_uppercase().parse().unwrap();
            let response = app.client.request(method, url).send().await.unwrap();
            if response.status() == StatusCode::OK {
                open.push(path.as_str());
                continue;
            }
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
            assert_eq!(
                response.headers()["www-authenticate"],
                r#"Basic realm="relance", charset="UTF-8""#
            );
            closed.push(path.as_str());
            if is_v2 {
                // tests/promises/inference.rs looks at these.
                continue;
            }
            assert_eq!(
                response.headers()["content-type"],
                "application/problem+json"
            );
            let body: Value = response.json().await.unwrap();
            assert_eq!(body["type"], "urn:relance:problem:unauthorised", "{path}");
        }
    }
    open.sort_unstable();
    closed.sort_unstable();
    let healthy = ["/health", "/health/live", "/health/ready"];
    let healthy_v2 = ["/v2/health/live", "/v2/health/ready"];
    assert_eq!(open, [&healthy[..], &healthy_v2].concat());
    let guarded = [
        "/candidate",
        "/candidate",
        "/candidate",
        "/dataset.zip",
        "/live",
        "/metrics",
        "/models",
        "/models/{name}",
        "/predict",
        "/predict/batch",
        "/requests",
        "/requests/{request_id}",
        "/requests/{request_id}",
        "/requests/{request_id}/image",
        "/requests/{request_id}/review",
        "/requests/{request_id}/thumbnail",
        "/review/next",
        "/review/summary",
        "/v2",
        "/v2/models/{model}",
        "/v2/models/{model}/config",
        "/v2/models/{model}/infer",
        "/v2/models/{model}/ready",
        "/v2/models/{model}/versions/{version}",
        "/v2/models/{model}/versions/{version}/config",
        "/v2/models/{model}/versions/{version}/infer",
        "/v2/models/{model}/versions/{version}/ready",
        "/v2/repository/index",
    ];
    assert_eq!(closed, guarded);

    let page = app.get("/").send().await.unwrap().text().await.unwrap();
    let assets: Vec<&str> = page
        .split('"')
        .filter(|text| text.starts_with("page/"))
        .collect();
    assert!(assets.len() >= 2, "{assets:?}");
    for path in assets
        .into_iter()
        .chain(["docs/", "docs/swagger-ui-bundle.js", "openapi.json"])
    {
        assert_eq!(
            app.get(&format!("/{path}")).send().await.unwrap().status(),
            StatusCode::OK,
            "{path}"
        );
    }
}

#[tokio::test]
async fn only_right_credentials_come_in() {
    let (key, entry) = new_key("telefone da ana");
    let (other, other_entry) = new_key("ci");
    let setup = Setup::new()
        .set("API_USERNAME", "ana")
        .set("API_PASSWORD", "pão:com manteiga");
    let app = setup
        .set("API_KEYS", &format!("{entry},{other_entry}"))
        .start()
        .await;
    let (get, key, other) = (|| app.get("/models"), key.as_str(), other.as_str());
    let digest = entry.rsplit_once(':').unwrap().1;
    let authorised = |value: &str| get().header("authorization", value);
    let spelled = format!("bAsIc {}", STANDARD.encode("ana:pão:com manteiga"));
    for right in [
        basic(get(), "ana", "pão:com manteiga"),
        authorised(&spelled),
        get().header("x-api-key", key),
        get().header("x-api-key", other),
        basic(get().header("x-api-key", other), "ana", "wrong"),
    ] {
        assert_eq!(right.send().await.unwrap().status(), StatusCode::OK);
    }
    for wrong in [
        get(),
        basic(get(), "ana", "pão"),
        basic(get(), "Ana", "pão:com manteiga"),
        basic(get(), "ana", ""),
        basic(get(), "", ""),
        basic(get(), "telefone da ana", key),
        authorised("Basic"),
        authorised("Basic ???"),
        authorised(&format!("Bearer {key}")),
        get().header("x-api-key", ""),
        get().header("x-api-key", key.to_uppercase()),
        get().header("x-api-key", &key[..key.len() - 1]),
        get().header("x-api-key", digest),
        app.get(&format!("/models?x-api-key={key}")),
    ] {
        let detail = problem(wrong, 401, "unauthorised").await;
        assert!(
            detail.contains("basic authentication or an API key in the header X-API-Key"),
            "{detail}"
        );
    }
    // The body of a refused upload is read, so that the client reads the refusal.
    problem(
        app.post_picture(vec![0; 20_000_000], "a.jpg"),
        401,
        "unauthorised",
    )
    .await;

    assert_eq!(
        record(&app, |request| basic(request, "ana", "pão:com manteiga")).await["client"],
        "ana"
    );
    assert_eq!(
        record(&app, |request| request.header("x-api-key", key)).await["client"],
        "telefone da ana"
    );
}

#[tokio::test]
async fn with_keys_alone_the_challenge_names_no_password() {
    let (key, entry) = new_key("ci");
    let app = Setup::new().set("API_KEYS", &entry).start().await;
    let response = app.get("/models").send().await.unwrap();
    assert_eq!(
        response.headers()["www-authenticate"],
        r#"ApiKey realm="relance""#
    );
    assert_eq!(
        app.get("/models")
            .header("x-api-key", key)
            .send()
            .await
            .unwrap()
            .status(),
        StatusCode::OK
    );
}

#[test]
fn a_key_without_a_usable_name_is_not_made() {
    for name in ["", " ", "a:b", "a,b", "a\nb"] {
        let output = Command::new(env!("CARGO_BIN_EXE_relance"))
            .args(["key", name])
            .output()
            .unwrap();
        assert_eq!(
            (output.status.code(), output.stdout.len()),
            (Some(1), 0),
            "{name:?}"
        );
    }
    assert_ne!(new_key("ci"), new_key("ci"));
}

#[tokio::test]
async fn addresses_are_recorded_as_set() {
    let forwarded =
        |request: RequestBuilder| request.header("x-forwarded-for", "6.6.6.6, 203.0.113.77");
    for (keep, proxies, address) in [
        ("full", "0", Value::from("127.0.0.1")),
        ("full", "1", Value::from("203.0.113.77")),
        ("full", "2", Value::from("6.6.6.6")),
        ("truncated", "0", Value::from("127.0.0.0")),
        ("truncated", "1", Value::from("203.0.113.0")),
        ("off", "1", Value::Null),
    ] {
        let app = Setup::new()
            .set("USER_IP", keep)
            .set("TRUSTED_PROXIES", proxies)
            .start()
            .await;
        assert_eq!(
            record(&app, forwarded).await["user_ip"],
            address,
            "{keep}, {proxies} proxies"
        );
        if keep == "off" {
            let database = std::fs::read(app.data.join("relance.db-wal")).unwrap();
            for address in [&b"203.0.113"[..], b"127.0.0"] {
                assert!(
                    !database
                        .windows(address.len())
                        .any(|window| window == address)
                );
            }
        }
    }
}

#[test]
fn a_secret_that_was_not_resolved_is_no_password() {
    let reference = "@Microsoft.KeyVault(VaultName=v;SecretName=s)";
    let setup = Setup::new()
        .set("API_USERNAME", "ana")
        .set("API_PASSWORD", reference);
    let told = setup.refusal();
    assert!(
        told.contains("API_PASSWORD is a reference to Key Vault"),
        "{told}"
    );
    assert!(!told.contains("SecretName"), "{told}");
}
