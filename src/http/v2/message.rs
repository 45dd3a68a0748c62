//! An inference request and its answer as HTTP carries them: JSON, with tensors in it or in binary form behind it.

use std::io::Read;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::elements::Elements;
use super::fault::Fault;
use crate::http::body::{Received, Share};
use crate::http::problem::{Kind, Problem};
use crate::oip::{
    Data, InferRequest, InferResponse, InputTensor, OutputData, OutputTensor, Parameter,
    Parameters, RequestedOutput,
};

/// Length of the JSON at the beginning of a message whose tensors follow in binary form.
const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// Bytes of JSON that are parsed where connections are served; more would keep others waiting.
const QUICK_JSON: usize = 64 * 1024;

/// A request for an inference.
#[derive(Deserialize, ToSchema)]
pub(in crate::http) struct InferenceRequest {
    /// The client's name for this request; the answer repeats it.
    id: Option<String>,
    /// The answer repeats them; `binary_data_output` asks for outputs in binary form.
    parameters: Option<Parameters>,
    /// The input of the model.
    inputs: Vec<InferenceInput>,
    /// Wanted outputs; all if there are none.
    outputs: Option<Vec<InferenceOutput>>,
}

/// An input.
#[derive(Deserialize, ToSchema)]
pub(in crate::http) struct InferenceInput {
    /// Name of the model's input.
    #[schema(example = "images")]
    name: String,
    /// `BYTES`: encoded pictures. `FP32`: pixels from 0 to 1, RGB, ready for the model.
    #[schema(example = "BYTES")]
    datatype: String,
    /// `[N]` or `[N, 1]` for `BYTES`, `[N, 3, height, width]` for `FP32`.
    #[schema(example = json!([1]))]
    shape: Vec<i64>,
    /// `binary_data_size`: bytes of this tensor behind the JSON.
    parameters: Option<Parameters>,
    /// Pictures in base64, or numbers.
    #[schema(value_type = Option<Vec<Object>>, example = json!(["/9j/4AAQSkZJRg…"]))]
    data: Option<Elements>,
}

/// A wanted output.
#[derive(Deserialize, ToSchema)]
pub(in crate::http) struct InferenceOutput {
    /// Name of the model's output.
    #[schema(example = "output0")]
    name: String,
    /// `classification`: the so many likeliest classes, as `score:index:label`. `binary_data`: in binary form.
    parameters: Option<Parameters>,
}

/// The answer.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct InferenceAnswer {
    /// Model.
    #[schema(example = "bottle")]
    model_name: String,
    /// Its version.
    #[schema(example = "3f1c9a7be042")]
    model_version: String,
    /// `id` of the request.
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
    /// Parameters of the request, and `request_ids`: the identifiers of the records, comma separated.
    parameters: Parameters,
    /// The outputs.
    outputs: Vec<OutputAnswer>,
}

/// An output.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct OutputAnswer {
    /// Name.
    #[schema(example = "output0")]
    name: String,
    /// `FP32`, or `BYTES` for classifications.
    #[schema(example = "FP32")]
    datatype: &'static str,
    /// Shape.
    #[schema(example = json!([1, 2]))]
    shape: Vec<i64>,
    /// `binary_data_size`: bytes of this tensor behind the JSON.
    #[serde(skip_serializing_if = "Parameters::is_empty")]
    parameters: Parameters,
    /// Scores, or `score:index:label`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    data: Option<Values>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Values {
    Floats(Vec<f32>),
    Texts(Vec<String>),
}

/// A request, and which of its outputs are to be binary.
pub(super) struct Message {
    pub request: InferRequest,
    pub form: Form,
}

/// Which outputs are to be in binary form.
pub(super) struct Form {
    all: bool,
    each: Vec<Option<bool>>,
}

/// Compressions of a request.
#[derive(Clone, Copy)]
enum Encoding {
    Gzip,
    Deflate,
}

/// Takes a request's body apart; `max` bounds it after decompression. Gives back the share that the body is charged to.
pub(super) async fn read(
    headers: &HeaderMap,
    received: Received,
    max: usize,
) -> Result<(Message, Share), Fault> {
    let encoding = encoding(headers)?;
    let length = header_length(headers)?;
    let Received { bytes, mut share } = received;
    if bytes.is_empty() {
        return Err(Fault::invalid(
            "the request body is empty; accepted is an inference request as JSON",
        ));
    }
    let quick = encoding.is_none() && length.unwrap_or(bytes.len()) <= QUICK_JSON;
    let work = move || {
        let body = match encoding {
            Some(encoding) => decompressed(&bytes, encoding, max, &mut share)?,
            None => bytes,
        };
        let length = length.unwrap_or(body.len());
        if length > QUICK_JSON {
            // Numbers take up to twice the memory of their text, which is held beside them for a while.
            share.grow_to(body.len() + 2 * length)?;
        }
        Ok((parse(body, length)?, share))
    };
    if quick {
        return work();
    }
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Problem::new(Kind::Internal, error.to_string()))?
}

fn encoding(headers: &HeaderMap) -> Result<Option<Encoding>, Fault> {
    let Some(value) = headers.get(header::CONTENT_ENCODING) else {
        return Ok(None);
    };
    match value.to_str().unwrap_or_default().trim() {
        "" | "identity" => Ok(None),
        "gzip" => Ok(Some(Encoding::Gzip)),
        "deflate" => Ok(Some(Encoding::Deflate)),
        other => Err(Fault::Told(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!(
                "the content encoding {other:?} is not supported; accepted are gzip and deflate"
            ),
        )),
    }
}

fn header_length(headers: &HeaderMap) -> Result<Option<usize>, Fault> {
    let Some(value) = headers.get(HEADER_LENGTH) else {
        return Ok(None);
    };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    length.map(Some).ok_or_else(|| {
        Fault::invalid("Inference-Header-Content-Length is not a number; accepted is the length of the JSON in bytes")
    })
}

/// Decompresses as much as `max` bytes; memory is charged before it is taken.
fn decompressed(
    bytes: &[u8],
    encoding: Encoding,
    max: usize,
    share: &mut Share,
) -> Result<Bytes, Fault> {
    let mut decoder: Box<dyn Read> = match encoding {
        Encoding::Gzip => Box::new(MultiGzDecoder::new(bytes)),
        Encoding::Deflate => Box::new(ZlibDecoder::new(bytes)),
    };
    let mut body = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        let count = decoder.read(&mut piece).map_err(|error| {
            Fault::invalid(format!("the request body cannot be decompressed ({error})"))
        })?;
        if count == 0 {
            return Ok(body.into());
        }
        if body.len() + count > max {
            let detail =
                format!("the decompressed body is larger than the {max} bytes that are accepted");
            return Err(Problem::new(Kind::TooLarge, detail).into());
        }
        share.grow_to(bytes.len() + body.len() + count)?;
        body.extend_from_slice(&piece[..count]);
    }
}

fn parse(mut body: Bytes, length: usize) -> Result<Message, Fault> {
    if length > body.len() {
        let found = body.len();
        return Err(Fault::invalid(format!(
            "Inference-Header-Content-Length is {length}, and the body has only {found} bytes"
        )));
    }
    let mut binary = body.split_off(length);
    let request: InferenceRequest = serde_json::from_slice(&body).map_err(|error| {
        Fault::invalid(format!(
            "the body is not an inference request as JSON ({error})"
        ))
    })?;
    let mut parameters = request.parameters.unwrap_or_default();
    let all = flag(parameters.remove("binary_data_output"));
    let mut inputs = Vec::with_capacity(request.inputs.len());
    for input in request.inputs {
        inputs.push(input.take(&mut binary)?);
    }
    if !binary.is_empty() {
        return Err(Fault::invalid(format!(
            "{} bytes of binary data belong to no input; each must have its `binary_data_size`",
            binary.len()
        )));
    }
    let (mut outputs, mut each) = (Vec::new(), Vec::new());
    for output in request.outputs.unwrap_or_default() {
        let mut parameters = output.parameters.unwrap_or_default();
        let binary = parameters.remove("binary_data");
        each.push(binary.map(|binary| flag(Some(binary))));
        outputs.push(RequestedOutput::new(output.name, &parameters)?);
    }
    Ok(Message {
        request: InferRequest {
            model: String::new(),
            version: String::new(),
            id: request.id.unwrap_or_default(),
            parameters,
            inputs,
            outputs,
        },
        form: Form { all, each },
    })
}

fn flag(value: Option<Parameter>) -> bool {
    value == Some(Parameter::Bool(true))
}

impl InferenceInput {
    /// The tensor, whose binary form is at the beginning of `binary` if it has one.
    fn take(self, binary: &mut Bytes) -> Result<InputTensor, Fault> {
        let name = self.name;
        let parameters = self.parameters.unwrap_or_default();
        crate::oip::refuse_shared_memory("input", &name, &parameters)?;
        let data = match (parameters.get("binary_data_size"), self.data) {
            (None, Some(Elements(data))) => data,
            (None, None) => Data::Missing,
            (Some(_), Some(_)) => {
                return Err(Fault::invalid(format!(
                    "input {name:?} has both `data` and `binary_data_size`; accepted is one of them"
                )));
            }
            (Some(size), None) => {
                let left = binary.len();
                let size = size.as_count().filter(|&size| size <= left).ok_or_else(|| {
                    Fault::invalid(format!(
                        "`binary_data_size` of input {name:?} is not a length within the {left} bytes that follow \
                         the JSON (Inference-Header-Content-Length tells where they begin)"
                    ))
                })?;
                Data::Binary(binary.split_to(size))
            }
        };
        Ok(InputTensor {
            name,
            datatype: self.datatype,
            shape: self.shape,
            data,
        })
    }
}

/// The answer in the form that was asked for.
pub(super) fn answer(response: InferResponse, form: &Form) -> Result<Response, Fault> {
    let mut binary: Vec<Bytes> = Vec::new();
    let outputs = response.outputs.into_iter().enumerate();
    let outputs = outputs.map(|(n, output)| {
        let wanted = form.each.get(n).copied().flatten().unwrap_or(form.all);
        output_answer(output, wanted.then_some(&mut binary))
    });
    let answer = InferenceAnswer {
        model_name: response.model,
        model_version: response.version,
        id: response.id,
        parameters: response.parameters,
        outputs: outputs.collect(),
    };
    let mut body = serde_json::to_vec(&answer)
        .map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
    if binary.is_empty() {
        let json = HeaderValue::from_static("application/json");
        return Ok(([(header::CONTENT_TYPE, json)], body).into_response());
    }
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        ),
        (HEADER_LENGTH, HeaderValue::from(body.len())),
    ];
    for tensor in binary {
        body.extend_from_slice(&tensor);
    }
    Ok((headers, body).into_response())
}

fn output_answer(output: OutputTensor, binary: Option<&mut Vec<Bytes>>) -> OutputAnswer {
    let datatype = output.data.datatype().name();
    let mut parameters = Parameters::new();
    let data = match (binary, output.data) {
        (Some(binary), data) => {
            let bytes = data.to_binary();
            let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
            parameters.insert("binary_data_size".into(), Parameter::Int(size));
            binary.push(bytes);
            None
        }
        (None, OutputData::Fp32(values)) => Some(Values::Floats(values)),
        (None, OutputData::Bytes(texts)) => Some(Values::Texts(texts)),
    };
    OutputAnswer {
        name: output.name,
        datatype,
        shape: output.shape,
        parameters,
        data,
    }
}
