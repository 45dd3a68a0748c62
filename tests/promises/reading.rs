//! What was answered can be read back, and the API is what its description says.

mod description;

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::Value;
use uuid::Uuid;

use crate::support::{App, json, picture, problem, unique};

async fn ok(app: &App, path: &str) -> Value {
    let (status, answer) = json(app.get(path)).await;
    assert_eq!(status, StatusCode::OK, "{path}: {answer}");
    answer
}

async fn list(app: &App, query: &[(&str, &str)]) -> (Vec<Value>, Option<String>) {
    let (status, page) = json(app.get("/requests").query(query)).await;
    assert_eq!(status, StatusCode::OK, "{query:?}: {page}");
    let Value::Array(requests) = page["requests"].clone() else {
        panic!("{page}")
    };
    (requests, page["next_cursor"].as_str().map(str::to_owned))
}

fn id(record: &Value) -> Uuid {
    record["request_id"].as_str().unwrap().parse().unwrap()
}

fn ids(records: &[Value]) -> Vec<Uuid> {
    records.iter().map(id).collect()
}

fn confidence(record: &Value) -> f64 {
    record["confidence"].as_f64().unwrap()
}

/// Posts `count` distinct pictures at once; the identifiers of the answers, newest first.
async fn fill(app: &App, count: u64) -> Vec<Uuid> {
    let base = picture("png-rgb-tiny.png");
    let mut posted = ids(&join_all((0..count).map(|n| app.predict(unique(&base, n)))).await);
    posted.sort_unstable_by(|a, b| b.cmp(a));
    posted
}

#[tokio::test]
async fn a_record_says_what_the_answer_said() {
    let app = App::start().await;
    let answer = app.predict(picture("jpeg-exif-6.jpg")).await;
    let record = ok(&app, &format!("/requests/{}", id(&answer))).await;
    for same in [
        "request_id",
        "timestamp",
        "image_name",
        "prediction",
        "confidence",
        "top",
        "processing_time",
        "cached",
        "model",
    ] {
        assert_eq!(record[same], answer[same], "{same}");
    }
    for fact in ["sha256", "width", "height", "format"] {
        assert_eq!(
            record[format!("image_{fact}")],
            answer["image"][fact],
            "{fact}"
        );
    }
    assert_eq!(
        (&record["instance"], &record["status"]),
        (&Value::from("test"), &Value::from(200))
    );
    // Lists leave the history of reviews out.
    let mut listed = record;
    let history = listed.as_object_mut().unwrap().remove("review_history");
    assert_eq!(history, Some(Value::Array(Vec::new())));
    assert_eq!(list(&app, &[]).await, (vec![listed], None));
}

#[tokio::test]
async fn the_cursor_walks_over_all_records_newest_first() {
    let app = App::start().await;
    let posted = fill(&app, 120).await;
    let (page, next) = list(&app, &[]).await;
    assert_eq!((ids(&page), next.is_some()), (posted[..50].to_vec(), true));
    for (limit, pages) in [("7", 18), ("60", 2), ("119", 2), ("120", 1), ("500", 1)] {
        let (mut walked, mut count, mut cursor) = (Vec::new(), 0, None);
        loop {
            let mut query = vec![("limit", limit)];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let (page, next) = list(&app, &query).await;
            walked.extend(ids(&page));
            count += 1;
            if next.is_none() {
                break;
            }
            cursor = next;
        }
        assert!(
            walked == posted && count == pages,
            "limit {limit}: {} records on {count} pages",
            walked.len()
        );
    }
}

#[tokio::test]
async fn records_that_come_while_walking_disturb_nobody() {
    let app = App::start().await;
    let posted = fill(&app, 10).await;
    let (first, next) = list(&app, &[("limit", "5")]).await;
    app.predict(picture("jpeg-1x1.jpg")).await;
    let (second, last) = list(&app, &[("limit", "5"), ("cursor", &next.unwrap())]).await;
    assert_eq!(
        (ids(&first), ids(&second), last),
        (posted[..5].to_vec(), posted[5..].to_vec(), None)
    );
}

#[tokio::test]
async fn filters_pick_records() {
    let app = App::start().await;
    let names = [
        "jpeg-420.jpg",
        "png-rgb.png",
        "gif-plain.gif",
        "bmp-24.bmp",
        "webp-lossy.webp",
        "jpeg-grey.jpg",
        "png-1x1.png",
        "tiff-cmyk.tif",
    ];
    for name in names {
        app.predict(picture(name)).await;
        // So that no two records share a millisecond, which is as fine as `from` and `to` tell them apart.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let (all, _) = list(&app, &[]).await;
    assert_eq!(all.len(), names.len());
    let picked =
        |keep: &dyn Fn(&Value) -> bool| all.iter().filter(|r| keep(r)).cloned().collect::<Vec<_>>();
    let class = all[3]["prediction"].as_str().unwrap();
    let same_class = picked(&|r| r["prediction"] == class);
    assert!(
        same_class.len() < all.len(),
        "the pictures must be of several classes"
    );
    assert_eq!(list(&app, &[("prediction", class)]).await.0, same_class);
    assert_eq!(
        list(&app, &[("prediction", "no such class")]).await,
        (Vec::new(), None)
    );

    let mut scores: Vec<f64> = all.iter().map(confidence).collect();
    scores.sort_by(f64::total_cmp);
    let (low, high) = ((scores[1] + scores[2]) / 2.0, (scores[5] + scores[6]) / 2.0);
    let (low_text, high_text) = (low.to_string(), high.to_string());
    let bounds = [
        ("min_confidence", low_text.as_str()),
        ("max_confidence", high_text.as_str()),
    ];
    assert_eq!(
        list(&app, &bounds).await.0,
        picked(&|r| (low..=high).contains(&confidence(r)))
    );
    assert_eq!(
        list(&app, &bounds[..1]).await.0,
        picked(&|r| confidence(r) >= low)
    );
    assert_eq!(
        list(&app, &bounds[1..]).await.0,
        picked(&|r| confidence(r) <= high)
    );
    assert_eq!(
        list(&app, &[("min_confidence", "0"), ("max_confidence", "1")])
            .await
            .0,
        all
    );

    // `from` is included and `to` is not.
    let time = |n: usize| all[n]["timestamp"].as_str().unwrap();
    assert_eq!(
        list(&app, &[("from", time(5)), ("to", time(2))]).await.0,
        all[3..=5]
    );
    let combined = [("from", time(5)), ("prediction", class), ("limit", "1")];
    let expected: Vec<Value> = same_class
        .iter()
        .filter(|r| all[..=5].contains(r))
        .take(1)
        .cloned()
        .collect();
    assert_eq!(list(&app, &combined).await.0, expected);
    // The same moment, told with an offset.
    let zoned: jiff::Timestamp = time(4).parse().unwrap();
    let zoned = zoned
        .display_with_offset(jiff::tz::Offset::constant(-3))
        .to_string();
    assert!(zoned.ends_with("-03:00"), "{zoned}");
    assert_eq!(list(&app, &[("from", &zoned)]).await.0, all[..=4]);
}

#[tokio::test]
async fn bad_parameters_are_named_and_told_what_is_accepted() {
    let app = App::start().await;
    let (whole, number) = ("a whole number from 1 to 500", "a number from 0 to 1");
    for (name, values, accepted) in [
        (
            "limit",
            &["0", "501", "-1", "abc", "", "1.5", "99999999999999999999"][..],
            whole,
        ),
        (
            "min_confidence",
            &["-0.1", "1.01", "NaN", "inf", "x", ""],
            number,
        ),
        ("max_confidence", &["-1", "2", "nan", "half"], number),
        (
            "from",
            &[
                "yesterday",
                "",
                "2026-01-31",
                "2026-13-01T00:00:00Z",
                "2026-01-31T12:00:00",
            ],
            "RFC 3339 time",
        ),
        ("to", &["1", "2026-01-31T25:00:00Z"], "RFC 3339 time"),
        (
            "cursor",
            &["x", "", "AAAA", "!!!!", "AAAAAAAAAAAAAAAAAAAAAAAA"],
            "next_cursor of an earlier answer",
        ),
        (
            "class",
            &["a"],
            "`prediction`, `min_confidence`, `max_confidence`, `from`, `to`, `reviewed`, `label`, `disagrees`, `differs`, `model`, `limit`, \
             `cursor`",
        ),
    ] {
        for value in values {
            let detail = problem(
                app.get("/requests").query(&[(name, value)]),
                400,
                "bad-parameter",
            )
            .await;
            assert!(
                detail.contains(name) && detail.contains(accepted),
                "{name}={value}: {detail}"
            );
        }
    }
    let twice = problem(app.get("/requests?limit=1&limit=2"), 400, "bad-parameter").await;
    assert!(twice.contains("limit"), "{twice}");
}

#[tokio::test]
async fn unknown_requests_are_404_and_what_is_no_identifier_is_400() {
    let app = App::start().await;
    let unknown = Uuid::now_v7();
    for path in [
        format!("/requests/{unknown}"),
        format!("/requests/{unknown}/image"),
    ] {
        assert!(
            problem(app.get(&path), 404, "not-found")
                .await
                .contains(&unknown.to_string())
        );
    }
    for path in [
        "/requests/1",
        "/requests/x/image",
        "/requests/%2e%2e%2fetc%2fpasswd",
        "/requests/%ff",
    ] {
        assert!(
            problem(app.get(path), 400, "bad-parameter")
                .await
                .contains("UUID"),
            "{path}"
        );
    }
    let answer = app.predict(picture("jpeg-1x1.jpg")).await;
    let sha256 = answer["image"]["sha256"].as_str().unwrap();
    let file = format!("pictures/{}/{sha256}.jpg", &sha256[..2]);
    std::fs::remove_file(app.data.join(file)).unwrap();
    let gone = problem(
        app.get(&format!("/requests/{}/image", id(&answer))),
        404,
        "not-found",
    )
    .await;
    assert!(gone.contains("no longer stored"), "{gone}");
}

#[tokio::test]
async fn pictures_come_back_byte_for_byte() {
    let app = App::start().await;
    for (name, media_type) in [
        ("jpeg-exif-6.jpg", "image/jpeg"),
        ("png-apng.png", "image/png"),
        ("webp-animated.webp", "image/webp"),
        ("bmp-rle8.bmp", "image/bmp"),
        ("gif-animated.gif", "image/gif"),
        ("tiff-orientation-6.tif", "image/tiff"),
    ] {
        let (_, answer) = json(app.post_picture(picture(name), &format!("ação {name}"))).await;
        let response = app
            .get(&format!("/requests/{}/image", id(&answer)))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{name}");
        let header = |name: &str| response.headers()[name].to_str().unwrap();
        assert_eq!(
            (header("content-type"), header("x-content-type-options")),
            (media_type, "nosniff")
        );
        let disposition =
            format!("inline; filename=\"a__o {name}\"; filename*=UTF-8''a%C3%A7%C3%A3o%20{name}");
        assert_eq!(header("content-disposition"), disposition);
        assert!(
            header("content-security-policy").contains("sandbox")
                && header("cache-control").contains("private")
        );
        assert_eq!(response.bytes().await.unwrap(), picture(name), "{name}");
    }
}
