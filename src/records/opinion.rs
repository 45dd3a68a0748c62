//! What another model says of pictures that were answered.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Filter, ModelName, Record};

/// What another model says of the same picture: one that is tried out beside the one that answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Opinion {
    /// UUIDv7; its order is the order of the opinions.
    pub opinion_id: Uuid,
    /// The other model.
    pub model: ModelName,
    /// Its most likely class.
    #[schema(example = "aberta")]
    pub prediction: String,
    /// Probability of that class, 0 to 1.
    #[schema(example = 0.97)]
    pub confidence: f32,
    /// Milliseconds of decoding, preprocessing and inference.
    #[schema(example = 2.9)]
    pub inference_ms: f64,
    /// Whether its class is the one that was answered.
    pub agrees: bool,
}

impl Opinion {
    /// Takes the place of another, unless that is later.
    pub(super) fn replace(self, other: &mut Option<Self>) {
        let is_later = |kept: &Self| kept.opinion_id > self.opinion_id;
        if !other.as_ref().is_some_and(is_later) {
            *other = Some(self);
        }
    }
}

impl Filter {
    /// Whether a record passes as far as the other model's opinion is concerned.
    pub(super) fn passes_opinion(&self, record: &Record) -> bool {
        let differs = record.opinion.as_ref().map(|opinion| !opinion.agrees);
        self.differs
            .is_none_or(|wanted| differs.is_some_and(|differs| differs == wanted))
    }
}
