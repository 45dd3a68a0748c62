//! Answers can be reviewed: who said what is kept, what to look at next is proposed, and the figures are right.

mod kept;
mod proposed;
mod shared;

use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{self, App, Setup, picture, repo};

/// Classes of the small model.
const CLASSES: usize = 10;

/// An instance whose reviewers have a key each, which is their name.
fn with_reviewers(names: &[&str]) -> Setup {
    let entries: Vec<String> = names
        .iter()
        .map(|name| format!("{name}:{}", hex::encode(Sha256::digest(name.as_bytes()))))
        .collect();
    Setup::new().set("API_KEYS", &entries.join(","))
}

fn put(app: &App, id: &str, body: &Value) -> RequestBuilder {
    let url = format!("{}/requests/{id}/review", app.url);
    app.client.put(url).json(body)
}

/// Reviews a request, which must be accepted.
async fn review(app: &App, id: &str, body: Value) -> Value {
    let (status, review) = support::json(put(app, id, &body)).await;
    assert_eq!(status, StatusCode::OK, "{review}");
    review
}

/// Sent by the reviewer with this name.
fn by(name: &str, request: RequestBuilder) -> RequestBuilder {
    request.header("x-api-key", name)
}

fn id(record: &Value) -> &str {
    record["request_id"].as_str().unwrap()
}

async fn get(app: &App, path: &str) -> Value {
    let (status, answer) = support::json(app.get(path)).await;
    assert_eq!(status, StatusCode::OK, "{path}: {answer}");
    answer
}

async fn record(app: &App, id: &str) -> Value {
    get(app, &format!("/requests/{id}")).await
}

/// Identifiers of what is listed.
async fn listed(app: &App, query: &str) -> Vec<String> {
    let page = get(app, &format!("/requests?limit=500&{query}")).await;
    let requests = page["requests"].as_array().unwrap();
    requests.iter().map(|one| id(one).to_owned()).collect()
}

/// The classes of the model that is served.
async fn classes(app: &App) -> Vec<String> {
    let models = get(app, "/models").await;
    let classes = models["models"][0]["classes"].as_array().unwrap();
    classes
        .iter()
        .map(|class| class.as_str().unwrap().to_owned())
        .collect()
}

/// Another class than this one.
fn other<'a>(classes: &'a [String], class: &Value) -> &'a str {
    classes
        .iter()
        .find(|known| class != known.as_str())
        .unwrap()
}

/// Posts pictures that look different.
async fn post_varied(requests: impl Fn(Vec<u8>) -> RequestBuilder, count: usize) -> Vec<Value> {
    let mut names: Vec<String> = std::fs::read_dir(repo().join("tests/fixtures/pictures"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".jpg") || name.ends_with(".png"))
        .collect();
    names.sort();
    let mut answers: Vec<Value> = Vec::new();
    for name in names {
        let (status, answer) = support::json(requests(picture(&name))).await;
        if status == StatusCode::OK {
            answers.push(answer);
        }
        if answers.len() == count {
            return answers;
        }
    }
    panic!("only {} pictures were answered", answers.len());
}
