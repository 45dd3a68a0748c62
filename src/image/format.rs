//! Picture formats, told by content and never by name.

use std::fmt;

use super::ImageError;

/// A picture format that can be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// JPEG: baseline or progressive; grey, RGB, YCbCr, CMYK, YCCK.
    Jpeg,
    /// PNG; of an animated one, the default picture.
    Png,
    /// WebP: lossy, lossless; of an animated one, the first frame.
    WebP,
    /// Windows bitmap.
    Bmp,
    /// GIF; the first frame.
    Gif,
    /// TIFF; the first page.
    Tiff,
}

impl Format {
    /// The formats in words, for error messages.
    pub const ACCEPTED: &str = "JPEG, PNG, WebP, BMP, GIF and TIFF";

    /// Every format.
    pub const ALL: [Self; 6] = [
        Self::Jpeg,
        Self::Png,
        Self::WebP,
        Self::Bmp,
        Self::Gif,
        Self::Tiff,
    ];

    /// Tells the format from the first bytes.
    ///
    /// # Errors
    /// [`ImageError::Empty`] and [`ImageError::Unrecognised`].
    pub fn sniff(bytes: &[u8]) -> Result<Self, ImageError> {
        match bytes {
            [] => Err(ImageError::Empty),
            [0xff, 0xd8, 0xff, ..] => Ok(Self::Jpeg),
            [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Ok(Self::Png),
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Ok(Self::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(Self::Gif),
            [b'I', b'I', 42, 0, ..]
            | [b'M', b'M', 0, 42, ..]
            | [b'I', b'I', 43, 0, ..]
            | [b'M', b'M', 0, 43, ..] => Ok(Self::Tiff),
            [b'B', b'M', ..] if bytes.len() >= 26 => Ok(Self::Bmp),
            _ => Err(ImageError::Unrecognised {
                found: describe(bytes),
            }),
        }
    }

    /// Lower-case name, as answers and records have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Bmp => "bmp",
            Self::Gif => "gif",
            Self::Tiff => "tiff",
        }
    }

    /// Usual file name extension.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            other => other.name(),
        }
    }

    /// The format whose files carry `extension`, in lower case.
    pub fn from_extension(extension: &str) -> Option<Self> {
        let usual = match extension {
            "jpeg" => "jpg",
            "tif" => "tiff",
            other => other,
        };
        Self::ALL
            .into_iter()
            .find(|format| format.extension() == usual)
    }

    /// Media type (IANA).
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::Bmp => "image/bmp",
            Self::Gif => "image/gif",
            Self::Tiff => "image/tiff",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Bmp => "BMP",
            Self::Gif => "GIF",
            Self::Tiff => "TIFF",
        })
    }
}

fn describe(bytes: &[u8]) -> &'static str {
    match bytes {
        [b'%', b'P', b'D', b'F', ..] => "it is a PDF document",
        [b'P', b'K', 3, 4, ..] => "it is a ZIP archive",
        [
            _,
            _,
            _,
            _,
            b'f',
            b't',
            b'y',
            b'p',
            b'a',
            b'v',
            b'i',
            b'f' | b's',
            ..,
        ] => "it is an AVIF picture",
        [_, _, _, _, b'f', b't', b'y', b'p', b'h' | b'm', ..] => "it is an HEIC picture",
        [0xff, 0x0a, ..] | [0, 0, 0, 0x0c, b'J', b'X', b'L', b' ', ..] => "it is a JPEG XL picture",
        [b'<', ..] => "it is markup: SVG, HTML or XML",
        _ if bytes.len() < 12 => "it is too short for one",
        _ if std::str::from_utf8(&bytes[..bytes.len().min(512)])
            .is_ok_and(|t| !t.contains('\0')) =>
        {
            "it is text"
        }
        _ => "its first bytes belong to none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides_and_refusals_say_what_was_found() {
        assert_eq!(Format::sniff(b"GIF89a...").unwrap(), Format::Gif);
        assert_eq!(Format::sniff(b""), Err(ImageError::Empty));
        for (bytes, found) in [
            (&b"hello, this is only text"[..], "text"),
            (b"<svg xmlns=...>", "markup"),
            (b"\0\0\0\x20ftypheic\0\0", "HEIC"),
            (b"BM", "too short"),
            (b"PK\x03\x04 and so on", "ZIP"),
        ] {
            let text = Format::sniff(bytes).unwrap_err().to_string();
            assert!(text.contains(found) && text.contains("JPEG, PNG"), "{text}");
        }
    }

    #[test]
    fn extensions_lead_back_to_their_format() {
        for format in Format::ALL {
            assert_eq!(Format::from_extension(format.extension()), Some(format));
        }
    }
}
