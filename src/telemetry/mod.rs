//! Logs, metrics and traces.

mod exporters;
mod logs;
pub mod metrics;
mod process;
mod reading;
pub mod request;
mod sampler;
mod throttle;
mod traces;

use metrics_exporter_prometheus::PrometheusHandle;

pub use logs::init as init_logs;
pub use metrics::init as init_metrics;
pub use process::{Usage, usage};
pub use reading::{Histogram, Labels, Reading};
pub use request::{measured, note, stage};
pub use traces::{
    Headers, ServerSpan, Task, Traces, calling, init as init_traces, task, traceparent,
};

/// Variables of OpenTelemetry that hold beside the settings once an exporter is set.
pub const STANDARD_VARIABLES: [&str; 17] = [
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
];

/// All metrics in Prometheus' text format.
pub fn render(metrics: &PrometheusHandle) -> String {
    let mut text = metrics.render();
    text.push_str(&process::render());
    text
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}
