//! Which requests are meant, told in the address.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::problem::{Kind, Problem};
use super::query::Accepts;
use crate::model::Reference;
use crate::records::{Filter, ModelName};
use crate::service::Wanted;

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 500;

/// Part of a dataset that is for validation.
const DEFAULT_VAL: f64 = 0.2;

const LIMIT: &str = "a whole number from 1 to 500";
const RATIO: &str = "a number from 0 to 1";
const BOOLEAN: &str = "true or false";

/// Query parameters: those that say which requests are meant, and others before and behind them. Serde can tell unknown
/// parameters only from a list of all of them, so the common ones cannot be a struct in another one.
macro_rules! params {
    (
        $(#[doc = $reviewed:literal])+
        $name:ident {$($before:tt)*} {$($behind:tt)*}
        accepts [$($accepted:expr),*]
    ) => {
        #[derive(Deserialize, IntoParams)]
        #[serde(deny_unknown_fields)]
        #[into_params(parameter_in = Query)]
        pub(super) struct $name {
            $($before)*
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
            $(#[doc = $reviewed])+
            reviewed: Option<bool>,
            /// Only requests whose latest review has this label
            label: Option<String>,
            /// Only requests whose latest review names another class than the model, or only those where it names the same
            disagrees: Option<bool>,
            /// Only requests of which another model says another class than was answered, or only those of which it says the same one
            differs: Option<bool>,
            /// Only answers of this model, as `name@version`
            #[param(pattern = "^.+@[^@]+$")]
            model: Option<String>,
            $($behind)*
        }

        impl Accepts for $name {
            const ACCEPTED: &[(&str, &str)] = &[
                $($accepted,)*
                ("min_confidence", RATIO),
                ("max_confidence", RATIO),
                ("reviewed", BOOLEAN),
                ("disagrees", BOOLEAN),
                ("differs", BOOLEAN),
            ];
        }

        impl $name {
            /// The requests that are meant; all pages of them.
            fn meant(&mut self) -> Result<Filter, Problem> {
                Ok(Filter {
                    prediction: self.prediction.take(),
                    min_confidence: confidence("min_confidence", self.min_confidence)?,
                    max_confidence: confidence("max_confidence", self.max_confidence)?,
                    from: time("from", self.from.take())?,
                    to: time("to", self.to.take())?,
                    reviewed: self.reviewed,
                    label: self.label.take(),
                    disagrees: self.disagrees,
                    differs: self.differs,
                    model: self.model.take().map(model).transpose()?,
                    ..Filter::default()
                })
            }
        }
    };
}

params! {
    /// Only requests that have been reviewed, or only those that have not
    ListParams {} {
        /// At most so many requests
        #[param(minimum = 1, maximum = 500, default = 50)]
        limit: Option<usize>,
        /// `next_cursor` of the page before
        #[param(pattern = "^[A-Za-z0-9_-]{21}[AQgw]$")]
        cursor: Option<String>,
    }
    accepts [("limit", LIMIT)]
}

impl ListParams {
    pub(super) fn filter(mut self) -> Result<Filter, Problem> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(bad(format!("limit is {limit}; accepted is {LIMIT}")));
        }
        Ok(Filter {
            before: self.cursor.take().map(cursor).transpose()?,
            limit,
            ..self.meant()?
        })
    }
}

params! {
    /// With `false`, nothing: only what was reviewed has a label
    DatasetParams {
        /// Part of the pictures for validation; a picture stays on its side as long as this does not change
        #[param(minimum = 0, maximum = 1, default = 0.2)]
        val: Option<f64>,
    } {}
    accepts [("val", RATIO)]
}

impl DatasetParams {
    pub(super) fn wanted(mut self) -> Result<Wanted, Problem> {
        let val = ratio("val", self.val)?.unwrap_or(DEFAULT_VAL);
        let filter = self.meant()?;
        Ok(Wanted { filter, val })
    }
}

/// The model that `text` names.
pub(super) fn model(text: String) -> Result<ModelName, Problem> {
    let model: Reference = text.parse().map_err(|_| {
        bad(format!(
            "model is {text:?}; accepted is name@version, as GET /models tells them"
        ))
    })?;
    Ok(model.into())
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
