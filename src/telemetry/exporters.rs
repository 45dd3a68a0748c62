//! Where spans are sent.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use metrics::Counter;
use opentelemetry_application_insights as insights;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use reqwest::Url;
use reqwest::blocking::Client;

use super::metrics::SPANS;
use crate::remote::{Failure, FailureKind, Presence};
use crate::settings::Secret;

/// Longest wait for Application Insights' answer to one attempt.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends spans by OTLP to the collector at `endpoint`.
///
/// # Errors
/// If the endpoint, or one of the variables `OTEL_EXPORTER_OTLP_*`, cannot be used.
pub(super) fn otlp(endpoint: &str) -> anyhow::Result<impl SpanExporter + use<>> {
    // The address may hold a password, so errors don't repeat it.
    let url = Url::parse(endpoint).ok();
    if !url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
        bail!(
            "OTEL_EXPORTER_OTLP_ENDPOINT is not a URL; accepted is one such as http://localhost:4318"
        );
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_http();
    // The address of this one signal goes before that of all, and is taken as it is.
    let exporter = if super::is_set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
        exporter
    } else {
        exporter.with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
    };
    let exporter = exporter
        .build()
        .context("a variable OTEL_EXPORTER_OTLP_... cannot be used")?;
    Ok(Watched::new(
        exporter,
        Arc::new(Presence::new("otlp")),
        "otlp",
    ))
}

/// Sends spans to Application Insights, which counts each as `1 / ratio`.
///
/// # Errors
/// If the connection string cannot be used.
pub(super) fn application_insights(
    connection: &Secret,
    ratio: f64,
) -> anyhow::Result<impl SpanExporter + use<>> {
    let malformed = |why: &str| {
        anyhow::anyhow!(
            "APPLICATIONINSIGHTS_CONNECTION_STRING cannot be used: {why}; accepted is \
             InstrumentationKey=...;IngestionEndpoint=https://..."
        )
    };
    // The exporter would panic without a scheme, and make https of http.
    let endpoints = connection.expose().split(';').filter_map(|field| {
        let (name, value) = field.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("IngestionEndpoint")
            .then_some(value.trim())
    });
    for endpoint in endpoints {
        if !Url::parse(endpoint).is_ok_and(|url| url.scheme() == "https" && url.has_host()) {
            return Err(malformed("IngestionEndpoint is not a URL with https"));
        }
    }
    let presence = Arc::new(Presence::new("application-insights"));
    let noticed = Arc::clone(&presence);
    let connection = connection.expose().trim().trim_end_matches(';');
    let client = Client::builder().timeout(PATIENCE).build();
    let client = client.context("the HTTP client for Application Insights cannot be made")?;
    let exporter = insights::Exporter::new_from_connection_string(connection, client)
        .map_err(|error| malformed(&error.to_string()))?
        .with_sample_rate(ratio)
        // It tries for half a minute before it gives up.
        .with_retry_notify(move |error, _| noticed.note::<()>(&Err(unavailable(error))));
    Ok(Watched::new(exporter, presence, "application-insights"))
}

fn unavailable(error: &impl fmt::Display) -> Failure {
    Failure::new(FailureKind::Unavailable, error.to_string())
}

/// Counts what an exporter sends, and logs when it begins and ceases to fail instead of each time that it does.
struct Watched<E> {
    exporter: E,
    presence: Arc<Presence>,
    sent: Counter,
    lost: Counter,
}

impl<E> Watched<E> {
    fn new(exporter: E, presence: Arc<Presence>, name: &'static str) -> Self {
        Self {
            exporter,
            presence,
            sent: metrics::counter!(SPANS, "exporter" => name, "outcome" => "sent"),
            lost: metrics::counter!(SPANS, "exporter" => name, "outcome" => "lost"),
        }
    }
}

// The exporters' own form shows the key.
impl<E> fmt::Debug for Watched<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.presence.name())
    }
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let outcome = self.exporter.export(batch).await;
        let outcome = outcome.map_err(|error| unavailable(&error));
        self.presence.note(&outcome);
        match outcome {
            Ok(()) => self.sent.increment(spans),
            Err(_) => self.lost.increment(spans),
        }
        // The batch processor would log every failure.
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
