//! JPEG through libjpeg-turbo, bit for bit as Pillow decodes it.

use turbojpeg::{Colorspace, Decompressor, Error, Image, PixelFormat};

use super::decode::{self, Decoded};
use super::{Format, ImageError, Limits, orientation};

/// Scans a progressive picture may have; encoders write about ten, an attack thousands.
const MAX_SCANS: u32 = 100;

/// Decodes into `pixels`.
///
/// Each picture gets a decompressor of its own, which costs a fraction of a microsecond: one that was used
/// keeps its tables and, after an error, its state, and would mix them into the next picture.
pub(super) fn decode(
    bytes: &[u8],
    limits: &Limits,
    pixels: &mut Vec<u8>,
) -> Result<Decoded, ImageError> {
    let mut decompressor = Decompressor::new().map_err(damaged)?;
    decompressor.set_scan_limit(MAX_SCANS).map_err(damaged)?;
    let header = match decompressor.read_header(bytes) {
        Ok(header) => header,
        // The binding gives no header when libjpeg merely warns about it.
        Err(error) if is_warning(&error) => {
            return decode::decode(bytes, Format::Jpeg, limits, pixels);
        }
        Err(error) => return Err(damaged(error)),
    };
    let (width, height) = (header.width as u32, header.height as u32);
    limits.check(width, height)?;

    if matches!(header.colorspace, Colorspace::CMYK | Colorspace::YCCK) {
        let mut cmyk = Vec::new();
        decompress(
            decompressor,
            bytes,
            PixelFormat::CMYK,
            header.width,
            header.height,
            &mut cmyk,
        )?;
        pixels.clear();
        pixels.extend(cmyk.chunks_exact(4).flat_map(cmyk_to_rgb));
    } else {
        decompress(
            decompressor,
            bytes,
            PixelFormat::RGB,
            header.width,
            header.height,
            pixels,
        )?;
    }
    Ok(Decoded {
        format: Format::Jpeg,
        width,
        height,
        orientation: orientation::of_jpeg(bytes),
    })
}

fn decompress(
    mut decompressor: Decompressor,
    bytes: &[u8],
    format: PixelFormat,
    width: usize,
    height: usize,
    pixels: &mut Vec<u8>,
) -> Result<(), ImageError> {
    let pitch = format.size() * width;
    pixels.resize(pitch * height, 0);
    let image = Image {
        pixels: &mut pixels[..],
        width,
        pitch,
        height,
        format,
    };
    match decompressor.decompress(bytes, image) {
        Ok(()) => Ok(()),
        Err(error) if ends_early(&error) => Err(ImageError::Truncated {
            format: Format::Jpeg,
        }),
        Err(error) if is_warning(&error) => Ok(()),
        Err(error) => Err(damaged(error)),
    }
}

// Adobe stores CMYK inverted, and Pillow takes every CMYK JPEG to be so; it multiplies with rounding.
fn cmyk_to_rgb(inverted: &[u8]) -> [u8; 3] {
    let black = u32::from(inverted[3]);
    [0, 1, 2].map(|i| {
        let ink = 255 - u32::from(inverted[i]);
        let product = ink * black + 128;
        (black - (((product >> 8) + product) >> 8)) as u8
    })
}

fn message(error: &Error) -> &str {
    match error {
        Error::TurboJpegError(message) => message,
        _ => "",
    }
}

fn ends_early(error: &Error) -> bool {
    message(error).contains("Premature end of JPEG file")
}

// libjpeg decodes on after these, and so does Pillow.
fn is_warning(error: &Error) -> bool {
    const WARNINGS: [&str; 7] = [
        "Corrupt JPEG data",
        "Unknown Adobe color transform code",
        "Inconsistent progression sequence",
        "unknown JFIF revision number",
        "Invalid SOS parameters for sequential JPEG",
        "Premature end of JPEG file",
        "Application transferred too many scanlines",
    ];
    WARNINGS
        .iter()
        .any(|warning| message(error).contains(warning))
}

fn damaged(error: Error) -> ImageError {
    let format = Format::Jpeg;
    let reason = match error {
        Error::TurboJpegError(message) => message,
        other => other.to_string(),
    };
    ImageError::Damaged { format, reason }
}
