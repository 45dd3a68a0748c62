//! Every knob of the service: a flag, the environment variable of the same name, and a default.

mod access;
mod keys;
mod port;
mod registry;
mod secret;
mod validate;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

pub use access::{Access, Connections, Origins};
pub use keys::{ApiKey, ApiKeys};
pub use port::GrpcPort;
pub use registry::{Registry, RegistryPlace};
pub use secret::Secret;
pub use validate::SettingsError;

/// Settings of `relance serve`.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    #[command(flatten)]
    pub listen: Listen,
    /// The model and its workers.
    #[command(flatten)]
    pub model: ModelSettings,
    /// Models in its place.
    #[command(flatten)]
    pub registry: Registry,
    /// Who may come in.
    #[command(flatten)]
    pub access: Access,
    /// How many connections there may be, and for how long.
    #[command(flatten)]
    pub connections: Connections,
    /// How pictures are read.
    #[command(flatten)]
    pub picture: PictureSettings,
    /// What one request may cost.
    #[command(flatten)]
    pub limits: LimitSettings,
    /// Cache of results.
    #[command(flatten)]
    pub cache: CacheSettings,
    /// Records and pictures on this instance's disk.
    #[command(flatten)]
    pub storage: Storage,
    /// Records and pictures where all instances see them.
    #[command(flatten)]
    pub shared: Shared,
    /// Logs and shutdown.
    #[command(flatten)]
    pub operation: Operation,
    /// Where traces are sent.
    #[command(flatten)]
    pub telemetry: Telemetry,
}

/// Address settings.
#[derive(Args, Clone, Debug)]
pub struct Listen {
    /// Address to listen on; any address but loopback needs credentials or `ALLOW_ANONYMOUS`
    #[arg(long, env = "HOST", default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// Port of the HTTP API; 0 lets the system choose a free one
    #[arg(long, env = "PORT", default_value_t = 5000)]
    pub port: u16,
    /// Port of the gRPC API on the same address, or `off`; 0 lets the system choose a free one
    #[arg(long, env = "GRPC_PORT", default_value = "off")]
    pub grpc_port: GrpcPort,
    /// Name of this instance in records, logs and the `X-Served-By` header [default: the host name]
    #[arg(long, env = "INSTANCE_NAME")]
    pub instance_name: Option<String>,
    /// Name of the deployed release, shown by `GET /health/ready`
    #[arg(long, env = "RELEASE")]
    pub release: Option<String>,
    /// Proxies in front whose `X-Forwarded-For` entries are believed, counted from this service outwards
    #[arg(long, env = "TRUSTED_PROXIES", default_value_t = 0)]
    pub trusted_proxies: usize,
    /// Port for `GET /metrics`, there without credentials and then not on `PORT`; 0 lets the system choose a free one
    #[arg(long, env = "METRICS_PORT")]
    pub metrics_port: Option<u16>,
}

/// Model settings.
#[derive(Args, Clone, Debug)]
pub struct ModelSettings {
    /// ONNX file of an Ultralytics classification export
    #[arg(long, env = "MODEL", default_value = "models/bottle.onnx")]
    pub model: PathBuf,
    /// Text file with one class name a line, for a model without metadata
    #[arg(long, env = "LABELS")]
    pub labels: Option<PathBuf>,
    /// Inference threads [default: the CPU quota]
    #[arg(long, env = "WORKERS")]
    pub workers: Option<usize>,
    /// ONNX Runtime shared library [default: `lib/libonnxruntime.so` beside or above the program]
    #[arg(long, env = "ORT_DYLIB_PATH")]
    pub onnxruntime: Option<PathBuf>,
    /// What runs the model
    #[arg(long, env = "PROVIDER", value_enum, default_value_t = Provider::Cpu)]
    pub provider: Provider,
    /// What the model is computed in
    #[arg(long, env = "PRECISION", value_enum, default_value_t = Precision::F32)]
    pub precision: Precision,
}

/// Library that runs the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Provider {
    /// ONNX Runtime on the CPU
    Cpu,
    /// OpenVINO on the CPU (`make openvino` fetches it)
    Openvino,
}

/// Numbers that the model is computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// As the model is
    F32,
    /// Faster and a little less exact, on processors that have it; needs `PROVIDER=openvino`
    Bf16,
}

/// How pictures are read.
#[derive(Args, Clone, Copy, Debug)]
pub struct PictureSettings {
    /// Largest picture accepted, in pixels (width × height), checked before decoding
    #[arg(long, env = "MAX_PIXELS", default_value_t = 50_000_000)]
    pub max_pixels: u64,
    /// How large JPEGs are decoded
    #[arg(long, env = "JPEG_SCALING", value_enum, default_value_t = JpegScaling::Exact)]
    pub jpeg_scaling: JpegScaling,
}

/// Size at which JPEGs are decoded. A fraction of the full size is much faster for large photographs and changes
/// the pixels a little.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum JpegScaling {
    /// Full size
    Exact,
    /// The smallest half, quarter or eighth that is at least twice as large as the model's input
    Fast,
    /// The smallest one that is at least as large as the input
    Fastest,
}

impl JpegScaling {
    /// How often the decoded picture must hold the model's input; nothing for the full size.
    pub fn least(self) -> Option<u32> {
        match self {
            Self::Exact => None,
            Self::Fast => Some(2),
            Self::Fastest => Some(1),
        }
    }
}

impl std::fmt::Display for JpegScaling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Exact => "exact",
            Self::Fast => "fast",
            Self::Fastest => "fastest",
        })
    }
}

impl std::fmt::Display for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Openvino => "openvino",
        })
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

/// Limits of one request and of all together.
#[derive(Args, Clone, Debug)]
pub struct LimitSettings {
    /// Largest picture accepted, in bytes
    #[arg(long, env = "MAX_UPLOAD_BYTES", default_value_t = 10 * 1024 * 1024)]
    pub max_upload_bytes: usize,
    /// Most pictures in one batch, and pictures or tensors in one request of the Open Inference Protocol
    #[arg(long, env = "MAX_BATCH_PICTURES", default_value_t = 64)]
    pub max_batch_pictures: usize,
    /// Largest batch accepted, in bytes of its whole body
    #[arg(long, env = "MAX_BATCH_BYTES", default_value_t = 64 * 1024 * 1024)]
    pub max_batch_bytes: usize,
    /// Bytes of uploads held in memory at once; more are refused with 503
    #[arg(long, env = "MAX_INFLIGHT_BYTES", default_value_t = 256 * 1024 * 1024)]
    pub max_inflight_bytes: usize,
    /// Time a request may take, in milliseconds, before it is answered 504
    #[arg(long, env = "REQUEST_TIMEOUT_MS", default_value_t = 10_000)]
    pub request_timeout_ms: u64,
    /// Longest expected wait for a worker, in milliseconds; a request that would wait longer is refused with 503
    #[arg(long, env = "MAX_QUEUE_MS", default_value_t = 1_000)]
    pub max_queue_ms: u64,
}

/// Result cache settings.
#[derive(Args, Clone, Debug)]
pub struct CacheSettings {
    /// Memory for cached results, in bytes; 0 turns the cache off
    #[arg(long, env = "CACHE_BYTES", default_value_t = 32 * 1024 * 1024)]
    pub cache_bytes: u64,
    /// Seconds a cached result is used
    #[arg(long, env = "CACHE_TTL_SECONDS", default_value_t = 86_400)]
    pub cache_ttl_seconds: u64,
    /// Redis that shares results between instances: `redis://[user:password@]host[:port][/db]`, or `rediss://` for
    /// TLS
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<Secret>,
    /// How Redis is signed in to
    #[arg(long, env = "REDIS_AUTH", value_enum, default_value_t = RedisAuth::Url)]
    pub redis_auth: RedisAuth,
}

/// How Redis knows who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RedisAuth {
    /// By the user and password in `REDIS_URL`, if there are any
    Url,
    /// By a token of Microsoft Entra ID (Azure Managed Redis)
    Entra,
}

/// Storage settings.
#[derive(Args, Clone, Debug)]
pub struct Storage {
    /// Folder for records and pictures; one running instance a folder
    #[arg(long, env = "DATA_DIR", default_value = "data")]
    pub data_dir: PathBuf,
    /// Also survive a power cut: wait for the disk before answering (a killed process never loses an answer)
    #[arg(long, env = "DATA_FSYNC", default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub data_fsync: bool,
    /// How client addresses are kept in records
    #[arg(long, env = "USER_IP", value_enum, default_value_t = UserIp::Truncated)]
    pub user_ip: UserIp,
    /// Days that records and pictures are kept; 0 keeps them for ever
    #[arg(long, env = "RETENTION_DAYS", default_value_t = 0)]
    pub retention_days: u32,
    /// Bytes on this disk that may wait for a shared store; 0 means no limit
    #[arg(long, env = "SPOOL_MAX_BYTES", default_value_t = 10 * 1024 * 1024 * 1024)]
    pub spool_max_bytes: u64,
    /// What happens when so much is waiting
    #[arg(long, env = "SPOOL_FULL", value_enum, default_value_t = SpoolFull::Refuse)]
    pub spool_full: SpoolFull,
}

/// What a record keeps of the client's address, which is personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UserIp {
    /// The whole address
    Full,
    /// IPv4 without its last byte, IPv6 without its last ten
    Truncated,
    /// Nothing
    Off,
}

/// What happens to requests when no more may wait for a shared store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SpoolFull {
    /// They are answered 507
    Refuse,
    /// They are answered and recorded, but their pictures are not kept
    ShedPictures,
}

/// Stores that instances share. Requests never wait for them: both are filled in the background.
#[derive(Args, Clone, Debug)]
pub struct Shared {
    /// Azure Blob Storage for pictures, such as `https://ACCOUNT.blob.core.windows.net`
    #[arg(long, env = "AZURE_STORAGE_BLOB_ENDPOINT")]
    pub azure_storage_blob_endpoint: Option<String>,
    /// Container for pictures; must exist
    #[arg(long, env = "AZURE_STORAGE_CONTAINER", default_value = "uploads")]
    pub azure_storage_container: String,
    /// Account key, for the emulator; without it, requests carry a token of Microsoft Entra ID
    #[arg(long, env = "AZURE_STORAGE_KEY", hide_env_values = true)]
    pub azure_storage_key: Option<Secret>,
    /// Azure Cosmos DB for records, such as `https://ACCOUNT.documents.azure.com`
    #[arg(long, env = "AZURE_COSMOS_ENDPOINT")]
    pub azure_cosmos_endpoint: Option<String>,
    /// Database; must exist
    #[arg(long, env = "AZURE_COSMOS_DATABASE", default_value = "relance")]
    pub azure_cosmos_database: String,
    /// Container for records; must exist
    #[arg(long, env = "AZURE_COSMOS_CONTAINER", default_value = "requests")]
    pub azure_cosmos_container: String,
    /// Account key, for the emulator; without it, requests carry a token of Microsoft Entra ID
    #[arg(long, env = "AZURE_COSMOS_KEY", hide_env_values = true)]
    pub azure_cosmos_key: Option<Secret>,
    /// Region this instance is in, such as `westeurope`, for an account that is in several
    #[arg(long, env = "AZURE_COSMOS_REGION")]
    pub azure_cosmos_region: Option<String>,
    /// Client ID of a user-assigned managed identity; without it, the system-assigned one is used
    #[arg(long, env = "AZURE_CLIENT_ID")]
    pub azure_client_id: Option<String>,
    /// How tokens of Microsoft Entra ID are got
    #[arg(long, env = "AZURE_CREDENTIAL", value_enum, default_value_t = AzureCredential::Auto)]
    pub azure_credential: AzureCredential,
    /// PostgreSQL for records, instead of Cosmos DB: `postgres://user:password@host[:port]/database[?sslmode=require]`
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<Secret>,
}

/// Where tokens of Microsoft Entra ID come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AzureCredential {
    /// Workload identity on Kubernetes, managed identity on App Service and where `AZURE_CLIENT_ID` is set, else as
    /// developer-tools
    Auto,
    /// Managed identity, also of a virtual machine
    ManagedIdentity,
    /// Workload identity of Kubernetes
    WorkloadIdentity,
    /// Whoever is signed in with `az login` or `azd auth login`
    DeveloperTools,
}

/// Logging and shutdown settings.
#[derive(Args, Clone, Debug)]
pub struct Operation {
    /// After SIGTERM: how long it goes on accepting requests while reporting itself as not ready, in milliseconds
    #[arg(long, env = "DRAIN_DELAY_MS", default_value_t = 3_000)]
    pub drain_delay_ms: u64,
    /// After that: how long it waits for requests in flight, in milliseconds
    #[arg(long, env = "SHUTDOWN_TIMEOUT_MS", default_value_t = 20_000)]
    pub shutdown_timeout_ms: u64,
    /// After that: how long it goes on taking what waits to the shared stores, in milliseconds
    #[arg(long, env = "FLUSH_TIMEOUT_MS", default_value_t = 10_000)]
    pub flush_timeout_ms: u64,
    /// Form of the log lines on standard error
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What is logged, as a tracing filter (`warn`, `info,relance=debug`, …)
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub rust_log: String,
}

/// Settings of traces. Without a place to send them, none are recorded.
#[derive(Args, Clone, Debug)]
pub struct Telemetry {
    /// OpenTelemetry collector that gets traces by OTLP over HTTP, such as `http://localhost:4318`
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", hide_env_values = true)]
    pub otel_exporter_otlp_endpoint: Option<String>,
    /// Application Insights that gets traces: `InstrumentationKey=...;IngestionEndpoint=https://...`
    #[arg(
        long,
        env = "APPLICATIONINSIGHTS_CONNECTION_STRING",
        hide_env_values = true
    )]
    pub applicationinsights_connection_string: Option<Secret>,
    /// Part of the requests whose traces are recorded, 0 to 1, where the caller has not decided
    #[arg(long, env = "TRACE_SAMPLE_RATIO", default_value_t = 0.1)]
    pub trace_sample_ratio: f64,
    /// Requests a second whose traces are recorded at most, whoever decided; 0 means no limit
    #[arg(long, env = "TRACE_MAX_PER_SECOND", default_value_t = 100)]
    pub trace_max_per_second: u32,
}

/// Log line form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl Settings {
    /// The instance's name: as set, else the host name.
    pub fn instance_name(&self) -> String {
        self.listen
            .instance_name
            .clone()
            .unwrap_or_else(|| gethostname::gethostname().to_string_lossy().into_owned())
    }

    /// The settings that change what the model says of a picture, in one word: `cpu-f32-exact`.
    pub fn computation(&self) -> String {
        let (model, scaling) = (&self.model, self.picture.jpeg_scaling);
        format!("{}-{}-{scaling}", model.provider, model.precision)
    }
}

impl ModelSettings {
    /// Inference threads: as set, else the CPUs this process may use (affinity and cgroup quota counted in).
    pub fn workers(&self) -> usize {
        self.workers
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()))
    }
}
