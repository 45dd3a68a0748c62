//! Requests that come slowly, and answers that nobody takes.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::Others;
use crate::support::wire::{connect, rest, statuses, time_until_closed};
use crate::support::{App, Setup, picture};

const CLIENTS: usize = 100;

/// Sends `start`, then `drip` every 50 ms until the server has closed the connection; how long that took.
fn drip(address: &str, start: &[u8], drip: &[u8]) -> Duration {
    let mut stream = connect(address);
    let begun = Instant::now();
    stream.write_all(start).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let mut chunk = [0; 4096];
    loop {
        match std::io::Read::read(&mut stream, &mut chunk) {
            Ok(0) => return begun.elapsed(),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return begun.elapsed(),
        }
        if stream.write_all(drip).is_err() {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "still open");
    }
}

/// Many clients that do the same; how long each was borne.
async fn borne(
    app: &App,
    client: impl Fn(&str) -> Duration + Clone + Send + 'static,
) -> Vec<Duration> {
    let clients = (0..CLIENTS).map(|_| {
        let (address, client) = (app.address().to_owned(), client.clone());
        tokio::task::spawn_blocking(move || client(&address))
    });
    let clients: Vec<_> = clients.collect();
    let mut times = Vec::new();
    for client in clients {
        times.push(client.await.unwrap());
    }
    times
}

fn all_between(times: &[Duration], least: u64, most: u64) {
    let bounds = Duration::from_millis(least)..Duration::from_millis(most);
    let wrong = times.iter().find(|time| !bounds.contains(*time));
    assert!(wrong.is_none(), "{wrong:?} is not in {bounds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_drip_are_cut_off() {
    let app = Setup::new().set("HEAD_TIMEOUT_MS", "700").start().await;
    let others = Others::of(&app);
    let head = b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ";
    let once = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /health HT";
    for start in [
        &b""[..],
        b"G",
        head,
        once,
        b"PRI * HTTP/2.0\r\n\r\nS",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        // Each byte is another sign of life.
        let name = String::from_utf8_lossy(start).into_owned();
        let dripping = if start.starts_with(b"PRI") {
            &b""[..]
        } else {
            b"a"
        };
        let times = borne(&app, move |address| drip(address, start, dripping)).await;
        println!(
            "{name:?}: {:?} to {:?}",
            times.iter().min(),
            times.iter().max()
        );
        all_between(&times, 650, 5_000);
    }
    others.were_answered().await;
    assert!(
        app.metric("relance_connections_expired_total{late=\"head\"}")
            .await
            >= 500
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_drip_are_answered_408() {
    let app = Setup::new().set("REQUEST_TIMEOUT_MS", "700").start().await;
    let others = Others::of(&app);
    for length in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
        let head = format!(
            "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n{length}\r\n\r\n"
        );
        let piece: &[u8] = if length.starts_with('C') {
            b"a"
        } else {
            b"1\r\na\r\n"
        };
        let times = borne(&app, move |address| {
            let mut stream = connect(address);
            stream.write_all(head.as_bytes()).unwrap();
            let mut writer = stream.try_clone().unwrap();
            let begun = Instant::now();
            std::thread::spawn(move || {
                while writer.write_all(piece).is_ok() {
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
            let answer = rest(&mut stream);
            let _ = stream.shutdown(Shutdown::Both);
            assert_eq!(
                statuses(&answer),
                [408],
                "{}",
                String::from_utf8_lossy(&answer)
            );
            begun.elapsed()
        })
        .await;
        all_between(&times, 650, 5_000);
    }
    others.were_answered().await;
}

/// The time for a head begins with it, however long the connection has been open.
#[tokio::test(flavor = "multi_thread")]
async fn later_heads_have_no_more_time() {
    let app = Setup::new().set("HEAD_TIMEOUT_MS", "600").start().await;
    let times = borne(&app, |address| {
        let mut stream = connect(address);
        stream
            .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        std::thread::sleep(Duration::from_millis(1_000));
        let begun = Instant::now();
        stream.write_all(b"GET /health HTTP/1.1\r\n").unwrap();
        assert_eq!(statuses(&rest(&mut stream)), [200]);
        begun.elapsed()
    })
    .await;
    all_between(&times, 500, 4_000);
}

fn ask(app: &App, path: &str) -> TcpStream {
    let mut stream = connect(app.address());
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_requests_are_closed() {
    let app = Setup::new().set("IDLE_TIMEOUT_MS", "600").start().await;
    let times: Vec<_> = (0..20).map(|_| ask(&app, "/health")).collect();
    let times = times
        .into_iter()
        .map(|mut stream| time_until_closed(&mut stream));
    let longest = times.max().unwrap();
    assert!((500..3_000).contains(&longest.as_millis()), "{longest:?}");
    // One that goes on asking stays open.
    let mut busy = connect(app.address());
    for _ in 0..8 {
        busy.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(statuses(&rest(&mut busy)), [200; 8]);
}

/// Asks for a large picture again and again and never reads.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_takes_are_given_up() {
    let app = Setup::new()
        .set("IDLE_TIMEOUT_MS", "500")
        .set("REQUEST_TIMEOUT_MS", "500")
        .start()
        .await;
    let large = [&picture("jpeg-1x1.jpg")[..], &vec![7; 9_000_000]].concat();
    let answer = app.predict(large).await;
    let path = format!("/requests/{}/image", answer["request_id"].as_str().unwrap());
    let others = Others::of(&app);
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(20);
    let streams: Vec<_> = (0..10)
        .map(|_| {
            let mut stream = connect(app.address());
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    let stalled = "relance_connections_expired_total{late=\"answer\"}";
    let idle = "relance_connections_expired_total{late=\"request\"}";
    crate::support::eventually("all are given up", async || {
        app.metric(stalled).await + app.metric(idle).await >= 10
    })
    .await;
    drop(streams);
    others.were_answered().await;
}
