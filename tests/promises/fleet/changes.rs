//! One model takes the place of another.

use std::collections::HashMap;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use super::{activate, activation, active, asked, name, registry, with};
use crate::support::load::{Counter, Load};
use crate::support::{App, Setup, json, picture, problem, unique};

#[tokio::test(flavor = "multi_thread")]
async fn a_change_under_load_fails_no_request_and_mixes_no_answers() {
    let registry = registry();
    let app = with(registry.path()).start().await;
    activate(&app, "1").await;
    let base = picture("jpeg-224x224.jpg");
    let counter = Counter::default();
    let calm = Load::start(&app, 4, &base, &counter);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let calm = calm.finish().await;

    let load = Load::start(&app, 4, &base, &counter);
    for version in ["2", "1", "3", "2", "1", "3"] {
        activate(&app, version).await;
        // What is asked from now on, the new model answers.
        let answer = app.predict(base.clone()).await;
        assert_eq!(name(&answer["model"]), format!("toy@{version}"));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let told = load.finish().await;
    assert!(told.refused.is_empty(), "{:?}", told.refused);
    assert_eq!(told.broken, 0);

    let mut seen: HashMap<String, Vec<&crate::support::load::Answered>> = HashMap::new();
    for one in &told.answered {
        seen.entry(name(&one.answer["model"]))
            .or_default()
            .push(one);
    }
    assert_eq!(seen.len(), 3, "all three have answered");
    for (model, answers) in seen {
        for one in answers.iter().step_by(answers.len() / 10 + 1) {
            let again = asked(&app, &model, &one.sent).await;
            for field in ["prediction", "confidence", "top"] {
                assert_eq!(one.answer[field], again[field], "{model} {field}");
            }
        }
    }
    let (before, during) = (calm.quantile(0.99), told.quantile(0.99));
    println!("p99 {before:?} without changes, {during:?} with one every 0.3 s");
    assert!(
        during < before * 5 + Duration::from_millis(100),
        "p99 {during:?} where it was {before:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_served_leaves_all_as_it_was() {
    let registry = registry();
    let samples = registry.path().join("toy/samples");
    let app = with(registry.path()).start().await;
    activate(&app, "1").await;
    let plan = || std::fs::read(registry.path().join("serving.json")).unwrap();
    let before = plan();

    let detail = problem(activation(&app, "broken"), 422, "unusable-model").await;
    assert!(
        detail.contains("toy@broken") && detail.contains("ONNX"),
        "{detail}"
    );
    let detail = problem(activation(&app, "segments"), 422, "unusable-model").await;
    assert!(detail.contains("segment"), "{detail}");
    let detail = problem(activation(&app, "9"), 404, "unknown-model").await;
    assert!(detail.contains("toy@1, toy@2, toy@3"), "{detail}");
    let detail = problem(activation(&app, "../1"), 404, "unknown-model").await;
    assert!(detail.contains("../1"), "{detail}");

    // One of the classes is right for version 2, so that all the others are wrong.
    let garden = picture("jpeg-224x224.jpg");
    let right = asked(&app, "toy@2", &garden).await["prediction"]
        .as_str()
        .unwrap()
        .to_owned();
    let wrong = if right == "red" { "green" } else { "red" };
    std::fs::create_dir_all(samples.join(wrong)).unwrap();
    std::fs::write(samples.join(wrong).join("a.jpg"), &garden).unwrap();
    let detail = problem(activation(&app, "2"), 422, "unusable-model").await;
    assert!(
        detail.contains(&format!("samples/{wrong}/a.jpg")) && detail.contains(&right),
        "{detail}"
    );

    assert_eq!(active(&app).await, "toy@1");
    assert_eq!(plan(), before);
    std::fs::rename(samples.join(wrong), samples.join(&right)).unwrap();
    activate(&app, "2").await;
}

#[tokio::test]
async fn changes_that_make_no_sense_are_named() {
    let registry = registry();
    let app = with(registry.path()).start().await;
    let put = |path: &str, body: &str| {
        app.client
            .put(format!("{}{path}", app.url))
            .header("content-type", "application/json")
            .body(body.to_owned())
    };
    for body in [
        "",
        "{}",
        r#"{"version": 2}"#,
        r#"{"version": "2", "when": "now"}"#,
    ] {
        let detail = problem(put("/models/toy", body), 400, "bad-model-change").await;
        assert!(detail.contains(r#"{"version": "…"}"#), "{detail}");
    }
    for (share, role) in [
        ("0", "shadow"),
        ("1.1", "canary"),
        ("-1", "shadow"),
        ("0.5", "parrot"),
    ] {
        let body = format!(r#"{{"model": "toy@2", "role": "{role}", "share": {share}}}"#);
        let detail = problem(put("/candidate", &body), 400, "bad-model-change").await;
        assert!(detail.contains("up to 1"), "{detail}");
    }
    let text = app
        .client
        .put(format!("{}/candidate", app.url))
        .body("shadow");
    problem(text, 415, "unsupported-media-type").await;
    activate(&app, "2").await;
    let itself = put(
        "/candidate",
        r#"{"model": "toy@2", "role": "shadow", "share": 1}"#,
    );
    problem(itself, 409, "model-conflict").await;
    problem(app.get("/candidate"), 404, "unknown-model").await;
    let none = app.client.delete(format!("{}/candidate", app.url));
    problem(none, 404, "unknown-model").await;
}

#[tokio::test]
async fn without_a_registry_there_is_one_model_for_good() {
    let app = App::start().await;
    let (_, list) = json(app.get("/models")).await;
    assert_eq!(list["changeable"], false);
    assert_eq!(list["models"].as_array().unwrap().len(), 1);
    let detail = problem(activation(&app, "1"), 409, "model-conflict").await;
    assert!(detail.contains("MODELS"), "{detail}");
    let own = name(&list["models"][0]);
    asked(&app, &own, &picture("jpeg-224x224.jpg")).await;
    let other = app
        .post("/predict?model=toy@1")
        .body(picture("jpeg-224x224.jpg"));
    let detail = problem(other, 404, "unknown-model").await;
    assert!(detail.contains(&own), "{detail}");
}

#[tokio::test]
async fn any_model_answers_those_who_ask_for_it_by_name() {
    let registry = registry();
    let app = with(registry.path()).start().await;
    activate(&app, "1").await;
    let garden = picture("jpeg-224x224.jpg");
    let plain = app.predict(garden.clone()).await;
    let mut confidences = Vec::new();
    // More than are kept at once.
    for version in ["1", "2", "3", "2", "1"] {
        let answer = asked(&app, &format!("toy@{version}"), &garden).await;
        confidences.push(answer["confidence"].as_f64().unwrap());
        let record = json(app.get(&format!(
            "/requests/{}",
            answer["request_id"].as_str().unwrap()
        )))
        .await
        .1;
        assert_eq!(name(&record["model"]), format!("toy@{version}"));
    }
    assert_eq!(confidences[0], plain["confidence"].as_f64().unwrap());
    assert_eq!(
        (confidences[0], confidences[1]),
        (confidences[4], confidences[3])
    );
    assert_ne!(confidences[0], confidences[1]);
    assert_ne!(confidences[1], confidences[2]);

    let (_, list) = json(app.get("/models")).await;
    let state = |version: &str| -> Value {
        let models = list["models"].as_array().unwrap();
        models.iter().find(|m| m["version"] == version).unwrap()["state"].clone()
    };
    assert_eq!(
        (state("1"), state("2"), state("3")),
        ("active".into(), "loaded".into(), "loaded".into())
    );
    assert_eq!(state("broken"), "available");

    let request = |model: &str| {
        app.post(&format!("/predict?model={model}"))
            .body(unique(&garden, 1))
    };
    problem(request("toy"), 400, "bad-parameter").await;
    problem(request("toy@9"), 404, "unknown-model").await;
    problem(request("toy@broken"), 422, "unusable-model").await;

    // The same by the Open Inference Protocol.
    let (status, ready) = json(app.get("/v2/models/toy/versions/2")).await;
    assert_eq!(
        (status, &ready["name"]),
        (StatusCode::OK, &Value::from("toy"))
    );
    let (_, metadata) = json(app.get("/v2/models/toy")).await;
    assert_eq!(metadata["versions"][0], "1");
}

#[tokio::test]
async fn only_those_may_change_models_who_are_named() {
    let registry = registry();
    let key = |name: &str| {
        format!(
            "{name}:{}",
            hex::encode(<sha2::Sha256 as sha2::Digest>::digest(name))
        )
    };
    let app = with(registry.path())
        .set("API_KEYS", &[key("ana"), key("shop")].join(","))
        .set("MODEL_ADMINS", "ana")
        .start()
        .await;
    let by = |name: &str| activation(&app, "2").header("x-api-key", name);
    let detail = problem(by("shop"), 403, "forbidden").await;
    assert!(
        detail.contains("shop") && detail.contains("MODEL_ADMINS"),
        "{detail}"
    );
    let (status, _) = json(by("ana")).await;
    assert_eq!(status, StatusCode::OK);
    let plan = std::fs::read_to_string(registry.path().join("serving.json")).unwrap();
    assert!(plan.contains(r#""changed_by": "ana""#), "{plan}");
}

#[test]
fn a_registry_that_cannot_be_is_refused_at_start() {
    let line = Setup::new().set("MODELS", "/no/such/folder").refusal();
    assert!(line.contains("MODELS"), "{line}");
    let line = Setup::new().set("MODELS", "blob:models").refusal();
    assert!(line.contains("AZURE_STORAGE_BLOB_ENDPOINT"), "{line}");
}
