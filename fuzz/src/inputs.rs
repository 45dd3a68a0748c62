//! From the bytes that the fuzzer chooses to what a client would send.
//!
//! The tests of the product replay the seeds through the same functions.

/// A request to classify.
pub struct Request {
    /// Where it goes.
    pub path: &'static str,
    /// Its headers, the content type among them.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// Where the model of the tests is asked for an inference.
const INFER: &str = "/v2/models/yolov8n-cls-nc10-64/infer";

/// A form whose parts are separated by `--x`. The first byte chooses between one picture and several.
pub fn multipart(data: &[u8]) -> Option<Request> {
    let (first, body) = data.split_first()?;
    let path = if first % 2 == 0 {
        "/predict"
    } else {
        "/predict/batch"
    };
    Some(Request {
        path,
        headers: vec![("content-type", "multipart/form-data; boundary=x".into())],
        body: body.to_vec(),
    })
}

/// An inference request in JSON.
pub fn inference_json(data: &[u8]) -> Request {
    Request {
        path: INFER,
        headers: vec![("content-type", "application/json".into())],
        body: data.to_vec(),
    }
}

/// An inference request with binary tensors: JSON, then a line feed, then the tensors. Two bytes before it are added
/// to the length of the JSON that the header tells, and say how the body is compressed.
pub fn inference_binary(data: &[u8]) -> Option<Request> {
    let [wrong, compression, body @ ..] = data else {
        return None;
    };
    let json = body
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(body.len());
    let length = (json as i64 + i64::from(*wrong as i8)).to_string();
    let mut headers = vec![("inference-header-content-length", length)];
    match compression % 4 {
        1 => headers.push(("content-encoding", "gzip".into())),
        2 => headers.push(("content-encoding", "deflate".into())),
        _ => {}
    }
    let mut body = body.to_vec();
    if json < body.len() {
        body.remove(json);
    }
    Some(Request {
        path: INFER,
        headers,
        body,
    })
}

/// An inference request of gRPC: one message, not compressed.
pub fn inference_grpc(data: &[u8]) -> Request {
    let mut body = vec![0];
    body.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
    body.extend_from_slice(data);
    Request {
        path: "/inference.GRPCInferenceService/ModelInfer",
        headers: vec![
            ("content-type", "application/grpc".into()),
            ("te", "trailers".into()),
        ],
        body,
    }
}

/// A model file with other metadata: `model` must have none, and `data` is `key=value` lines.
pub fn model_with_metadata(model: &[u8], data: &[u8]) -> Vec<u8> {
    let mut file = model.to_vec();
    for line in data.split(|byte| *byte == b'\n') {
        let at = line
            .iter()
            .position(|byte| *byte == b'=')
            .unwrap_or(line.len());
        let (key, value) = (&line[..at], line.get(at + 1..).unwrap_or_default());
        let mut entry = Vec::new();
        field(&mut entry, 1, key);
        field(&mut entry, 2, value);
        field(&mut file, METADATA_PROPS, &entry);
    }
    file
}

/// Number of `ModelProto.metadata_props` in onnx.proto.
const METADATA_PROPS: u64 = 14;

// A field of a protobuf message that holds bytes.
fn field(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    varint(out, number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
