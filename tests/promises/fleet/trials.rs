//! A model is tried out beside the one that answers.

use std::collections::BTreeMap;

use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{activate, active, asked, name, registry, trial, try_out, with};
use crate::support::{App, eventually, json as read, picture, problem, unique};

async fn report(app: &App) -> Value {
    let (status, report) = read(app.get("/candidate")).await;
    assert_eq!(status, StatusCode::OK, "{report}");
    report
}

/// Pictures on which toy models differ now and then.
fn pictures() -> Vec<Vec<u8>> {
    let folder = crate::support::fixture("pictures");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "jpg"))
        .collect();
    files.sort();
    files
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

#[tokio::test]
async fn a_shadow_is_compared_and_answers_nobody() {
    let registry = registry();
    let app = with(registry.path()).start().await;
    activate(&app, "1").await;
    try_out(&app, "2", "shadow", 1.0).await;
    let mut answers = Vec::new();
    for picture in pictures() {
        let request = app
            .post("/predict")
            .header("content-type", "image/jpeg")
            .body(picture.clone());
        let (status, answer) = read(request).await;
        if status == StatusCode::OK {
            assert_eq!(name(&answer["model"]), "toy@1");
            if answer["cached"] == false {
                answers.push((answer, picture));
            }
        }
    }
    let sent = answers.len();
    assert!(sent > 10, "{sent}");
    eventually("all are compared", async || {
        let agreement = &report(&app).await["agreement"];
        let count = |field: &str| agreement[field].as_u64().unwrap();
        count("compared") + count("skipped") == sent as u64
    })
    .await;
    let report = report(&app).await;
    let (mut differ, mut pairs) = (BTreeMap::new(), BTreeMap::<(String, String), u64>::new());
    for (answer, picture) in &answers {
        let other = asked(&app, "toy@2", picture).await;
        let class = |answer: &Value| answer["prediction"].as_str().unwrap().to_owned();
        *pairs.entry((class(answer), class(&other))).or_default() += 1;
        if class(answer) != class(&other) {
            differ.insert(answer["request_id"].clone().to_string(), class(&other));
        }
    }
    if report["agreement"]["skipped"] == 0 {
        assert_eq!(
            report["agreement"]["agreed"].as_u64().unwrap() as usize,
            sent - differ.len()
        );
        let told: BTreeMap<_, _> = report["pairs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| {
                let class = |field: &str| pair[field].as_str().unwrap().to_owned();
                (
                    (class("active"), class("candidate")),
                    pair["count"].as_u64().unwrap(),
                )
            })
            .collect();
        assert_eq!(told, pairs);
    }
    assert!(
        !differ.is_empty(),
        "the models are too much alike for this test"
    );
    for one in report["disagreements"].as_array().unwrap() {
        let id = one["request_id"].to_string();
        assert_eq!(one["candidate"]["prediction"], *differ[&id], "{one}");
        assert_ne!(one["active"]["prediction"], one["candidate"]["prediction"]);
        let path = format!(
            "/requests/{}/thumbnail",
            one["request_id"].as_str().unwrap()
        );
        assert_eq!(
            app.get(&path).send().await.unwrap().status(),
            StatusCode::OK
        );
    }
    assert!(report["latency"]["candidate"]["p50_ms"].as_f64().unwrap() > 0.0);
    let dropped = app
        .client
        .delete(format!("{}/candidate", app.url))
        .send()
        .await
        .unwrap();
    assert_eq!(dropped.status(), StatusCode::NO_CONTENT);
    assert_eq!(active(&app).await, "toy@1");
    problem(app.get("/candidate"), 404, "unknown-model").await;
}

#[tokio::test]
async fn a_share_of_the_traffic_is_compared() {
    let registry = registry();
    let app = with(registry.path()).start().await;
    activate(&app, "1").await;
    try_out(&app, "2", "shadow", 0.25).await;
    let base = picture("jpeg-224x224.jpg");
    for n in 0..400 {
        app.predict(unique(&base, n)).await;
    }
    // 100 are expected; 60 and 140 are more than four standard deviations away.
    let looked_at = async || {
        let agreement = &report(&app).await["agreement"];
        agreement["compared"].as_u64().unwrap() + agreement["skipped"].as_u64().unwrap()
    };
    eventually("some are compared", async || looked_at().await >= 60).await;
    assert!(looked_at().await <= 140, "{}", looked_at().await);
}

#[tokio::test]
async fn a_canary_answers_the_same_clients_always() {
    let registry = registry();
    let names: Vec<String> = (0..40).map(|n| format!("client-{n}")).collect();
    let keys: Vec<String> = names
        .iter()
        .map(|name| format!("{name}:{}", hex::encode(Sha256::digest(name))))
        .collect();
    let app = with(registry.path())
        .set("API_KEYS", &keys.join(","))
        .start()
        .await;
    let admin = |request: reqwest::RequestBuilder| request.header("x-api-key", "client-0");
    let (status, _) = read(admin(super::activation(&app, "1"))).await;
    assert_eq!(status, StatusCode::OK);
    let base = picture("jpeg-224x224.jpg");
    let who_answers = async |client: &str, n: u64| {
        let request = app
            .post("/predict")
            .header("x-api-key", client)
            .header("content-type", "image/jpeg")
            .body(unique(&base, n));
        let (status, answer) = read(request).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        name(&answer["model"])
    };
    let canaries = async |n: u64| {
        let mut found = Vec::new();
        for client in &names {
            match &*who_answers(client, n).await {
                "toy@2" => found.push(client.clone()),
                other => assert_eq!(other, "toy@1"),
            }
        }
        found
    };
    assert!(canaries(0).await.is_empty());
    let set = async |share: f64| {
        let (status, answer) = read(admin(trial(&app, "2", "canary", share))).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    };
    set(0.5).await;
    let half = canaries(1).await;
    assert!((8..=32).contains(&half.len()), "{half:?}");
    assert_eq!(canaries(2).await, half, "always the same");
    set(0.75).await;
    let more = canaries(3).await;
    assert!(
        half.iter().all(|client| more.contains(client)),
        "who had it keeps it"
    );
    set(1.0).await;
    assert_eq!(canaries(4).await.len(), names.len());
    let (_, list) = read(admin(app.get("/models"))).await;
    assert_eq!(list["models"][1]["state"], "canary");
    let promoted = put_active(&app, "2").header("x-api-key", "client-0");
    assert_eq!(read(promoted).await.0, StatusCode::OK);
    assert_eq!(canaries(5).await.len(), names.len());
}

fn put_active(app: &App, version: &str) -> reqwest::RequestBuilder {
    super::put(app, "/models/toy", &json!({ "version": version }))
}
