//! More connections than anybody needs.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use super::Others;
use crate::support::wire::{connect, rest, statuses};
use crate::support::{App, Setup, eventually};

const MANY: usize = 10_000;

fn open_files(app: &App) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", app.pid()))
        .unwrap()
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connections_that_do_nothing() {
    let may = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    assert!(
        may > MANY as u64 + 500,
        "this test needs {MANY} open files and may have {may}: raise ulimit -Hn"
    );
    let app = Setup::new().set("HEAD_TIMEOUT_MS", "120000").start().await;
    let before = app.resident_kib();
    let others = Others::of(&app);
    let address = app.address().to_owned();
    let idle = tokio::task::spawn_blocking(move || {
        (0..MANY)
            .map(|_| TcpStream::connect(&address).unwrap())
            .collect::<Vec<_>>()
    });
    let idle = idle.await.unwrap();
    eventually("all are accepted", async || {
        app.metric("relance_connections").await >= MANY as u64
    })
    .await;
    let grown = app.resident_kib().saturating_sub(before) / 1024;
    println!("{grown} MiB more with {MANY} connections");
    tokio::time::sleep(Duration::from_secs(1)).await;
    others.were_answered().await;
    assert!(grown < 160, "{grown} MiB");
    drop(idle);
    eventually("all are gone", async || open_files(&app) < 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_so() {
    let app = Setup::new()
        .set("MAX_CONNECTIONS", "20")
        .set("HEAD_TIMEOUT_MS", "60000")
        .start()
        .await;
    let mut held: Vec<_> = (0..20).map(|_| connect(app.address())).collect();
    for _ in 0..3 {
        let mut refused = connect(app.address());
        // Sent or not, a request is answered.
        refused
            .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let answer = rest(&mut refused);
        assert_eq!(statuses(&answer), [503]);
        let text = String::from_utf8(answer).unwrap();
        for part in [
            "Retry-After: 1\r\n",
            "Connection: close\r\n",
            "application/problem+json",
            "urn:relance:problem:busy",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
    // The connections that were there first are served.
    held[7]
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let metrics = String::from_utf8(rest(&mut held[7])).unwrap();
    assert!(metrics.contains("\nrelance_connections 20\n"), "{metrics}");
    assert!(
        metrics.contains("\nrelance_connections_refused_total 3\n"),
        "{metrics}"
    );
    drop(held);
    eventually("others are let in again", async || {
        app.get("/health")
            .send()
            .await
            .is_ok_and(|answer| answer.status() == 200)
    })
    .await;
}

/// Where the system lets it open few files, it accepts fewer connections and says so.
#[tokio::test(flavor = "multi_thread")]
async fn few_files_mean_few_connections() {
    let app = Setup::new()
        .inside(&["sh", "-c", "ulimit -n 400; exec \"$@\"", "sh"])
        .start()
        .await;
    assert!(
        app.log().contains("at most 144 connections are accepted"),
        "{}",
        app.log()
    );
    let _held: Vec<_> = (0..144).map(|_| connect(app.address())).collect();
    let mut refused = connect(app.address());
    assert_eq!(statuses(&rest(&mut refused)), [503]);
}
