//! When Azure Blob Storage fails, calls fail in time and say why, and work again once it is back.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use relance::remote::{Failure, FailureKind, State};
use relance::uploads::blob::Blob;

use crate::support::azurite::{ACCOUNT, Azurite, KEY};
use crate::support::container::{MAX, about, bytes, open, reference};
use crate::support::eventually;
use crate::support::proxy::{Mode, Proxy};

/// What a small call may take.
const BOUND: Duration = Duration::from_secs(5);

/// What this machine may add.
const SLACK: Duration = Duration::from_millis(1500);

struct Scene {
    azurite: Azurite,
    proxy: Proxy,
    blob: Blob,
    picture: Bytes,
    reference: String,
}

/// A picture in a container behind a proxy.
async fn scene(length: usize) -> Scene {
    let azurite = Azurite::http();
    azurite.create_container("uploads").await;
    let proxy = Proxy::before(azurite.address.to_string(), Mode::Pass);
    let blob = open(&format!("{}/{ACCOUNT}", proxy.url()), KEY, "uploads");
    let picture = bytes(length, 1);
    let scene = Scene {
        azurite,
        proxy,
        blob,
        reference: reference(&picture),
        picture,
    };
    scene.put().await.unwrap();
    assert_eq!(scene.blob.presence().state(), State::Up);
    scene
}

impl Scene {
    async fn put(&self) -> Result<(), Failure> {
        let about = about("a.jpg");
        let picture = self.picture.clone();
        self.blob.put(&self.reference, &about, picture).await
    }

    async fn get(&self) -> Result<Option<Bytes>, Failure> {
        self.blob.get(&self.reference, MAX).await
    }

    /// The failures of every call, and the time that all took together.
    async fn failures(&self) -> ([Failure; 3], Duration) {
        let start = Instant::now();
        let other = reference(b"another");
        let (put, get, delete) =
            futures_util::join!(self.put(), self.get(), self.blob.delete(&other));
        let took = start.elapsed();
        (
            [put.unwrap_err(), get.unwrap_err(), delete.unwrap_err()],
            took,
        )
    }

    /// Every call works, at the latest when the proxy has noticed that it should.
    async fn works(&self) {
        eventually("the store works", async || self.put().await.is_ok()).await;
        assert_eq!(self.get().await, Ok(Some(self.picture.clone())));
        self.blob.delete(&reference(b"another")).await.unwrap();
        assert_eq!(self.blob.presence().state(), State::Up);
    }

    fn is_down(&self) -> bool {
        matches!(self.blob.presence().state(), State::Down(_))
    }
}

#[tokio::test]
async fn a_broken_connection_fails_at_once_and_heals() {
    let scene = scene(50_000).await;
    for mode in [Mode::Refuse, Mode::Cut, Mode::Reset] {
        scene.proxy.set(mode);
        // Connections that are open may still carry one answer.
        eventually("the proxy fails", async || scene.get().await.is_err()).await;
        let (failures, took) = scene.failures().await;
        assert!(took < SLACK, "{mode:?}: {took:?}");
        for failure in failures {
            assert_eq!(
                failure.kind,
                FailureKind::Unavailable,
                "{mode:?}: {failure}"
            );
            assert!(
                failure
                    .message
                    .starts_with("Blob Storage cannot be reached: "),
                "{failure}"
            );
            assert!(!failure.message.contains("http"), "{failure}");
            assert_eq!(failure.retry_after, None);
        }
        assert!(scene.is_down());
        println!("{mode:?}: {took:?}, {:?}", scene.blob.presence().state());
        scene.proxy.set(Mode::Pass);
        scene.works().await;
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_not_waited_for() {
    let scene = scene(50_000).await;
    scene.proxy.set(Mode::Stall);
    let (failures, took) = scene.failures().await;
    println!("Stall: {took:?}");
    assert!(took >= BOUND && took < BOUND + SLACK, "{took:?}");
    for failure in failures {
        assert_eq!(failure.kind, FailureKind::Unavailable);
        assert!(
            failure.message.starts_with("no answer within 5"),
            "{failure}"
        );
    }
    assert!(scene.is_down());
    scene.proxy.set(Mode::Pass);
    scene.works().await;
}

#[tokio::test]
async fn a_slow_store_is_waited_for() {
    let scene = scene(300_000).await;
    scene.proxy.set(Mode::Slow(Duration::from_millis(300)));
    scene.works().await;
    let start = Instant::now();
    scene.get().await.unwrap().unwrap();
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_picture_that_stops_on_its_way_is_not_waited_for() {
    let scene = scene(10 * 1024 * 1024).await;
    for (mode, bound) in [(Mode::Stall, BOUND), (Mode::Cut, Duration::ZERO)] {
        scene.proxy.set(Mode::Slow(Duration::from_millis(30)));
        let (failure, took) = tokio::join!(scene.get(), async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            scene.proxy.set(mode);
            Instant::now()
        });
        let (failure, took) = (failure.unwrap_err(), took.elapsed());
        println!("{mode:?} in the middle of a picture: {took:?}, {failure}");
        assert_eq!(failure.kind, FailureKind::Unavailable);
        assert!(took < bound + SLACK, "{took:?}");
        assert!(scene.is_down());
        scene.proxy.set(Mode::Pass);
        scene.works().await;
    }
}

#[tokio::test]
async fn what_the_store_answers_says_what_can_be_done() {
    let scene = scene(50_000).await;
    let second = Some(Duration::from_secs(1));
    for (status, kind) in [
        (500, FailureKind::Unavailable),
        (502, FailureKind::Unavailable),
        (504, FailureKind::Unavailable),
        (302, FailureKind::Unavailable),
        (429, FailureKind::Throttled),
        (503, FailureKind::Throttled),
        (401, FailureKind::Denied),
        (403, FailureKind::Denied),
        (404, FailureKind::Denied),
        (400, FailureKind::Rejected),
        (413, FailureKind::Rejected),
    ] {
        scene.proxy.set(Mode::Answer(status));
        let here = format!("Blob Storage answered {status}");
        eventually("the proxy answers", async || {
            scene
                .get()
                .await
                .is_err_and(|failure| failure.message == here)
        })
        .await;
        let (failures, took) = scene.failures().await;
        assert!(took < SLACK, "{status}: {took:?}");
        for failure in failures {
            assert_eq!(
                (failure.kind, failure.retry_after),
                (kind, second),
                "{failure}"
            );
            assert_eq!(failure.message, here);
        }
        assert_eq!(scene.is_down(), kind != FailureKind::Rejected);
    }
    scene.proxy.set(Mode::Pass);
    scene.works().await;
}

/// Passes one request on to `server` with its last byte changed, and the answer back.
async fn damage_one(listener: TcpListener, server: String) {
    let mut client = listener.accept().await.unwrap().0;
    let (mut request, mut piece) = (Vec::new(), vec![0; 65_536]);
    let length = loop {
        let n = client.read(&mut piece).await.unwrap();
        request.extend_from_slice(&piece[..n]);
        let Some(head) = request.windows(4).position(|w| w == b"\r\n\r\n") else {
            continue;
        };
        let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
        let (_, rest) = text.split_once("content-length: ").unwrap();
        let length: usize = rest.lines().next().unwrap().parse().unwrap();
        break head + 4 + length;
    };
    while request.len() < length {
        let n = client.read(&mut piece).await.unwrap();
        request.extend_from_slice(&piece[..n]);
    }
    *request.last_mut().unwrap() ^= 1;
    let mut upstream = TcpStream::connect(server).await.unwrap();
    upstream.write_all(&request).await.unwrap();
    let _ = tokio::io::copy(&mut upstream, &mut client).await;
}

#[tokio::test]
async fn a_picture_that_is_damaged_on_its_way_is_not_kept() {
    let scene = scene(50_000).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = scene.azurite.address.to_string();
    let damage = tokio::spawn(damage_one(listener, server));
    let blob = open(&format!("http://{address}/{ACCOUNT}"), KEY, "uploads");
    let picture = bytes(50_000, 2);
    let reference = reference(&picture);
    let put = blob.put(&reference, &about("a.jpg"), picture).await;
    damage.abort();
    let failure = put.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unavailable);
    assert!(failure.message.contains("400 Md5Mismatch"), "{failure}");
    let kept = scene.azurite.read(&format!("uploads/{reference}")).await;
    assert_eq!(kept.status(), StatusCode::NOT_FOUND);
}
