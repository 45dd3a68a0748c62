//! Every metric: its name, its description and its buckets.

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

macro_rules! describe {
    (counter, $name:expr, $help:literal) => {
        ::metrics::describe_counter!($name, $help)
    };
    (gauge, $name:expr, $help:literal) => {
        ::metrics::describe_gauge!($name, $help)
    };
    (histogram, $name:expr, $help:literal) => {
        ::metrics::describe_histogram!($name, $help)
    };
}

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal, $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: &str = $name;)*

        /// Name, kind and description of every metric of this program's own.
        pub const ALL: &[(&str, &str, &str)] = &[$(($name, stringify!($kind), $help)),*];

        fn describe() {
            $(describe!($kind, $constant, $help);)*
        }
    };
}

metrics! {
    HTTP_REQUESTS = counter "relance_http_requests_total",
        "HTTP requests by method, route and status; 499 means that the client had gone";
    HTTP_SECONDS = histogram "relance_http_request_seconds", "Time to answer a request, by route";
    HTTP_IN_FLIGHT = gauge "relance_http_requests_in_flight",
        "Requests being handled, without those for health and metrics";
    LIVE_LISTENERS = gauge "relance_live_listeners", "Clients that listen to GET /live";
    CONNECTIONS = gauge "relance_connections", "Open connections, of any port but that of the metrics";
    CONNECTIONS_REFUSED = counter "relance_connections_refused_total",
        "Connections refused because MAX_CONNECTIONS were open";
    CONNECTIONS_EXPIRED = counter "relance_connections_expired_total",
        "Connections closed by a time-out, by what was late: head, request, answer";
    LOGIN_FAILURES = counter "relance_login_failures_total",
        "Credentials refused, by outcome: wrong, or throttled (not looked at, as too many before were wrong)";
    KEY_FILE_UP = gauge "relance_key_file_up", "1 if API_KEYS_FILE was good when it was last read, else 0";
    GRPC_REQUESTS = counter "relance_grpc_requests_total",
        "gRPC calls by method and code; CANCELLED means that the client had gone";
    GRPC_SECONDS = histogram "relance_grpc_request_seconds", "Time to answer a gRPC call, by method";
    QUEUE_LENGTH = gauge "relance_queue_length", "Pictures waiting for a worker";
    QUEUE_OLDEST_SECONDS = gauge "relance_queue_oldest_seconds",
        "How long the first picture in the queue has been waiting; 0 if none is";
    ABANDONED = counter "relance_abandoned_total",
        "Pictures dropped unprocessed because their client had gone";
    STAGE_SECONDS = histogram "relance_stage_seconds", "Time of a classification's stages on a worker";
    INFERENCES = counter "relance_inferences_total", "Pictures that went through a model, by name@version";
    RESULTS = counter "relance_results_total",
        "Results by source: model, flight (another request's inference at the same time), memory, redis";
    PREDICTIONS = counter "relance_predictions_total", "Recorded answers by class";
    CONFIDENCE = histogram "relance_prediction_confidence_ratio", "Confidence of the recorded answers, by class";
    REVIEWS = counter "relance_reviews_total",
        "Reviews taken in, by the class that was predicted, the label, whether these agree, and how the request was selected";
    DRIFT_PSI = gauge "relance_drift_psi",
        "Population stability index of the latest answers against the model's baseline, of classes and confidence";
    JOURNAL_COMMIT_SECONDS = histogram "relance_journal_commit_seconds", "Time of one commit of the journal";
    JOURNAL_GROUP_RECORDS = histogram "relance_journal_group_records", "Records in one commit of the journal";
    STORAGE_UP = gauge "relance_storage_up", "1 if the last record and picture could be written, else 0";
    DEPENDENCY_UP = gauge "relance_dependency_up",
        "1 if a store or collector elsewhere answered the last time it was used, else 0";
    BACKLOG_RECORDS = gauge "relance_backlog_records", "Records that wait for a shared store";
    BACKLOG_REVIEWS = gauge "relance_backlog_reviews", "Reviews that wait for a shared store";
    BACKLOG_OPINIONS = gauge "relance_backlog_opinions",
        "Opinions of another model that wait for a shared store; not those that go with a record that waits";
    BACKLOG_BYTES = gauge "relance_backlog_bytes", "Bytes of records and pictures that wait for a shared store, about";
    BACKLOG_AGE_SECONDS = gauge "relance_backlog_age_seconds",
        "How long the oldest record has been waiting for a shared store; 0 if none is";
    SHIPPED_RECORDS = counter "relance_shipped_records_total", "Records that reached the shared stores, or whose pictures did";
    SHIPPED_PICTURES = counter "relance_shipped_pictures_total", "Pictures that reached the shared store";
    SHIP_FAILURES = counter "relance_ship_failures_total", "Records and pictures that a shared store did not take";
    PICTURES_SHED = counter "relance_pictures_shed_total",
        "Pictures not kept because too much was waiting for the shared stores";
    CACHE_SHARED_READ_SECONDS = histogram "relance_cache_shared_read_seconds",
        "Time of one read from the shared cache, by outcome: hit, miss, unreadable or error";
    CACHE_SHARED_ERRORS = counter "relance_cache_shared_errors_total",
        "Commands that the shared cache failed or did not answer in time";
    CACHE_SHARED_DROPPED = counter "relance_cache_shared_dropped_total",
        "Results not written to the shared cache because it was away or too much was waiting";
    CACHE_ENTRIES = gauge "relance_cache_entries", "Results in the memory cache";
    MODEL_INFO = gauge "relance_model_info", "1 for the model that answers, 0 for one that did; model and sha256 are labels";
    MODELS_FOLLOWED = gauge "relance_models_followed",
        "1 if this instance serves what the registry of models says, else 0; absent where MODELS is not set";
    WORKERS = gauge "relance_workers", "Worker threads";
    BUILD_INFO = gauge "relance_build_info", "Always 1; version, model, provider and precision are labels";
    SPANS = counter "relance_spans_total", "Spans by exporter and outcome: sent, lost";
    LOG_LINES_SUPPRESSED = counter "relance_log_lines_suppressed_total",
        "Warnings and errors not logged because the same had been logged too often in that second";
}

/// A gauge in Prometheus' text format, with a value for each of some values of a label. For one that is not always
/// there: the recorder would tell its last value for ever.
pub fn gauge_text(name: &str, label: &str, values: &[(&str, f64)]) -> String {
    let known = ALL.iter().find(|(known, ..)| *known == name);
    let help = known.map_or("", |(_, _, help)| help);
    let mut text = format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
    for (of, value) in values {
        text += &format!("{name}{{{label}=\"{of}\"}} {value}\n");
    }
    text
}

/// Upper bounds of the time histograms, in seconds.
const SECONDS: [f64; 20] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05,
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Upper bounds of the confidences: fine near 1, where most are and where drift shows first.
const RATIOS: [f64; 13] = [
    0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0,
];

const GROUPS: [f64; 11] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
];

/// Starts collecting metrics.
///
/// # Errors
/// If another recorder is installed.
pub fn init() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_ratio".into()), &RATIOS)?
        .set_buckets_for_metric(Matcher::Suffix("_records".into()), &GROUPS)?
        .install_recorder()?;
    describe();
    Ok(handle)
}
