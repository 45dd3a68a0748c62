//! Errors as RFC 9457 problem details.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::language::{self, Language};
use crate::image::ImageError;
use crate::oip::Place;
use crate::registry::RegistryError;
use crate::service::{ModelRefusal, Refusal};
use crate::storage::StorageError;
use crate::telemetry::request;

/// An error answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Stable name of the kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "urn:relance:problem:unsupported-picture")]
    kind: String,
    /// The kind in words.
    #[schema(example = "Not a supported picture")]
    title: &'static str,
    /// HTTP status.
    #[schema(example = 415)]
    status: u16,
    /// What is wrong with this request, and what is accepted.
    detail: String,
    /// Same as `detail`, where clients of older services look for it.
    error: String,
    /// Identifier of this request, which the logs tell too.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Uuid>,
    /// Trace it is part of (W3C Trace Context), if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "0af7651916cd43dd8448eb211c80319c")]
    trace_id: Option<String>,
    #[serde(skip)]
    slug: &'static str,
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

macro_rules! kinds {
    ($(#[doc = $meaning:literal] $variant:ident = $status:ident, $slug:literal, $title:literal;)*) => {
        /// Every kind of problem with its status, stable name and title.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $(#[doc = $meaning] $variant),* }

        impl Kind {
            /// All of them.
            pub(super) const ALL: &[Self] = &[$(Self::$variant),*];

            /// What it means, in a sentence.
            pub(super) fn meaning(self) -> &'static str {
                let text = match self { $(Self::$variant => $meaning),* };
                text.trim()
            }

            fn parts(self) -> (StatusCode, &'static str, &'static str) {
                match self { $(Self::$variant => (StatusCode::$status, $slug, $title)),* }
            }
        }
    };
}

kinds! {
    /// A parameter is wrong.
    BadParameter = BAD_REQUEST, "bad-parameter", "Bad parameter";
    /// There are no bytes to classify.
    EmptyBody = BAD_REQUEST, "empty-body", "Empty body";
    /// No field `image` or `file`.
    MissingField = BAD_REQUEST, "missing-field", "Missing field";
    /// More than one picture.
    SeveralPictures = BAD_REQUEST, "several-pictures", "Several pictures in one request";
    /// The multipart body breaks its own rules.
    BadMultipart = BAD_REQUEST, "malformed-multipart", "Malformed multipart body";
    /// The body ended early or could not be read.
    BadBody = BAD_REQUEST, "unreadable-body", "Unreadable body";
    /// JSON that names no stored picture.
    BadReference = BAD_REQUEST, "bad-reference", "Malformed reference";
    /// JSON that is no review.
    BadReview = BAD_REQUEST, "bad-review", "Malformed review";
    /// JSON that is no change of models.
    BadModelChange = BAD_REQUEST, "bad-model-change", "Malformed change of models";
    /// There is no such picture.
    UnknownReference = NOT_FOUND, "unknown-reference", "No such stored picture";
    /// There is no such model.
    UnknownModel = NOT_FOUND, "unknown-model", "No such model";
    /// No or wrong credentials.
    Unauthorised = UNAUTHORIZED, "unauthorised", "Credentials needed";
    /// The client may not do this.
    Forbidden = FORBIDDEN, "forbidden", "Not allowed";
    /// Nothing here.
    NotFound = NOT_FOUND, "not-found", "Not found";
    /// Wrong method.
    MethodNotAllowed = METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed";
    /// The body came too slowly.
    SlowBody = REQUEST_TIMEOUT, "slow-body", "Body came too slowly";
    /// Too many bytes.
    TooLarge = PAYLOAD_TOO_LARGE, "too-large", "Upload too large";
    /// Too many pixels.
    TooManyPixels = PAYLOAD_TOO_LARGE, "too-many-pixels", "Picture has too many pixels";
    /// A body of a type that cannot hold what is wanted.
    UnsupportedType = UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported content type";
    /// Content that is no picture in a known format.
    UnsupportedPicture = UNSUPPORTED_MEDIA_TYPE, "unsupported-picture", "Not a supported picture";
    /// A picture that cannot be decoded.
    DamagedPicture = UNPROCESSABLE_ENTITY, "damaged-picture", "Picture cannot be decoded";
    /// A label that is no class of the model that answered.
    UnknownLabel = UNPROCESSABLE_ENTITY, "unknown-label", "Unknown label";
    /// A model that cannot be served.
    UnusableModel = UNPROCESSABLE_ENTITY, "unusable-model", "Model cannot be served";
    /// A change of models that does not go with how things are.
    ModelConflict = CONFLICT, "model-conflict", "Models cannot be changed like that";
    /// Our fault.
    Internal = INTERNAL_SERVER_ERROR, "internal", "Internal error";
    /// The client has used up what it may do in a minute.
    RateLimited = TOO_MANY_REQUESTS, "rate-limited", "Too many requests";
    /// Too many wrong credentials.
    LoginThrottled = TOO_MANY_REQUESTS, "login-throttled", "Too many wrong credentials";
    /// Too much to do.
    Busy = SERVICE_UNAVAILABLE, "busy", "Too busy";
    /// The disk cannot be written.
    StorageUnavailable = SERVICE_UNAVAILABLE, "storage-unavailable", "Storage not available";
    /// The registry of models cannot be used.
    ModelsUnavailable = SERVICE_UNAVAILABLE, "models-unavailable", "Models not available";
    /// The time is over.
    Deadline = GATEWAY_TIMEOUT, "deadline", "Not answered in time";
    /// Too much waits for the shared stores.
    SpoolFull = INSUFFICIENT_STORAGE, "spool-full", "Too much waits for the shared stores";
    /// The disk is full.
    StorageFull = INSUFFICIENT_STORAGE, "storage-full", "Storage full";
}

impl Kind {
    pub(super) fn status(self) -> StatusCode {
        self.parts().0
    }

    pub(super) fn slug(self) -> &'static str {
        self.parts().1
    }

    pub(super) fn title(self) -> &'static str {
        self.parts().2
    }

    /// Stable name.
    pub(super) fn urn(self) -> String {
        format!("urn:relance:problem:{}", self.slug())
    }

    /// Whether only a request with a body can have it.
    pub(super) fn needs_body(self) -> bool {
        !matches!(
            self,
            Self::BadParameter
                | Self::Unauthorised
                | Self::LoginThrottled
                | Self::NotFound
                | Self::Internal
                | Self::Busy
                | Self::StorageUnavailable
                | Self::Forbidden
                | Self::UnknownModel
                | Self::ModelConflict
                | Self::ModelsUnavailable
                | Self::Deadline
        )
    }
}

impl Kind {
    /// Whether only a request that brings a picture can have it.
    pub(super) fn is_of_pictures(self) -> bool {
        matches!(
            self,
            Self::EmptyBody
                | Self::MissingField
                | Self::SeveralPictures
                | Self::BadMultipart
                | Self::BadReference
                | Self::UnknownReference
                | Self::TooManyPixels
                | Self::UnsupportedPicture
                | Self::DamagedPicture
        )
    }

    /// Whether only a request that is about models can have it.
    pub(super) fn is_of_models(self) -> bool {
        matches!(
            self,
            Self::BadModelChange | Self::Forbidden | Self::ModelConflict
        )
    }

    /// Whether only a request that chooses a model can have it.
    pub(super) fn is_of_choice(self) -> bool {
        matches!(
            self,
            Self::UnknownModel | Self::UnusableModel | Self::ModelsUnavailable
        )
    }

    /// Whether only a request that brings a review can have it.
    pub(super) fn is_of_reviews(self) -> bool {
        matches!(self, Self::BadReview | Self::UnknownLabel)
    }
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let error = detail.clone();
        let ids = request::ids();
        Self {
            kind: kind.urn(),
            title: kind.title(),
            status: kind.status().as_u16(),
            detail,
            error,
            request_id: ids.map(|ids| ids.request),
            trace_id: ids.and_then(|ids| Some(ids.trace?.to_string())),
            slug: kind.slug(),
            headers: Vec::new(),
        }
    }

    /// What is wrong, and what is accepted.
    pub(crate) fn into_detail(self) -> String {
        self.detail
    }

    /// Whether the fault is on this side.
    pub(super) fn is_ours(&self) -> bool {
        self.status >= 500
    }

    pub(super) fn with(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Why one of several pictures was refused.
    pub(crate) fn about(refusal: Refusal, place: Option<Place>) -> Self {
        let mut problem = Self::from(refusal);
        if let Some(place) = place {
            problem.detail = format!("{place}: {}", problem.detail);
            problem.error.clone_from(&problem.detail);
        }
        problem
    }

    pub(super) fn retry_after(self, seconds: u64) -> Self {
        self.with(header::RETRY_AFTER, seconds)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Picture(error) => Self::new(picture_kind(&error), detail),
            Refusal::NotFinite => Self::new(Kind::BadParameter, detail),
            Refusal::Busy { retry_after } | Refusal::Exports { retry_after } => {
                Self::new(Kind::Busy, detail).retry_after(retry_after.as_secs().max(1))
            }
            Refusal::Model(refusal) => refusal.into(),
            Refusal::Deadline => Self::new(Kind::Deadline, detail),
            Refusal::Storage(StorageError::Full(_)) => Self::new(Kind::StorageFull, detail),
            Refusal::Storage(StorageError::SpoolFull(_)) => {
                Self::new(Kind::SpoolFull, detail).retry_after(30)
            }
            Refusal::Storage(StorageError::TooLarge { .. }) => Self::new(Kind::TooLarge, detail),
            Refusal::Storage(StorageError::Unavailable(_) | StorageError::Unusable(_)) => {
                Self::new(Kind::StorageUnavailable, detail).retry_after(5)
            }
            Refusal::Internal(cause) => {
                tracing::error!("{cause}");
                Self::new(
                    Kind::Internal,
                    "something went wrong on our side; the logs say what",
                )
            }
        }
    }
}

impl From<ModelRefusal> for Problem {
    fn from(refusal: ModelRefusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            ModelRefusal::Unknown { .. } | ModelRefusal::NoCandidate => {
                Self::new(Kind::UnknownModel, detail)
            }
            ModelRefusal::Unusable { .. } => Self::new(Kind::UnusableModel, detail),
            ModelRefusal::BadShare(_) => Self::new(Kind::BadModelChange, detail),
            ModelRefusal::Fixed
            | ModelRefusal::IsActive(_)
            | ModelRefusal::Registry(RegistryError::Changed) => {
                Self::new(Kind::ModelConflict, detail)
            }
            ModelRefusal::Registry(_) => Self::new(Kind::ModelsUnavailable, detail).retry_after(5),
        }
    }
}

fn picture_kind(error: &ImageError) -> Kind {
    match error {
        ImageError::Empty => Kind::EmptyBody,
        ImageError::Unrecognised { .. } | ImageError::Unsupported { .. } => {
            Kind::UnsupportedPicture
        }
        ImageError::TooManyPixels { .. } | ImageError::TooLong { .. } => Kind::TooManyPixels,
        ImageError::NoPixels { .. } | ImageError::Truncated { .. } | ImageError::Damaged { .. } => {
            Kind::DamagedPicture
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = std::mem::take(&mut self.headers);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let content_type = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(header::CONTENT_TYPE, content_type)], body).into_response();
        response.headers_mut().extend(headers);
        // Which language is wanted is known further out.
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives the problem in `response`, if there is one, its title in the language that is preferred by
/// `Accept-Language`.
pub(super) fn translate(response: &mut Response, accept_language: Option<&HeaderValue>) {
    let Some(mut problem) = response.extensions_mut().remove::<Problem>() else {
        return;
    };
    let language = language::preferred(accept_language);
    if language == Language::Portuguese {
        problem.title = language::portuguese(problem.slug).unwrap_or(problem.title);
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = body.into();
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LANGUAGE, language.tag());
    headers.append(
        header::VARY,
        HeaderValue::from_name(header::ACCEPT_LANGUAGE),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_title_has_a_translation() {
        for kind in Kind::ALL {
            let (slug, title) = (kind.slug(), kind.title());
            let translated = language::portuguese(slug);
            assert!(translated.is_some_and(|other| other != title), "{slug}");
        }
    }
}
