//! How requests to classify are refused, whichever route they take.

use utoipa::IntoResponses;

use crate::http::problem::Problem;
use crate::http::v2::ErrorAnswer;

/// Of `/predict` and `/predict/batch`.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub(in crate::http) enum Refusals {
    #[response(
        status = 401,
        description = "No or wrong credentials",
        content_type = "application/problem+json"
    )]
    Credentials(Problem),
    #[response(
        status = 408,
        description = "The body came too slowly",
        content_type = "application/problem+json"
    )]
    Slow(Problem),
    #[response(
        status = 413,
        description = "Too many bytes or pixels",
        content_type = "application/problem+json"
    )]
    Large(Problem),
    #[response(
        status = 429,
        description = "More pictures than the client may send in a minute, or too many wrong credentials",
        content_type = "application/problem+json",
        headers(
            ("Retry-After" = u64, description = "Seconds to wait"),
            ("RateLimit" = String, description = "What is left: `\"minute\";r=0;t=60`"),
            ("RateLimit-Policy" = String, description = "What is allowed: `\"minute\";q=100;w=60`"),
        )
    )]
    Many(Problem),
    #[response(
        status = 503,
        description = "Too busy, or storage not available",
        content_type = "application/problem+json",
        headers(("Retry-After" = u64, description = "Seconds to wait"))
    )]
    Busy(Problem),
    #[response(
        status = 504,
        description = "Not answered in time",
        content_type = "application/problem+json"
    )]
    Late(Problem),
    #[response(
        status = 507,
        description = "Storage full",
        content_type = "application/problem+json"
    )]
    Full(Problem),
}

/// Of inference requests.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub(in crate::http) enum InferenceRefusals {
    #[response(status = 400, description = "Not a request that fits the model")]
    Unfit(ErrorAnswer),
    #[response(status = 404, description = "No such model or version")]
    Unknown(ErrorAnswer),
    #[response(status = 408, description = "The body came too slowly")]
    Slow(ErrorAnswer),
    #[response(status = 413, description = "Too many bytes or pixels")]
    Large(ErrorAnswer),
    #[response(status = 415, description = "Not a picture in a supported format")]
    Format(ErrorAnswer),
    #[response(status = 422, description = "A picture that cannot be decoded")]
    Broken(ErrorAnswer),
    #[response(
        status = 429,
        description = "More pictures than the client may send in a minute, or too many wrong credentials",
        headers(("Retry-After" = u64, description = "Seconds to wait"))
    )]
    Many(ErrorAnswer),
    #[response(
        status = 503,
        description = "Too busy, or storage not available",
        headers(("Retry-After" = u64, description = "Seconds to wait"))
    )]
    Busy(ErrorAnswer),
    #[response(status = 504, description = "Not answered in time")]
    Late(ErrorAnswer),
    #[response(status = 507, description = "Storage full")]
    Full(ErrorAnswer),
}

/// Of changes of what is served.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub(in crate::http) enum ChangeRefusals {
    #[response(
        status = 401,
        description = "No or wrong credentials",
        content_type = "application/problem+json"
    )]
    Credentials(Problem),
    #[response(
        status = 403,
        description = "`MODEL_ADMINS` leaves this client out",
        content_type = "application/problem+json"
    )]
    Forbidden(Problem),
    #[response(
        status = 404,
        description = "No such model, or none is tried out",
        content_type = "application/problem+json"
    )]
    Unknown(Problem),
    #[response(
        status = 409,
        description = "There is no registry, somebody else made a change at the same time, or the model to try out is \
            the one that answers",
        content_type = "application/problem+json"
    )]
    Conflict(Problem),
    #[response(
        status = 503,
        description = "The registry cannot be read or changed",
        content_type = "application/problem+json",
        headers(("Retry-After" = u64, description = "Seconds to wait"))
    )]
    Away(Problem),
}

/// Of bodies that say what to serve.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub(in crate::http) enum ChoiceRefusals {
    #[response(
        status = 400,
        description = "A body that says something else",
        content_type = "application/problem+json"
    )]
    Unclear(Problem),
    #[response(
        status = 408,
        description = "The body came too slowly",
        content_type = "application/problem+json"
    )]
    Slow(Problem),
    #[response(
        status = 413,
        description = "Too many bytes",
        content_type = "application/problem+json"
    )]
    Large(Problem),
    #[response(
        status = 415,
        description = "Not JSON",
        content_type = "application/problem+json"
    )]
    Format(Problem),
    #[response(
        status = 422,
        description = "A model that cannot be served, or answers samples wrong",
        content_type = "application/problem+json"
    )]
    Unusable(Problem),
}
