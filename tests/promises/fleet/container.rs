//! Models in a container of Blob Storage.

use std::path::Path;

use super::{VERSIONS, activate, activation, active, asked};
use crate::support::azurite::{ACCOUNT, Azurite, KEY};
use crate::support::proxy::{Mode, Proxy};
use crate::support::{App, Setup, eventually, fixture, json, picture, problem};

async fn filled() -> Azurite {
    let azurite = Azurite::http();
    azurite.create_container("uploads").await;
    azurite.create_container("models").await;
    for (version, file) in VERSIONS {
        let bytes = std::fs::read(fixture(file)).unwrap();
        let path = format!("models/toy/{version}/model.onnx");
        azurite.write(&path, bytes).await;
    }
    azurite
}

async fn start(endpoint: &str, data: &Path) -> App {
    Setup::new()
        .set("MODELS", "blob:models")
        .set("MODELS_POLL_SECONDS", "1")
        .set("AZURE_STORAGE_BLOB_ENDPOINT", endpoint)
        .set("AZURE_STORAGE_KEY", KEY)
        .data(data)
        .start()
        .await
}

#[tokio::test]
async fn instances_on_different_disks_follow_a_container() {
    let azurite = filled().await;
    let disks = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let first = start(&azurite.endpoint(), disks[0].path()).await;
    let second = start(&azurite.endpoint(), disks[1].path()).await;
    let (_, list) = json(first.get("/models")).await;
    let listed = list["models"].as_array().unwrap().len();
    assert_eq!(listed, VERSIONS.len() + 1, "{list}");

    activate(&first, "2").await;
    eventually("the other instance follows", async || {
        active(&second).await == "toy@2"
    })
    .await;
    activate(&second, "3").await;
    eventually("and the other way round", async || {
        active(&first).await == "toy@3"
    })
    .await;
    problem(activation(&first, "broken"), 422, "unusable-model").await;
    problem(activation(&first, "9"), 404, "unknown-model").await;
    let garden = picture("jpeg-224x224.jpg");
    let answers = [
        asked(&first, "toy@1", &garden).await,
        asked(&second, "toy@1", &garden).await,
    ];
    assert_eq!(answers[0]["confidence"], answers[1]["confidence"]);

    // Samples that only version 1 answers right.
    let says = |answer: &serde_json::Value| answer["prediction"].as_str().unwrap().to_owned();
    let one = says(&answers[0]);
    let path = format!("models/toy/samples/{one}/garden.jpg");
    azurite.write(&path, garden.clone()).await;
    activate(&first, "1").await;
    if says(&asked(&first, "toy@2", &garden).await) != one {
        let detail = problem(activation(&first, "2"), 422, "unusable-model").await;
        assert!(detail.contains("garden.jpg"), "{detail}");
    }
}

#[tokio::test]
async fn a_container_that_is_away_neither_stops_the_start_nor_changes_the_model() {
    let azurite = filled().await;
    let proxy = Proxy::before(azurite.address.to_string(), Mode::Pass);
    let endpoint = format!("{}/{ACCOUNT}", proxy.url());
    let disk = tempfile::tempdir().unwrap();
    let app = start(&endpoint, disk.path()).await;
    activate(&app, "2").await;
    drop(app);
    proxy.set(Mode::Refuse);
    let app = start(&endpoint, disk.path()).await;
    let answer = app.predict(picture("jpeg-224x224.jpg")).await;
    assert_eq!(answer["model"]["version"], "2", "from the copy on its disk");
    let detail = problem(activation(&app, "3"), 503, "models-unavailable").await;
    assert!(detail.contains("/models"), "{detail}");
    let (_, list) = json(app.get("/models")).await;
    assert!(list["fault"].is_string(), "{list}");

    // Without a copy there is still the model in the image.
    let new = tempfile::tempdir().unwrap();
    let other = start(&endpoint, new.path()).await;
    let answer = other.predict(picture("jpeg-224x224.jpg")).await;
    assert_eq!(answer["model"]["name"], "yolov8n-cls-nc10-64");
    proxy.set(Mode::Pass);
    eventually("it follows once the container is back", async || {
        active(&other).await == "toy@2"
    })
    .await;
    activate(&app, "3").await;
}
