//! What is kept on an instance's disk reaches the shared stores, and what waits there is bounded.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;

use crate::support::azurite::{self, Azurite};
use crate::support::proxy::{Mode, Proxy};
use crate::support::{App, Setup, eventually, json, picture, postgres, problem, unique};

/// Blob Storage behind a proxy, and PostgreSQL.
struct Stores {
    azurite: Azurite,
    blob: Proxy,
    postgres: postgres::Server,
}

impl Stores {
    async fn start() -> Self {
        let azurite = Azurite::http();
        azurite.create_container("uploads").await;
        Self {
            blob: Proxy::before(azurite.address.to_string(), Mode::Pass),
            postgres: postgres::Server::start().await,
            azurite,
        }
    }

    fn pictures(&self, setup: Setup) -> Setup {
        let endpoint = self.azurite.endpoint();
        let through = self.blob.address.to_string();
        let endpoint = endpoint.replace(&self.azurite.address.to_string(), &through);
        setup
            .set("AZURE_STORAGE_BLOB_ENDPOINT", &endpoint)
            .set("AZURE_STORAGE_KEY", azurite::KEY)
    }

    fn records(&self, setup: Setup) -> Setup {
        let url = postgres::url(self.postgres.address(), "relance", "");
        setup.set("DATABASE_URL", &url)
    }

    /// An instance that shares both.
    async fn instance(&self, data: &Path) -> App {
        let setup = Setup::new().data(data);
        self.records(self.pictures(setup)).start().await
    }

    async fn blobs(&self) -> usize {
        self.azurite.list("uploads").await.len()
    }
}

async fn post(app: &App, count: u64) -> Vec<Value> {
    let base = picture("jpeg-1x1.jpg");
    let mut answers = Vec::new();
    for n in 0..count {
        answers.push(app.predict(unique(&base, n)).await);
    }
    answers
}

async fn shipped(app: &App) {
    eventually("all has been shipped", async || {
        app.metric("relance_backlog_records").await == 0
            && app.metric("relance_backlog_bytes").await == 0
            && app.metric("relance_shipped_records_total").await > 0
    })
    .await;
}

async fn listed(app: &App) -> usize {
    let (status, page) = json(app.get("/requests?limit=500")).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    page["requests"].as_array().unwrap().len()
}

fn id(answer: &Value) -> &str {
    answer["request_id"].as_str().unwrap()
}

#[tokio::test]
async fn stores_that_are_switched_on_later_get_what_was_there_before() {
    let stores = Stores::start().await;
    let dir = tempfile::tempdir().unwrap();
    let app = Setup::new().data(dir.path()).start().await;
    let answers = post(&app, 5).await;
    drop(app);

    // Pictures alone: the records stay.
    let app = stores.pictures(Setup::new().data(dir.path())).start().await;
    shipped(&app).await;
    assert_eq!((stores.blobs().await, listed(&app).await), (5, 5));
    app.predict(unique(&picture("jpeg-1x1.jpg"), 99)).await;
    eventually("the sixth picture is there", async || {
        stores.blobs().await == 6
    })
    .await;
    let image = app.get(&format!("/requests/{}/image", id(&answers[0])));
    assert_eq!(
        image.send().await.unwrap().bytes().await.unwrap(),
        unique(&picture("jpeg-1x1.jpg"), 0)
    );
    drop(app);

    let app = stores.instance(dir.path()).await;
    shipped(&app).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let other = stores.instance(elsewhere.path()).await;
    assert_eq!((listed(&app).await, listed(&other).await), (6, 6));
    for (n, answer) in (0..).zip(&answers) {
        let image = other.get(&format!("/requests/{}/image", id(answer)));
        let image = image.send().await.unwrap().bytes().await.unwrap();
        assert_eq!(image, unique(&picture("jpeg-1x1.jpg"), n));
    }
    // By reference, on an instance that has never seen it.
    let body = serde_json::json!({"image_ref": answers[0]["image_ref"]});
    let (status, again) = json(other.post("/predict").json(&body)).await;
    assert_eq!(status, StatusCode::OK, "{again}");
    assert_eq!(again["confidence"], answers[0]["confidence"]);
}

#[tokio::test]
async fn removal_reaches_the_shared_stores() {
    let stores = Stores::start().await;
    let dir = tempfile::tempdir().unwrap();
    let app = stores.instance(dir.path()).await;
    let answers = post(&app, 2).await;
    shipped(&app).await;
    let delete = async |answer: &Value| {
        let url = format!("{}/requests/{}", app.url, id(answer));
        app.client.delete(url).send().await.unwrap().status()
    };
    assert_eq!(delete(&answers[0]).await, StatusCode::NO_CONTENT);
    assert_eq!((stores.blobs().await, listed(&app).await), (1, 1));
    let again = app.predict(unique(&picture("jpeg-1x1.jpg"), 0)).await;
    assert_eq!(again["cached"], false);
    eventually("it is kept again", async || stores.blobs().await == 2).await;

    stores.blob.set(Mode::Refuse);
    assert_eq!(
        delete(&answers[1]).await,
        StatusCode::SERVICE_UNAVAILABLE,
        "its picture cannot be removed now"
    );
    assert_eq!(listed(&app).await, 2);
    stores.blob.set(Mode::Pass);
    assert_eq!(delete(&answers[1]).await, StatusCode::NO_CONTENT);
    assert_eq!((stores.blobs().await, listed(&app).await), (1, 1));
}

#[tokio::test]
async fn what_is_removed_while_it_waits_waits_no_more() {
    let stores = Stores::start().await;
    let dir = tempfile::tempdir().unwrap();
    let setup = stores.pictures(Setup::new().data(dir.path()));
    let app = setup.start().await;
    stores.blob.set(Mode::Refuse);
    let answers = post(&app, 3).await;
    assert_eq!(app.metric("relance_backlog_records").await, 3);
    stores.blob.set(Mode::Pass);
    let url = format!("{}/requests/{}", app.url, id(&answers[1]));
    // 503 until the store is found to be back.
    eventually("it can be removed", async || {
        let removed = app.client.delete(&url).send().await.unwrap();
        removed.status() == StatusCode::NO_CONTENT
    })
    .await;
    shipped(&app).await;
    assert_eq!((stores.blobs().await, listed(&app).await), (2, 2));
}

#[tokio::test]
async fn a_full_spool_refuses_new_pictures_until_there_is_room() {
    let stores = Stores::start().await;
    let dir = tempfile::tempdir().unwrap();
    let setup = stores.pictures(Setup::new().data(dir.path()));
    let app = setup.set("SPOOL_MAX_BYTES", "20000").start().await;
    stores.blob.set(Mode::Refuse);
    let base = picture("jpeg-1x1.jpg");
    let mut answered = 0;
    let refused = loop {
        let response = app.post_picture(unique(&base, answered), "a.jpg").send();
        let status = response.await.unwrap().status();
        if status != StatusCode::OK {
            break status;
        }
        answered += 1;
        assert!(answered < 200, "it does not fill");
    };
    assert_eq!(refused, StatusCode::INSUFFICIENT_STORAGE);
    let refused = app.post_picture(unique(&base, 1000), "a.jpg");
    let detail = problem(refused, 507, "spool-full").await;
    assert!(detail.contains("SPOOL_MAX_BYTES"), "{detail}");
    app.predict(unique(&base, 0)).await;

    stores.blob.set(Mode::Pass);
    eventually("there is room again", async || {
        let again = app.post_picture(unique(&base, 1000), "a.jpg");
        again.send().await.unwrap().status() == StatusCode::OK
    })
    .await;
    shipped(&app).await;
    assert_eq!(stores.blobs().await as u64, answered + 1);
}

#[tokio::test]
async fn a_full_spool_may_cost_the_pictures_instead() {
    let stores = Stores::start().await;
    let dir = tempfile::tempdir().unwrap();
    let setup = stores.records(stores.pictures(Setup::new().data(dir.path())));
    let app = setup
        .set("SPOOL_MAX_BYTES", "20000")
        .set("SPOOL_FULL", "shed-pictures")
        .start()
        .await;
    stores.blob.set(Mode::Refuse);
    let answers = post(&app, 60).await;
    let kept = answers
        .iter()
        .filter(|answer| answer["image_ref"].is_string());
    let kept = kept.count();
    assert!((1..60).contains(&kept), "{kept}");
    let last = answers.last().unwrap();
    problem(
        app.get(&format!("/requests/{}/image", id(last))),
        404,
        "not-found",
    )
    .await;
    stores.blob.set(Mode::Pass);
    shipped(&app).await;
    assert_eq!((stores.blobs().await, listed(&app).await), (kept, 60));
}

#[tokio::test]
async fn the_end_waits_for_the_stores_but_not_for_ever() {
    let stores = Stores::start().await;
    let dir = tempfile::tempdir().unwrap();
    let setup = || {
        let setup = stores.records(stores.pictures(Setup::new().data(dir.path())));
        setup
            .set("DRAIN_DELAY_MS", "0")
            .set("FLUSH_TIMEOUT_MS", "2500")
    };
    let mut app = setup().start().await;
    stores.blob.set(Mode::Slow(Duration::from_millis(300)));
    post(&app, 30).await;
    app.signal("TERM");
    assert_eq!(app.wait(), Some(0), "{}", app.log());
    assert_eq!(stores.blobs().await, 30);

    let mut app = setup().start().await;
    stores.blob.set(Mode::Stall);
    app.predict(picture("png-rgb.png")).await;
    let asked = Instant::now();
    app.signal("TERM");
    assert_eq!(app.wait(), Some(0), "{}", app.log());
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert!(
        app.log().contains("the rest will after the next start"),
        "{}",
        app.log()
    );
    stores.blob.set(Mode::Pass);
    let app = setup().start().await;
    shipped(&app).await;
    assert_eq!((stores.blobs().await, listed(&app).await), (31, 31));
}

#[tokio::test]
async fn the_log_tells_once_a_minute_that_records_wait() {
    let nowhere = Proxy::before("127.0.0.1:9", Mode::Refuse);
    let url = postgres::url(nowhere.address, "relance", "");
    let app = Setup::new()
        .set("DATABASE_URL", &url)
        .set("LOG_FORMAT", "json")
        .start()
        .await;
    post(&app, 3).await;
    let told = || {
        let log = app.log();
        let lines = log
            .lines()
            .filter(|line| line.contains("records wait for the shared stores"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    tokio::time::sleep(Duration::from_secs(58)).await;
    assert_eq!(told(), [""; 0]);
    // A failed attempt may be followed by a pause.
    let mut lines = Vec::new();
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        lines = told();
        if !lines.is_empty() {
            break;
        }
    }
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(line["records"], 3, "{line}");
    // Alerts in Azure read the number behind this name.
    assert!(
        line["backlog_age_seconds"].as_u64().unwrap() >= 60,
        "{line}"
    );
}

#[test]
fn records_go_to_one_store() {
    let both = Setup::new()
        .set("AZURE_COSMOS_ENDPOINT", "https://x.documents.azure.com")
        .set("DATABASE_URL", "postgres://a:segredo@localhost/b");
    let line = both.refusal();
    assert!(
        line.contains("AZURE_COSMOS_ENDPOINT") && line.contains("DATABASE_URL"),
        "{line}"
    );
    assert!(!line.contains("segredo"), "{line}");
}
