//! Instances serve what the registry says, whoever said it.

use std::path::Path;

use serde_json::{Value, json};

use super::{activate, active, registry, try_out, with};
use crate::support::{App, eventually, json as read, picture};

async fn fault(app: &App) -> Value {
    read(app.get("/models")).await.1["fault"].clone()
}

fn say(registry: &Path, plan: &Value) {
    // As careful tools do.
    let new = registry.join("serving.new");
    std::fs::write(&new, plan.to_string()).unwrap();
    std::fs::rename(new, registry.join("serving.json")).unwrap();
}

fn plan(version: &str) -> Value {
    json!({
        "active": format!("toy@{version}"),
        "changed_by": "git",
        "changed_at": "2026-11-22T00:00:00Z",
    })
}

#[tokio::test]
async fn instances_follow_each_other_and_remember() {
    let registry = registry();
    let first = with(registry.path()).start().await;
    let second = with(registry.path()).start().await;
    activate(&first, "2").await;
    eventually("the other instance follows", async || {
        active(&second).await == "toy@2"
    })
    .await;
    try_out(&second, "3", "shadow", 1.0).await;
    eventually("the other instance tries it out, too", async || {
        read(first.get("/candidate")).await.1["model"] == "toy@3"
    })
    .await;
    drop(second);
    let third = with(registry.path()).start().await;
    let answer = third.predict(picture("jpeg-224x224.jpg")).await;
    assert_eq!(answer["model"]["version"], "2", "from its first answer on");
    eventually("what is tried out is remembered", async || {
        read(third.get("/candidate")).await.1["model"] == "toy@3"
    })
    .await;
    activate(&third, "3").await;
    eventually("the candidate answers everywhere", async || {
        active(&first).await == "toy@3"
    })
    .await;
    assert_eq!(read(first.get("/candidate")).await.0, 404);
}

#[tokio::test]
async fn what_cannot_be_followed_is_told_and_changes_nothing() {
    let registry = registry();
    let app = with(registry.path()).start().await;
    activate(&app, "1").await;
    assert_eq!(fault(&app).await, Value::Null);
    for (version, word) in [("broken", "toy@broken"), ("9", "toy@9")] {
        say(registry.path(), &plan(version));
        eventually("it is told", async || {
            fault(&app)
                .await
                .as_str()
                .is_some_and(|text| text.contains(word))
        })
        .await;
        assert_eq!(active(&app).await, "toy@1");
        assert_eq!(app.metric("relance_models_followed").await, 0);
    }
    std::fs::write(registry.path().join("serving.json"), "{").unwrap();
    eventually("it is told", async || {
        fault(&app)
            .await
            .as_str()
            .is_some_and(|text| text.contains("serving.json"))
    })
    .await;
    say(registry.path(), &plan("2"));
    eventually("a good plan is followed again", async || {
        active(&app).await == "toy@2"
    })
    .await;
    eventually("the fault is over", async || {
        fault(&app).await == Value::Null
    })
    .await;
    assert_eq!(app.metric("relance_models_followed").await, 1);
    let gauge = r#"relance_model_info{model="toy@2""#;
    let metrics = app
        .get("/metrics")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let line = metrics
        .lines()
        .find(|line| line.starts_with(gauge))
        .unwrap();
    assert!(line.ends_with(" 1"), "{line}");
}

#[tokio::test]
async fn a_plan_that_cannot_be_followed_does_not_stop_the_start() {
    let registry = registry();
    say(registry.path(), &plan("broken"));
    let app = with(registry.path()).start().await;
    assert!(app.log().contains("toy@broken"), "{}", app.log());
    let answer = app.predict(picture("jpeg-224x224.jpg")).await;
    assert_eq!(answer["model"]["name"], "yolov8n-cls-nc10-64");
    say(registry.path(), &plan("2"));
    eventually("it is followed once it can be", async || {
        active(&app).await == "toy@2"
    })
    .await;
}
