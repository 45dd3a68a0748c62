//! Requests that two servers in a row could read differently. Whatever hides in one is never answered.

use super::Others;
use crate::support::nginx::Nginx;
use crate::support::wire::{converse, statuses};
use crate::support::{App, Setup};

/// The request that is hidden; its path is not there, so an answer would be a 404.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";

/// A form, what it is answered directly, and through nginx. Nothing else may be answered, and the connection must end.
struct Case {
    name: &'static str,
    bytes: String,
    direct: &'static [u16],
    proxied: &'static [u16],
}

fn post(headers: &str, body: &str) -> String {
    format!("POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n{headers}\r\n{body}")
}

fn case(
    name: &'static str,
    bytes: String,
    direct: &'static [u16],
    proxied: &'static [u16],
) -> Case {
    Case {
        name,
        bytes,
        direct,
        proxied,
    }
}

fn cases() -> Vec<Case> {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let empty = format!("0\r\n\r\n{HIDDEN}");
    let five = format!("5\r\nabcde\r\n0\r\n\r\n{HIDDEN}");
    let last = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    vec![
        // Chunks win, and the connection is not used again (RFC 9112, 6.3).
        case(
            "length, then chunks",
            post(&format!("Content-Length: 6\r\n{chunked}"), &empty),
            &[400],
            &[400],
        ),
        case(
            "chunks, then length",
            post(&format!("{chunked}Content-Length: 6\r\n"), &empty),
            &[400],
            &[400],
        ),
        case(
            "two lengths",
            post(
                "Content-Length: 5\r\nContent-Length: 50\r\n",
                &format!("abcde{HIDDEN}"),
            ),
            &[400],
            &[400],
        ),
        case(
            "one length twice",
            post(
                "Content-Length: 5\r\nContent-Length: 5\r\n",
                &format!("abcde{last}"),
            ),
            &[415, 200],
            &[400],
        ),
        case(
            "a list of lengths",
            post("Content-Length: 5, 5\r\n", &format!("abcde{HIDDEN}")),
            &[400],
            &[400],
        ),
        case(
            "a length with a sign",
            post("Content-Length: +5\r\n", &format!("abcde{HIDDEN}")),
            &[400],
            &[400],
        ),
        case(
            "a negative length",
            post("Content-Length: -1\r\n", HIDDEN),
            &[400],
            &[400],
        ),
        case(
            "a hexadecimal length",
            post("Content-Length: 0x5\r\n", &format!("abcde{HIDDEN}")),
            &[400],
            &[400],
        ),
        case(
            "an empty length",
            post("Content-Length:\r\n", HIDDEN),
            &[400],
            &[400],
        ),
        case(
            "a length beyond all bounds",
            post("Content-Length: 99999999999999999999\r\n", HIDDEN),
            &[400],
            &[400],
        ),
        case(
            "an unknown encoding",
            post("Transfer-Encoding: xchunked\r\n", &five),
            &[400],
            &[501],
        ),
        case(
            "chunks are not last",
            post("Transfer-Encoding: chunked, identity\r\n", &five),
            &[400],
            &[501],
        ),
        case(
            "chunks twice",
            post(&format!("{chunked}Transfer-Encoding: identity\r\n"), &five),
            &[400],
            &[400],
        ),
        case(
            "a folded line",
            post("Transfer-Encoding:\r\n chunked\r\n", &five),
            &[400],
            &[400],
        ),
        case(
            "a folded line of another header",
            post(&format!("X-A: b\r\n c\r\n{chunked}"), &five),
            &[400],
            &[400],
        ),
        case(
            "a space before the colon",
            post("Transfer-Encoding : chunked\r\n", &five),
            &[400],
            &[400],
        ),
        case(
            "a line that ends in CR",
            post("X-A: b\rTransfer-Encoding: chunked\r\n", HIDDEN),
            &[400],
            &[400],
        ),
        case(
            "a chunk that ends in LF",
            post(chunked, &format!("5\nabcde\n0\n\n{last}")),
            &[400],
            &[415, 200],
        ),
        case(
            "a chunk length with a prefix",
            post(chunked, &format!("0x5\r\nabcde\r\n0\r\n\r\n{HIDDEN}")),
            &[400],
            &[400],
        ),
        case(
            "a chunk length beyond all bounds",
            post(chunked, &format!("fffffffffffffffff\r\nabcde\r\n{HIDDEN}")),
            &[400],
            &[400],
        ),
        case(
            "a chunk extension over two lines",
            post(chunked, &format!("5;a\nb\r\nabcde\r\n0\r\n\r\n{HIDDEN}")),
            &[400],
            &[400],
        ),
        case(
            "a chunk longer than it says",
            post(chunked, &format!("3\r\nabcde\r\n0\r\n\r\n{HIDDEN}")),
            &[400],
            &[400],
        ),
        case(
            "chunks in HTTP/1.0",
            post(chunked, &five).replace(
                "HTTP/1.1\r\nHost: x\r\nContent",
                "HTTP/1.0\r\nHost: x\r\nContent",
            ),
            &[400],
            &[400],
        ),
        // Lines may end in LF alone (RFC 9112, 2.2); a request read so ends where everybody sees its end.
        case(
            "lines that end in LF",
            last.replace("\r\n", "\n"),
            &[200],
            &[200],
        ),
        case(
            "a body where none is expected",
            format!(
                "GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{HIDDEN}",
                HIDDEN.len()
            ),
            &[200],
            &[200],
        ),
    ]
}

async fn try_all(app: &App, address: &str, expected: impl Fn(&Case) -> &'static [u16]) {
    let mut wrong = Vec::new();
    for case in cases() {
        let (address, bytes) = (address.to_owned(), case.bytes.clone());
        let answer = tokio::task::spawn_blocking(move || converse(&address, bytes.as_bytes()));
        let told = statuses(&answer.await.unwrap());
        if told != expected(&case) {
            wrong.push(format!(
                "{}: {told:?} and not {:?}",
                case.name,
                expected(&case)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let hidden = "relance_http_requests_total{method=\"GET\",route=\"other\",status=\"404\"}";
    assert_eq!(app.metric(hidden).await, 0, "a hidden request was answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_requests_are_not_answered() {
    let app = Setup::new()
        .set("HEAD_TIMEOUT_MS", "2000")
        .set("IDLE_TIMEOUT_MS", "2000")
        .start()
        .await;
    let others = Others::of(&app);
    try_all(&app, app.address(), |case| case.direct).await;
    others.were_answered().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_requests_are_not_answered_through_nginx() {
    let app = App::start().await;
    let nginx = Nginx::before(&app);
    let others = Others::of(&app);
    try_all(&app, &nginx.address, |case| case.proxied).await;
    others.were_answered().await;
}
