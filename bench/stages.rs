//! What each stage of a request costs by itself, on one thread, with nothing else to do.
//!
//! `cargo bench --bench stages -- [FILTER]`. The pictures come from bench/pictures.py.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use clap::Parser;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use http_body_util::BodyExt;
use relance::access::Gate;
use relance::cache::Cache;
use relance::classification::{Classification, Known, ResultKey};
use relance::http::{App, router};
use relance::image::{Format, InputSize, PictureInfo, Preparer};
use relance::journal::Journal;
use relance::model::{self, Loaded};
use relance::records::{ClassScore, ModelName, Record, Spool};
use relance::service::{Config, Fleet, Lifecycle, Models, Parts, Service};
use relance::settings::{Settings, SpoolFull, UserIp};
use relance::storage::{Limits, Shared, Storage};
use relance::uploads::Uploads;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::runtime::Runtime as Tokio;
use tower::ServiceExt;
use uuid::Uuid;

const SIZES: [&str; 3] = ["640x480", "1280x960", "4000x3000"];
const INPUT: InputSize = InputSize {
    width: 224,
    height: 224,
};
#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    settings: Settings,
}

fn settings() -> Settings {
    Defaults::parse_from([
        "",
        "--model=models/bottle-n.onnx",
        "--rate-limit-per-minute=0",
    ])
    .settings
}

fn picture(size: &str) -> Vec<u8> {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("bench/pictures/{size}/1.jpg"));
    std::fs::read(path).expect("run .venv/bin/python bench/pictures.py first")
}

/// BLAKE3 looks results up, SHA-256 names new pictures.
fn hash(c: &mut Criterion) {
    let mut group = c.benchmark_group("hash");
    for size in SIZES {
        let bytes = picture(size);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::new("blake3", size), |b| {
            b.iter(|| blake3::hash(&bytes))
        });
        group.bench_function(BenchmarkId::new("sha256", size), |b| {
            b.iter(|| Sha256::digest(&bytes))
        });
    }
}

fn sniff(c: &mut Criterion) {
    let bytes = picture(SIZES[0]);
    c.bench_function("sniff", |b| b.iter(|| Format::sniff(&bytes)));
}

/// Decoding and resampling together, and the tensor.
fn prepare(c: &mut Criterion) {
    let mut group = c.benchmark_group("prepare");
    let mut out = vec![0.0; 3 * (INPUT.width * INPUT.height) as usize];
    for size in SIZES {
        let bytes = picture(size);
        let mut preparer = Preparer::new(settings().picture);
        group.bench_function(size, |b| {
            b.iter(|| {
                preparer
                    .prepare(&bytes, INPUT, &mut out)
                    .expect("a picture")
            });
        });
    }
}

fn load(settings: &Settings, sessions: usize) -> Loaded {
    model::load(&settings.model, &settings.model.model, sessions).expect("a classifier")
}

fn inference(c: &mut Criterion) {
    let mut loaded = load(&settings(), 1);
    let session = &mut loaded.sessions[0];
    session.input().fill(0.5);
    c.bench_function("inference", |b| {
        b.iter(|| session.infer().expect("a result"))
    });
}

fn classification() -> Classification {
    let picture = PictureInfo {
        format: Format::Jpeg,
        width: 640,
        height: 480,
    };
    Classification::new(picture, &[0.9, 0.1])
}

fn cache(c: &mut Criterion) {
    let cache = Cache::new(1 << 20, Duration::from_secs(3600));
    let key = ResultKey {
        model: [1; 32],
        picture: [2; 32],
    };
    let known = Known {
        digest: [3; 32],
        classification: classification(),
    };
    cache.insert(key, Arc::new(known));
    c.bench_function("cache hit", |b| b.iter(|| cache.get(&key).expect("a hit")));
}

fn uploads(c: &mut Criterion) {
    let dir = TempDir::new().expect("a folder");
    let uploads = Uploads::new(dir.path().join("pictures"), false);
    let (bytes, mut number) = (picture(SIZES[0]), 0_u64);
    c.bench_function("store picture", |b| {
        let new = || {
            number += 1;
            Sha256::digest(number.to_le_bytes()).into()
        };
        b.iter_batched(
            new,
            |digest| uploads.store(&digest, "jpg", &bytes),
            BatchSize::SmallInput,
        );
    });
}

fn record() -> Record {
    let id = Uuid::now_v7();
    let digest = Sha256::digest(id.as_bytes()).into();
    let class = |index: u32| ClassScore {
        class: "aberta".into(),
        index,
        confidence: 0.5,
    };
    Record {
        request_id: id,
        timestamp: jiff::Timestamp::now(),
        image_name: "picture.jpg".into(),
        prediction: "aberta".into(),
        confidence: 0.5,
        top: vec![class(0), class(1)],
        processing_time: 3.5,
        cached: false,
        model: ModelName {
            name: "bottle".into(),
            version: "a88c112c9cb3".into(),
        },
        image_sha256: hex::encode::<[u8; 32]>(digest),
        image_ref: Some(Uploads::reference(&digest, "jpg")),
        image_format: "jpeg".into(),
        image_width: 640,
        image_height: 480,
        user_ip: Some("127.0.0.1".into()),
        client: None,
        instance: "bench".into(),
        status: 200,
        review: None,
        review_history: None,
        opinion: None,
    }
}

/// From a record to its commit: one alone, and 64 that come together.
fn journal(c: &mut Criterion) {
    let (dir, tokio) = (
        TempDir::new().expect("a folder"),
        Tokio::new().expect("threads"),
    );
    let journal =
        Journal::start(dir.path().join("relance.db"), false, Spool::None).expect("a journal");
    let mut group = c.benchmark_group("journal");
    for count in [1, 64] {
        group.throughput(Throughput::Elements(count));
        group.bench_with_input(BenchmarkId::from_parameter(count), &count, |b, &count| {
            let records = || (0..count).map(|_| record()).collect();
            let append = |records: Vec<Record>| async {
                for outcome in join_all(records.into_iter().map(|one| journal.append(one))).await {
                    outcome.expect("a commit");
                }
            };
            b.to_async(&tokio)
                .iter_batched(records, append, BatchSize::SmallInput);
        });
    }
    journal.close();
}

async fn app(settings: &Settings, data: &Path) -> Router {
    let limits = Limits {
        fsync: false,
        spool_max_bytes: 0,
        spool_full: SpoolFull::Refuse,
    };
    let storage = Storage::start(data, limits, Shared::default()).expect("threads");
    let mut models = Models {
        settings: settings.model.clone(),
        registry: None,
    };
    models.settings.workers = Some(1);
    let parts = Parts {
        fleet: Fleet::open(models, settings.picture)
            .await
            .expect("a classifier"),
        cache: Cache::new(settings.cache.cache_bytes, Duration::from_secs(3600)),
        storage: Arc::new(storage),
    };
    let config = Config {
        picture: settings.picture,
        max_queue: Duration::from_secs(1),
        user_ip: UserIp::Full,
        instance: "bench".into(),
    };
    let service = Service::start(config, parts).expect("threads");
    let metrics = relance::telemetry::init_metrics().expect("metrics");
    let gate = Arc::new(Gate::new(&settings.access).expect("no file of keys"));
    router(App::new(
        settings,
        service,
        gate,
        Arc::new(Lifecycle::default()),
        metrics,
    ))
}

fn post(kind: &str, body: Bytes) -> Request<Body> {
    let request = Request::post("/predict").header("content-type", kind);
    let request = request.header("content-length", body.len());
    let mut request = request.body(Body::from(body)).expect("a request");
    let peer = SocketAddr::from(([127, 0, 0, 1], 1));
    request.extensions_mut().insert(ConnectInfo(peer));
    request
}

/// A request for a known picture through the whole program except the network: the body, the hash, the cache,
/// the record, the answer.
fn cached(c: &mut Criterion) {
    let (dir, tokio) = (
        TempDir::new().expect("a folder"),
        Tokio::new().expect("threads"),
    );
    let app = tokio.block_on(app(&settings(), dir.path()));
    let mut group = c.benchmark_group("cached request");
    for size in SIZES {
        let picture = picture(size);
        let head =
            b"--x\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.jpg\"\r\n\r\n";
        let form = Bytes::from([&head[..], &picture, b"\r\n--x--\r\n"].concat());
        let kinds = [
            ("body", "image/jpeg", Bytes::from(picture)),
            ("form", "multipart/form-data; boundary=x", form),
        ];
        for (name, kind, body) in kinds {
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.to_async(&tokio).iter(|| async {
                    let answer = app.clone().oneshot(post(kind, body.clone())).await;
                    let answer = answer.expect("an answer");
                    assert_eq!(answer.status(), StatusCode::OK);
                    answer.into_body().collect().await.expect("a body")
                });
            });
        }
    }
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30)
}

criterion_group! {
    name = stages;
    config = short();
    targets = hash, sniff, prepare, inference, cache, uploads, journal, cached
}
criterion_main!(stages);
