//! HTTP/2 is spoken without TLS by those who know it (h2c with prior knowledge). What it allows to attackers is bounded.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::Others;
use crate::support::wire::{connect, converse, rest, statuses};
use crate::support::{App, Setup};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ENHANCE_YOUR_CALM: u32 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = &(payload.len() as u32).to_be_bytes()[1..];
    [length, &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block: method from HPACK's static table, the rest as literals.
fn block(method: u8, path: &str) -> Vec<u8> {
    let path = [&[0x04, path.len() as u8], path.as_bytes()].concat();
    [&[method, 0x86][..], &path, b"\x01\x04test"].concat()
}

const GET: u8 = 0x82;
const POST: u8 = 0x83;

fn hello(settings: &[u8]) -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, settings)].concat()
}

/// The frames in what the server has sent, as kind, stream and payload.
fn frames(mut bytes: &[u8]) -> Vec<(u8, u32, Vec<u8>)> {
    let mut all = Vec::new();
    while bytes.len() >= 9 {
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        let stream = u32::from_be_bytes(bytes[5..9].try_into().unwrap());
        if bytes.len() < 9 + length {
            break;
        }
        all.push((bytes[3], stream, bytes[9..9 + length].to_vec()));
        bytes = &bytes[9 + length..];
    }
    all
}

/// The code of the last GOAWAY.
fn goodbye(bytes: &[u8]) -> Option<u32> {
    let all = frames(bytes);
    let (_, _, payload) = all.iter().rfind(|(kind, _, _)| *kind == GOAWAY)?;
    Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()))
}

/// Sends `first`, then `pieces` for as long as the server takes them; what it said, and how long it took.
fn flood(
    address: &str,
    first: Vec<u8>,
    mut piece: impl FnMut(u32) -> Vec<u8> + Send + 'static,
) -> (Vec<u8>, Duration) {
    let mut stream = connect(address);
    let begun = Instant::now();
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        writer
            .set_write_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        writer.write_all(&first).unwrap();
        for n in 0..200_000 {
            if writer.write_all(&piece(n)).is_err() {
                return;
            }
        }
    });
    let said = rest(&mut stream);
    drop(stream);
    writing.join().unwrap();
    (said, begun.elapsed())
}

fn request(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(GET, path))
}

fn read_until_answered(stream: &mut TcpStream, answers: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let found = frames(&all)
            .iter()
            .filter(|(kind, _, _)| *kind == HEADERS)
            .count();
        if found >= answers {
            return all;
        }
        let length = std::io::Read::read(stream, &mut chunk).unwrap();
        assert!(length > 0, "closed after {found} answers");
        all.extend_from_slice(&chunk[..length]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_spoken() {
    let app = Setup::new().set("IDLE_TIMEOUT_MS", "500").start().await;
    let mut stream = connect(app.address());
    stream.write_all(&hello(&[])).unwrap();
    stream
        .write_all(&[request(1, "/health"), request(3, "/models")].concat())
        .unwrap();
    let answers = read_until_answered(&mut stream, 2);
    let heads = frames(&answers)
        .into_iter()
        .filter(|(kind, _, _)| *kind == HEADERS);
    for (_, _, block) in heads {
        assert_eq!(block[0], 0x88, "a head that begins with :status 200");
    }
    // Idle, it is closed as politely as it was opened.
    let begun = Instant::now();
    assert_eq!(goodbye(&rest(&mut stream)), Some(0));
    assert!(
        (400..4_000).contains(&begun.elapsed().as_millis()),
        "{:?}",
        begun.elapsed()
    );
    // Nobody is switched over to it from HTTP/1.
    let upgrade = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
        HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    assert_eq!(statuses(&converse(app.address(), upgrade)), [200]);
    // What only looks like it is refused.
    let other = b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n";
    assert_eq!(statuses(&converse(app.address(), other)), [400]);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_reset_at_once_end_the_connection() {
    let app = App::start().await;
    let others = Others::of(&app);
    let address = app.address().to_owned();
    let (said, took) = tokio::task::spawn_blocking(move || {
        flood(&address, hello(&[]), |n| {
            let stream = 2 * n + 1;
            [
                request(stream, "/models"),
                frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()),
            ]
            .concat()
        })
    })
    .await
    .unwrap();
    assert_eq!(goodbye(&said), Some(ENHANCE_YOUR_CALM));
    assert!(took < Duration::from_secs(10), "{took:?}");
    others.were_answered().await;
}

/// Frames that each want an answer or memory, and never stop coming.
#[tokio::test(flavor = "multi_thread")]
async fn floods_of_frames_are_survived() {
    let app = Setup::new()
        .set("HEAD_TIMEOUT_MS", "1500")
        .set("REQUEST_TIMEOUT_MS", "1500")
        .set("IDLE_TIMEOUT_MS", "1500")
        .start()
        .await;
    let before = app.resident_kib();
    let others = Others::of(&app);
    let open = frame(HEADERS, 0, 1, &block(GET, "/health"));
    let post = frame(HEADERS, END_HEADERS, 1, &block(POST, "/predict"));
    let setting = [&4u16.to_be_bytes()[..], &100_000u32.to_be_bytes()].concat();
    let header = [&b"\x00\x01a\x7f\xe9\x06"[..], &[b'x'; 1_000]].concat();
    let calm = Some(ENHANCE_YOUR_CALM);
    let kinds = [
        (
            "settings",
            hello(&[]),
            frame(SETTINGS, 0, 0, &setting),
            None,
        ),
        ("pings", hello(&[]), frame(PING, 0, 0, &[7; 8]), None),
        (
            "empty continuations",
            [hello(&[]), open.clone()].concat(),
            frame(CONTINUATION, 0, 1, &[]),
            calm,
        ),
        (
            "continuations",
            [hello(&[]), open].concat(),
            frame(CONTINUATION, 0, 1, &header),
            calm,
        ),
        (
            "empty data",
            [hello(&[]), post].concat(),
            frame(DATA, 0, 1, &[]),
            calm,
        ),
    ];
    for (name, first, piece, code) in kinds {
        let address = app.address().to_owned();
        let (said, took) =
            tokio::task::spawn_blocking(move || flood(&address, first, move |_| piece.clone()))
                .await
                .unwrap();
        // Without a request, a connection that only sends settings or pings has run out of time.
        assert_eq!(goodbye(&said), code, "{name}");
        assert!(took < Duration::from_secs(15), "{name}: {took:?}");
    }
    others.were_answered().await;
    let grown = app.resident_kib().saturating_sub(before);
    assert!(grown < 65_536, "{grown} KiB");
}

/// A window of nothing: the answer can never be sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_window_does_not_hold_an_answer_for_ever() {
    let app = Setup::new()
        .set("IDLE_TIMEOUT_MS", "500")
        .set("REQUEST_TIMEOUT_MS", "500")
        .start()
        .await;
    let no_window = [&4u16.to_be_bytes()[..], &0u32.to_be_bytes()].concat();
    let mut stream = connect(app.address());
    stream.write_all(&hello(&no_window)).unwrap();
    let requests: Vec<u8> = (0..50)
        .flat_map(|n| request(2 * n + 1, "/openapi.json"))
        .collect();
    stream.write_all(&requests).unwrap();
    let begun = Instant::now();
    rest(&mut stream);
    assert!(
        (800..8_000).contains(&begun.elapsed().as_millis()),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(app.metric("relance_http_requests_in_flight").await, 0);
}

/// More than the streams that are allowed are refused one by one, and the others answered.
#[tokio::test(flavor = "multi_thread")]
async fn streams_are_counted() {
    let app = App::start().await;
    let mut stream = connect(app.address());
    stream.write_all(&hello(&[])).unwrap();
    let mut first = vec![0; 9];
    std::io::Read::read_exact(&mut stream, &mut first).unwrap();
    let length = u32::from_be_bytes([0, first[0], first[1], first[2]]) as usize;
    let mut settings = vec![0; length];
    std::io::Read::read_exact(&mut stream, &mut settings).unwrap();
    let told = settings.chunks(6).map(|one| {
        let id = u16::from_be_bytes([one[0], one[1]]);
        (id, u32::from_be_bytes(one[2..6].try_into().unwrap()))
    });
    let told: Vec<_> = told.collect();
    assert!(told.contains(&(3, 100)), "at most 100 streams: {told:?}");
    assert!(
        told.contains(&(6, 16_384)),
        "heads of at most 16 KiB: {told:?}"
    );
}
