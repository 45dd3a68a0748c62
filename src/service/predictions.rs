//! Counts what was answered.

use metrics::{Counter, Histogram};

use super::drift::{Drift, Psi};
use crate::model::Model;
use crate::records::Record;
use crate::telemetry::metrics::{CONFIDENCE, PREDICTIONS};

/// Classes that are told apart, the first ones of the model; each is 15 series of a metric.
const CLASSES: usize = 64;

/// Label of the other classes.
const OTHER: &str = "other";

pub(super) struct Predictions {
    classes: Vec<Meters>,
    other: Meters,
    drift: Option<Drift>,
}

struct Meters {
    answers: Counter,
    confidence: Histogram,
}

impl Predictions {
    /// All classes begin at zero, so that the first answer of a class counts in rates.
    pub(super) fn of(model: &Model) -> Self {
        let labels = model.labels.iter().take(CLASSES);
        Self {
            classes: labels.cloned().map(Meters::of).collect(),
            other: Meters::of(OTHER.to_owned()),
            drift: Drift::new(model),
        }
    }

    pub(super) fn count(&self, record: &Record) {
        let Some(best) = record.top.first() else {
            return;
        };
        let meters = self.classes.get(best.index as usize).unwrap_or(&self.other);
        meters.answers.increment(1);
        meters.confidence.record(f64::from(best.confidence));
        if let Some(drift) = &self.drift {
            drift.count(record);
        }
    }

    /// How far the latest answers are from the model's baseline; nothing without one, or after too few answers.
    pub(super) fn drift(&self) -> Option<Psi> {
        self.drift.as_ref()?.psi()
    }
}

impl Meters {
    fn of(class: String) -> Self {
        Self {
            answers: metrics::counter!(PREDICTIONS, "class" => class.clone()),
            confidence: metrics::histogram!(CONFIDENCE, "class" => class),
        }
    }
}
