//! Why bytes are not a picture that can be classified.

use super::Format;

/// A picture that is refused; the text names the cause and what is accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// No bytes at all.
    #[error(
        "the picture is empty (0 bytes); send the bytes of a {} picture",
        Format::ACCEPTED
    )]
    Empty,
    /// Content of no known picture format.
    #[error(
        "the content is not a picture in a known format ({found}); accepted are {}",
        Format::ACCEPTED
    )]
    Unrecognised {
        /// What the content is instead, as far as can be told.
        found: &'static str,
    },
    /// A width or height of zero.
    #[error("the picture is {width}×{height} pixels; both sides must be at least 1")]
    NoPixels {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// More pixels than allowed.
    #[error(
        "the picture is {width}×{height} pixels; at most {max_pixels} pixels (width × height) are accepted"
    )]
    TooManyPixels {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The limit.
        max_pixels: u64,
    },
    /// A side longer than that of any photograph.
    #[error(
        "the picture is {width}×{height} pixels; at most {max_side} pixels are accepted on a side"
    )]
    TooLong {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The limit.
        max_side: u32,
    },
    /// The file ends before the picture does.
    #[error("the {format} picture is truncated: it ends before its pixels do; send the whole file")]
    Truncated {
        /// Format of the picture.
        format: Format,
    },
    /// The file breaks its format's rules.
    #[error("the {format} picture is damaged ({reason})")]
    Damaged {
        /// Format of the picture.
        format: Format,
        /// The decoder's words.
        reason: String,
    },
    /// A feature of the format that is not supported.
    #[error("this kind of {format} picture is not supported ({reason})")]
    Unsupported {
        /// Format of the picture.
        format: Format,
        /// The decoder's words.
        reason: String,
    },
}
