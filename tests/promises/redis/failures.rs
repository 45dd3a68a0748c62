//! Whatever happens to Redis costs requests next to nothing, and once it is well it is used again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{ERRORS, HITS, MISSES, away, percentile, start, there, timed, written};
use crate::support::proxy::{Mode, Proxy};
use crate::support::redis::{Redis, free_port};
use crate::support::{App, Setup, picture, unique};

const DROPPED: &str = "relance_cache_shared_dropped_total";

/// Numbers of pictures that no instance has seen.
static FRESH: AtomicU64 = AtomicU64::new(1_000_000);

fn fresh(count: u64) -> std::ops::Range<u64> {
    let first = FRESH.fetch_add(count, Ordering::Relaxed);
    first..first + count
}

/// Posts new pictures, four at a time; how long each took. All must be answered.
async fn load(app: &App, count: u64) -> Vec<Duration> {
    let clients = (0..4).map(|_| timed(app, fresh(count / 4), Some(false)));
    join_all(clients).await.concat()
}

/// Waits until Redis is used again, which must not take more than `limit`.
async fn recovers(app: &App, limit: Duration) {
    let since = Instant::now();
    there(app).await;
    let took = since.elapsed();
    println!("used again after {took:?}");
    assert!(took < limit, "used again only after {took:?}");
    let before = app.metric(MISSES).await;
    load(app, 4).await;
    assert_eq!(app.metric(MISSES).await, before + 4);
}

/// The longest pause between two attempts, and time for the attempt on a busy machine.
const RECOVERY: Duration = Duration::from_secs(6);

#[tokio::test]
async fn dead_at_the_start_it_is_used_once_it_is_there() {
    let mut redis = Redis::start();
    redis.kill();
    let app = Setup::new().set("REDIS_URL", &redis.url()).start().await;
    load(&app, 20).await;
    away(&app).await;
    assert_eq!(app.metric(ERRORS).await, 0, "nobody waited for it");
    assert_eq!(app.metric(DROPPED).await, 20);
    redis.run();
    recovers(&app, RECOVERY).await;
}

#[tokio::test]
async fn nothing_listens_where_it_should_be() {
    let setup = Setup::new().set("REDIS_URL", &format!("redis://127.0.0.1:{}", free_port()));
    let app = setup.start().await;
    away(&app).await;
    load(&app, 20).await;
}

#[tokio::test]
async fn it_dies_under_load_and_comes_back() {
    let mut redis = Redis::start();
    let app = start(Setup::new(), &redis.url()).await;
    let healthy = load(&app, 200).await;
    let killed = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        redis.kill();
    };
    let (dying, ()) = tokio::join!(load(&app, 400), killed);
    away(&app).await;
    let (before, after) = (percentile(&healthy, 99), percentile(&dying, 99));
    println!("p99 {before:?} with Redis, {after:?} as it dies");
    let errors = app.metric(ERRORS).await;
    assert!(errors <= 5 + 3, "{errors} requests asked in vain");
    redis.run();
    recovers(&app, RECOVERY).await;
}

/// Takes an instance through a failure: requests wait at most until the breaker opens.
async fn fails(mode: Mode) {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.address(), Mode::Pass);
    let app = start(Setup::new(), &format!("redis://{}", proxy.address)).await;
    // Other programs share the processor: a time that is too long once may be theirs.
    let mut slow = Vec::new();
    for _ in 0..4 {
        let healthy = percentile(&load(&app, 400).await, 99);
        let errors = app.metric(ERRORS).await;
        proxy.set(mode);
        let failing = percentile(&load(&app, 400).await, 99);
        away(&app).await;
        // Five failures open the breaker; as many again may have been on their way.
        let waited = app.metric(ERRORS).await - errors;
        assert!(waited <= 5 + 3, "{mode:?}: {waited} requests waited");

        let reads = async || {
            [
                app.metric(ERRORS).await,
                app.metric(MISSES).await,
                app.metric(HITS).await,
            ]
        };
        let before = reads().await;
        let without = percentile(&load(&app, 400).await, 99);
        assert_eq!(
            reads().await,
            before,
            "{mode:?}: nobody asks while it is away"
        );

        println!(
            "{mode:?}: p99 {healthy:?} before, {failing:?} as it fails ({waited} waited), {without:?} after"
        );
        proxy.set(Mode::Pass);
        recovers(&app, RECOVERY + Duration::from_secs(5)).await;
        if failing <= healthy.mul_f64(1.2) + Duration::from_millis(50) {
            return;
        }
        slow.push([healthy, failing]);
    }
    panic!("{mode:?}: p99 before and as it fails: {slow:?}");
}

#[tokio::test]
async fn it_stalls() {
    fails(Mode::Stall).await;
}

#[tokio::test]
async fn it_answers_after_two_seconds() {
    fails(Mode::Slow(Duration::from_secs(2))).await;
}

#[tokio::test]
async fn it_resets_connections() {
    fails(Mode::Reset).await;
}

#[tokio::test]
async fn it_closes_connections() {
    fails(Mode::Cut).await;
}

#[tokio::test]
async fn it_refuses_connections() {
    fails(Mode::Refuse).await;
}

#[tokio::test]
async fn something_else_answers_in_its_place() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.address(), Mode::Answer(200));
    let url = format!("redis://{}", proxy.address);
    let app = Setup::new().set("REDIS_URL", &url).start().await;
    load(&app, 20).await;
    away(&app).await;
    proxy.set(Mode::Pass);
    recovers(&app, RECOVERY + Duration::from_secs(5)).await;
}

#[tokio::test]
async fn it_is_full() {
    let redis = Redis::start();
    let app = start(Setup::new(), &redis.url()).await;
    app.predict(picture("jpeg-1x1.jpg")).await;
    written(&redis, 1).await;
    redis.run_command::<()>("CONFIG SET maxmemory 1");
    load(&app, 20).await;
    assert_eq!(redis.results().len(), 1);
    // What is there can still be read.
    let other = start(Setup::new(), &redis.url()).await;
    let known = other.predict(picture("jpeg-1x1.jpg")).await;
    assert_eq!(
        (&known["cached"], other.metric(HITS).await),
        (&true.into(), 1)
    );
}

/// The client whose request asks Redis hangs up while others wait for the same picture.
#[tokio::test]
async fn a_client_that_leaves_while_redis_is_asked_leaves_nobody_hanging() {
    let redis = Redis::start();
    // Slow enough to leave meanwhile, fast enough not to be given up.
    let proxy = Proxy::before(redis.address(), Mode::Slow(Duration::from_millis(30)));
    let setup = Setup::new().set("REQUEST_TIMEOUT_MS", "5000");
    let app = start(setup, &format!("redis://{}", proxy.address)).await;
    let small = picture("jpeg-1x1.jpg");
    for n in fresh(30) {
        let leader = app.post_picture(unique(&small, n), "a.jpg").send();
        let leaves = tokio::time::timeout(Duration::from_millis(20), leader);
        let follows = async {
            tokio::time::sleep(Duration::from_millis(8)).await;
            let since = Instant::now();
            app.predict(unique(&small, n)).await;
            since.elapsed()
        };
        let (_, took) = tokio::join!(leaves, follows);
        assert!(took < Duration::from_secs(4), "{took:?}");
    }
}
