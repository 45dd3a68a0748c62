//! `POST /predict/batch` treats each picture as if it had come alone.

use reqwest::multipart::{Form, Part};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::support::{self, App, SLOW, Setup, picture, problem, unique};

fn post(app: &App, pictures: Vec<(&'static str, String, Vec<u8>)>) -> RequestBuilder {
    let mut form = Form::new();
    for (field, name, bytes) in pictures {
        form = form.part(field, Part::bytes(bytes).file_name(name));
    }
    app.post("/predict/batch").multipart(form)
}

fn copies(count: u64) -> Vec<(&'static str, String, Vec<u8>)> {
    let bytes = picture("jpeg-420.jpg");
    let copy = |n| ("image", format!("{n}.jpg"), unique(&bytes, n));
    (0..count).map(copy).collect()
}

async fn items(request: RequestBuilder) -> Vec<Value> {
    let (status, answer) = support::json(request).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer.as_array().unwrap().clone()
}

#[tokio::test]
async fn answers_come_in_order_and_equal_those_of_single_requests() {
    let app = App::start().await;
    let names = [
        "jpeg-420.jpg",
        "png-rgb.png",
        "gif-plain.gif",
        "webp-lossy.webp",
        "tiff-rgb.tif",
    ];
    let mut expected = Vec::new();
    for name in names {
        expected.push(app.predict(picture(name)).await);
    }
    let fields = ["image", "file", "image", "image", "file"];
    let pictures = names.iter().zip(fields);
    let pictures = pictures.map(|(name, field)| (field, format!("my {name}"), picture(name)));
    let answers = items(post(&app, pictures.collect())).await;
    assert_eq!(answers.len(), names.len());
    for ((answer, single), name) in answers.iter().zip(&expected).zip(names) {
        for key in [
            "prediction",
            "confidence",
            "top",
            "model",
            "image",
            "image_ref",
        ] {
            assert_eq!(answer[key], single[key], "{key} of {name}");
        }
        assert_eq!(answer["image_name"], format!("my {name}"));
        assert_eq!(answer["cached"], true);
        let id = answer["request_id"].as_str().unwrap();
        let (status, record) = support::json(app.get(&format!("/requests/{id}"))).await;
        assert_eq!(
            (status, &record["prediction"]),
            (StatusCode::OK, &answer["prediction"])
        );
    }
    let mut ids: Vec<_> = answers
        .iter()
        .map(|answer| answer["request_id"].to_string())
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), names.len());
}

#[tokio::test]
async fn a_picture_that_fails_leaves_the_others_alone() {
    let app = Setup::new().set("MAX_UPLOAD_BYTES", "60000").start().await;
    let good = || picture("jpeg-420.jpg");
    let named = |name: &str, bytes| ("image", name.to_owned(), bytes);
    let request = post(
        &app,
        vec![
            named("good.jpg", good()),
            named(
                "text.jpg",
                b"just some text that somebody named photo.jpg".to_vec(),
            ),
            named("half.jpg", good()[..good().len() / 2].to_vec()),
            named("empty.jpg", Vec::new()),
            named("large.jpg", [good(), vec![0; 60_000]].concat()),
            named("last.jpg", unique(&good(), 1)),
        ],
    );
    let answers = items(request.query(&[("top", "2")])).await;
    let outcome = |answer: &Value| json!([answer["image_name"], answer["status"], answer["type"]]);
    let problem = |name: &str, status: u16, kind: &str| {
        json!([name, status, format!("urn:relance:problem:{kind}")])
    };
    let expected = [
        json!(["good.jpg", null, null]),
        problem("text.jpg", 415, "unsupported-picture"),
        problem("half.jpg", 422, "damaged-picture"),
        problem("empty.jpg", 400, "empty-body"),
        problem("large.jpg", 413, "too-large"),
        json!(["last.jpg", null, null]),
    ];
    assert_eq!(answers.iter().map(outcome).collect::<Vec<_>>(), expected);
    assert_eq!(answers[0]["top"].as_array().unwrap().len(), 2);
    assert_eq!(answers[0]["top"], answers[5]["top"]);
    let (_, page) = support::json(app.get("/requests")).await;
    assert_eq!(page["requests"].as_array().unwrap().len(), 2, "{page}");
}

#[tokio::test]
async fn a_batch_keeps_to_its_limits() {
    let app = Setup::new()
        .set("MAX_BATCH_PICTURES", "3")
        .set("MAX_BATCH_BYTES", "100000")
        .start()
        .await;
    assert_eq!(items(post(&app, copies(3))).await.len(), 3);
    let detail = problem(post(&app, copies(4)), 400, "several-pictures").await;
    assert!(detail.contains("more than the 3 pictures"), "{detail}");
    let large = vec![("image", "a.jpg".to_owned(), vec![0; 120_000])];
    let detail = problem(post(&app, large), 413, "too-large").await;
    assert!(detail.contains("100000 bytes"), "{detail}");

    let raw = app
        .post("/predict/batch")
        .header("content-type", "image/jpeg");
    let detail = problem(
        raw.body(picture("jpeg-420.jpg")),
        415,
        "unsupported-media-type",
    )
    .await;
    assert!(detail.contains("multipart/form-data"), "{detail}");
    let empty = app
        .post("/predict/batch")
        .header("content-type", "multipart/form-data; boundary=b");
    problem(empty.body("--b--\r\n"), 400, "missing-field").await;
    let none = post(&app, copies(1)).query(&[("top", "0")]);
    problem(none, 400, "bad-parameter").await;
}

#[tokio::test]
async fn a_batch_leaves_room_for_others() {
    let app = Setup::new()
        .set("WORKERS", "1")
        .set("CACHE_BYTES", "0")
        .start()
        .await;
    let batch = post(&app, copies(60)).send();
    let batch = tokio::spawn(batch);
    support::eventually("the batch is being worked on", async || {
        app.metric("relance_http_requests_in_flight").await > 0
    })
    .await;
    // Were all of the batch in the queue, this would wait for all of it.
    let answer = app.predict(unique(&picture("jpeg-420.jpg"), 1000)).await;
    assert!(!batch.is_finished(), "{answer}");
    let answers: Vec<Value> = batch.await.unwrap().unwrap().json().await.unwrap();
    assert!(
        answers
            .iter()
            .all(|answer| answer["prediction"].is_string())
    );
}

#[tokio::test]
async fn a_fault_of_ours_is_the_answer_to_the_whole_batch() {
    let app = Setup::new().set("REQUEST_TIMEOUT_MS", "1").start().await;
    // A small picture may be answered before anybody looks at the clock.
    let slow = |n| ("image", format!("{n}.png"), unique(&SLOW, n));
    let answer = post(&app, (0..2).map(slow).collect());
    let answer = answer.send().await.unwrap();
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    assert!(matches!(status, 408 | 504), "{body}");
    assert_eq!(body["status"], status);
}
