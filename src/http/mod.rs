//! Transport: HTTP in, HTTP out. What a picture is and how it is classified, `service` knows.

mod auth;
mod body;
mod client;
mod docs;
mod health;
mod metrics;
mod models;
mod observe;
mod page;
mod predict;
mod problem;
mod query;
mod requests;
mod router;
mod server;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use axum::http::HeaderValue;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::service::{Lifecycle, Service};
use crate::settings::Settings;

pub use router::{openapi, router};
pub use server::serve;

use auth::Credentials;
use body::Budget;

/// What the handlers share.
pub struct App {
    service: Service,
    lifecycle: Arc<Lifecycle>,
    credentials: Credentials,
    budget: Budget,
    max_upload: usize,
    timeout: Duration,
    trusted_proxies: usize,
    served_by: HeaderValue,
    metrics: PrometheusHandle,
}

impl App {
    /// Joins the pipeline with the settings that concern transport.
    pub fn new(
        settings: &Settings,
        service: Service,
        lifecycle: Arc<Lifecycle>,
        metrics: PrometheusHandle,
    ) -> Arc<Self> {
        describe_metrics();
        let name = settings.instance_name();
        Arc::new(Self {
            service,
            lifecycle,
            credentials: Credentials::new(&settings.access),
            budget: Budget::new(settings.limits.max_inflight_bytes),
            max_upload: settings.limits.max_upload_bytes,
            timeout: Duration::from_millis(settings.limits.request_timeout_ms),
            trusted_proxies: settings.listen.trusted_proxies,
            served_by: HeaderValue::from_str(&name).unwrap_or(HeaderValue::from_static("unnamed")),
            metrics,
        })
    }

    /// The pipeline behind the handlers.
    pub fn service(&self) -> &Service {
        &self.service
    }
}

fn describe_metrics() {
    describe_counter!(
        "relance_http_requests_total",
        "HTTP requests by method, route and status"
    );
    describe_histogram!(
        "relance_http_request_seconds",
        Unit::Seconds,
        "Time to answer a request, by route"
    );
    describe_histogram!(
        "relance_stage_seconds",
        Unit::Seconds,
        "Time of a classification's stages on a worker"
    );
    describe_counter!("relance_results_total", "Results by source: model or cache");
    describe_counter!("relance_predictions_total", "Answers by class");
    describe_counter!(
        "relance_abandoned_total",
        "Pictures dropped unprocessed because their client had gone"
    );
    describe_histogram!(
        "relance_journal_commit_seconds",
        Unit::Seconds,
        "Time of one commit of the journal"
    );
    describe_histogram!(
        "relance_journal_group_records",
        "Records in one commit of the journal"
    );
    describe_gauge!("relance_queue_length", "Pictures waiting for a worker");
    describe_gauge!("relance_cache_entries", "Results in the memory cache");
    describe_histogram!(
        "relance_cache_shared_read_seconds",
        Unit::Seconds,
        "Time of one read from the shared cache, by outcome: hit, miss, unreadable or error"
    );
    describe_counter!(
        "relance_cache_shared_errors_total",
        "Commands that the shared cache failed or did not answer in time"
    );
    describe_counter!(
        "relance_cache_shared_dropped_total",
        "Results not written to the shared cache because it was away or too much was waiting"
    );
    describe_gauge!("relance_workers", "Worker threads");
    describe_gauge!(
        "relance_storage_up",
        "1 if the last record could be written, else 0"
    );
}
