//! Heads that are too large, and heads that are none.

use std::io::Write;

use super::Others;
use crate::support::App;
use crate::support::wire::{connect, converse, rest, statuses};

fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large_are_refused() {
    let app = App::start().await;
    let others = Others::of(&app);
    let of = |n: usize| "X-A: b\r\n".repeat(n);
    let long = |n: usize| format!("X-A: {}\r\n", "a".repeat(n));
    for (what, bytes, status) in [
        ("many headers", get("/health", &of(90)), 200),
        ("too many headers", get("/health", &of(101)), 431),
        ("a hundred thousand", get("/health", &of(100_000)), 431),
        ("a long header", get("/health", &long(60_000)), 200),
        (
            "a header that is too long",
            get("/health", &long(70_000)),
            431,
        ),
        ("a header of 10 MB", get("/health", &long(10_000_000)), 431),
        (
            "a long path",
            get(&format!("/{}", "a".repeat(60_000)), ""),
            404,
        ),
        (
            "a path that is too long",
            get(&format!("/{}", "a".repeat(70_000)), ""),
            431,
        ),
        (
            "a long method",
            [&vec![b'A'; 70_000][..], b" / HTTP/1.1\r\n\r\n"].concat(),
            431,
        ),
    ] {
        assert_eq!(
            statuses(&converse(app.address(), &bytes)),
            [status],
            "{what}"
        );
    }
    others.were_answered().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused() {
    let app = App::start().await;
    for (bytes, told) in [
        (
            &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
            &[400][..],
        ), // TLS
        (
            b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            &[400],
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", &[400]),
        (b"GET /health\r\n\r\n", &[400]), // HTTP/0.9
        (b"GET /health HTTP/3.0\r\n\r\n", &[400]),
        (b"GET /health HTTP/1.1 x\r\nHost: x\r\n\r\n", &[400]),
        (b"GET  /health HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nX\0: a\r\n\r\n", &[400]),
        (
            b"GET /health HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
            &[400],
        ),
        (b"GET /health HTTP/1.1\r\nno colon\r\n\r\n", &[400]),
    ] {
        let answer = converse(app.address(), bytes);
        assert_eq!(
            statuses(&answer),
            told,
            "{:?}",
            String::from_utf8_lossy(bytes)
        );
    }
    // Nothing at all is no request either.
    let mut silent = connect(app.address());
    silent.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(rest(&mut silent).is_empty());
    let mut usual = connect(app.address());
    usual.write_all(&get("/health", "")).unwrap();
    assert_eq!(statuses(&rest(&mut usual)), [200]);
}
