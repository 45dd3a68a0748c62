//! Counts, logs and traces every call.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use metrics::Gauge;
use opentelemetry::KeyValue;
use tonic::{Code, Status};

use super::status;
use crate::http::App;
use crate::telemetry::metrics::{GRPC_REQUESTS, GRPC_SECONDS};
use crate::telemetry::request::{self, Current};
use crate::telemetry::{ServerSpan, calling};

/// Name of the access log for `RUST_LOG`, the same as for HTTP.
const ACCESS: &str = "relance::access";

/// Label of calls that are not known.
const OTHER: &str = "other";

/// The calls there are; others are one, or a client could make any number of series.
const KNOWN: [&str; 12] = [
    "inference.GRPCInferenceService/ServerLive",
    "inference.GRPCInferenceService/ServerReady",
    "inference.GRPCInferenceService/ModelReady",
    "inference.GRPCInferenceService/ServerMetadata",
    "inference.GRPCInferenceService/ModelMetadata",
    "inference.GRPCInferenceService/ModelInfer",
    "inference.GRPCInferenceService/ModelConfig",
    "inference.GRPCInferenceService/RepositoryIndex",
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/Watch",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

pub(super) async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let call = Call::begin(&app, request.uri().path(), request.headers());
    let trace = call.span.as_ref().and_then(ServerSpan::trace);
    let recording = call.span.as_ref().is_some_and(ServerSpan::is_recording);
    let caller = call.span.as_ref().and_then(ServerSpan::traceparent);
    let answering = async {
        let mut response = next.run(request).await;
        call.end(code(response.headers()));
        let headers = response.headers_mut();
        headers.insert("x-served-by", app.served_by().clone());
        let id = request::ids().map(|ids| HeaderValue::try_from(ids.request.to_string()));
        if let Some(Ok(id)) = id {
            headers.insert("x-request-id", id);
        }
        response
    };
    calling(caller, Current::new(trace, recording).scope(answering)).await
}

/// A status that is not in the headers follows the message, and is `OK`.
fn code(headers: &HeaderMap) -> Code {
    Status::from_header_map(headers).map_or(Code::Ok, |status| status.code())
}

/// A call on its way to its answer. Dropped without one, the client has gone.
struct Call {
    name: &'static str,
    start: Instant,
    span: Option<ServerSpan>,
    in_flight: Option<Gauge>,
    answered: bool,
}

/// Probes would drown what matters.
fn is_noise(name: &str) -> bool {
    name.starts_with("grpc.health")
        || name.ends_with("/ServerLive")
        || name.ends_with("/ServerReady")
}

impl Call {
    fn begin(app: &App, path: &str, headers: &HeaderMap) -> Self {
        let called = path.trim_start_matches('/');
        let name = KNOWN.into_iter().find(|known| *known == called);
        let name = name.unwrap_or(OTHER);
        let noise = is_noise(name);
        let in_flight = (!noise).then(|| app.in_flight().clone());
        if let Some(gauge) = &in_flight {
            gauge.increment(1.0);
        }
        Self {
            name,
            start: Instant::now(),
            span: (!noise).then(|| ServerSpan::begin(headers)),
            in_flight,
            answered: false,
        }
    }

    fn end(mut self, code: Code) {
        self.answered = true;
        self.tell(code);
    }

    fn tell(&mut self, code: Code) {
        let (name, time) = (self.name, self.start.elapsed());
        let label = status::name(code);
        metrics::counter!(GRPC_REQUESTS, "method" => name, "code" => label).increment(1);
        metrics::histogram!(GRPC_SECONDS, "method" => name).record(time);
        let failed = is_failure(code);
        let client = request::client();
        let client = client.as_deref();
        let millis = (time.as_secs_f64() * 1e6).round() / 1e3;
        if failed {
            tracing::warn!(target: ACCESS, method = name, code = label, millis, client, "call");
        } else if !is_noise(name) {
            tracing::debug!(target: ACCESS, method = name, code = label, millis, client, "call");
        }
        if let Some(span) = self.span.take().filter(ServerSpan::is_recording) {
            span.end(name.to_owned(), attributes(name, code), failed);
        }
    }
}

/// Failures that are the server's, by OpenTelemetry's semantic conventions.
fn is_failure(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// By OpenTelemetry's semantic conventions for RPC servers.
fn attributes(name: &'static str, code: Code) -> Vec<KeyValue> {
    let (service, method) = name.split_once('/').unwrap_or((name, name));
    let mut attributes = vec![
        KeyValue::new("rpc.system", "grpc"),
        KeyValue::new("rpc.service", service),
        KeyValue::new("rpc.method", method),
        KeyValue::new("rpc.grpc.status_code", i64::from(i32::from(code))),
    ];
    if is_failure(code) {
        attributes.push(KeyValue::new("error.type", status::name(code)));
    }
    if let Some(ids) = request::ids() {
        attributes.push(KeyValue::new("relance.request_id", ids.request.to_string()));
    }
    if let Some(client) = request::client() {
        attributes.push(KeyValue::new("user.id", client));
    }
    attributes
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.answered {
            self.tell(Code::Cancelled);
        }
        if let Some(gauge) = &self.in_flight {
            gauge.decrement(1.0);
        }
    }
}
