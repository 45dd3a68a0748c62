//! Metrics of requests.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::model::Model;
use crate::telemetry::metrics::{BUILD_INFO, HTTP_IN_FLIGHT, HTTP_REQUESTS, HTTP_SECONDS};

/// The series that have begun. Looking one up here costs a fraction of asking the recorder for it.
pub(super) struct Meters {
    pub in_flight: Gauge,
    routes: RwLock<HashMap<String, Route>>,
}

struct Route {
    seconds: Histogram,
    requests: Vec<(&'static str, u16, Counter)>,
}

impl Meters {
    pub(super) fn new(model: &Model) -> Self {
        gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION"), "provider" => model.provider.to_string(), "precision" => model.precision.to_string())
        .set(1.0);
        Self {
            in_flight: gauge!(HTTP_IN_FLIGHT),
            routes: RwLock::default(),
        }
    }

    /// Counts a request. Methods, routes and statuses must each be few.
    pub(super) fn count(&self, method: &'static str, route: &str, status: u16, time: Duration) {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = routes.get(route)
            && let Some(requests) = known.requests(method, status)
        {
            requests.increment(1);
            known.seconds.record(time);
            return;
        }
        drop(routes);
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let new = routes.entry(route.to_owned()).or_insert_with(|| Route {
            seconds: histogram!(HTTP_SECONDS, "route" => route.to_owned()),
            requests: Vec::new(),
        });
        new.seconds.record(time);
        match new.requests(method, status) {
            Some(requests) => requests.increment(1),
            None => {
                let requests = counter!(HTTP_REQUESTS, "method" => method, "route" => route.to_owned(),
                    "status" => status.to_string());
                requests.increment(1);
                new.requests.push((method, status, requests));
            }
        }
    }
}

impl Route {
    fn requests(&self, method: &str, status: u16) -> Option<&Counter> {
        let found = self
            .requests
            .iter()
            .find(|known| known.0 == method && known.1 == status);
        found.map(|(_, _, requests)| requests)
    }
}
