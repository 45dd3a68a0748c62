//! A whole service in this process, without sockets.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request as HttpRequest, StatusCode};
use clap::Parser;
use http_body_util::BodyExt;
use metrics_exporter_prometheus::PrometheusBuilder;
use relance::access::Gate;
use relance::cache::Cache;
use relance::grpc;
use relance::http::{self, App};
use relance::service::{Config, Fleet, Lifecycle, Models, Parts, Service};
use relance::settings::Settings;
use relance::storage::{Limits, Shared, Storage};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::inputs::Request;

#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    settings: Settings,
}

/// The settings of a service in `data_dir` with a small model and no limit of requests; `root` is the repository.
///
/// # Panics
/// If an argument is wrong.
pub fn settings(root: &Path, data_dir: &Path) -> Settings {
    let library = root.join("lib/libonnxruntime.so");
    let model = root.join("tests/fixtures/models/yolov8n-cls-nc10-64.onnx");
    let arguments = [
        ("--onnxruntime", library.display().to_string()),
        ("--model", model.display().to_string()),
        ("--data-dir", data_dir.display().to_string()),
        ("--rate-limit-per-minute", "0".into()),
        ("--data-fsync", "false".into()),
        ("--workers", "1".into()),
        // A busy machine is not a fault.
        ("--request-timeout-ms", "600000".into()),
        ("--cache-bytes", "0".into()),
    ];
    let arguments = arguments
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    Defaults::parse_from(std::iter::once("relance".to_owned()).chain(arguments)).settings
}

/// The service, and the folder that goes with it.
pub struct House {
    runtime: Runtime,
    http: Router,
    grpc: Router,
    _data: TempDir,
}

impl House {
    /// Starts it with what is in the repository at `root`.
    ///
    /// # Panics
    /// If it cannot start.
    pub fn open(root: &Path) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let settings = settings(root, data.path());
        let runtime = Runtime::new().expect("a runtime");
        let limits = Limits {
            fsync: settings.storage.data_fsync,
            spool_max_bytes: settings.storage.spool_max_bytes,
            spool_full: settings.storage.spool_full,
        };
        let models = Models {
            settings: settings.model.clone(),
            registry: None,
        };
        let fleet = runtime.block_on(Fleet::open(models, settings.picture));
        let inside = runtime.enter();
        let parts = Parts {
            fleet: fleet.expect("the model"),
            cache: Cache::new(settings.cache.cache_bytes, Duration::ZERO),
            storage: Arc::new(
                Storage::start(
                    data.path(),
                    limits,
                    Shared {
                        records: None,
                        pictures: None,
                    },
                )
                .expect("the storage"),
            ),
        };
        let config = Config {
            picture: settings.picture,
            max_queue: Duration::from_secs(60),
            user_ip: settings.storage.user_ip,
            instance: "fuzz".into(),
        };
        let service = Service::start(config, parts).expect("the service");
        let lifecycle = Arc::new(Lifecycle::default());
        lifecycle.ready();
        let gate = Arc::new(Gate::new(&settings.access).expect("the gate"));
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let app = App::new(&settings, service, gate, lifecycle, metrics);
        let http = http::router(Arc::clone(&app));
        let grpc = grpc::router(app, CancellationToken::new()).expect("the gRPC routes");
        drop(inside);
        Self {
            runtime,
            http,
            grpc,
            _data: data,
        }
    }

    /// Sends a request.
    ///
    /// # Panics
    /// If the answer says that something went wrong here, or isn't JSON.
    pub fn post(&self, request: Request) {
        let (status, headers, body) = self.answer(&self.http, request);
        let text = String::from_utf8_lossy(&body);
        assert!(!status.is_server_error(), "{status}: {text}");
        // Binary tensors come behind the JSON.
        let length = headers.get("inference-header-content-length");
        let length = length.map_or(body.len(), |value| {
            let length = value.to_str().expect("a number");
            length.parse().expect("a number")
        });
        serde_json::from_slice::<serde_json::Value>(&body[..length]).expect("JSON");
    }

    /// Makes a call of gRPC.
    ///
    /// # Panics
    /// If the answer says that something went wrong here.
    pub fn call(&self, request: Request) {
        let (status, ..) = self.answer(&self.grpc, request);
        assert!(status.is_success(), "{status}");
    }

    fn answer(&self, router: &Router, request: Request) -> (StatusCode, HeaderMap, Vec<u8>) {
        let mut builder = HttpRequest::post(request.path);
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        let mut http = builder.body(Body::from(request.body)).expect("a request");
        http.extensions_mut()
            .insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1))));
        let router = router.clone();
        self.runtime.block_on(async {
            let response = router.oneshot(http).await.expect("an answer");
            let (status, headers) = (response.status(), response.headers().clone());
            let collected = response.into_body().collect().await.expect("a body");
            if let Some(code) = collected
                .trailers()
                .and_then(|trailers| trailers.get("grpc-status"))
            {
                assert!(
                    !["2", "13"].iter().any(|fault| code == fault),
                    "gRPC status {code:?}"
                );
            }
            (status, headers, collected.to_bytes().to_vec())
        })
    }
}
