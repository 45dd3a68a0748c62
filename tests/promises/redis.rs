//! Instances share their results in Redis, and none depends on it.

mod entra;
mod failures;
mod part;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::redis::Redis;
use crate::support::{App, Setup, eventually, fixture, picture, unique};

const HITS: &str = r#"relance_cache_shared_read_seconds_count{outcome="hit"}"#;
const MISSES: &str = r#"relance_cache_shared_read_seconds_count{outcome="miss"}"#;
const UNREADABLE: &str = r#"relance_cache_shared_read_seconds_count{outcome="unreadable"}"#;
const ERRORS: &str = r#"relance_cache_shared_read_seconds_count{outcome="error"}"#;
const INFERENCES: &str = r#"relance_stage_seconds_count{stage="inference"}"#;
const IS_THERE: &str = r#"relance_dependency_up{dependency="redis"}"#;

/// An instance that uses Redis, and has found it.
async fn start(setup: Setup, url: &str) -> App {
    let app = setup.set("REDIS_URL", url).start().await;
    there(&app).await;
    app
}

async fn there(app: &App) {
    eventually("redis is there", async || app.metric(IS_THERE).await == 1).await;
}

async fn away(app: &App) {
    eventually(
        "the instance has noticed that redis is not there",
        async || app.log().contains("redis is not there") && app.metric(IS_THERE).await == 0,
    )
    .await;
}

/// Waits until so many results are in Redis.
async fn written(redis: &Redis, count: usize) {
    eventually("results are written", async || {
        redis.results().len() == count
    })
    .await;
}

fn what(answer: &Value) -> [&Value; 3] {
    ["top", "image", "model"].map(|field| &answer[field])
}

#[tokio::test]
async fn a_picture_classified_by_one_instance_is_known_to_the_others() {
    let redis = Redis::start();
    let ttl = || Setup::new().set("CACHE_TTL_SECONDS", "1000");
    let (first, second) = (
        start(ttl(), &redis.url()).await,
        start(ttl(), &redis.url()).await,
    );
    for name in ["jpeg-1280x960.jpg", "gif-animated.gif", "bmp-24.bmp"] {
        let answer = first.predict(picture(name)).await;
        assert_eq!(answer["cached"], false);
        eventually("the other instance knows it", async || {
            second.predict(picture(name)).await["cached"] == true
        })
        .await;
        let known = second.predict(picture(name)).await;
        assert_eq!(what(&known), what(&answer));
    }
    assert_eq!(redis.results().len(), 3);
    for key in redis.results() {
        let left: i64 = redis.run_command(&format!("TTL {key}"));
        assert!((900..=1000).contains(&left), "{left} s");
    }
    // Once known, they are in memory.
    let hits = second.metric(HITS).await;
    assert!((1..=3).contains(&hits), "{hits}");
    second.predict(picture("bmp-24.bmp")).await;
    assert_eq!(second.metric(HITS).await, hits);
    // What came from Redis is recorded and kept like anything else.
    let known = second.predict(picture("bmp-24.bmp")).await;
    let id = known["request_id"].as_str().unwrap();
    let image = second.get(&format!("/requests/{id}/image"));
    let image = image.send().await.unwrap().bytes().await.unwrap();
    assert_eq!(image, picture("bmp-24.bmp"));
}

#[tokio::test]
async fn an_instance_that_starts_later_needs_no_inference() {
    let redis = Redis::start();
    let first = start(Setup::new(), &redis.url()).await;
    let small = picture("jpeg-1x1.jpg");
    for n in 0..20 {
        first.predict(unique(&small, n)).await;
    }
    written(&redis, 20).await;
    assert_eq!(first.metric(MISSES).await, 20);
    let second = start(Setup::new(), &redis.url()).await;
    for n in 0..20 {
        assert_eq!(second.predict(unique(&small, n)).await["cached"], true);
    }
    assert_eq!(second.metric(HITS).await, 20);
    assert_eq!(second.metric(INFERENCES).await, 0);
}

#[tokio::test]
async fn results_of_other_models_and_ways_to_compute_are_kept_apart() {
    let redis = Redis::start();
    let other = fixture("models/yolo26n-cls-nc10-64.onnx");
    let setups = [
        Setup::new(),
        Setup::new().set("MODEL", other.to_str().unwrap()),
        Setup::new().set("JPEG_SCALING", "fast"),
    ];
    for (n, setup) in setups.into_iter().enumerate() {
        let app = start(setup, &redis.url()).await;
        let answer = app.predict(picture("jpeg-1280x960.jpg")).await;
        assert_eq!(answer["cached"], false);
        written(&redis, n + 1).await;
    }
}

#[tokio::test]
async fn a_value_that_is_not_a_result_is_a_miss_and_is_replaced() {
    let redis = Redis::start();
    let first = start(Setup::new(), &redis.url()).await;
    let answer = first.predict(picture("jpeg-1x1.jpg")).await;
    written(&redis, 1).await;
    let key = &redis.results()[0];
    let whole: Vec<u8> = redis.run_command(&format!("GET {key}"));
    for (spoil, count) in [
        (format!("SET {key} garbage"), UNREADABLE),
        (format!("SETRANGE {key} {} more", whole.len()), UNREADABLE),
        (format!("LPUSH {key} x"), ERRORS),
    ] {
        if spoil.starts_with("LPUSH") {
            redis.run_command::<()>(&format!("DEL {key}"));
        }
        redis.run_command::<()>(&spoil);
        let app = start(Setup::new(), &redis.url()).await;
        let fresh = app.predict(picture("jpeg-1x1.jpg")).await;
        assert_eq!(fresh["cached"], false, "{spoil}");
        assert_eq!(what(&fresh), what(&answer));
        assert_eq!(app.metric(count).await, 1, "{spoil}");
        eventually("it is replaced", async || {
            redis.run_command::<String>(&format!("TYPE {key}")) == "string"
                && redis.run_command::<Vec<u8>>(&format!("GET {key}")) == whole
        })
        .await;
    }
}

#[tokio::test]
async fn passwords_are_used_and_a_wrong_one_only_costs_the_sharing() {
    let redis = Redis::with_password("sesame");
    let with = |user: &str| format!("redis://{user}@127.0.0.1:{}", redis.port);
    redis.run_command::<()>("ACL SETUSER ana on >se@same ~relance:* +get +set +del");
    let first = start(Setup::new(), &with(":sesame")).await;
    first.predict(picture("jpeg-1x1.jpg")).await;
    written(&redis, 1).await;
    let second = start(Setup::new(), &with("ana:se%40same")).await;
    assert_eq!(
        second.predict(picture("jpeg-1x1.jpg")).await["cached"],
        true
    );

    for user in [":wr0ng", "ana:wr0ng", "nobody:sesame"] {
        let app = Setup::new().set("REDIS_URL", &with(user)).start().await;
        away(&app).await;
        assert_eq!(app.predict(picture("jpeg-1x1.jpg")).await["cached"], false);
        for secret in ["wr0ng", "sesame"] {
            assert!(!app.log().contains(secret), "{}", app.log());
        }
    }
    // Who may not write is told so, and does not ask in vain.
    redis.run_command::<()>("ACL SETUSER reader on >pw ~relance:* +get");
    let url = with("reader:pw");
    let app = Setup::new().set("REDIS_URL", &url).start().await;
    away(&app).await;
    assert!(app.log().contains("no permissions"), "{}", app.log());
    app.predict(picture("jpeg-1x1.jpg")).await;
    assert_eq!(app.metric(HITS).await, 0);
}

#[tokio::test]
async fn tls_with_the_roots_of_the_system_and_no_others() {
    let redis = Redis::with_tls();
    let url = format!("rediss://localhost:{}", redis.tls_port);
    let trusting = || Setup::new().set("SSL_CERT_FILE", redis.authority().to_str().unwrap());
    let app = start(trusting(), &url).await;
    app.predict(picture("jpeg-1x1.jpg")).await;
    written(&redis, 1).await;
    let app = start(trusting(), &url).await;
    assert_eq!(app.predict(picture("jpeg-1x1.jpg")).await["cached"], true);

    let stranger = Setup::new().set("REDIS_URL", &url).start().await;
    away(&stranger).await;
    assert!(
        stranger.log().contains("UnknownIssuer"),
        "{}",
        stranger.log()
    );
    assert_eq!(
        stranger.predict(picture("jpeg-1x1.jpg")).await["cached"],
        false
    );
}

#[tokio::test]
async fn a_url_that_cannot_be_used_is_one_clear_line() {
    let line = Setup::new().set("REDIS_URL", "redis://:hush@host:port");
    let line = line.refusal();
    assert!(line.contains("REDIS_URL must be redis://"), "{line}");
    assert!(!line.contains("hush"), "{line}");
    let line = Setup::new()
        .set("REDIS_URL", "redis://localhost")
        .set("REDIS_AUTH", "entra")
        .refusal();
    assert!(line.contains("REDIS_URL must be rediss://"), "{line}");
}

fn percentile(times: &[Duration], part: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[(times.len() * part / 100).min(times.len() - 1)]
}

/// Posts a picture of 1280×960 pixels for each number, one after the other; how long each took.
async fn timed(app: &App, numbers: std::ops::Range<u64>, cached: Option<bool>) -> Vec<Duration> {
    let base = picture("jpeg-1280x960.jpg");
    let mut times = Vec::new();
    for n in numbers {
        let bytes = unique(&base, n);
        let start = Instant::now();
        let answer = app.predict(bytes).await;
        times.push(start.elapsed());
        if let Some(cached) = cached {
            assert_eq!(answer["cached"], cached);
        }
    }
    times
}

#[tokio::test]
async fn what_a_result_from_redis_costs() {
    const COUNT: u64 = 200;
    let mut redis = Redis::start();
    let model = fixture("models/yolov8n-cls-nc10-224-dynamic.onnx");
    let setup = || Setup::new().set("MODEL", model.to_str().unwrap());
    let alone = setup().start().await;
    let first = start(setup(), &redis.url()).await;
    let second = start(setup(), &redis.url()).await;
    // In turns, so that what else runs on this machine slows all of them.
    let (mut without, mut inference, mut down, mut control) = (vec![], vec![], vec![], vec![]);
    for n in 0..COUNT {
        without.extend(timed(&alone, n..n + 1, Some(false)).await);
        inference.extend(timed(&first, n..n + 1, Some(false)).await);
    }
    written(&redis, COUNT as usize).await;
    let (mut from_redis, mut from_memory) = (vec![], vec![]);
    for n in 0..COUNT {
        from_redis.extend(timed(&second, n..n + 1, None).await);
        from_memory.extend(timed(&second, n..n + 1, Some(true)).await);
    }
    let hits = second.metric(HITS).await;
    redis.kill();
    away(&first).await;
    for n in COUNT..2 * COUNT {
        control.extend(timed(&alone, n..n + 1, Some(false)).await);
        down.extend(timed(&first, n..n + 1, Some(false)).await);
    }
    for (what, times) in [
        ("inference, no Redis set", without),
        ("inference, after a miss in Redis", inference),
        ("inference, no Redis set, again", control),
        ("inference, Redis down", down),
        ("hit in Redis", from_redis),
        ("hit in memory", from_memory),
    ] {
        let (p50, p99) = (percentile(&times, 50), percentile(&times, 99));
        println!("{what}: median {p50:?}, p99 {p99:?}");
    }
    assert!(hits * 10 >= COUNT * 9, "only {hits} of {COUNT} in time");
}
