//! What was recorded can be removed for good, and goes by itself when its time is over.

use std::path::{Path, PathBuf};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{App, Setup, eventually, json as answer_of, picture, problem, unique};

fn pictures(data: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(data.join("pictures")).unwrap();
    let folders = folders.map(|folder| folder.unwrap().path());
    folders
        .filter(|folder| !folder.ends_with("unfinished"))
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|file| file.unwrap().path())
        .collect()
}

async fn delete(app: &App, answer: &Value) -> StatusCode {
    let id = answer["request_id"].as_str().unwrap();
    let url = format!("{}/requests/{id}", app.url);
    app.client.delete(url).send().await.unwrap().status()
}

fn by_reference(app: &App, body: Value) -> reqwest::RequestBuilder {
    app.post("/predict").json(&body)
}

#[tokio::test]
async fn the_last_request_takes_its_picture_along() {
    let app = App::start().await;
    let bytes = picture("jpeg-420.jpg");
    let (first, second) = (
        app.predict(bytes.clone()).await,
        app.predict(bytes.clone()).await,
    );
    app.predict(picture("png-rgb.png")).await;
    assert_eq!(pictures(&app.data).len(), 2);

    assert_eq!(delete(&app, &first).await, StatusCode::NO_CONTENT);
    assert_eq!(
        pictures(&app.data).len(),
        2,
        "the second request still has it"
    );
    let path = format!("/requests/{}", second["request_id"].as_str().unwrap());
    assert_eq!(answer_of(app.get(&path)).await.0, StatusCode::OK);
    let path = format!("/requests/{}", first["request_id"].as_str().unwrap());
    problem(app.get(&path), 404, "not-found").await;
    assert_eq!(delete(&app, &first).await, StatusCode::NOT_FOUND);

    assert_eq!(delete(&app, &second).await, StatusCode::NO_CONTENT);
    let left = pictures(&app.data);
    assert!(
        left.len() == 1 && std::fs::read(&left[0]).unwrap() == picture("png-rgb.png"),
        "{left:?}"
    );
    let (_, list) = answer_of(app.get("/requests")).await;
    assert_eq!(list["requests"].as_array().unwrap().len(), 1);

    let again = app.predict(bytes).await;
    assert_eq!(again["cached"], false, "its result was forgotten too");
    assert_eq!(pictures(&app.data).len(), 2, "and it is kept again");
}

/// Removals and uploads of one picture at the same time: a request that was answered has its picture.
#[tokio::test(flavor = "multi_thread")]
async fn removal_leaves_no_record_without_its_picture() {
    let app = App::start().await;
    let bytes = picture("jpeg-1x1.jpg");
    let (url, client) = (app.url.clone(), app.client.clone());
    let posts = (0..4).map(|_| {
        let (url, client, bytes) = (url.clone(), client.clone(), bytes.clone());
        tokio::spawn(async move {
            let mut kept = Vec::new();
            for round in 0..60 {
                let post = client.post(format!("{url}/predict")).body(bytes.clone());
                let answer: Value = post.send().await.unwrap().json().await.unwrap();
                let id = answer["request_id"].as_str().unwrap().to_owned();
                if round % 10 == 9 {
                    kept.push(id);
                    continue;
                }
                let removed = client.delete(format!("{url}/requests/{id}"));
                let status = removed.send().await.unwrap().status();
                assert_eq!(status, StatusCode::NO_CONTENT);
            }
            kept
        })
    });
    let posts: Vec<_> = posts.collect();
    for post in posts {
        for id in post.await.unwrap() {
            let image = app
                .get(&format!("/requests/{id}/image"))
                .send()
                .await
                .unwrap();
            assert_eq!(image.status(), StatusCode::OK, "the picture of {id}");
            assert_eq!(image.bytes().await.unwrap(), bytes);
        }
    }
}

#[tokio::test]
async fn a_stored_picture_is_classified_by_reference() {
    let dir = tempfile::tempdir().unwrap();
    let app = Setup::new().data(dir.path()).start().await;
    let sent = app.predict(picture("jpeg-420.jpg")).await;
    let reference = sent["image_ref"].as_str().unwrap();
    let (status, again) = answer_of(by_reference(
        &app,
        json!({"image_ref": reference, "image_name": "de novo.jpg"}),
    ))
    .await;
    assert_eq!(status, StatusCode::OK, "{again}");
    assert_eq!(again["image_name"], "de novo.jpg");
    for key in ["prediction", "confidence", "top", "image", "image_ref"] {
        assert_eq!(again[key], sent[key], "{key}");
    }
    assert_eq!(again["cached"], true);

    let zeros = "0".repeat(64);
    for foreign in [
        "",
        "/etc/passwd",
        "../../relance.db",
        &format!("00/00/{zeros}.jpg"),
        &format!("https://example.org/uploads/{reference}"),
        &format!("../pictures/{reference}"),
        &format!("{reference}/"),
    ] {
        let detail = problem(
            by_reference(&app, json!({"image_ref": foreign})),
            404,
            "unknown-reference",
        )
        .await;
        assert!(detail.contains("image_ref"), "{detail}");
    }
    for malformed in [
        json!({}),
        json!([]),
        json!({"image_ref": 1}),
        json!({"image_ref": "x", "url": "y"}),
    ] {
        problem(by_reference(&app, malformed), 400, "bad-reference").await;
    }
    drop(app);
    let app = Setup::new()
        .set("MAX_UPLOAD_BYTES", "1000")
        .data(dir.path())
        .start()
        .await;
    problem(
        by_reference(&app, json!({"image_ref": reference})),
        413,
        "too-large",
    )
    .await;
}

#[tokio::test]
async fn old_records_go_with_the_pictures_that_only_they_had() {
    let dir = tempfile::tempdir().unwrap();
    let base = picture("jpeg-1x1.jpg");
    let app = Setup::new().data(dir.path()).start().await;
    for n in 0..3 {
        app.predict(unique(&base, n)).await;
    }
    drop(app);
    // Three days ago, but for the last bytes of each identifier.
    let database = rusqlite::Connection::open(dir.path().join("relance.db")).unwrap();
    let then = (jiff::Timestamp::now().as_millisecond() - 3 * 86_400_000) as u64;
    let prefix = &then.to_be_bytes()[2..];
    database
        .execute(
            "UPDATE requests SET timestamp = ?1, request_id = CAST(?2 || substr(request_id, 7) AS BLOB)",
            (then as i64, prefix),
        )
        .unwrap();
    drop(database);

    let app = Setup::new().data(dir.path()).start().await;
    app.predict(unique(&base, 2)).await;
    app.predict(unique(&base, 3)).await;
    assert_eq!(pictures(dir.path()).len(), 4);
    drop(app);
    let app = Setup::new()
        .data(dir.path())
        .set("RETENTION_DAYS", "2")
        .start()
        .await;
    eventually("two pictures are left", async || {
        pictures(dir.path()).len() == 2
    })
    .await;
    let (_, list) = answer_of(app.get("/requests")).await;
    let left = list["requests"].as_array().unwrap();
    assert_eq!(left.len(), 2, "{list}");
    for request in left {
        let id = request["request_id"].as_str().unwrap();
        let image = app.get(&format!("/requests/{id}/image"));
        assert_eq!(image.send().await.unwrap().status(), StatusCode::OK);
    }
}
