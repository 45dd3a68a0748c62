//! What answers tell browsers: types, policies, origins, languages; and where metrics are.

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

use crate::support::{App, Setup, eventually, json, picture, problem};

async fn headers(request: RequestBuilder) -> HeaderMap {
    request.send().await.unwrap().headers().clone()
}

#[tokio::test]
async fn every_answer_is_what_its_type_says() {
    let app = App::start().await;
    let answer = app.predict(picture("jpeg-1x1.jpg")).await;
    let image = format!("/requests/{}/image", answer["request_id"].as_str().unwrap());
    for path in [
        "/",
        "/page/app.js",
        "/docs",
        "/docs/",
        "/openapi.json",
        "/health",
        "/metrics",
        "/models",
        "/nothing",
        &image,
    ] {
        let headers = headers(app.get(path)).await;
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(
            headers.get_all("x-content-type-options").iter().count(),
            1,
            "{path}"
        );
        assert!(
            !headers.contains_key("server"),
            "{path} tells what it is made with"
        );
    }
    let headers = headers(app.post("/predict")).await;
    assert_eq!(headers["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn pages_may_do_nothing_but_what_they_need() {
    let app = App::start().await;
    for path in [
        "/",
        "/page/app.js",
        "/docs/",
        "/docs/swagger-ui-bundle.js",
        "/docs/nothing",
    ] {
        let headers = headers(app.get(path)).await;
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"),
            "{policy}"
        );
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(
            !policy.contains("unsafe") && !policy.contains('*'),
            "{policy}"
        );
        assert_eq!(headers["x-frame-options"], "DENY", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
    }
}

fn preflight(app: &App, origin: &str) -> RequestBuilder {
    app.client
        .request(Method::OPTIONS, format!("{}/predict", app.url))
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "x-api-key,content-type")
}

#[tokio::test]
async fn pages_of_other_origins_are_not_let_in_unless_set() {
    let app = App::start().await;
    let headers = headers(app.get("/models").header("origin", "https://a.example")).await;
    assert!(!headers.contains_key("access-control-allow-origin"));
    problem(
        preflight(&app, "https://a.example"),
        405,
        "method-not-allowed",
    )
    .await;
}

#[tokio::test]
async fn pages_of_the_origins_that_are_set_are_let_in() {
    let app = Setup::new()
        .set(
            "CORS_ALLOW_ORIGINS",
            "https://a.example, http://localhost:3000",
        )
        .set("API_USERNAME", "ana")
        .set("API_PASSWORD", "segredo")
        .start()
        .await;
    for origin in ["https://a.example", "http://localhost:3000"] {
        let answer = preflight(&app, origin).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "needs no credentials");
        let headers = answer.headers();
        assert_eq!(headers["access-control-allow-origin"], origin);
        for (name, value) in [
            ("methods", "POST"),
            ("headers", "x-api-key"),
            ("headers", "authorization"),
        ] {
            let allowed = headers[format!("access-control-allow-{name}")]
                .to_str()
                .unwrap();
            assert!(allowed.contains(value), "{allowed}");
        }
        assert!(!headers.contains_key("access-control-allow-credentials"));
        let varies = headers
            .get_all("vary")
            .iter()
            .any(|v| v.to_str().unwrap().to_lowercase().contains("origin"));
        assert!(varies);

        // What is refused can be read too, or a page could not tell why.
        let refused = app
            .get("/models")
            .header("origin", origin)
            .send()
            .await
            .unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(refused.headers()["access-control-allow-origin"], origin);
        let exposed = refused.headers()["access-control-expose-headers"]
            .to_str()
            .unwrap();
        assert!(
            exposed.contains("x-request-id") && exposed.contains("retry-after"),
            "{exposed}"
        );
    }
    for other in [
        "https://b.example",
        "https://a.example.evil.example",
        "http://a.example",
        "null",
    ] {
        let headers = headers(preflight(&app, other)).await;
        assert!(
            !headers.contains_key("access-control-allow-origin"),
            "{other}"
        );
    }
}

#[tokio::test]
async fn all_origins_can_be_let_in() {
    let app = Setup::new().set("CORS_ALLOW_ORIGINS", "*").start().await;
    let headers = headers(preflight(&app, "https://a.example")).await;
    assert_eq!(headers["access-control-allow-origin"], "*");
    // Routes answer OPTIONS to nobody else.
    let app = Setup::new().set("CORS_ALLOW_ORIGINS", "").start().await;
    problem(
        preflight(&app, "https://a.example"),
        405,
        "method-not-allowed",
    )
    .await;
}

#[tokio::test]
async fn problems_have_titles_in_english_and_portuguese() {
    let app = App::start().await;
    for (accepted, title, language) in [
        ("pt-BR,pt;q=0.9,en;q=0.8", "Não encontrado", "pt, en"),
        ("pt", "Não encontrado", "pt, en"),
        ("en-GB,en;q=0.9,pt;q=0.8", "Not found", "en"),
        ("fr", "Not found", "en"),
    ] {
        let answer = app
            .get("/nothing")
            .header("accept-language", accepted)
            .send()
            .await
            .unwrap();
        let headers = answer.headers().clone();
        assert_eq!(headers["content-language"], language, "{accepted}");
        assert_eq!(headers["vary"], "accept-language");
        assert_eq!(headers["content-type"], "application/problem+json");
        let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
        let body = answer.bytes().await.unwrap();
        assert_eq!(body.len(), length);
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["title"], title);
        assert_eq!(body["type"], "urn:relance:problem:not-found");
        assert_eq!(body["detail"], body["error"]);
    }
    let head = app
        .client
        .head(format!("{}/nothing", app.url))
        .header("accept-language", "pt");
    assert_eq!(head.send().await.unwrap().status(), StatusCode::NOT_FOUND);
    let fine = headers(app.get("/models").header("accept-language", "pt")).await;
    assert!(!fine.contains_key("content-language") && !fine.contains_key("vary"));
}

#[tokio::test]
async fn metrics_can_have_a_port_of_their_own() {
    let app = Setup::new()
        .set("METRICS_PORT", "0")
        .set("API_USERNAME", "ana")
        .set("API_PASSWORD", "segredo")
        .start()
        .await;
    let mut url = String::new();
    eventually("it says where they are", async || {
        let log = app.log();
        let told = log.split("metrics on ").nth(1);
        url = told.map_or(String::new(), |rest| {
            rest.split_whitespace().next().unwrap().to_owned()
        });
        url.ends_with("/metrics")
    })
    .await;
    let metrics = app.client.get(&url).send().await.unwrap();
    assert_eq!(metrics.status(), StatusCode::OK, "without credentials");
    assert!(metrics.text().await.unwrap().contains("\nrelance_workers "));
    // Nothing else is there, and they are nowhere else.
    let base = url.trim_end_matches("/metrics");
    for path in ["/", "/models", "/health", "/predict"] {
        problem(app.client.get(format!("{base}{path}")), 404, "not-found").await;
    }
    for request in [
        app.get("/metrics"),
        app.get("/metrics").basic_auth("ana", Some("segredo")),
    ] {
        problem(request, 404, "not-found").await;
    }
    let (_, description) = json(app.get("/openapi.json")).await;
    assert!(description["paths"]["/metrics"].is_null());
    let line = Setup::new()
        .set("PORT", "45017")
        .set("METRICS_PORT", "45017")
        .refusal();
    assert!(
        line.contains("METRICS_PORT must be another one than PORT"),
        "{line}"
    );
}
