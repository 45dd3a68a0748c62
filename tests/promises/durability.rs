//! Nothing that was answered is ever lost, not even when the process is killed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::StatusCode;

use crate::support::load::{Answered, Counter, Load};
use crate::support::{App, Setup, json, picture, unique};

const KILLS: u64 = 20;
const CLIENTS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected: HashMap<String, Answered> = HashMap::new();
    let mut total = 0;
    let counter = Counter::default();
    for round in 0..KILLS {
        let app = Setup::new().data(dir.path()).start().await;
        // Moments from "just up" to "under full load", different in every round.
        let life = Duration::from_millis(20 + (round * 137) % 400);
        let answered = post_until_killed(app, &counter, life).await;
        total += answered.len();
        expected.extend(
            answered
                .into_iter()
                .map(|a| (a.answer["request_id"].as_str().unwrap().to_owned(), a)),
        );

        let app = Setup::new().data(dir.path()).start().await;
        for (id, answered) in expected.drain() {
            check(&app, &id, &answered).await;
        }
    }
    println!("{KILLS} kills, {total} answered requests, none lost");
    assert!(
        total > 500,
        "only {total} requests were answered before the kills: the test proves too little"
    );
}

async fn post_until_killed(app: App, counter: &Counter, life: Duration) -> Vec<Answered> {
    let load = Load::start(&app, CLIENTS, &picture("jpeg-420.jpg"), counter);
    tokio::time::sleep(life).await;
    app.signal("KILL");
    load.finish().await.answered
}

async fn check(app: &App, id: &str, answered: &Answered) {
    let (status, record) = json(app.get(&format!("/requests/{id}"))).await;
    assert_eq!(status, StatusCode::OK, "the record of {id} is lost");
    for key in [
        "prediction",
        "confidence",
        "top",
        "timestamp",
        "image_name",
        "cached",
    ] {
        assert_eq!(record[key], answered.answer[key], "{key} of {id}");
    }
    assert_eq!(record["image_sha256"], answered.answer["image"]["sha256"]);
    let image = app
        .get(&format!("/requests/{id}/image"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        image.status(),
        StatusCode::OK,
        "the picture of {id} is lost"
    );
    assert_eq!(
        image.bytes().await.unwrap(),
        answered.sent,
        "the picture of {id} has changed"
    );
}

#[tokio::test]
async fn a_picture_is_stored_once() {
    let app = App::start().await;
    for _ in 0..3 {
        app.predict(picture("png-rgb.png")).await;
    }
    let mut files = Vec::new();
    let mut folders = vec![app.data.join("pictures")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path())
            } else {
                files.push(entry.path())
            }
        }
    }
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(std::fs::read(&files[0]).unwrap(), picture("png-rgb.png"));
}

#[tokio::test]
async fn one_folder_serves_one_instance() {
    let app = App::start().await;
    let log = Setup::new().data(&app.data).try_start().err().unwrap();
    assert!(log.contains("in use by another instance"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains_and_loses_nothing() {
    let mut app = Setup::new().set("DRAIN_DELAY_MS", "700").start().await;
    let (client, url) = (app.client.clone(), app.url.clone());
    let stop = Arc::new(AtomicBool::new(false));
    let base = picture("jpeg-640x480.jpg");
    let clients: Vec<_> = (0..16)
        .map(|c: u64| {
            let (client, url, stop, base) =
                (client.clone(), url.clone(), Arc::clone(&stop), base.clone());
            tokio::spawn(async move {
                let mut sent = 0;
                while !stop.load(Ordering::Relaxed) {
                    let body = unique(&base, c << 32 | sent);
                    let request = client
                        .post(format!("{url}/predict"))
                        .header("content-type", "image/jpeg")
                        .body(body);
                    let response = request
                        .send()
                        .await
                        .expect("a request sent while serving was not answered");
                    assert_eq!(response.status(), StatusCode::OK);
                    sent += 1;
                }
                sent
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(400)).await;
    app.signal("TERM");
    let told = Instant::now();
    let (mut not_ready, mut closes) = (false, false);
    while told.elapsed() < Duration::from_millis(500) {
        let ready = app.get("/health/ready").send().await.unwrap().status();
        not_ready |= ready == StatusCode::SERVICE_UNAVAILABLE;
        let health = app.get("/health").send().await.unwrap();
        assert_eq!(health.status(), StatusCode::OK);
        closes = health
            .headers()
            .get("connection")
            .is_some_and(|v| v == "close");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(not_ready, "readiness must fail after SIGTERM");
    assert!(closes, "connections must end with an answer after SIGTERM");
    // Traffic moves away while it still serves; what is in flight then is finished.
    stop.store(true, Ordering::Relaxed);
    let mut answered = 0;
    for client in clients {
        answered += client.await.unwrap();
    }
    drop(client);
    assert_eq!(app.wait(), Some(0), "{}", app.log());
    println!("{answered} requests around SIGTERM, 0 failed");
    let app = Setup::new().data(&app.data.clone()).start().await;
    let mut listed = 0;
    let mut path = "/requests?limit=500".to_owned();
    loop {
        let (_, page) = json(app.get(&path)).await;
        listed += page["requests"].as_array().unwrap().len() as u64;
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/requests?limit=500&cursor={cursor}");
    }
    assert_eq!(listed, answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_at_the_end_of_the_delay_are_finished() {
    let mut app = Setup::new().set("DRAIN_DELAY_MS", "0").start().await;
    let base = picture("jpeg-1280x960.jpg");
    let requests = (0..60).map(|n| app.post_picture(unique(&base, n), "a.jpg"));
    let flying: Vec<_> = requests
        .map(|r| tokio::spawn(async move { r.send().await }))
        .collect();
    // Sent means that the service has it: the counter is only raised by what it has begun to answer.
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let metrics = app
            .get("/metrics")
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        if metrics.contains("relance_results_total") {
            break;
        }
        assert!(Instant::now() < end, "{metrics}");
    }
    app.signal("TERM");
    let (mut answered, mut not_connected) = (0, 0);
    for request in flying {
        match request.await.unwrap() {
            Ok(response) => {
                assert_eq!(response.status(), StatusCode::OK);
                answered += 1;
            }
            Err(error) => {
                assert!(error.is_connect() || error.is_request(), "{error:?}");
                not_connected += 1;
            }
        }
    }
    println!("{answered} finished, {not_connected} came too late");
    assert!(answered >= 2);
    assert_eq!(app.wait(), Some(0), "{}", app.log());
}
