//! Why a request is not answered.

use std::fmt;

use crate::access::Exceeded;
use crate::service::Refusal;

/// A request that is not answered; the text says what is accepted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The request breaks the protocol or does not fit the model.
    #[error("{0}")]
    Invalid(String),
    /// There is no such model or version.
    #[error("{0}")]
    UnknownModel(String),
    /// More bytes than are accepted.
    #[error("{0}")]
    TooLarge(String),
    /// More pictures than the client may send in a minute.
    #[error("more pictures than the client may send in a minute")]
    RateLimited(Exceeded),
    /// The pipeline's refusal, and which of several pictures it is about.
    #[error("{refusal}")]
    Refused {
        /// Why.
        refusal: Refusal,
        /// Of which one, if it is one's alone.
        place: Option<Place>,
    },
}

/// One of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "element {} of {}", self.number, self.of)
    }
}
