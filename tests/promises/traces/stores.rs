//! Calls to the stores carry the trace that makes them.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::{Arc, Mutex};

use super::{TRACE, called_by, collected, setup};
use crate::support::sink::Sink;
use crate::support::{eventually, picture};

/// Methods of requests, and their `traceparent`.
type Calls = Arc<Mutex<Vec<(String, String)>>>;

/// Answers every request, and keeps the `traceparent` of each by its method.
fn store() -> (String, Calls) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/account", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let (mut reader, keep) = (BufReader::new(connection.unwrap()), Arc::clone(&keep));
            std::thread::spawn(move || {
                let (mut head, mut length, mut trace) = (String::new(), 0, String::new());
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap_or(0) == 0 {
                        return;
                    }
                    if line == "\r\n" {
                        let mut body = vec![0; std::mem::take(&mut length)];
                        reader.read_exact(&mut body).unwrap();
                        let method = head.split(' ').next().unwrap().to_owned();
                        let status = if method == "PUT" { 201 } else { 404 };
                        keep.lock()
                            .unwrap()
                            .push((method, std::mem::take(&mut trace)));
                        head.clear();
                        let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
                        reader.get_mut().write_all(answer.as_bytes()).unwrap();
                        continue;
                    }
                    if head.is_empty() {
                        head.clone_from(&line);
                    }
                    let (name, value) = line.split_once(": ").unwrap_or_default();
                    match name.to_ascii_lowercase().as_str() {
                        "content-length" => length = value.trim().parse().unwrap(),
                        "traceparent" => value.trim().clone_into(&mut trace),
                        _ => {}
                    }
                }
            });
        }
    });
    (endpoint, seen)
}

#[tokio::test]
async fn calls_to_a_store_are_part_of_what_makes_them() {
    let sink = Sink::http("");
    let (endpoint, seen) = store();
    let app = setup(&format!("http://{}", sink.address))
        .set("TRACE_SAMPLE_RATIO", "1")
        .set("AZURE_STORAGE_BLOB_ENDPOINT", &endpoint)
        .set("AZURE_STORAGE_KEY", "c2VjcmV0")
        .start()
        .await;
    let answer = app.predict(picture("png-1x1.png")).await;
    let calls = |method: &str| -> Vec<String> {
        let seen = seen.lock().unwrap();
        let of = seen.iter().filter(|(name, _)| name == method);
        of.map(|(_, trace)| trace.clone()).collect()
    };
    eventually(
        "the picture is sent within a span called ship",
        async || {
            let ships = collected(&sink)
                .into_iter()
                .filter(|(span, _)| span.name == "ship");
            let ships: Vec<String> = ships
                .map(|(span, _)| {
                    format!(
                        "00-{}-{}-01",
                        hex::encode(&span.trace_id),
                        hex::encode(&span.span_id)
                    )
                })
                .collect();
            calls("PUT").iter().any(|call| ships.contains(call))
        },
    )
    .await;

    let path = format!("/requests/{}/image", answer["request_id"].as_str().unwrap());
    eventually(
        "the picture is asked for in the caller's trace",
        async || {
            let asked = called_by(app.get(&path), TRACE, "01").send().await.unwrap();
            drop(asked);
            calls("GET").iter().any(|call| call.contains(TRACE))
        },
    )
    .await;
}
