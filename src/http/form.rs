//! Pictures in `multipart/form-data`.

use std::convert::Infallible;

use bytes::{Bytes, BytesMut};
use futures_util::stream;

use super::problem::{Kind, Problem};

/// What a form is read as, for error messages.
const ACCEPTED: &str = "a picture is sent in the field `image` or `file`";

/// File names of what has none; browsers call it the latter.
const UNNAMED: [&str; 2] = ["", "blob"];

/// A picture in a form.
pub(super) struct FormPicture {
    pub bytes: Bytes,
    /// File name as it was sent.
    pub name: Option<String>,
    field: String,
}

impl FormPicture {
    /// Its bytes, if they are at least one and at most `max`.
    pub(super) fn within(&self, max: usize) -> Result<Bytes, Problem> {
        let Self { bytes, field, .. } = self;
        if bytes.is_empty() {
            let detail =
                format!("the field {field:?} is empty; it must hold the bytes of one picture");
            return Err(Problem::new(Kind::EmptyBody, detail));
        }
        if bytes.len() > max {
            let detail = format!(
                "the picture has {} bytes; at most {max} are accepted",
                bytes.len()
            );
            return Err(Problem::new(Kind::TooLarge, detail));
        }
        Ok(bytes.clone())
    }
}

/// Whether a content type is `multipart/form-data`.
pub(super) fn is_form(content_type: &str) -> bool {
    let media = content_type.parse::<mime::Mime>();
    media.is_ok_and(|media| media.essence_str() == mime::MULTIPART_FORM_DATA)
}

/// The boundary in a content type of `multipart/form-data`.
pub(super) fn boundary(content_type: &str) -> Result<String, Problem> {
    multer::parse_boundary(content_type).map_err(|_| {
        let detail = "the content type multipart/form-data has no boundary parameter";
        Problem::new(Kind::BadMultipart, detail)
    })
}

/// The one picture in a form.
pub(super) async fn picture(body: Bytes, boundary: String) -> Result<FormPicture, Problem> {
    let one = pictures(body, boundary, 1).await?.pop();
    one.ok_or_else(|| missing(Vec::new()))
}

/// The pictures in a form, in their order: at least one, at most `most`. Other fields are passed over, and so are those
/// that were left empty: browsers send a part for them, too.
pub(super) async fn pictures(
    body: Bytes,
    boundary: String,
    most: usize,
) -> Result<Vec<FormPicture>, Problem> {
    let stream = stream::iter([Ok::<_, Infallible>(body)]);
    let mut parts = multer::Multipart::new(stream, boundary);
    let mut found = Vec::new();
    let mut others = Vec::new();
    let mut blank = None;
    while let Some(mut part) = parts.next_field().await.map_err(malformed)? {
        let field = part.name().unwrap_or_default().to_owned();
        if !matches!(field.as_str(), "image" | "file") {
            others.push(field);
            continue;
        }
        let name = part.file_name().map(str::to_owned);
        let bytes = content(&mut part).await.map_err(malformed)?;
        let is_blank = bytes.is_empty() && UNNAMED.contains(&name.as_deref().unwrap_or_default());
        let picture = FormPicture { bytes, name, field };
        if is_blank {
            blank = Some(picture);
        } else if found.len() == most {
            return Err(Problem::new(Kind::SeveralPictures, too_many(most)));
        } else {
            found.push(picture);
        }
    }
    if found.is_empty() {
        found.extend(blank);
    }
    if found.is_empty() {
        return Err(missing(others));
    }
    Ok(found)
}

// A part that lies in one piece is not copied.
async fn content(part: &mut multer::Field<'_>) -> multer::Result<Bytes> {
    let first = part.chunk().await?.unwrap_or_default();
    let Some(second) = part.chunk().await? else {
        return Ok(first);
    };
    let mut all = BytesMut::from(&first[..]);
    all.extend_from_slice(&second);
    while let Some(chunk) = part.chunk().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all.freeze())
}

fn malformed(error: multer::Error) -> Problem {
    let detail = format!("the multipart body is malformed ({error}); {ACCEPTED}");
    Problem::new(Kind::BadMultipart, detail)
}

fn too_many(most: usize) -> String {
    if most == 1 {
        "the request holds more than one picture; send one picture a request, or several to /predict/batch".into()
    } else {
        format!("the request holds more than the {most} pictures that are accepted at once")
    }
}

fn missing(mut others: Vec<String>) -> Problem {
    others.truncate(8);
    let found = if others.is_empty() {
        "no field at all".into()
    } else {
        format!("only {others:?}")
    };
    let detail = format!(
        "the form has no field `image` or `file` ({found}); put the picture in one of them"
    );
    Problem::new(Kind::MissingField, detail)
}
