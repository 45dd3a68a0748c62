//! Pictures in `multipart/form-data`.

use std::convert::Infallible;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use memchr::memmem;

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
    let (frame, contents) = apart(&body, &boundary);
    let mut contents = contents.into_iter();
    let stream = stream::iter([Ok::<_, Infallible>(frame)]);
    let mut parts = multer::Multipart::new(stream, boundary);
    let mut found = Vec::new();
    let mut others = Vec::new();
    let mut blank = None;
    while let Some(part) = parts.next_field().await.map_err(malformed)? {
        let bytes = body.slice(contents.next().unwrap_or_default());
        let field = part.name().unwrap_or_default().to_owned();
        if !matches!(field.as_str(), "image" | "file") {
            others.push(field);
            continue;
        }
        let name = part.file_name().map(str::to_owned);
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

/// A form without the contents of its parts, and where they are: the parser copies all that it is given.
///
/// A content lies between the first empty line after a boundary and the next boundary. From where that does not hold the
/// form stays as it is, and the parser says what is wrong.
fn apart(form: &[u8], boundary: &str) -> (Bytes, Vec<Range<usize>>) {
    let delimiter = format!("\r\n--{boundary}");
    let delimiters = memmem::Finder::new(&delimiter);
    let after =
        |from: usize, text: &[u8]| Some(from + memmem::find(form.get(from..)?, text)? + text.len());
    let content = |boundary: usize| {
        let is_last = form.get(boundary..)?.starts_with(b"--");
        let headers = (!is_last).then(|| after(boundary, b"\r\n"))??;
        let start = after(headers, b"\r\n\r\n")?;
        let length = delimiters.find(&form[start..]);
        Some(start..length.map_or(form.len(), |length| start + length))
    };
    let (mut frame, mut contents, mut kept) = (BytesMut::new(), Vec::new(), 0);
    let mut boundary = after(0, &delimiter.as_bytes()[2..]);
    while let Some(content) = boundary.and_then(content) {
        frame.extend_from_slice(&form[kept..content.start]);
        kept = content.end;
        boundary = Some(content.end + delimiter.len());
        contents.push(content);
    }
    frame.extend_from_slice(&form[kept..]);
    (frame.freeze(), contents)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What the parser alone finds, names and contents, and whether it came to the end without an error.
    async fn parsed(form: Bytes) -> (Vec<(Option<String>, Bytes)>, bool) {
        let stream = stream::iter([Ok::<_, Infallible>(form)]);
        let (mut parts, mut found) = (multer::Multipart::new(stream, "b"), Vec::new());
        loop {
            match parts.next_field().await {
                Ok(Some(part)) => {
                    let name = part.name().map(str::to_owned);
                    match part.bytes().await {
                        Ok(bytes) => found.push((name, bytes)),
                        Err(_) => return (found, false),
                    }
                }
                Ok(None) => return (found, true),
                Err(_) => return (found, false),
            }
        }
    }

    #[tokio::test]
    async fn a_form_taken_apart_is_the_form() {
        const PIECES: [&str; 12] = [
            "--b",
            "\r\n--b",
            "\r\n",
            "\r\n\r\n",
            "--",
            " \t",
            "\r",
            "\n",
            "x",
            "--b--",
            "content-disposition: form-data; name=\"image\"; filename=\"a\"",
            "content-disposition: form-data; name=file\r\n\r\n",
        ];
        let (mut whole, mut broken) = (0, 0);
        let mut seed = 1_u64;
        for n in 0..60_000 {
            let mut form = String::from(if n % 2 == 0 { "--b\r\n" } else { "" });
            for _ in 0..n % 12 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                form += PIECES[(seed >> 33) as usize % PIECES.len()];
            }
            let form = Bytes::from(form);
            let (frame, contents) = apart(&form, "b");
            let (names, ends) = parsed(frame).await;
            let ours: Vec<_> = names
                .into_iter()
                .zip(contents)
                .map(|((name, _), content)| (name, form.slice(content)))
                .collect();
            let (theirs, well) = parsed(form.clone()).await;
            assert_eq!((&ours, ends), (&theirs, well), "{form:?}");
            whole += usize::from(well && !theirs.is_empty());
            broken += usize::from(!well);
        }
        assert!(whole > 100 && broken > 10_000, "{whole} {broken}");
    }
}
