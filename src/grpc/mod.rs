//! Transport: the Open Inference Protocol over gRPC. Credentials, limits and identity are those of `http`.

mod convert;
mod ending;
mod observe;
mod receive;
mod service;
mod status;

use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_response_with_state};
use axum::response::Response;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};
use tower_http::catch_panic::CatchPanicLayer;

use crate::http::{App, auth, limits, panicked};
use crate::service::Stage;
use proto::grpc_inference_service_server::GrpcInferenceServiceServer;
use service::Inference;

#[allow(missing_docs, clippy::all)]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/inference.rs"));
    /// What reflection tells of it.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/inference.bin"));
}

/// Name of the service.
const INFERENCE: &str = "inference.GRPCInferenceService";

/// The call that classifies.
const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// Calls of [`INFERENCE`] that need no credentials, as their routes under HTTP.
const OPEN: [&str; 2] = [
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
];

/// Bytes that a client of reflection may send at once.
const REFLECTION_BYTES: usize = 64 * 1024;

/// The service as gRPC. Streams that clients keep open end when `stop` is cancelled.
///
/// # Errors
/// If the description of the protocol, which was made with the program, cannot be read.
pub fn router(app: Arc<App>, stop: CancellationToken) -> anyhow::Result<Router> {
    let server = app.inference();
    let limit = server.limits.request_bytes;
    let (reporter, health) = health_reporter();
    tokio::spawn(report(reporter, server.lifecycle.watch()));
    let unusable = "the description of the gRPC API cannot be read";
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .context(unusable)?
        .max_decoding_message_size(REFLECTION_BYTES);
    let old_reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1alpha()
        .context(unusable)?
        .max_decoding_message_size(REFLECTION_BYTES);
    let inference = GrpcInferenceServiceServer::new(Inference::new(Arc::clone(&app)))
        .max_decoding_message_size(limit);

    let unary = Router::new()
        .route_service(&calls(INFERENCE), inference)
        .layer(from_fn_with_state(Arc::clone(&app), receive::receive))
        .layer(from_fn_with_state(Arc::clone(&app), charge))
        .layer(from_fn_with_state(Arc::clone(&app), access));
    let streams = Router::new()
        .route_service(&path_of(&health), health)
        .route_service(&path_of(&reflection), reflection)
        .route_service(&path_of(&old_reflection), old_reflection)
        .layer(map_response_with_state(stop, ending::end));
    // A request goes through the layers from the last to the first.
    Ok(unary
        .merge(streams)
        .fallback(unknown)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(status::translate))
        .layer(from_fn_with_state(app, observe::observe)))
}

fn path_of<S: NamedService>(_: &S) -> String {
    calls(S::NAME)
}

/// The route of all calls of a service.
fn calls(service: &str) -> String {
    format!("/{service}/{{call}}")
}

async fn access(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    auth::require(State(app), request, next).await
}

async fn charge(state: State<Arc<App>>, request: Request, next: Next) -> Response {
    if request.uri().path() == INFER {
        return limits::limit(state, request, next).await;
    }
    next.run(request).await
}

async fn unknown() -> Response {
    Status::unimplemented("there is no such service; server reflection lists what there is")
        .into_http()
}

/// Keeps the standard health service up to date.
async fn report(reporter: HealthReporter, mut stage: watch::Receiver<Stage>) {
    loop {
        let status = match *stage.borrow_and_update() {
            Stage::Ready => ServingStatus::Serving,
            Stage::Starting | Stage::Draining => ServingStatus::NotServing,
        };
        for service in ["", INFERENCE] {
            reporter.set_service_status(service, status).await;
        }
        if stage.changed().await.is_err() {
            return;
        }
    }
}
