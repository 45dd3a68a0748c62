//! Transport: HTTP in, HTTP out. What a picture is and how it is classified, `service` knows.

mod auth;
mod batch;
mod body;
mod client;
mod docs;
mod form;
mod health;
mod meters;
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

use axum::http::HeaderValue;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::service::{Lifecycle, Service};
use crate::settings::Settings;

pub use router::{openapi, router};
pub use server::serve;

use auth::Credentials;
use body::Budget;
use meters::Meters;

/// What the handlers share.
pub struct App {
    service: Service,
    lifecycle: Arc<Lifecycle>,
    credentials: Credentials,
    budget: Budget,
    max_upload: usize,
    batch: BatchLimits,
    timeout: Duration,
    trusted_proxies: usize,
    served_by: HeaderValue,
    release: Option<String>,
    meters: Meters,
    metrics: PrometheusHandle,
}

/// How large a batch may be.
struct BatchLimits {
    pictures: usize,
    bytes: usize,
}

impl App {
    /// Joins the pipeline with the settings that concern transport.
    pub fn new(
        settings: &Settings,
        service: Service,
        lifecycle: Arc<Lifecycle>,
        metrics: PrometheusHandle,
    ) -> Arc<Self> {
        let name = settings.instance_name();
        let meters = Meters::new(service.model());
        let limits = &settings.limits;
        Arc::new(Self {
            service,
            lifecycle,
            credentials: Credentials::new(&settings.access),
            budget: Budget::new(limits.max_inflight_bytes),
            max_upload: limits.max_upload_bytes,
            batch: BatchLimits {
                pictures: limits.max_batch_pictures,
                // More could never be received.
                bytes: limits.max_batch_bytes.min(limits.max_inflight_bytes),
            },
            timeout: Duration::from_millis(limits.request_timeout_ms),
            trusted_proxies: settings.listen.trusted_proxies,
            served_by: HeaderValue::from_str(&name).unwrap_or(HeaderValue::from_static("unnamed")),
            release: settings.listen.release.clone(),
            meters,
            metrics,
        })
    }

    /// The pipeline behind the handlers.
    pub fn service(&self) -> &Service {
        &self.service
    }
}
