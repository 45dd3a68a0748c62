//! Logs and metrics.

use std::io::IsTerminal;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::settings::{LogFormat, Operation};

/// Sends logs to standard error.
///
/// # Errors
/// If the filter is malformed.
pub fn init_logs(operation: &Operation) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&operation.rust_log).with_context(|| {
        format!(
            "RUST_LOG is {:?}; accepted are filters such as info,relance=debug",
            operation.rust_log
        )
    })?;
    let colours = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(std::io::stderr);
    match operation.log_format {
        LogFormat::Text => logs.with_target(false).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Upper bounds of the time histograms, in seconds.
const SECONDS: [f64; 15] = [
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// Starts collecting metrics.
///
/// # Errors
/// If another recorder is installed.
pub fn init_metrics() -> anyhow::Result<PrometheusHandle> {
    let groups = [
        1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
    ];
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_records".into()), &groups)?
        .install_recorder()?;
    Ok(handle)
}
