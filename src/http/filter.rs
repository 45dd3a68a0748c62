//! Which requests are meant, told in the address.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::problem::{Kind, Problem};
use super::query::Accepts;
use crate::records::Filter;
use crate::service::Wanted;

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 500;

/// Part of a dataset that is for validation.
const DEFAULT_VAL: f64 = 0.2;

const LIMIT: &str = "a whole number from 1 to 500";
const RATIO: &str = "a number from 0 to 1";
const BOOLEAN: &str = "true or false";

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Only requests answered with this class
    prediction: Option<String>,
    /// Only answers at least this confident
    #[param(minimum = 0, maximum = 1)]
    min_confidence: Option<f64>,
    /// Only answers at most this confident
    #[param(minimum = 0, maximum = 1)]
    max_confidence: Option<f64>,
    /// Only requests from this time on (RFC 3339)
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Only requests before this time (RFC 3339)
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// Only requests that have been reviewed, or only those that have not
    reviewed: Option<bool>,
    /// Only requests whose latest review has this label
    label: Option<String>,
    /// Only requests whose latest review names another class than the model, or only those where it names the same
    disagrees: Option<bool>,
    /// At most so many requests
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<usize>,
    /// `next_cursor` of the page before
    #[param(pattern = "^[A-Za-z0-9_-]{21}[AQgw]$")]
    cursor: Option<String>,
}

impl Accepts for ListParams {
    const ACCEPTED: &[(&str, &str)] = &[
        ("limit", LIMIT),
        ("min_confidence", RATIO),
        ("max_confidence", RATIO),
        ("reviewed", BOOLEAN),
        ("disagrees", BOOLEAN),
    ];
}

impl ListParams {
    pub(super) fn filter(self) -> Result<Filter, Problem> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(bad(format!("limit is {limit}; accepted is {LIMIT}")));
        }
        Ok(Filter {
            prediction: self.prediction,
            min_confidence: confidence("min_confidence", self.min_confidence)?,
            max_confidence: confidence("max_confidence", self.max_confidence)?,
            from: time("from", self.from)?,
            to: time("to", self.to)?,
            reviewed: self.reviewed,
            label: self.label,
            disagrees: self.disagrees,
            before: self.cursor.map(cursor).transpose()?,
            limit,
        })
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DatasetParams {
    /// Part of the pictures for validation; a picture stays on its side as long as this does not change
    #[param(minimum = 0, maximum = 1, default = 0.2)]
    val: Option<f64>,
    /// Only requests answered with this class
    prediction: Option<String>,
    /// Only answers at least this confident
    #[param(minimum = 0, maximum = 1)]
    min_confidence: Option<f64>,
    /// Only answers at most this confident
    #[param(minimum = 0, maximum = 1)]
    max_confidence: Option<f64>,
    /// Only requests from this time on (RFC 3339)
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Only requests before this time (RFC 3339)
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// With `false`, nothing: only what was reviewed has a label
    reviewed: Option<bool>,
    /// Only requests whose latest review has this label
    label: Option<String>,
    /// Only requests whose latest review names another class than the model, or only those where it names the same
    disagrees: Option<bool>,
}

impl Accepts for DatasetParams {
    const ACCEPTED: &[(&str, &str)] = &[
        ("val", RATIO),
        ("min_confidence", RATIO),
        ("max_confidence", RATIO),
        ("reviewed", BOOLEAN),
        ("disagrees", BOOLEAN),
    ];
}

impl DatasetParams {
    pub(super) fn wanted(self) -> Result<Wanted, Problem> {
        let val = ratio("val", self.val)?.unwrap_or(DEFAULT_VAL);
        let filter = Filter {
            prediction: self.prediction,
            min_confidence: confidence("min_confidence", self.min_confidence)?,
            max_confidence: confidence("max_confidence", self.max_confidence)?,
            from: time("from", self.from)?,
            to: time("to", self.to)?,
            reviewed: self.reviewed,
            label: self.label,
            disagrees: self.disagrees,
            ..Filter::default()
        };
        Ok(Wanted { filter, val })
    }
}

fn bad(detail: String) -> Problem {
    Problem::new(Kind::BadParameter, detail)
}

fn ratio(name: &str, value: Option<f64>) -> Result<Option<f64>, Problem> {
    match value.filter(|value| !(0.0..=1.0).contains(value)) {
        Some(value) => Err(bad(format!("{name} is {value}; accepted is {RATIO}"))),
        None => Ok(value),
    }
}

fn confidence(name: &str, value: Option<f64>) -> Result<Option<f32>, Problem> {
    Ok(ratio(name, value)?.map(|value| value as f32))
}

fn cursor(text: String) -> Result<Uuid, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(text.as_bytes()).ok();
    let id = bytes.and_then(|bytes| Uuid::from_slice(&bytes).ok());
    id.ok_or_else(|| {
        bad(format!(
            "cursor is {text:?}; accepted is the next_cursor of an earlier answer"
        ))
    })
}

fn time(name: &str, text: Option<String>) -> Result<Option<Timestamp>, Problem> {
    let parse = |text: String| {
        text.parse::<Timestamp>().map_err(|_| {
            bad(format!(
                "{name} is {text:?}; accepted is an RFC 3339 time, such as 2026-01-31T12:00:00Z"
            ))
        })
    };
    text.map(parse).transpose()
}
