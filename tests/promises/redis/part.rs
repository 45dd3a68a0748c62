//! The cache by itself: forgetting, threads, and what asking costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use relance::cache::{Cache, Login, Shared, SharedConfig};
use relance::classification::{Classification, Known, ResultKey};
use relance::image::{Format, PictureInfo};
use relance::remote::State;

use crate::support::eventually;
use crate::support::proxy::{Mode, Proxy};
use crate::support::redis::{Redis, free_port};

fn cache(url: &str) -> Cache {
    let config = SharedConfig {
        url: url.parse().unwrap(),
        login: Login::Url,
        computation: "cpu-f32-exact".into(),
        ttl: Duration::from_secs(60),
    };
    let shared = Shared::start(config).unwrap();
    Cache::new(1 << 20, Duration::from_secs(60)).with_shared(shared)
}

async fn connected(url: &str) -> Cache {
    let cache = cache(url);
    there(&cache).await;
    cache
}

async fn there(cache: &Cache) {
    eventually("redis is there", async || cache.asks_shared()).await;
    assert_eq!(cache.presence().unwrap().state(), State::Up);
}

fn key(n: u32) -> ResultKey {
    let mut picture = [0; 32];
    picture[..4].copy_from_slice(&n.to_be_bytes());
    ResultKey {
        model: [1; 32],
        picture,
    }
}

fn known(n: u8) -> Arc<Known> {
    let picture = PictureInfo {
        format: Format::Jpeg,
        width: 640,
        height: 480,
    };
    Arc::new(Known {
        digest: [n; 32],
        classification: Classification::new(picture, &[0.25, 0.75]),
    })
}

#[tokio::test]
async fn what_a_thread_outside_of_the_runtime_inserts_is_shared() {
    let redis = Redis::start();
    let (here, there) = (connected(&redis.url()).await, connected(&redis.url()).await);
    std::thread::scope(|scope| {
        scope.spawn(|| here.insert(key(1), known(1)));
    });
    eventually("the other has it", async || {
        there.get_shared(&key(1)).await == Some(known(1))
    })
    .await;
    assert_eq!(there.get(&key(1)), Some(known(1)), "from now on in memory");
    assert_eq!(there.get_shared(&key(2)).await, None);
}

#[tokio::test]
async fn what_is_forgotten_is_gone_from_redis_too_even_if_it_was_away() {
    let mut redis = Redis::start();
    let cache = connected(&redis.url()).await;
    cache.insert(key(1), known(1));
    cache.forget(&key(1));
    cache.insert(key(2), known(2));
    eventually("one is left", async || redis.results().len() == 1).await;
    cache.forget(&key(2));
    assert_eq!(cache.get(&key(2)), None);
    eventually("it is forgotten", async || redis.results().is_empty()).await;
    assert_eq!(cache.get_shared(&key(2)).await, None);

    cache.insert(key(3), known(3));
    eventually("it is written", async || redis.results().len() == 1).await;
    // It goes on running and lets nobody in.
    redis.lock("sesame");
    eventually("redis is away", async || !cache.asks_shared()).await;
    cache.forget(&key(3));
    assert_eq!(cache.get(&key(3)), None);
    tokio::time::sleep(Duration::from_millis(500)).await;
    redis.unlock();
    there(&cache).await;
    eventually("it is forgotten", async || redis.results().is_empty()).await;
    assert_eq!(cache.get_shared(&key(3)).await, None);
}

#[tokio::test]
async fn asking_a_redis_that_is_away_costs_nothing() {
    let cache = cache(&format!("redis://127.0.0.1:{}", free_port()));
    eventually("redis is known to be away", async || {
        matches!(cache.presence().unwrap().state(), State::Down(_))
    })
    .await;
    const TIMES: u32 = 100_000;
    let start = Instant::now();
    for _ in 0..TIMES {
        assert!(!cache.asks_shared());
        assert_eq!(cache.get_shared(&key(1)).await, None);
        cache.insert(key(1), known(1));
    }
    let with = start.elapsed() / TIMES;
    let alone = Cache::new(1 << 20, Duration::from_secs(60));
    let start = Instant::now();
    for _ in 0..TIMES {
        alone.insert(key(1), known(1));
    }
    let without = start.elapsed() / TIMES;
    println!("asking and inserting: {with:?} with Redis away, {without:?} without Redis");
    assert!(with < without + Duration::from_micros(20), "{with:?}");
}

#[tokio::test]
async fn reads_at_the_same_time_share_one_connection() {
    let redis = Redis::start();
    let cache = connected(&redis.url()).await;
    cache.insert(key(1), known(1));
    eventually("it is written", async || redis.results().len() == 1).await;
    let start = Instant::now();
    let reads = (0..500).map(|n| {
        let cache = &cache;
        async move { cache.get_shared(&key(n % 2)).await.is_some() }
    });
    let found = futures_util::future::join_all(reads).await;
    println!("500 reads at once: {:?}", start.elapsed());
    assert_eq!(found.iter().filter(|found| **found).count(), 250);
    const TIMES: u32 = 1000;
    let start = Instant::now();
    for _ in 0..TIMES {
        assert!(cache.get_shared(&key(1)).await.is_some());
    }
    println!(
        "one read after the other: {:?} each",
        start.elapsed() / TIMES
    );
    let clients: String = redis.run_command("CLIENT LIST");
    assert_eq!(clients.lines().count(), 2, "one of them asks for this list");
}

#[tokio::test]
async fn what_cannot_be_written_in_time_is_dropped_and_nobody_waits() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.address(), Mode::Pass);
    let cache = connected(&format!("redis://{}", proxy.address)).await;
    proxy.set(Mode::Stall);
    // Lets the writer begin to wait.
    cache.insert(key(0), known(0));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let start = Instant::now();
    for n in 1..=20_000 {
        cache.insert(key(n), known(0));
    }
    let took = start.elapsed();
    assert!(took < Duration::from_millis(500), "{took:?}");
    proxy.set(Mode::Pass);
    eventually("what was kept is written", async || {
        redis.results().len() > 1000
    })
    .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let kept = redis.results().len();
    assert!(kept <= 1024 + 1, "{kept} were kept");
}
