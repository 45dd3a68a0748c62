//! Counters since the start of the program, read from its metrics.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::telemetry::metrics::{
    CONFIDENCE, GRPC_REQUESTS, GRPC_SECONDS, HTTP_REQUESTS, HTTP_SECONDS, PREDICTIONS, RESULTS,
};
use crate::telemetry::{Histogram, Labels, Reading, Usage};

/// The call of gRPC that classifies.
const GRPC_INFER: &str = "inference.GRPCInferenceService/ModelInfer";

pub(super) struct Totals {
    pub requests: Requests,
    pub latency: Histogram,
    pub hits: u64,
    pub misses: u64,
    pub classes: BTreeMap<String, u64>,
    pub confidence: Histogram,
    pub cpu_seconds: f64,
}

/// Requests to classify, over HTTP and gRPC, by class of their status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub(in crate::http) struct Requests {
    /// Answered.
    #[serde(rename = "2xx")]
    #[schema(example = 41)]
    answered: u64,
    /// The client's fault, or the client had gone.
    #[serde(rename = "4xx")]
    #[schema(example = 1)]
    client: u64,
    /// The server's fault, or it was too busy.
    #[serde(rename = "5xx")]
    #[schema(example = 0)]
    server: u64,
    /// Of these, those that may be sent again later: 429 and 503.
    #[schema(example = 0)]
    refused: u64,
}

impl Requests {
    pub(super) fn classes(&self) -> [(&'static str, u64); 3] {
        [
            ("2xx", self.answered),
            ("4xx", self.client),
            ("5xx", self.server),
        ]
    }

    fn add(&mut self, status: u16, count: u64) {
        match status {
            ..400 => self.answered += count,
            400..500 => self.client += count,
            _ => self.server += count,
        }
        if matches!(status, 429 | 503) {
            self.refused += count;
        }
    }

    fn read(reading: &Reading<'_>) -> Self {
        let mut requests = Self::default();
        for (labels, count) in reading.series(HTTP_REQUESTS) {
            let status = labels.get("status").and_then(|status| status.parse().ok());
            if is(labels, "method", "POST") && (is_single(labels) || is_batch(labels)) {
                requests.add(status.unwrap_or_default(), count as u64);
            }
        }
        for (labels, count) in reading.series(GRPC_REQUESTS) {
            if is(labels, "method", GRPC_INFER) {
                let status = status(&labels.get("code").unwrap_or_default());
                requests.add(status, count as u64);
            }
        }
        requests
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            answered: self.answered.saturating_sub(before.answered),
            client: self.client.saturating_sub(before.client),
            server: self.server.saturating_sub(before.server),
            refused: self.refused.saturating_sub(before.refused),
        }
    }
}

/// The HTTP status that stands for one of gRPC.
fn status(code: &str) -> u16 {
    match code {
        "OK" => 200,
        "RESOURCE_EXHAUSTED" => 429,
        "UNAVAILABLE" => 503,
        "UNKNOWN" | "INTERNAL" | "DATA_LOSS" | "DEADLINE_EXCEEDED" => 500,
        _ => 400,
    }
}

fn is(labels: Labels<'_>, name: &str, value: &str) -> bool {
    labels.get(name).is_some_and(|found| found == value)
}

/// Whether it is a route that classifies one picture, so that times can be compared.
fn is_single(labels: Labels<'_>) -> bool {
    let route = labels.get("route").unwrap_or_default();
    route == "/predict" || route.ends_with("/infer")
}

fn is_batch(labels: Labels<'_>) -> bool {
    is(labels, "route", "/predict/batch")
}

impl Totals {
    pub(super) fn read(reading: &Reading<'_>, usage: Usage) -> Self {
        let mut latency = reading.histogram(HTTP_SECONDS, is_single);
        let grpc = reading.histogram(GRPC_SECONDS, |labels| is(labels, "method", GRPC_INFER));
        if latency.counts.is_empty() {
            latency = grpc;
        } else {
            let counts = latency.counts.iter_mut().zip(grpc.counts);
            counts.for_each(|(sum, more)| *sum += more);
        }
        let results = |of_model: bool| {
            let sum = reading.sum(RESULTS, |labels| is(labels, "source", "model") == of_model);
            sum as u64
        };
        let classes = reading.series(PREDICTIONS);
        Self {
            requests: Requests::read(reading),
            latency,
            hits: results(false),
            misses: results(true),
            classes: classes
                .filter_map(|(labels, count)| {
                    Some((labels.get("class")?.into_owned(), count as u64))
                })
                .collect(),
            confidence: reading.histogram(CONFIDENCE, |_| true),
            cpu_seconds: usage.cpu_seconds,
        }
    }

    /// What was added since `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        let grown = self.classes.iter().filter_map(|(class, count)| {
            let known = before.classes.get(class).copied().unwrap_or_default();
            let more = count.saturating_sub(known);
            (more > 0).then(|| (class.clone(), more))
        });
        Self {
            requests: self.requests.since(&before.requests),
            latency: self.latency.since(&before.latency),
            hits: self.hits.saturating_sub(before.hits),
            misses: self.misses.saturating_sub(before.misses),
            classes: grown.collect(),
            confidence: self.confidence.since(&before.confidence),
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
relance_http_requests_total{method="POST",route="/predict",status="200"} 5
relance_http_requests_total{method="POST",route="/predict",status="503"} 2
relance_http_requests_total{method="POST",route="/predict/batch",status="200"} 1
relance_http_requests_total{method="POST",route="/v2/models/{model}/infer",status="400"} 3
relance_http_requests_total{method="GET",route="/requests",status="200"} 90
relance_grpc_requests_total{method="inference.GRPCInferenceService/ModelInfer",code="OK"} 4
relance_grpc_requests_total{method="inference.GRPCInferenceService/ModelInfer",code="UNAVAILABLE"} 1
relance_grpc_requests_total{method="inference.GRPCInferenceService/ServerLive",code="OK"} 50
relance_results_total{source="model"} 7
relance_results_total{source="memory"} 2
relance_results_total{source="redis"} 1
relance_predictions_total{class="a"} 8
relance_predictions_total{class="b"} 0
"#;

    #[test]
    fn only_requests_that_classify_count() {
        let totals = Totals::read(&Reading::of(TEXT), Usage::default());
        let expected = Requests {
            answered: 10,
            client: 3,
            server: 3,
            refused: 3,
        };
        assert_eq!(totals.requests, expected);
        assert_eq!((totals.hits, totals.misses), (3, 7));
        let grown = totals.since(&totals);
        assert_eq!(grown.requests, Requests::default());
        assert!(grown.classes.is_empty());
    }
}
