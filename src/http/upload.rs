//! Finds the one picture in a request, whichever way it was sent.

use std::time::Instant;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use serde::Deserialize;
use utoipa::ToSchema;

use super::App;
use super::body::{self, Received, Share};
use super::form;
use super::problem::{Kind, Problem};

/// The picture of a request.
pub(super) struct Upload {
    pub bytes: Bytes,
    pub name: Option<String>,
    /// Held until the request is answered.
    pub _share: Share,
}

const ACCEPTED: &str = "send multipart/form-data with the picture in the field `image` or `file`, the picture itself \
                        as image/* or application/octet-stream, or application/json with the `image_ref` of a \
                        picture sent before";

/// Room for multipart boundaries, headers and small text fields beside the picture.
const MULTIPART_OVERHEAD: usize = 64 * 1024;

/// Reads the picture from `body`.
pub(super) async fn read(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    deadline: Instant,
) -> Result<Upload, Problem> {
    let transport = match transport(headers) {
        Ok(transport) => transport,
        Err(problem) => {
            body::discard(body).await;
            return Err(problem);
        }
    };
    let max = match transport {
        Transport::Raw => app.max_upload,
        Transport::Multipart(_) => app.max_upload + MULTIPART_OVERHEAD,
        Transport::Reference => MAX_REFERENCE_BYTES,
    };
    let Received { bytes, mut share } =
        body::read(&app.budget, headers, body, max, deadline).await?;
    if bytes.is_empty() {
        return Err(Problem::new(
            Kind::EmptyBody,
            format!("the request body is empty; {ACCEPTED}"),
        ));
    }
    let (bytes, name) = match transport {
        Transport::Multipart(boundary) => from_multipart(bytes, boundary, app.max_upload).await?,
        Transport::Raw => (bytes, disposition_name(headers)),
        Transport::Reference => {
            let (picture, name) = stored(app, &bytes).await?;
            share.grow_to(picture.len())?;
            (picture, name)
        }
    };
    Ok(Upload {
        bytes,
        name,
        _share: share,
    })
}

enum Transport {
    Raw,
    Multipart(String),
    Reference,
}

/// A picture that was sent before.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PictureReference {
    /// `image_ref` of an earlier request, or the URL of that picture in the configured container.
    #[schema(example = "0a/1b/0a1b….jpg")]
    image_ref: String,
    /// File name for the record.
    #[schema(example = "garrafa.jpg")]
    image_name: Option<String>,
}

const MAX_REFERENCE_BYTES: usize = 16 * 1024;

async fn stored(app: &App, body: &[u8]) -> Result<(Bytes, Option<String>), Problem> {
    let wanted: PictureReference = serde_json::from_slice(body).map_err(|error| {
        let detail = format!(
            "the body is not what is accepted as application/json ({error}); accepted is \
             {{\"image_ref\": \"…\"}} with the image_ref of an earlier request"
        );
        Problem::new(Kind::BadReference, detail)
    })?;
    let max = u64::try_from(app.max_upload).unwrap_or(u64::MAX);
    let picture = app.service.stored_picture(&wanted.image_ref, max).await?;
    let picture = picture.ok_or_else(|| {
        let detail = format!(
            "no picture is stored as {:?}; accepted is the image_ref of an earlier request",
            wanted.image_ref
        );
        Problem::new(Kind::UnknownReference, detail)
    })?;
    Ok((picture, wanted.image_name))
}

fn transport(headers: &HeaderMap) -> Result<Transport, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(Transport::Raw);
    };
    let text = value.to_str().unwrap_or_default();
    let unsupported = || {
        let detail = format!("the content type {text:?} cannot hold a picture; {ACCEPTED}");
        Problem::new(Kind::UnsupportedType, detail)
    };
    let media: mime::Mime = text.parse().map_err(|_| unsupported())?;
    match (media.type_(), media.subtype()) {
        (mime::MULTIPART, subtype) if subtype == mime::FORM_DATA => {
            Ok(Transport::Multipart(form::boundary(text)?))
        }
        (mime::IMAGE, _) => Ok(Transport::Raw),
        (mime::APPLICATION, subtype) if subtype == mime::OCTET_STREAM => Ok(Transport::Raw),
        (mime::APPLICATION, subtype) if subtype == mime::JSON => Ok(Transport::Reference),
        _ => Err(unsupported()),
    }
}

async fn from_multipart(
    body: Bytes,
    boundary: String,
    max: usize,
) -> Result<(Bytes, Option<String>), Problem> {
    let picture = form::picture(body, boundary).await?;
    Ok((picture.within(max)?, picture.name))
}

// A raw upload can carry its name as `Content-Disposition: attachment; filename="x.jpg"`.
fn disposition_name(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_DISPOSITION)?.to_str().ok()?;
    let (_, name) = value
        .split(';')
        .filter_map(|part| part.trim().split_once('='))
        .find(|(key, _)| *key == "filename")?;
    Some(name.trim_matches('"').to_owned())
}
