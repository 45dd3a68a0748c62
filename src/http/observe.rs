//! Counts, logs and traces every request.

use std::sync::Arc;
use std::time::Instant;

use axum::body::HttpBody;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use axum::middleware::Next;
use axum::response::Response;
use metrics::Gauge;
use opentelemetry::KeyValue;

use super::{App, problem};
use crate::service::Stage;
use crate::telemetry::request::{self, Current};
use crate::telemetry::{Headers, ServerSpan, calling};

const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// No answer is to be taken for anything but what its content type says.
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// Name of the access log for `RUST_LOG`.
const ACCESS: &str = "relance::access";

/// Label of routes and methods that are not known.
const OTHER: &str = "other";

/// As nginx calls a request whose client went away before the answer.
const CLIENT_GONE: u16 = 499;

pub(super) async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let exchange = Exchange::begin(&app, &request);
    let language = request.headers().get(header::ACCEPT_LANGUAGE).cloned();
    let current = Current::new(exchange.trace(), exchange.is_recording());
    let caller = exchange.span.as_ref().and_then(ServerSpan::traceparent);
    let one_at_a_time = request.version() < Version::HTTP_2;
    let answering = async {
        let mut response = next.run(request).await;
        problem::translate(&mut response, language.as_ref());
        exchange.end(&response);
        let headers = response.headers_mut();
        headers.insert(SERVED_BY, app.served_by.clone());
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        // Connections end with an answer while it drains; closed later, some would break under the next request.
        if one_at_a_time && app.lifecycle.stage() == Stage::Draining {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let id = request::ids().map(|ids| HeaderValue::try_from(ids.request.to_string()));
        if let Some(Ok(id)) = id {
            headers.entry(REQUEST_ID).or_insert(id);
        }
        response
    };
    calling(caller, current.scope(answering)).await
}

impl Headers for HeaderMap {
    fn get(&self, name: &str) -> Option<&str> {
        HeaderMap::get(self, name).and_then(|value| value.to_str().ok())
    }
}

/// A request on its way to its answer. Dropped without one, the client has gone.
struct Exchange {
    app: Arc<App>,
    start: Instant,
    method: &'static str,
    route: Option<MatchedPath>,
    path: String,
    bytes: u64,
    span: Option<ServerSpan>,
    in_flight: Option<Gauge>,
    answered: bool,
}

/// Probes and scrapes would drown what matters.
fn is_noise(route: Option<&MatchedPath>) -> bool {
    let path = route.map_or("", MatchedPath::as_str);
    path == "/metrics" || path.starts_with("/health") || path.starts_with("/v2/health")
}

impl Exchange {
    fn begin(app: &Arc<App>, request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>().cloned();
        let noise = is_noise(route.as_ref());
        let span = (!noise).then(|| ServerSpan::begin(request.headers()));
        let records = span.as_ref().is_some_and(ServerSpan::is_recording);
        let in_flight = (!noise).then(|| app.meters.in_flight.clone());
        if let Some(gauge) = &in_flight {
            gauge.increment(1.0);
        }
        Self {
            app: Arc::clone(app),
            start: Instant::now(),
            method: method(request.method()),
            route,
            path: if records {
                request.uri().path().to_owned()
            } else {
                String::new()
            },
            bytes: length(request.headers()),
            span,
            in_flight,
            answered: false,
        }
    }

    fn trace(&self) -> Option<opentelemetry::TraceId> {
        self.span.as_ref().and_then(ServerSpan::trace)
    }

    fn is_recording(&self) -> bool {
        self.span.as_ref().is_some_and(ServerSpan::is_recording)
    }

    fn end(mut self, response: &Response) {
        self.answered = true;
        let bytes = response.body().size_hint().exact();
        self.tell(response.status().as_u16(), bytes);
    }

    fn tell(&mut self, status: u16, bytes: Option<u64>) {
        let time = self.start.elapsed();
        // Unknown paths are one series, or a scanner could make any number of them.
        let route = self.route.as_ref().map_or(OTHER, MatchedPath::as_str);
        self.app.meters.count(self.method, route, status, time);
        let micros = (time.as_secs_f64() * 1e6).round();
        self.log(route, status, bytes, micros / 1e3);
        if let Some(span) = self.span.take().filter(ServerSpan::is_recording) {
            let name = format!("{} {route}", self.method);
            let attributes = self.attributes(route, status);
            span.end(name, attributes, status >= 500);
        }
    }

    fn log(&self, route: &str, status: u16, bytes: Option<u64>, millis: f64) {
        let (method, client) = (self.method, request::client());
        let (client, sent) = (client.as_deref(), bytes);
        if status >= 500 {
            tracing::warn!(target: ACCESS, method, route, status, millis, client, bytes = self.bytes, sent, "request");
        } else if !is_noise(self.route.as_ref()) {
            tracing::debug!(target: ACCESS, method, route, status, millis, client, bytes = self.bytes, sent, "request");
        }
    }

    /// By OpenTelemetry's semantic conventions for HTTP servers.
    fn attributes(&self, route: &str, status: u16) -> Vec<KeyValue> {
        let method = if self.method == OTHER {
            "_OTHER"
        } else {
            self.method
        };
        let path = self.path.clone();
        let mut attributes = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.response.status_code", i64::from(status)),
            KeyValue::new("http.request.body.size", self.bytes as i64),
            KeyValue::new("url.scheme", "http"),
            KeyValue::new("url.path", path),
        ];
        if self.route.is_some() {
            attributes.push(KeyValue::new("http.route", route.to_owned()));
        }
        if status >= 500 {
            attributes.push(KeyValue::new("error.type", status.to_string()));
        }
        if let Some(ids) = request::ids() {
            attributes.push(KeyValue::new("relance.request_id", ids.request.to_string()));
        }
        if let Some(client) = request::client() {
            attributes.push(KeyValue::new("user.id", client));
        }
        attributes
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.answered {
            self.tell(CLIENT_GONE, None);
        }
        if let Some(gauge) = &self.in_flight {
            gauge.decrement(1.0);
        }
    }
}

/// Unknown methods are one, or a client could make any number of series.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => OTHER,
    }
}

fn length(headers: &HeaderMap) -> u64 {
    let length = headers.get(header::CONTENT_LENGTH);
    length
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .unwrap_or(0)
}
