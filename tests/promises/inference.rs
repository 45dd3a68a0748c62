//! `/v2` speaks the Open Inference Protocol to the letter: forms, limits and errors. The published clients drive it in
//! `tests/oip`.

mod bodies;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::support::{self, App, Setup, eventually, picture, unique};

const MODEL: &str = "/v2/models/yolov8n-cls-nc10-64";

/// Posts an inference request without a content type, as Triton's client does.
fn infer(app: &App, body: impl Into<reqwest::Body>) -> RequestBuilder {
    app.post(&format!("{MODEL}/infer")).body(body)
}

fn input(datatype: &str, shape: &[i64], data: Value) -> Value {
    json!({"inputs": [{"name": "images", "datatype": datatype, "shape": shape, "data": data}]})
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

async fn answered(request: RequestBuilder) -> Value {
    let (status, answer) = support::json(request).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

/// Sends a request that must be refused; what the one field of the answer says.
async fn refused(request: RequestBuilder, status: u16) -> String {
    let answer = request.send().await.unwrap();
    let told = answer.status().as_u16();
    let kind = answer.headers()["content-type"].clone();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(
        (told, kind.to_str().unwrap()),
        (status, "application/json"),
        "{body}"
    );
    let fields: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["error"], "{body}");
    body["error"].as_str().unwrap().to_owned()
}

/// The scores of `POST /predict` in the order of the classes.
async fn predicted(app: &App, bytes: Vec<u8>) -> Vec<f64> {
    let request = app.post("/predict?top=1000").body(bytes);
    let answer = answered(request).await;
    let mut scores = vec![0.0; 10];
    for score in answer["top"].as_array().unwrap() {
        scores[score["index"].as_u64().unwrap() as usize] = score["confidence"].as_f64().unwrap();
    }
    scores
}

fn numbers(value: &Value) -> Vec<f64> {
    let values = value.as_array().unwrap().iter();
    values.map(|number| number.as_f64().unwrap()).collect()
}

#[tokio::test]
async fn every_form_of_json_gets_the_scores_of_predict() {
    let app = App::start().await;
    let bytes = picture("jpeg-420.jpg");
    let (text, expected) = (base64(&bytes), predicted(&app, bytes).await);
    for (shape, data) in [
        (vec![1], json!([text])),
        (vec![1, 1], json!([[text]])),
        (vec![1, 1], json!([text])),
        (vec![1], json!([text.trim_end_matches('=')])),
    ] {
        let request = input("BYTES", &shape, data);
        let answer = answered(infer(&app, request.to_string())).await;
        let output = &answer["outputs"][0];
        assert_eq!(
            (&output["name"], &output["datatype"], &output["shape"]),
            (&json!("output0"), &json!("FP32"), &json!([1, 10]))
        );
        assert_eq!(numbers(&output["data"]), expected);
    }
    let grey = json!(vec![vec![vec![vec![0.5; 64]; 64]; 3]]);
    let flat = json!(vec![0.5; 3 * 64 * 64]);
    let mut scores = Vec::new();
    for data in [grey, flat] {
        let request = input("FP32", &[1, 3, 64, 64], data);
        let answer = answered(infer(&app, request.to_string())).await;
        scores.push(numbers(&answer["outputs"][0]["data"]));
    }
    assert_eq!(scores[0], scores[1]);
}

#[tokio::test]
async fn id_and_parameters_come_back() {
    let app = App::start().await;
    let mut request = input("BYTES", &[1], json!([base64(&picture("jpeg-1x1.jpg"))]));
    let plain = answered(infer(&app, request.to_string())).await;
    assert_eq!(plain.get("id"), None);
    request["id"] = json!("a name");
    request["parameters"] = json!({"text": "ção", "flag": true, "count": -3, "real": 0.5, "large": u64::MAX,
        "binary_data_output": false});
    let answer = answered(infer(&app, request.to_string())).await;
    assert_eq!(answer["id"], "a name");
    let mut parameters = answer["parameters"].as_object().unwrap().clone();
    let record = parameters.remove("request_ids").unwrap();
    let sent = json!({"text": "ção", "flag": true, "count": -3, "real": 0.5, "large": u64::MAX});
    assert_eq!(Value::from(parameters), sent);
    let path = format!("/requests/{}", record.as_str().unwrap());
    assert_eq!(answered(app.get(&path)).await["prediction"], "pink");
    request["parameters"] = json!({"nested": {}});
    let error = refused(infer(&app, request.to_string()), 400).await;
    assert!(
        error.contains("a string, a number or a boolean as a parameter"),
        "{error}"
    );
}

#[tokio::test]
async fn all_under_v2_is_told_in_its_own_form() {
    let setup = Setup::new()
        .set("API_USERNAME", "ana")
        .set("API_PASSWORD", "segredo");
    let app = setup.start().await;
    let error = refused(app.get("/v2"), 401).await;
    assert!(
        error.contains("accepted is basic authentication"),
        "{error}"
    );
    let response = app.get(MODEL).send().await.unwrap();
    assert!(
        response.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .starts_with("Basic ")
    );
    for (path, status, words) in [
        ("/v2/nope", 404, "there is nothing at /v2/nope"),
        ("/v2/models/nope", 404, "there is no model \"nope\""),
        ("/v2/models/nope/ready", 404, "there is no model \"nope\""),
        ("/v2/models/nope/config", 404, "there is no model \"nope\""),
        (
            "/v2/models/yolov8n-cls-nc10-64/versions/1",
            404,
            "has no version \"1\"",
        ),
        (
            "/v2/models/yolov8n-cls-nc10-64/infer",
            405,
            "does not answer to GET",
        ),
        ("/v2/models/%FF", 400, "not UTF-8"),
    ] {
        let error = refused(app.get(path).basic_auth("ana", Some("segredo")), status).await;
        assert!(error.contains(words), "{path}: {error}");
    }
    support::problem(app.get("/v2x"), 404, "not-found").await;
}

#[tokio::test]
async fn a_server_that_shuts_down_is_not_ready_and_still_answers() {
    let app = Setup::new().set("DRAIN_DELAY_MS", "20000").start().await;
    for (path, body) in [
        ("/v2/health/live", json!({"live": true})),
        ("/v2/health/ready", json!({"ready": true})),
    ] {
        assert_eq!(answered(app.get(path)).await, body);
    }
    app.signal("TERM");
    eventually("it is not ready", async || {
        let ready = app.get("/v2/health/ready").send().await.unwrap();
        ready.status() == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    assert_eq!(
        answered(app.get("/v2/health/live")).await,
        json!({"live": true})
    );
    refused(app.get(&format!("{MODEL}/ready")), 503).await;
    let listed = answered(app.post("/v2/repository/index")).await;
    assert_eq!(listed[0]["state"], "UNAVAILABLE");
    let ready = app.post("/v2/repository/index").body(r#"{"ready": true}"#);
    assert_eq!(answered(ready).await, json!([]));
    let error = refused(app.post("/v2/repository/index").body("ready"), 400).await;
    assert!(error.contains("request for the index"), "{error}");
    let request = input("BYTES", &[1], json!([base64(&picture("jpeg-1x1.jpg"))]));
    answered(infer(&app, request.to_string())).await;
}

#[tokio::test]
async fn grpc_is_off_unless_it_has_a_port_of_its_own() {
    for port in ["off", ""] {
        let app = Setup::new().set("GRPC_PORT", port).start().await;
        eventually("the log tells the ports", async || {
            app.log().contains("ready on")
        })
        .await;
        assert!(!app.log().contains("grpc="), "{}", app.log());
    }
    let both = Setup::new().set("PORT", "5999").set("GRPC_PORT", "5999");
    assert!(
        both.refusal()
            .contains("GRPC_PORT must be another port than PORT")
    );
    let open = Setup::new().set("GRPC_PORT", "0").set("HOST", "0.0.0.0");
    assert!(open.refusal().contains("without credentials"));
    let none = Setup::new().set("MAX_BATCH_PICTURES", "0").refusal();
    assert!(
        none.contains("MAX_BATCH_PICTURES must be greater than 0"),
        "{none}"
    );
}

#[tokio::test]
async fn a_batch_uses_all_workers_and_the_cache() {
    let app = Setup::new().set("WORKERS", "2").start().await;
    let base = picture("jpeg-640x480.jpg");
    let files: Vec<Vec<u8>> = (0..8).map(|n| unique(&base, n)).collect();
    let texts: Vec<String> = files
        .iter()
        .chain([&files[0]])
        .map(|file| base64(file))
        .collect();
    let request = input("BYTES", &[9], json!(texts)).to_string();
    answered(infer(&app, request.clone())).await;
    // The picture that is there twice is classified once.
    let inferences = r#"relance_inferences_total{model="yolov8n-cls-nc10-64@13b49059f20f"}"#;
    assert_eq!(app.metric(inferences).await, 8);
    answered(infer(&app, request)).await;
    assert_eq!(app.metric(inferences).await, 8);
    // The second of the two alike is known by the time it is looked at, or shares the first one's work.
    let known = app
        .metric(r#"relance_results_total{source="memory"}"#)
        .await;
    let shared = app
        .metric(r#"relance_results_total{source="flight"}"#)
        .await;
    assert_eq!(known + shared, 10);
    let listed = answered(app.get("/requests?limit=500")).await;
    assert_eq!(listed["requests"].as_array().unwrap().len(), 18);
}

#[tokio::test]
async fn a_tensor_is_recorded_without_a_picture() {
    let app = App::start().await;
    let request = input("FP32", &[1, 3, 64, 64], json!(vec![0.25; 3 * 64 * 64]));
    let answer = answered(infer(&app, request.to_string())).await;
    let path = format!(
        "/requests/{}",
        answer["parameters"]["request_ids"].as_str().unwrap()
    );
    let record = answered(app.get(&path)).await;
    assert_eq!(
        (
            &record["image_format"],
            &record["image_ref"],
            &record["image_width"]
        ),
        (&json!("tensor"), &Value::Null, &json!(64))
    );
    support::problem(app.get(&format!("{path}/image")), 404, "not-found").await;
    let removed = app
        .client
        .delete(format!("{}{path}", app.url))
        .send()
        .await
        .unwrap();
    assert_eq!(removed.status(), StatusCode::NO_CONTENT);
    support::problem(app.get(&path), 404, "not-found").await;
    for (value, words) in [
        ("1e39", "not a finite number"),
        ("3e38", "not a finite number"),
    ] {
        let data = vec![value; 3 * 64 * 64].join(",");
        let body = input("FP32", &[1, 3, 64, 64], json!("DATA")).to_string();
        let body = body.replace("\"DATA\"", &format!("[{data}]"));
        let error = refused(infer(&app, body), 400).await;
        assert!(error.contains(words), "{value}: {error}");
    }
}
