//! What the service says of itself is true.

use std::collections::HashSet;
use std::process::Command;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::{id, ok};
use crate::support::{self, App, picture, repo};

#[tokio::test]
async fn the_model_describes_itself() {
    let app = App::start().await;
    let models = ok(&app, "/models").await;
    let [model] = models["models"].as_array().unwrap().as_slice() else {
        panic!("{models}")
    };
    let sha256 = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(
        std::fs::read(support::small_model()).unwrap(),
    ));
    assert_eq!(
        (&model["name"], &model["sha256"]),
        (&"yolov8n-cls-nc10-64".into(), &Value::from(sha256.clone()))
    );
    assert_eq!(
        (&model["version"], &model["active"]),
        (&Value::from(&sha256[..12]), &Value::from(true))
    );
    assert_eq!(
        (&model["task"], model["classes"].as_array().unwrap().len()),
        (&"classify".into(), 10)
    );
    assert_eq!(
        model["input"],
        serde_json::json!({"width": 64, "height": 64, "type": "float32"})
    );
    assert_eq!(
        app.predict(picture("jpeg-1x1.jpg")).await["model"]["version"],
        model["version"]
    );
}

#[tokio::test]
async fn the_description_is_the_committed_one_and_true() {
    let app = App::start().await;
    let served = ok(&app, "/openapi.json").await;
    let printed = Command::new(env!("CARGO_BIN_EXE_relance"))
        .arg("openapi")
        .output()
        .unwrap()
        .stdout;
    assert!(
        served == serde_json::from_slice::<Value>(&printed).unwrap(),
        "`relance openapi` prints something else"
    );

    // Swagger UI offers what comes first.
    for text in [
        String::from_utf8(printed.clone()).unwrap(),
        app.get("/openapi.json")
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap(),
    ] {
        let (_, predict) = text.split_once("\"/predict\":").unwrap();
        let (_, content) = predict.split_once("\"requestBody\":").unwrap();
        let place = |kind: &str| content.find(kind).unwrap();
        assert!(place("multipart/form-data") < place("application/json"));
    }

    let served_model = ok(&app, "/models").await["models"][0].clone();
    let mut operations = HashSet::new();
    for (path, methods) in served["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let request = id(&app.predict(picture("jpeg-1x1.jpg")).await).to_string();
            let path_of = path
                .replace("{request_id}", &request)
                .replace("{model}", served_model["name"].as_str().unwrap())
                .replace("{version}", served_model["version"].as_str().unwrap());
            let url = format!("{}{path_of}", app.url);
            let method: Method = method.to_uppercase().parse().unwrap();
            let status = app
                .client
                .request(method.clone(), url)
                .send()
                .await
                .unwrap()
                .status();
            let expected = match method.as_str() {
                // There is no registry of models here.
                "GET" if path == "/candidate" => StatusCode::NOT_FOUND,
                "DELETE" if path == "/candidate" => StatusCode::CONFLICT,
                "POST" if path.ends_with("/index") => StatusCode::OK,
                "POST" if path.ends_with("/batch") => StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "POST" => StatusCode::BAD_REQUEST,
                "PUT" => StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "DELETE" => StatusCode::NO_CONTENT,
                _ => StatusCode::OK,
            };
            assert_eq!(status, expected, "{method} {path}");
            operations.insert(format!("{method} {path}"));
        }
    }
    assert!(
        operations.len() >= 9 && operations.contains("POST /predict"),
        "{operations:?}"
    );

    let committed = std::fs::read(repo().join("openapi/openapi.json")).unwrap_or_default();
    assert!(
        committed == printed,
        "openapi/openapi.json is not what `relance openapi` prints: run `make openapi`"
    );
}

#[tokio::test]
async fn swagger_ui_is_served() {
    let app = App::start().await;
    let page = app.get("/docs").send().await.unwrap();
    assert!(
        page.url().path() == "/docs/" && page.status() == StatusCode::OK,
        "{page:?}"
    );
    assert!(
        page.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    let html = page.text().await.unwrap();
    let scripts: Vec<&str> = html
        .split('"')
        .filter(|text| text.ends_with(".js"))
        .collect();
    assert!(html.contains("Swagger UI") && scripts.len() >= 2, "{html}");
    for script in scripts {
        let response = app.get(&format!("/docs/{script}")).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{script}");
        assert!(
            response.headers()["content-type"]
                .to_str()
                .unwrap()
                .contains("javascript"),
            "{script}"
        );
        let code = response.text().await.unwrap();
        assert!(
            !script.contains("initializer") || code.contains("/openapi.json"),
            "{code}"
        );
    }
}
