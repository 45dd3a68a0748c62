//! `POST /predict` takes a picture however it is sent, and answers what the model says of it.

mod parity;

use std::process::Command;

use reqwest::multipart::{Form, Part};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::support::{self, App, Setup, fixture, picture, problem, unique};

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

async fn answered(request: RequestBuilder) -> Value {
    let (status, answer) = support::json(request).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

fn form(app: &App, field: &str, part: Part) -> RequestBuilder {
    app.post("/predict")
        .multipart(Form::new().part(field.to_owned(), part))
}

fn raw(app: &App, content_type: &str, bytes: Vec<u8>) -> RequestBuilder {
    app.post("/predict")
        .header("content-type", content_type)
        .body(bytes)
}

#[tokio::test]
async fn every_way_to_send_a_picture_gives_the_same_answer() {
    let app = App::start().await;
    let bytes = picture("jpeg-420.jpg");
    let part = || Part::bytes(bytes.clone()).file_name("a.jpg");
    let beside = Form::new()
        .text("note", "hello")
        .part("image", part())
        .text("more", "of it");
    // As Swagger UI and the forms of browsers send it.
    let empty = |name| Part::bytes(Vec::new()).file_name(name);
    let left = Form::new()
        .part("image", empty("blob"))
        .part("file", part());
    let unchosen = Form::new().part("image", part()).part("file", empty(""));
    let ways = [
        ("field image", form(&app, "image", part())),
        ("field file", form(&app, "file", part())),
        (
            "field without a file name",
            form(&app, "image", Part::bytes(bytes.clone())),
        ),
        ("field among others", app.post("/predict").multipart(beside)),
        (
            "field image left empty",
            app.post("/predict").multipart(left),
        ),
        ("no file chosen", app.post("/predict").multipart(unchosen)),
        ("image/jpeg", raw(&app, "image/jpeg", bytes.clone())),
        (
            "octet-stream",
            raw(&app, "application/octet-stream", bytes.clone()),
        ),
        ("no content type", app.post("/predict").body(bytes.clone())),
    ];
    let mut first: Option<Value> = None;
    for (way, request) in ways {
        let answer = answered(request).await;
        let result = json!([
            answer["prediction"],
            answer["confidence"],
            answer["top"],
            answer["image"]
        ]);
        assert_eq!(answer["image"]["sha256"], sha256(&bytes), "{way}");
        assert_eq!(&result, first.get_or_insert(result.clone()), "{way}");
    }
}

#[tokio::test]
async fn the_answer_has_the_documented_keys_and_facts() {
    let app = App::start().await;
    let bytes = picture("png-rgb.png");
    let before = jiff::Timestamp::now().as_millisecond();
    let response = app
        .post_picture(bytes.clone(), "garrafa.png")
        .send()
        .await
        .unwrap();
    let headers = response.headers().clone();
    let answer: Value = response.json().await.unwrap();

    let documented = [
        "cached",
        "confidence",
        "image",
        "image_name",
        "image_ref",
        "model",
        "prediction",
        "processing_time",
        "request_id",
        "timestamp",
        "top",
    ];
    assert_eq!(keys(&answer), documented);
    assert_eq!(answer["image_name"], "garrafa.png");
    assert_eq!(answer["cached"], false);
    let known = image::load_from_memory(&bytes).unwrap();
    let facts = json!({"sha256": sha256(&bytes), "width": known.width(), "height": known.height(), "format": "png"});
    assert_eq!(answer["image"], facts);
    let model = std::fs::read(support::small_model()).unwrap();
    assert_eq!(
        answer["model"],
        json!({"name": "yolov8n-cls-nc10-64", "version": sha256(&model)[..12]})
    );

    let id: Uuid = answer["request_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(id.get_version_num(), 7);
    let time: jiff::Timestamp = answer["timestamp"].as_str().unwrap().parse().unwrap();
    assert!((before..=jiff::Timestamp::now().as_millisecond()).contains(&time.as_millisecond()));
    assert!((0.0..10_000.0).contains(&answer["processing_time"].as_f64().unwrap()));
    assert_eq!(headers["x-request-id"], id.to_string());
    assert_eq!(headers["x-served-by"], "test");

    let timing = headers["server-timing"].to_str().unwrap();
    let stages: Vec<_> = timing
        .split(", ")
        .map(|stage| stage.split_once(";dur=").unwrap())
        .collect();
    assert_eq!(
        stages.iter().map(|s| s.0).collect::<Vec<_>>(),
        ["queue", "decode", "preprocess", "inference"]
    );
    assert!(
        stages.iter().all(|s| s.1.parse::<f64>().is_ok()),
        "{timing}"
    );
}

#[tokio::test]
async fn top_says_how_many_classes_come_back() {
    let app = App::start().await;
    let post = |query: &str| {
        let part = Part::bytes(picture("jpeg-420.jpg"));
        app.post(&format!("/predict{query}"))
            .multipart(Form::new().part("image", part))
    };
    for (query, count) in [
        ("", 5),
        ("?top=1", 1),
        ("?top=3", 3),
        ("?top=10", 10),
        ("?top=65535", 10),
    ] {
        let answer = answered(post(query)).await;
        let top = answer["top"].as_array().unwrap();
        assert_eq!(top.len(), count, "{query}");
        assert_eq!(
            (&top[0]["class"], &top[0]["confidence"]),
            (&answer["prediction"], &answer["confidence"])
        );
        let scores: Vec<f64> = top
            .iter()
            .map(|score| score["confidence"].as_f64().unwrap())
            .collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        let sum: f64 = scores.iter().sum();
        assert!(
            sum <= 1.0 + 1e-4 && (count < 10 || sum >= 1.0 - 1e-4),
            "{query}: {sum}"
        );
        assert!(
            top.iter()
                .all(|score| keys(score) == ["class", "confidence", "index"]),
            "{top:?}"
        );
    }
    for query in [
        "?top=0",
        "?top=-1",
        "?top=abc",
        "?top=",
        "?top=1.5",
        "?top=99999999999999999999",
    ] {
        let detail = problem(post(query), 400, "bad-parameter").await;
        assert!(
            detail.contains("top") && detail.contains("a whole number from 1 to 65535"),
            "{query}: {detail}"
        );
    }
}

#[tokio::test]
async fn the_same_picture_again_comes_from_the_cache() {
    let app = App::start().await;
    let bytes = picture("jpeg-420.jpg");
    let first = app.predict(bytes.clone()).await;
    let response = raw(&app, "image/jpeg", bytes.clone()).send().await.unwrap();
    assert_eq!(response.headers()["server-timing"], r#"cache;desc="hit""#);
    let again: Value = response.json().await.unwrap();
    assert_eq!(
        (&first["cached"], &again["cached"]),
        (&json!(false), &json!(true))
    );
    for same in ["prediction", "confidence", "top", "image", "model"] {
        assert_eq!(first[same], again[same], "{same}");
    }
    assert_ne!(first["request_id"], again["request_id"]);
    // One byte more is another picture.
    assert_eq!(app.predict(unique(&bytes, 1)).await["cached"], false);
}

#[tokio::test]
async fn names_and_declared_types_are_not_believed() {
    let app = App::start().await;
    let part = Part::bytes(picture("png-rgb.png"))
        .file_name("holiday.jpg")
        .mime_str("image/gif")
        .unwrap();
    let answer = answered(form(&app, "image", part)).await;
    assert_eq!(
        (&answer["image"]["format"], &answer["image_name"]),
        (&json!("png"), &json!("holiday.jpg"))
    );
    let answer = answered(raw(&app, "image/png", picture("webp-lossy.webp"))).await;
    assert_eq!(
        (&answer["image"]["format"], &answer["image_name"]),
        (&json!("webp"), &json!("upload.webp"))
    );
}

#[tokio::test]
async fn file_names_are_only_names() {
    let app = App::start().await;
    let bytes = picture("jpeg-1x1.jpg");
    let long = format!("{}.jpg", "x".repeat(400));
    for (sent, kept) in [
        ("../../etc/passwd", "passwd"),
        (r"C:\\fotos\\a.jpg", "a.jpg"),
        ("garrafa é 1.jpg", "garrafa é 1.jpg"),
        ("..", "upload.jpg"),
        ("", "upload.jpg"),
        ("<script>.jpg", "<script>.jpg"),
        ("a\tb.jpg", "ab.jpg"),
        (&long, &long[..255]),
    ] {
        let head = format!(
            "--b\r\nContent-Disposition: form-data; name=\"image\"; filename=\"{sent}\"\r\n\r\n"
        );
        let body = [head.as_bytes(), &bytes, b"\r\n--b--\r\n"].concat();
        let answer = answered(raw(&app, "multipart/form-data; boundary=b", body)).await;
        assert_eq!(answer["image_name"], kept, "{sent}");
    }
    let named = raw(&app, "image/jpeg", bytes)
        .header("content-disposition", "attachment; filename=\"dir/b.jpg\"");
    assert_eq!(answered(named).await["image_name"], "b.jpg");
}

#[tokio::test]
async fn curl_needs_no_special_care() {
    let app = Setup::new()
        .set("API_USERNAME", "user")
        .set("API_PASSWORD", "pass")
        .start()
        .await;
    let file = fixture("pictures/jpeg-420.jpg");
    let (form, data) = (
        format!("image=@{}", file.display()),
        format!("@{}", file.display()),
    );
    for arguments in [
        vec!["-F", &form],
        vec!["--data-binary", &data, "-H", "Content-Type: image/jpeg"],
    ] {
        let mut curl = Command::new("curl");
        curl.args([
            "-sS",
            "--fail-with-body",
            "--noproxy",
            "*",
            "-u",
            "user:pass",
        ])
        .args(&arguments);
        let output = curl.arg(format!("{}/predict", app.url)).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            answer["image"]["sha256"],
            sha256(&picture("jpeg-420.jpg")),
            "{arguments:?}"
        );
    }
}
