//! Reviews of records that all instances share.

use std::path::Path;

use super::proposed::next;
use super::*;
use crate::support::cosmos::{self, Emulator};
use crate::support::proxy::{Mode, Proxy};
use crate::support::{eventually, postgres, unique};

/// A store of records behind a proxy.
struct Store {
    proxy: Proxy,
    settings: Vec<(&'static str, String)>,
    _postgres: Option<postgres::Server>,
    _cosmos: Option<Emulator>,
}

impl Store {
    async fn postgres() -> Self {
        let server = postgres::Server::start().await;
        let proxy = Proxy::before(server.address(), Mode::Pass);
        let url = postgres::url(proxy.address.to_string(), "relance", "");
        Self {
            settings: vec![("DATABASE_URL", url)],
            proxy,
            _postgres: Some(server),
            _cosmos: None,
        }
    }

    async fn cosmos() -> Self {
        let emulator = Emulator::start().await;
        let proxy = Proxy::before(emulator.address().to_owned(), Mode::Pass);
        Self {
            settings: vec![
                ("AZURE_COSMOS_ENDPOINT", proxy.url()),
                ("AZURE_COSMOS_KEY", cosmos::KEY.to_owned()),
            ],
            proxy,
            _postgres: None,
            _cosmos: Some(emulator),
        }
    }

    async fn instance(&self, data: &Path) -> App {
        let mut setup = Setup::new().data(data);
        for (name, value) in &self.settings {
            setup = setup.set(name, value);
        }
        setup.start().await
    }
}

async fn all_shipped(app: &App) {
    eventually("all has been shipped", async || {
        app.metric("relance_backlog_records").await == 0
            && app.metric("relance_backlog_reviews").await == 0
            && app.metric("relance_shipped_records_total").await > 0
    })
    .await;
}

async fn two_instances(store: &Store) {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let a = store.instance(dirs[0].path()).await;
    let b = store.instance(dirs[1].path()).await;
    let answers = post_varied(|bytes| a.post_picture(bytes, "a.jpg"), 8).await;
    all_shipped(&a).await;
    for answer in &answers[..3] {
        let (ana, rui) = tokio::join!(
            review(&a, id(answer), json!({"label": "unsure", "note": "a"})),
            review(
                &b,
                id(answer),
                json!({"label": answer["prediction"], "note": "b"})
            ),
        );
        for app in [&a, &b] {
            let history = record(app, id(answer)).await["review_history"].clone();
            let history = history.as_array().unwrap();
            assert!(history.len() == 2 && history.contains(&ana) && history.contains(&rui));
        }
    }
    // What was said at one is in the lists of the other.
    let mut reviewed: Vec<String> = answers[..3].iter().map(|a| id(a).to_owned()).collect();
    reviewed.sort_by(|a, b| b.cmp(a));
    review(
        &a,
        id(&answers[0]),
        json!({"label": "unsure", "note": "again"}),
    )
    .await;
    for app in [&a, &b] {
        assert_eq!(listed(app, "reviewed=true").await, reviewed);
        assert_eq!(listed(app, "reviewed=false").await.len(), 5);
        assert!(
            listed(app, "label=unsure")
                .await
                .contains(&id(&answers[0]).to_owned())
        );
        assert_eq!(get(app, "/review/summary").await["reviewed"], 3);
    }
    // Nobody is asked about them any more.
    let mut left = 0;
    loop {
        let answer = b.get("/review/next").send().await.unwrap();
        if answer.status() == StatusCode::NO_CONTENT {
            break;
        }
        let next: Value = answer.json().await.unwrap();
        assert!(!reviewed.contains(&id(&next).to_owned()));
        review(&b, id(&next), json!({"label": "unsure"})).await;
        left += 1;
    }
    assert_eq!(left, 5);

    let url = format!("{}/requests/{}", a.url, id(&answers[0]));
    let removed = a.client.delete(url).send().await.unwrap().status();
    assert_eq!(removed, StatusCode::NO_CONTENT);
    let said = put(&b, id(&answers[0]), &json!({"label": "unsure"}));
    assert_eq!(said.send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(get(&b, "/review/summary").await["reviewed"], 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_share_reviews_in_postgresql() {
    two_instances(&Store::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_share_reviews_in_cosmos_db() {
    two_instances(&Store::cosmos().await).await;
}

/// Reviews while the store is away: of what was shown before, and of what has not been shipped.
async fn the_store_is_away(store: &Store) {
    let dir = tempfile::tempdir().unwrap();
    let app = store.instance(dir.path()).await;
    let base = picture("jpeg-1x1.jpg");
    let mut answers = Vec::new();
    for n in 0..3 {
        answers.push(app.predict(unique(&base, n)).await);
    }
    all_shipped(&app).await;
    let shown = get(&app, "/review/next").await;
    let unseen = answers
        .iter()
        .find(|answer| id(answer) != id(&shown))
        .unwrap();

    store.proxy.set(Mode::Refuse);
    let waiting = app.predict(unique(&base, 10)).await;
    let first = review(&app, id(&shown), json!({"label": "unsure", "note": "away"})).await;
    assert_ne!(first["selection"], "chosen");
    let second = review(&app, id(&waiting), json!({"label": waiting["prediction"]})).await;
    assert_eq!(record(&app, id(&waiting)).await["review"], second);
    assert_eq!(app.metric("relance_backlog_reviews").await, 2);
    // Whether there is such a request, nobody knows now.
    let unknown = put(&app, id(unseen), &json!({"label": "unsure"}));
    let status = unknown.send().await.unwrap().status();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);

    app.signal("KILL");
    drop(app);
    let app = store.instance(dir.path()).await;
    assert_eq!(record(&app, id(&waiting)).await["review"], second);
    assert_eq!(app.metric("relance_backlog_reviews").await, 2);
    store.proxy.set(Mode::Pass);
    all_shipped(&app).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let other = store.instance(elsewhere.path()).await;
    for (answer, said) in [(&shown, &first), (&waiting, &second)] {
        let record = record(&other, id(answer)).await;
        assert_eq!(&record["review"], said);
        assert_eq!(record["review_history"], json!([said]));
    }
    assert_eq!(record(&other, id(unseen)).await["review"], Value::Null);

    // A review of what was removed elsewhere meanwhile goes with it.
    get(&app, &format!("/requests/{}", id(unseen))).await;
    store.proxy.set(Mode::Refuse);
    review(&app, id(unseen), json!({"label": "unsure"})).await;
    drop(app);
    store.proxy.set(Mode::Pass);
    eventually("it is removed", async || {
        let url = format!("{}/requests/{}", other.url, id(unseen));
        let removed = other.client.delete(url).send().await.unwrap();
        removed.status() == StatusCode::NO_CONTENT
    })
    .await;
    let app = store.instance(dir.path()).await;
    eventually("nothing waits", async || {
        app.metric("relance_backlog_reviews").await == 0
    })
    .await;
    let gone = app.get(&format!("/requests/{}", id(unseen)));
    assert_eq!(gone.send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_postgresql_is_away() {
    the_store_is_away(&Store::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_cosmos_db_is_away() {
    the_store_is_away(&Store::cosmos().await).await;
}

/// Reviews move along when records get a store that is shared, and come back when it is switched off.
#[tokio::test]
async fn a_store_that_is_switched_on_later_gets_the_reviews() {
    let store = Store::postgres().await;
    let dir = tempfile::tempdir().unwrap();
    let app = Setup::new().data(dir.path()).start().await;
    let answer = app.predict(picture("jpeg-1x1.jpg")).await;
    let first = review(&app, id(&answer), json!({"label": "unsure", "note": "1"})).await;
    drop(app);
    let app = store.instance(dir.path()).await;
    all_shipped(&app).await;
    let second = review(&app, id(&answer), json!({"label": "unsure", "note": "2"})).await;
    let shared = record(&app, id(&answer)).await;
    assert_eq!(shared["review_history"], json!([first, second]));

    store.proxy.set(Mode::Refuse);
    let late = app.predict(picture("png-rgb.png")).await;
    let third = review(&app, id(&late), json!({"label": "unsure"})).await;
    drop(app);
    let app = Setup::new().data(dir.path()).start().await;
    assert_eq!(record(&app, id(&late)).await["review"], third);
    assert_eq!(listed(&app, "reviewed=true").await, [id(&late)]);
}

#[tokio::test]
async fn what_one_instance_has_handed_out_no_other_does() {
    let (store, mut redis) = (
        Store::postgres().await,
        crate::support::redis::Redis::start(),
    );
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut apps = Vec::new();
    for dir in &dirs {
        let setup = with_reviewers(&["ana", "rui"])
            .data(dir.path())
            .set("REDIS_URL", &redis.url())
            .set(store.settings[0].0, &store.settings[0].1);
        let app = setup.start().await;
        eventually("Redis is there", async || {
            let (_, ready) = support::json(app.get("/health/ready")).await;
            ready["dependencies"]["redis"] == "ok"
        })
        .await;
        apps.push(app);
    }
    let (a, b) = (&apps[0], &apps[1]);
    let post = |bytes| by("ana", a.post_picture(bytes, "a.jpg"));
    let answers = post_varied(post, 12).await;
    all_shipped_by(a, "ana").await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..answers.len() / 2 {
        let (ana, rui) = tokio::join!(next(a, "ana", ""), next(b, "rui", ""));
        for (app, reviewer, given) in [(a, "ana", ana.unwrap()), (b, "rui", rui.unwrap())] {
            assert!(seen.insert(id(&given).to_owned()), "given to both: {given}");
            let again = next(app, reviewer, "").await.unwrap();
            assert_eq!(id(&again), id(&given), "asking again gives the same one");
        }
        for (app, reviewer) in [(a, "ana"), (b, "rui")] {
            let given = next(app, reviewer, "").await.unwrap();
            let body = json!({"label": given["prediction"]});
            let (status, said) = support::json(by(reviewer, put(app, id(&given), &body))).await;
            assert_eq!(status, StatusCode::OK, "{said}");
        }
        all_shipped_by(a, "ana").await;
        all_shipped_by(b, "rui").await;
    }
    assert_eq!(next(a, "ana", "").await, None);
    // What was put aside, others may have.
    let (_, answer) = support::json(post(unique(&picture("jpeg-7x5.jpg"), 77))).await;
    all_shipped_by(a, "ana").await;
    assert_eq!(id(&next(a, "ana", "").await.unwrap()), id(&answer));
    assert_eq!(next(b, "rui", "").await, None, "ana has it in hand");
    assert_eq!(
        next(a, "ana", &format!("?skip={}", id(&answer))).await,
        None
    );
    assert_eq!(id(&next(b, "rui", "").await.unwrap()), id(&answer));
    // Redis is not needed to review.
    redis.kill();
    assert_eq!(id(&next(b, "rui", "").await.unwrap()), id(&answer));
}

async fn all_shipped_by(app: &App, name: &str) {
    eventually("all has been shipped", async || {
        let metrics = by(name, app.get("/metrics")).send().await.unwrap();
        let text = metrics.text().await.unwrap();
        ["records", "reviews"]
            .iter()
            .all(|what| text.contains(&format!("\nrelance_backlog_{what} 0\n")))
    })
    .await;
}
