//! Bodies in binary form, compressed, broken and too large.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use reqwest::RequestBuilder;
use serde_json::json;

use super::{MODEL, answered, base64, infer, input, numbers, predicted, refused};
use crate::support::{App, Setup, picture};

const HEADER: &str = "Inference-Header-Content-Length";

/// JSON with one input of `size` bytes, and the binary data behind it.
fn binary(app: &App, size: usize, data: &[u8]) -> (RequestBuilder, usize) {
    let json = json!({"inputs": [{"name": "images", "datatype": "BYTES", "shape": [1],
        "parameters": {"binary_data_size": size}}]})
    .to_string();
    let length = json.len();
    (infer(app, [json.as_bytes(), data].concat()), length)
}

fn element(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    [&length, bytes].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn binary_data_follow_the_json() {
    let app = App::start().await;
    let bytes = picture("jpeg-420.jpg");
    let data = element(&bytes);
    let expected = predicted(&app, bytes).await;
    let (request, length) = binary(&app, data.len(), &data);
    let answer = answered(request.header(HEADER, length)).await;
    assert_eq!(numbers(&answer["outputs"][0]["data"]), expected);

    let wrong = |size: usize, data: &[u8], header: &str| {
        let (request, length) = binary(&app, size, data);
        request.header(HEADER, header.replace("LENGTH", &length.to_string()))
    };
    let size = data.len();
    let with_more = [&data[..], b"more"].concat();
    for (request, words) in [
        (wrong(size, &data, "-1"), "not a number"),
        (wrong(size, &data, "9999999"), "the body has only"),
        (wrong(size, &data, "3"), "not an inference request as JSON"),
        (
            binary(&app, size, &data).0,
            "not an inference request as JSON",
        ),
        (wrong(size + 1, &data, "LENGTH"), "not a length within"),
        (wrong(size - 1, &data, "LENGTH"), "belong to no input"),
        (
            wrong(size, &with_more, "LENGTH"),
            "4 bytes of binary data belong to no input",
        ),
        (
            wrong(size - 1, &data[..size - 1], "LENGTH"),
            "broken at byte 0",
        ),
        (
            wrong(with_more.len(), &with_more, "LENGTH"),
            "there is more than that",
        ),
        (wrong(0, &[], "LENGTH"), "has 0 elements"),
    ] {
        let error = refused(request, 400).await;
        assert!(error.contains(words), "{words}: {error}");
    }
    let both = json!({"inputs": [{"name": "images", "datatype": "BYTES", "shape": [1], "data": ["AA=="],
        "parameters": {"binary_data_size": 0}}]});
    let error = refused(infer(&app, both.to_string()), 400).await;
    assert!(
        error.contains("both `data` and `binary_data_size`"),
        "{error}"
    );
}

#[tokio::test]
async fn compressed_bodies_are_read_as_far_as_is_allowed() {
    let setup = Setup::new()
        .set("MAX_UPLOAD_BYTES", "100000")
        .set("MAX_BATCH_PICTURES", "2");
    let app = setup.set("MAX_INFLIGHT_BYTES", "4000000").start().await;
    let bytes = picture("jpeg-420.jpg");
    let request = input("BYTES", &[1], json!([base64(&bytes)])).to_string();
    let expected = predicted(&app, bytes).await;
    let encoded =
        |encoding: &str, body: Vec<u8>| infer(&app, body).header("content-encoding", encoding);
    for (encoding, body) in [
        ("gzip", gzip(request.as_bytes())),
        ("deflate", deflate(request.as_bytes())),
        ("identity", request.clone().into_bytes()),
    ] {
        let answer = answered(encoded(encoding, body)).await;
        assert_eq!(
            numbers(&answer["outputs"][0]["data"]),
            expected,
            "{encoding}"
        );
    }
    let mut cut = gzip(request.as_bytes());
    cut.truncate(cut.len() / 2);
    for body in [cut, b"not compressed".to_vec()] {
        let error = refused(encoded("gzip", body), 400).await;
        assert!(error.contains("cannot be decompressed"), "{error}");
    }
    let error = refused(encoded("br", request.into_bytes()), 415).await;
    assert!(error.contains("accepted are gzip and deflate"), "{error}");
    // 64 MB in 64 KB.
    for (encoding, bomb) in [
        ("gzip", gzip(&vec![b' '; 64 << 20])),
        ("deflate", deflate(&vec![b' '; 64 << 20])),
    ] {
        assert!(bomb.len() < 100_000, "{}", bomb.len());
        let error = refused(encoded(encoding, bomb), 413).await;
        assert!(
            error.contains("the decompressed body is larger than"),
            "{error}"
        );
    }
    let error = refused(infer(&app, vec![b' '; 2_000_000]), 413).await;
    assert!(error.contains("larger than"), "{error}");
}

#[tokio::test]
async fn what_is_no_request_is_told_so() {
    let app = App::start().await;
    let text = base64(&picture("jpeg-1x1.jpg"));
    let deep = input("BYTES", &[1], json!("DATA")).to_string();
    let deep = deep.replace("\"DATA\"", &"[".repeat(100_000));
    for (body, words) in [
        (String::new(), "the request body is empty"),
        ("{".into(), "not an inference request as JSON"),
        ("[]".into(), "not an inference request as JSON"),
        ("{}".into(), "missing field `inputs`"),
        (json!({"inputs": []}).to_string(), "has 0 inputs"),
        (
            input("BYTES", &[1], json!(["no picture"])).to_string(),
            "neither base64 nor a picture",
        ),
        (
            input("BYTES", &[1], json!([0.5])).to_string(),
            "takes strings",
        ),
        (
            input("BYTES", &[2], json!([text])).to_string(),
            "has 1 elements; its shape announces 2",
        ),
        (
            input("BYTES", &[1], json!([text, 1])).to_string(),
            "mixes strings and numbers",
        ),
        (input("BYTES", &[1], json!([])).to_string(), "has no data"),
        (
            input("BYTES", &[0], json!([text])).to_string(),
            "N from 1 to 64",
        ),
        (
            input("BYTES", &[65], json!([text])).to_string(),
            "N from 1 to 64",
        ),
        (
            input("BYTES", &[i64::MAX], json!([text])).to_string(),
            "N from 1 to 64",
        ),
        (
            input("BYTES", &[], json!([text])).to_string(),
            "[N] or [N, 1]",
        ),
        (
            input("FP32", &[1, 3, 64, 64], json!([text])).to_string(),
            "takes numbers",
        ),
        (
            input("FP32", &[1, 3, 64, 64], json!([0.5])).to_string(),
            "has 1 elements; its shape announces 12288",
        ),
        (
            input("FP32", &[1, 1, 64, 64], json!([0.5])).to_string(),
            "[N, 3, 64, 64]",
        ),
        (
            input("UINT8", &[1], json!([1])).to_string(),
            "accepted are BYTES",
        ),
        (deep, "recursion limit"),
    ] {
        let error = refused(infer(&app, body.clone()), 400).await;
        assert!(
            error.contains(words),
            "{}: {error}",
            &body[..body.len().min(200)]
        );
    }
    let both = ["first", "second"]
        .map(|name| json!({"name": name, "datatype": "BYTES", "shape": [1], "data": [text]}));
    let error = refused(infer(&app, json!({"inputs": both}).to_string()), 400).await;
    assert!(error.contains("2 inputs"), "{error}");
    let path = format!("{MODEL}/versions/1/infer");
    let error = refused(
        app.post(&path)
            .body(input("BYTES", &[1], json!([text])).to_string()),
        404,
    )
    .await;
    assert!(
        error.contains("there is no model") && error.contains("@1"),
        "{error}"
    );
}
