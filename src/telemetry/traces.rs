//! Spans: one for each request that is recorded, and below it one for each of its stages.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanKind, Status, TraceContextExt, TraceId, Tracer, TracerProvider,
};
use opentelemetry::{Context, Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, ShouldSample, Span};

use super::{exporters, request, sampler};
use crate::settings::Telemetry;

/// Longest wait for each exporter at the end.
const FLUSH: Duration = Duration::from_secs(2);

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// The exporters under way; what they still hold is sent, for 2 s each at most, when this is dropped.
#[derive(Debug)]
#[must_use = "spans are sent as long as this lives"]
pub struct Traces(Option<SdkTracerProvider>);

/// Starts the exporters that are set; without any, nothing is recorded.
///
/// # Errors
/// If an exporter's settings cannot be used.
pub fn init(settings: &Telemetry, instance: &str) -> anyhow::Result<Traces> {
    let otlp = settings.otel_exporter_otlp_endpoint.as_deref();
    let insights = settings.applicationinsights_connection_string.as_ref();
    if otlp.is_none() && insights.is_none() {
        return Ok(Traces(None));
    }
    let (sampler, ratio) = sampler::sampler(settings);
    let sampler: Box<dyn ShouldSample> = Box::new(sampler);
    let mut provider = SdkTracerProvider::builder()
        .with_resource(resource(instance))
        .with_sampler(sampler);
    if let Some(endpoint) = otlp {
        provider = provider.with_batch_exporter(exporters::otlp(endpoint)?);
    }
    if let Some(connection) = insights {
        provider =
            provider.with_batch_exporter(exporters::application_insights(connection, ratio)?);
    }
    let provider = provider.build();
    // Only the first one counts, as for logs and metrics.
    let _ = TRACER.set(provider.tracer(env!("CARGO_PKG_NAME")));
    Ok(Traces(Some(provider)))
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some(provider) = &self.0 {
            // The exporters have told what does not work.
            let _ = provider.shutdown_with_timeout(FLUSH);
        }
    }
}

/// What is known of this process; the standard variables go before it.
fn resource(instance: &str) -> Resource {
    let named = Resource::builder().build();
    let ours = [
        ("service.name", env!("CARGO_PKG_NAME")),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", instance),
    ];
    let missing = ours.into_iter().filter(|(key, _)| {
        let given = named.get(&Key::new(*key));
        given.is_none_or(|value| value.as_str().starts_with("unknown_service"))
    });
    Resource::builder()
        .with_attributes(missing.map(|(key, value)| KeyValue::new(key, value.to_owned())))
        .build()
}

/// Reads the header of a request by its name.
pub trait Headers {
    /// The value of the header `name`, if it is there and is text.
    fn get(&self, name: &str) -> Option<&str>;
}

struct Incoming<'a, H>(&'a H);

impl<H: Headers> Extractor for Incoming<'_, H> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)
    }

    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// The span of a request, continuing the caller's trace if its headers tell one (W3C Trace Context).
#[derive(Debug)]
pub struct ServerSpan {
    span: Option<Span>,
    trace: Option<TraceId>,
    start: (Instant, SystemTime),
}

impl ServerSpan {
    /// Begins it. The name is given at the end, when the request is known.
    pub fn begin(headers: &impl Headers) -> Self {
        let start = (Instant::now(), SystemTime::now());
        let parent = headers.get("traceparent").map(|_| {
            TraceContextPropagator::new().extract_with_context(&Context::new(), &Incoming(headers))
        });
        let Some(tracer) = TRACER.get() else {
            let trace = parent.map(|parent| parent.span().span_context().trace_id());
            return Self {
                span: None,
                trace: trace.filter(|trace| *trace != TraceId::INVALID),
                start,
            };
        };
        let builder = SpanBuilder::from_name("HTTP request")
            .with_kind(SpanKind::Server)
            .with_start_time(start.1);
        let span = tracer.build_with_context(builder, &parent.unwrap_or_default());
        Self {
            trace: Some(span.span_context().trace_id()),
            span: span.is_recording().then_some(span),
            start,
        }
    }

    /// The trace it is part of, if there is one.
    pub fn trace(&self) -> Option<TraceId> {
        self.trace
    }

    /// The header `traceparent` for calls to others; nothing if it is not recorded.
    pub fn traceparent(&self) -> Option<String> {
        self.span.as_ref().map(header)
    }

    /// Whether it will be sent anywhere.
    pub fn is_recording(&self) -> bool {
        self.span.is_some()
    }

    /// Ends it, and makes the spans of the stages of the current request.
    pub fn end(self, name: String, attributes: Vec<KeyValue>, failed: bool) {
        let (Some(mut span), Some(tracer)) = (self.span, TRACER.get()) else {
            return;
        };
        let recording = request::take_recording();
        let parent = Context::new().with_remote_span_context(span.span_context().clone());
        let (begin, time) = self.start;
        for stage in recording.stages {
            let start = time + stage.start.saturating_duration_since(begin);
            let builder = SpanBuilder::from_name(stage.name).with_start_time(start);
            let mut span = tracer.build_with_context(builder, &parent);
            span.end_with_timestamp(start + stage.length);
        }
        span.update_name(name);
        span.set_attributes(attributes);
        let notes = recording.notes.into_iter();
        span.set_attributes(notes.map(|(key, value)| KeyValue::new(key, value)));
        if failed {
            span.set_status(Status::error(""));
        }
        // By the clock of the stages, which the system's may not agree with.
        span.end_with_timestamp(time + begin.elapsed());
    }
}

/// Begins a span for work in the background, with a trace of its own; it ends when this is dropped.
pub fn task(name: &'static str) -> Task {
    let begin = |tracer: &SdkTracer| {
        tracer.build_with_context(SpanBuilder::from_name(name), &Context::new())
    };
    Task(TRACER.get().map(begin).filter(Span::is_recording))
}

/// Work in the background.
#[derive(Debug)]
#[must_use = "the task ends when this is dropped"]
pub struct Task(Option<Span>);

tokio::task_local! {
    static CALLER: String;
}

/// The header `traceparent` for calls made here; nothing where no span is recorded.
pub fn traceparent() -> Option<String> {
    CALLER.try_with(String::clone).ok()
}

/// Lets `work` call others with this header.
pub async fn calling<F: Future>(header: Option<String>, work: F) -> F::Output {
    match header {
        Some(header) => CALLER.scope(header, work).await,
        None => work.await,
    }
}

fn header(span: &Span) -> String {
    let context = span.span_context();
    let (trace, id) = (context.trace_id(), context.span_id());
    format!("00-{trace}-{id}-{:02x}", context.trace_flags())
}

impl Task {
    /// Lets `work` call others as a part of this.
    pub async fn scope<F: Future>(&self, work: F) -> F::Output {
        calling(self.0.as_ref().map(header), work).await
    }

    /// Notes a number, such as how much was done.
    pub fn note(&mut self, name: &'static str, value: u64) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(
                name,
                i64::try_from(value).unwrap_or(i64::MAX),
            ));
        }
    }

    /// Notes that it did not succeed.
    pub fn fail(&mut self, why: &str) {
        if let Some(span) = &mut self.0 {
            span.set_status(Status::error(why.to_owned()));
        }
    }
}
