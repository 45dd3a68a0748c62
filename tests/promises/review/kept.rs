//! What was said stays said.

use std::time::Duration;

use futures_util::future::join_all;

use super::*;
use crate::support::{fixture, problem, unique};

#[tokio::test]
async fn a_review_tells_who_said_what_and_when() {
    let app = with_reviewers(&["ana", "rui"]).start().await;
    let answer = by("ana", app.post_picture(picture("jpeg-420.jpg"), "a.jpg"));
    let answer = support::json(answer).await.1;
    let id = id(&answer);
    let ask = async |path: &str| support::json(by("ana", app.get(path))).await.1;
    let classes = ask("/models").await["models"][0]["classes"].clone();
    let record = ask(&format!("/requests/{id}")).await;
    assert_eq!(
        (&record["review"], &record["review_history"]),
        (&Value::Null, &json!([]))
    );

    let said = json!({"label": classes[3], "note": " a cap\n\u{0}beside it "});
    let (status, first) = support::json(by("ana", put(&app, id, &said))).await;
    assert_eq!(status, StatusCode::OK, "{first}");
    assert_eq!(first["label"], classes[3]);
    assert_eq!(first["note"], "a cap\nbeside it");
    assert_eq!(
        (&first["reviewer"], &first["selection"]),
        (&json!("ana"), &json!("chosen"))
    );
    let at: jiff::Timestamp = first["reviewed_at"].as_str().unwrap().parse().unwrap();
    let age = jiff::Timestamp::now().duration_since(at).as_secs_f64();
    assert!((-1.0..30.0).contains(&age), "{age}");

    // The same again, as after an answer that got lost, is the same review.
    let again = support::json(by("ana", put(&app, id, &said))).await.1;
    assert_eq!(again, first);
    let second = support::json(by("rui", put(&app, id, &json!({"label": "unsure"}))))
        .await
        .1;
    assert_eq!(
        (&second["reviewer"], &second["note"]),
        (&json!("rui"), &Value::Null)
    );
    let record = ask(&format!("/requests/{id}")).await;
    assert_eq!(record["review"], second);
    assert_eq!(record["review_history"], json!([first, second]));
    let listed = ask("/requests").await["requests"][0].clone();
    assert_eq!(listed["review"], second);
    assert_eq!(listed.get("review_history"), None, "lists are short");
}

#[tokio::test]
async fn only_the_latest_reviews_are_kept() {
    let app = App::start().await;
    let id = id(&app.predict(picture("jpeg-1x1.jpg")).await).to_owned();
    for n in 0..25 {
        let said = review(&app, &id, json!({"label": "unsure", "note": n.to_string()})).await;
        assert_eq!(said["reviewer"], "anonymous");
    }
    let record = record(&app, &id).await;
    let notes: Vec<&str> = record["review_history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|review| review["note"].as_str().unwrap())
        .collect();
    let expected: Vec<String> = (5..25).map(|n| n.to_string()).collect();
    assert_eq!(notes, expected);
}

#[tokio::test]
async fn what_is_no_review_is_refused() {
    let app = App::start().await;
    let answer = app.predict(picture("jpeg-1x1.jpg")).await;
    let id = id(&answer);
    let long = "x".repeat(1_001);
    for body in [
        json!(null),
        json!([]),
        json!({}),
        json!({"label": null}),
        json!({"label": 1}),
        json!({"label": "unsure", "note": 1}),
        json!({"label": "unsure", "note": long}),
        json!({"label": "unsure", "reviewer": "rui"}),
    ] {
        let detail = problem(put(&app, id, &body), 400, "bad-review").await;
        assert!(detail.contains("label"), "{detail}");
    }
    let url = format!("{}/requests/{id}/review", app.url);
    let request = || app.client.put(&url);
    let json_text = request().header("content-type", "application/json");
    problem(json_text.try_clone().unwrap().body("{"), 400, "bad-review").await;
    problem(json_text.try_clone().unwrap(), 400, "bad-review").await;
    problem(json_text.body("\u{1}".repeat(20_000)), 413, "too-large").await;
    problem(request().body("{}"), 415, "unsupported-media-type").await;
    let text = request().header("content-type", "text/plain");
    problem(text.body("{}"), 415, "unsupported-media-type").await;

    for label in ["", "Unsure", "nenhuma", "a\0b"] {
        let detail = problem(
            put(&app, id, &json!({"label": label})),
            422,
            "unknown-label",
        )
        .await;
        for class in classes(&app).await {
            assert!(detail.contains(&class), "{class} is not in {detail}");
        }
        assert!(detail.contains("unsure"), "{detail}");
    }
    let said = json!({"label": "unsure"});
    let nobody = uuid::Uuid::now_v7().to_string();
    problem(put(&app, &nobody, &said), 404, "not-found").await;
    problem(put(&app, "x", &said), 400, "bad-parameter").await;
    for path in [
        "/review/next?skip=x",
        "/review/summary?model=x",
        "/requests?reviewed=1",
    ] {
        problem(app.get(path), 400, "bad-parameter").await;
    }
    assert_eq!(record(&app, id).await["review"], Value::Null);
    let locked = with_reviewers(&["ana"]).start().await;
    problem(put(&locked, id, &said), 401, "unauthorised").await;
}

#[tokio::test]
async fn labels_are_those_of_the_model_that_answered() {
    let dir = tempfile::tempdir().unwrap();
    let app = Setup::new().data(dir.path()).start().await;
    let answer = app.predict(picture("jpeg-420.jpg")).await;
    let ten = classes(&app).await;
    assert_eq!(ten.len(), CLASSES);
    drop(app);
    let small = fixture("models/yolo11n-cls-nc2-64.onnx");
    let setup = Setup::new().data(dir.path());
    let app = setup.set("MODEL", small.to_str().unwrap()).start().await;
    let two = classes(&app).await;
    let best: Vec<&str> = answer["top"]
        .as_array()
        .unwrap()
        .iter()
        .map(|score| score["class"].as_str().unwrap())
        .collect();
    // Of the other model only the best classes are known.
    for label in two.iter().map(String::as_str).chain(best.clone()) {
        review(&app, id(&answer), json!({"label": label})).await;
    }
    let unknown = ten
        .iter()
        .find(|class| !best.contains(&class.as_str()) && !two.contains(class));
    let unknown = json!({"label": unknown.unwrap()});
    problem(put(&app, id(&answer), &unknown), 422, "unknown-label").await;
    let own = app.predict(picture("jpeg-420.jpg")).await;
    let foreign = best
        .iter()
        .find(|class| !two.iter().any(|known| known == *class));
    let foreign = json!({"label": foreign.unwrap()});
    problem(put(&app, id(&own), &foreign), 422, "unknown-label").await;
}

#[tokio::test]
async fn lists_can_be_narrowed_by_what_was_said() {
    let app = App::start().await;
    let answers = post_varied(|bytes| app.post_picture(bytes, "a.jpg"), 6).await;
    let classes = classes(&app).await;
    let wrong = other(&classes, &answers[0]["prediction"]).to_owned();
    review(&app, id(&answers[0]), json!({"label": wrong})).await;
    review(
        &app,
        id(&answers[1]),
        json!({"label": answers[1]["prediction"]}),
    )
    .await;
    review(&app, id(&answers[2]), json!({"label": wrong})).await;
    review(&app, id(&answers[2]), json!({"label": "unsure"})).await;
    let ids = |numbers: &[usize]| -> Vec<String> {
        let mut ids: Vec<String> = numbers
            .iter()
            .map(|n| id(&answers[*n]).to_owned())
            .collect();
        ids.sort_by(|a, b| b.cmp(a));
        ids
    };
    for (query, expected) in [
        ("reviewed=true", ids(&[0, 1, 2])),
        ("reviewed=false", ids(&[3, 4, 5])),
        ("label=unsure", ids(&[2])),
        ("disagrees=true", ids(&[0])),
        ("disagrees=false", ids(&[1])),
        ("reviewed=false&label=unsure", ids(&[])),
        ("label=nenhuma", ids(&[])),
    ] {
        assert_eq!(listed(&app, query).await, expected, "{query}");
    }
    let label = format!("label={wrong}&reviewed=true");
    assert!(
        listed(&app, &label)
            .await
            .contains(&id(&answers[0]).to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_review_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut told = 0;
    for round in 0..5 {
        let app = Setup::new().data(dir.path()).start().await;
        let base = picture("jpeg-1x1.jpg");
        let posts = (0..8).map(|n| app.predict(unique(&base, round * 100 + n)));
        let ids: Vec<String> = join_all(posts)
            .await
            .iter()
            .map(|a| id(a).to_owned())
            .collect();
        let reviewers = ids.iter().map(|one| {
            let (client, url) = (app.client.clone(), app.url.clone());
            let id = one.clone();
            tokio::spawn(async move {
                let mut last = None;
                for n in 0.. {
                    let body = json!({"label": "unsure", "note": n.to_string()});
                    let url = format!("{url}/requests/{id}/review");
                    match client.put(url).json(&body).send().await {
                        Ok(answer) if answer.status() == StatusCode::OK => {
                            if answer.bytes().await.is_err() {
                                break;
                            }
                            last = Some(n);
                        }
                        _ => break,
                    }
                }
                (id, last)
            })
        });
        let reviewers: Vec<_> = reviewers.collect();
        tokio::time::sleep(Duration::from_millis(30 + round * 40)).await;
        app.signal("KILL");
        let said: Vec<(String, Option<u32>)> = join_all(reviewers)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        drop(app);
        let app = Setup::new().data(dir.path()).start().await;
        for (id, last) in said {
            let Some(last) = last else { continue };
            told += 1;
            let record = record(&app, &id).await;
            let notes = record["review_history"].as_array().unwrap();
            let last_note = Value::from(last.to_string());
            let kept = notes.iter().any(|review| review["note"] == last_note);
            assert!(kept, "the review {last} of {id} is lost: {record}");
        }
    }
    assert!(
        told > 20,
        "only {told} reviews were answered before the kills"
    );
}

#[tokio::test]
async fn a_request_takes_its_reviews_along() {
    let app = App::start().await;
    let answer = app.predict(picture("jpeg-1x1.jpg")).await;
    review(&app, id(&answer), json!({"label": "unsure"})).await;
    let url = format!("{}/requests/{}", app.url, id(&answer));
    let removed = app.client.delete(url).send().await.unwrap().status();
    assert_eq!(removed, StatusCode::NO_CONTENT);
    let said = json!({"label": "unsure"});
    problem(put(&app, id(&answer), &said), 404, "not-found").await;
    assert_eq!(get(&app, "/review/summary").await["reviewed"], 0);
    assert!(listed(&app, "reviewed=true").await.is_empty());
}
