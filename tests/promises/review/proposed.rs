//! What is proposed for review, and the figures that come of it.

use std::collections::HashSet;

use super::*;

/// What this reviewer is given next, if anything.
pub async fn next(app: &App, reviewer: &str, query: &str) -> Option<Value> {
    let request = by(reviewer, app.get(&format!("/review/next{query}")));
    let answer = request.send().await.unwrap();
    match answer.status() {
        StatusCode::NO_CONTENT => None,
        status => {
            assert_eq!(status, StatusCode::OK);
            Some(answer.json().await.unwrap())
        }
    }
}

fn queue(record: &Value) -> &'static str {
    let id: uuid::Uuid = id(record).parse().unwrap();
    if id.as_bytes()[15] < 48 {
        "random"
    } else {
        "doubtful"
    }
}

#[tokio::test]
async fn each_request_is_in_one_hand_until_all_are_reviewed() {
    let app = with_reviewers(&["ana", "rui"]).start().await;
    assert_eq!(next(&app, "ana", "").await, None);
    let post = |bytes| by("ana", app.post_picture(bytes, "a.jpg"));
    let answers = post_varied(post, 25).await;
    let (mut seen, mut doubtful, mut random) = (HashSet::new(), Vec::new(), 0);
    while let Some(first) = next(&app, "ana", "").await {
        assert_eq!(first["review_history"], json!([]), "the record is whole");
        let again = next(&app, "ana", "").await.unwrap();
        assert_eq!(id(&again), id(&first));
        if let Some(second) = next(&app, "rui", "").await {
            assert_ne!(id(&second), id(&first));
        }
        let body = json!({"label": first["prediction"]});
        let said = support::json(by("ana", put(&app, id(&first), &body)))
            .await
            .1;
        assert_eq!(said["selection"], queue(&first), "{said}");
        match queue(&first) {
            "random" => random += 1,
            _ => doubtful.push(first["confidence"].as_f64().unwrap()),
        }
        assert!(
            seen.insert(id(&first).to_owned()),
            "reviewed twice: {first}"
        );
        if seen.len() == answers.len() - 1 {
            break;
        }
    }
    // The one that the other has had in hand all the time.
    assert_eq!(next(&app, "ana", "").await, None);
    let last = next(&app, "rui", "").await.unwrap();
    assert!(!seen.contains(id(&last)));
    // What rui held was not in line for ana, so hers rise but for that one.
    assert!(doubtful.is_sorted(), "{doubtful:?}");
    let body = json!({"label": "unsure"});
    by("rui", put(&app, id(&last), &body)).send().await.unwrap();
    assert_eq!(next(&app, "rui", "").await, None);
    let expected = answers.iter().filter(|answer| queue(answer) == "random");
    assert!(random >= expected.count() - 1);
}

#[tokio::test]
async fn what_is_skipped_comes_after_all_others() {
    let app = with_reviewers(&["ana", "rui"]).start().await;
    let post = |bytes| by("ana", app.post_picture(bytes, "a.jpg"));
    let answers = post_varied(post, 4).await;
    let mut given = vec![id(&next(&app, "ana", "").await.unwrap()).to_owned()];
    for _ in 1..answers.len() {
        let skip = format!("?skip={}", given.last().unwrap());
        let another = next(&app, "ana", &skip).await.unwrap();
        assert!(!given.contains(&id(&another).to_owned()));
        given.push(id(&another).to_owned());
        let kept = next(&app, "ana", "").await.unwrap();
        assert_eq!(id(&kept), id(&another));
    }
    // All have been skipped once: the first one comes again.
    let skip = format!("?skip={}", given[3]);
    assert_eq!(id(&next(&app, "ana", &skip).await.unwrap()), given[0]);
    // What one reviewer does not want, another gets.
    let mut others = HashSet::new();
    while let Some(record) = next(&app, "rui", "").await {
        others.insert(id(&record).to_owned());
        let body = json!({"label": "unsure"});
        by("rui", put(&app, id(&record), &body))
            .send()
            .await
            .unwrap();
    }
    assert_eq!(others, given[1..].iter().cloned().collect());
    assert_eq!(id(&next(&app, "ana", "").await.unwrap()), given[0]);
    let skip = format!("?skip={}", given[0]);
    assert_eq!(next(&app, "ana", &skip).await, None, "there is no other");
    assert_eq!(id(&next(&app, "ana", "").await.unwrap()), given[0]);
}

#[tokio::test]
async fn a_correction_does_not_change_how_a_request_was_selected() {
    let app = with_reviewers(&["ana", "rui"]).start().await;
    let post = |bytes| by("ana", app.post_picture(bytes, "a.jpg"));
    post_varied(post, 3).await;
    let record = next(&app, "ana", "").await.unwrap();
    let body = json!({"label": record["prediction"]});
    let first = support::json(by("ana", put(&app, id(&record), &body)))
        .await
        .1;
    let corrected = support::json(by(
        "rui",
        put(&app, id(&record), &json!({"label": "unsure"})),
    ));
    let corrected = corrected.await.1;
    assert_eq!(corrected["selection"], first["selection"]);
    assert_ne!(corrected["selection"], "chosen");
}

#[tokio::test]
async fn figures_are_those_of_the_latest_reviews() {
    let app = App::start().await;
    let nothing = get(&app, "/review/summary").await;
    let share = json!({"reviewed": 0, "unsure": 0, "accuracy": null});
    assert_eq!(nothing["random"], share);
    assert_eq!(nothing["confusion"], json!({"labels": [], "counts": []}));
    assert_eq!(nothing["calibration"].as_array().unwrap().len(), 10);

    let answers = post_varied(|bytes| app.post_picture(bytes, "a.jpg"), 12).await;
    let classes = classes(&app).await;
    let (mut right, mut sum) = (0, 0.0);
    for (n, answer) in answers.iter().enumerate() {
        let label = match n {
            0 => "unsure",
            1..=4 => other(&classes, &answer["prediction"]),
            _ => answer["prediction"].as_str().unwrap(),
        };
        review(
            &app,
            id(answer),
            json!({"label": other(&classes, &json!("x"))}),
        )
        .await;
        review(
            &app,
            id(answer),
            json!({"label": label, "note": "corrected"}),
        )
        .await;
        right += usize::from(n > 4);
        sum += if n > 0 {
            answer["confidence"].as_f64().unwrap()
        } else {
            0.0
        };
    }
    let summary = get(&app, "/review/summary").await;
    assert_eq!(
        (&summary["reviewed"], &summary["unsure"]),
        (&json!(12), &json!(1))
    );
    let accuracy = summary["accuracy"].as_f64().unwrap();
    assert!((accuracy - right as f64 / 11.0).abs() < 1e-9, "{accuracy}");
    assert_eq!(summary["random"]["reviewed"], 0, "all were looked up");

    let labels = summary["confusion"]["labels"].as_array().unwrap();
    let cell = |row: usize, column: usize| {
        summary["confusion"]["counts"][row][column]
            .as_u64()
            .unwrap()
    };
    let all: u64 = (0..labels.len())
        .flat_map(|r| (0..labels.len()).map(move |c| (r, c)))
        .map(|(r, c)| cell(r, c))
        .sum();
    let diagonal: u64 = (0..labels.len()).map(|n| cell(n, n)).sum();
    assert_eq!((all, diagonal), (11, right as u64));
    for answer in &answers[1..5] {
        let place = |label: &Value| labels.iter().position(|known| known == label).unwrap();
        let wrong = json!(other(&classes, &answer["prediction"]));
        assert!(cell(place(&answer["prediction"]), place(&wrong)) > 0);
    }
    let bins = summary["calibration"].as_array().unwrap();
    let counted: u64 = bins.iter().map(|bin| bin["count"].as_u64().unwrap()).sum();
    let confidences = bins
        .iter()
        .filter(|bin| bin["count"] != 0)
        .map(|bin| bin["confidence"].as_f64().unwrap() * bin["count"].as_f64().unwrap());
    let told: f64 = confidences.sum();
    assert_eq!(counted, 11);
    assert!((told - sum).abs() < 1e-4, "{told} {sum}");

    let model = &answers[0]["model"];
    let name = format!(
        "{}@{}",
        model["name"].as_str().unwrap(),
        model["version"].as_str().unwrap()
    );
    assert_eq!(
        get(&app, &format!("/review/summary?model={name}")).await,
        summary
    );
    assert_eq!(get(&app, "/review/summary?model=other@1").await, nothing);

    let text = app
        .get("/metrics")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let counts = text
        .lines()
        .filter(|line| line.starts_with("relance_reviews_total{"));
    let counts: u64 = counts
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    // Each request was reviewed twice, except where the same was said again.
    assert!((12..=24).contains(&counts), "{counts}");
    let unsure = format!(
        r#"relance_reviews_total{{predicted="{}",label="unsure",agrees="false",selection="chosen"}}"#,
        answers[0]["prediction"].as_str().unwrap()
    );
    assert_eq!(app.metric(&unsure).await, 1);
}

/// The chance of failing by accident is below one in a million.
#[tokio::test]
async fn about_one_in_five_is_chosen_by_chance() {
    let app = with_reviewers(&["ana"]).start().await;
    let base = picture("jpeg-1x1.jpg");
    for n in 0..150 {
        let post = by("ana", app.post_picture(support::unique(&base, n), "a.jpg"));
        assert_eq!(post.send().await.unwrap().status(), StatusCode::OK);
    }
    let (mut random, mut others) = (0, 0);
    for _ in 0..80 {
        let record = next(&app, "ana", "").await.unwrap();
        let body = json!({"label": "unsure"});
        let said = support::json(by("ana", put(&app, id(&record), &body)))
            .await
            .1;
        match said["selection"].as_str().unwrap() {
            "random" => random += 1,
            "doubtful" => others += 1,
            other => panic!("{other}"),
        }
    }
    assert!(
        (1..40).contains(&random) && others > 40,
        "{random} {others}"
    );
    let summary = support::json(by("ana", app.get("/review/summary"))).await.1;
    assert_eq!(summary["random"]["reviewed"], random);
}
