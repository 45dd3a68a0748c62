//! Transport: HTTP in, HTTP out. What a picture is and how it is classified, `service` knows.

pub(crate) mod auth;
mod batch;
pub(crate) mod body;
mod caching;
mod candidate;
mod client;
mod cors;
mod dataset;
mod docs;
mod filter;
mod form;
mod health;
mod json;
mod language;
pub(crate) mod limits;
mod live;
mod meters;
mod metrics;
mod models;
mod observe;
mod page;
mod predict;
pub(crate) mod problem;
mod query;
mod requests;
mod reviews;
mod router;
mod server;
mod thumbnail;
mod upload;
mod v2;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::metrics::Gauge;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::access::Gate;
use crate::oip;
use crate::service::{Lifecycle, Service};
use crate::settings::{LimitSettings, Origins, Settings};

pub(crate) use router::panicked;
pub use router::{metrics_router, openapi, openapi_text, router};
pub use server::{Limits, serve};

use body::{Budget, Received};
use meters::Meters;
use problem::Problem;

/// What the handlers share.
pub struct App {
    service: Service,
    lifecycle: Arc<Lifecycle>,
    gate: Arc<Gate>,
    budget: Budget,
    max_upload: usize,
    batch: BatchLimits,
    limits: LimitSettings,
    model_admins: Option<Vec<String>>,
    timeout: Duration,
    trusted_proxies: usize,
    served_by: HeaderValue,
    release: Option<String>,
    meters: Meters,
    live: live::Hub,
    metrics: PrometheusHandle,
    metrics_apart: bool,
    cors: Option<Origins>,
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
        gate: Arc<Gate>,
        lifecycle: Arc<Lifecycle>,
        metrics: PrometheusHandle,
    ) -> Arc<Self> {
        let name = settings.instance_name();
        let meters = Meters::new(&service.model());
        let limits = &settings.limits;
        Arc::new(Self {
            service,
            lifecycle,
            budget: Budget::new(limits.max_inflight_bytes),
            max_upload: limits.max_upload_bytes,
            batch: BatchLimits {
                pictures: limits.max_batch_pictures,
                // More could never be received.
                bytes: limits.max_batch_bytes.min(limits.max_inflight_bytes),
            },
            timeout: Duration::from_millis(limits.request_timeout_ms),
            gate,
            cors: settings.access.cors_allow_origins.clone(),
            metrics_apart: settings.listen.metrics_port.is_some(),
            limits: limits.clone(),
            model_admins: settings.registry.model_admins.clone(),
            trusted_proxies: settings.listen.trusted_proxies,
            served_by: HeaderValue::from_str(&name).unwrap_or(HeaderValue::from_static("unnamed")),
            release: settings.listen.release.clone(),
            meters,
            live: live::Hub::default(),
            metrics,
        })
    }

    /// The Open Inference Protocol on top of the pipeline.
    pub(crate) fn inference(&self) -> oip::Server<'_> {
        oip::Server {
            service: &self.service,
            lifecycle: &self.lifecycle,
            limits: oip::Limits::new(&self.limits, self.service.model().input),
        }
    }

    /// Reads the body of a request within the bounds that hold for all.
    pub(crate) async fn receive(
        &self,
        headers: &HeaderMap,
        body: Body,
        max: usize,
        deadline: Instant,
    ) -> Result<Received, Problem> {
        body::read(&self.budget, headers, body, max, deadline).await
    }

    /// The client's address, behind the proxies that are trusted.
    pub(crate) fn address(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        client::address(peer, headers, self.trusted_proxies)
    }

    /// How long a request may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The name of this instance.
    pub(crate) fn served_by(&self) -> &HeaderValue {
        &self.served_by
    }

    /// Requests that are being handled.
    pub(crate) fn in_flight(&self) -> &Gauge {
        &self.meters.in_flight
    }

    /// The pipeline behind the handlers.
    pub fn service(&self) -> &Service {
        &self.service
    }
}
