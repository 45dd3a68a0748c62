//! Copies that clients keep.

use axum::http::{HeaderMap, HeaderValue, header};

/// Whether the client asks only if its copy, which has this entity tag, is still right.
pub(super) fn has_copy(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let known = headers.get(header::IF_NONE_MATCH);
    known.is_some_and(|known| {
        let known = known.as_bytes();
        // A proxy that compresses makes the tag a weak one.
        known.strip_prefix(b"W/").unwrap_or(known) == tag.as_bytes()
    })
}
