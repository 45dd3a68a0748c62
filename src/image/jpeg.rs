//! JPEG through libjpeg-turbo, bit for bit as Pillow decodes it.

use turbojpeg::{Colorspace, Decompressor, Error, Image, PixelFormat, ScalingFactor};

use super::decode::{self, Decoded};
use super::pixels::Pixels;
use super::{Format, ImageError, InputSize, check_size, orientation};
use crate::settings::{JpegScaling, PictureSettings};

/// Scans a progressive picture may have; encoders write about ten, an attack thousands.
const MAX_SCANS: u32 = 100;

/// Decodes into `pixels`.
///
/// Each picture gets a decompressor of its own, which costs a fraction of a microsecond: one that was used
/// keeps its tables and, after an error, its state, and would mix them into the next picture.
pub(super) fn decode(
    bytes: &[u8],
    settings: &PictureSettings,
    size: InputSize,
    pixels: &mut Pixels,
) -> Result<Decoded, ImageError> {
    let mut decompressor = Decompressor::new().map_err(damaged)?;
    decompressor.set_scan_limit(MAX_SCANS).map_err(damaged)?;
    let header = match decompressor.read_header(bytes) {
        Ok(header) => header,
        // The binding gives no header when libjpeg merely warns about it.
        Err(error) if is_warning(&error) => {
            return decode::decode(bytes, Format::Jpeg, settings.max_pixels, pixels);
        }
        Err(error) => return Err(damaged(error)),
    };
    let (width, height) = (header.width as u32, header.height as u32);
    check_size(width, height, settings.max_pixels)?;
    let eighths = match header.is_lossless {
        true => 8,
        false => fraction(width, height, settings.jpeg_scaling, size),
    };
    let scaling = ScalingFactor::new(eighths as usize, 8);
    decompressor.set_scaling_factor(scaling).map_err(damaged)?;
    let (stored_width, stored_height) = (scaling.scale(header.width), scaling.scale(header.height));

    if matches!(header.colorspace, Colorspace::CMYK | Colorspace::YCCK) {
        let mut cmyk = vec![0; 4 * stored_width * stored_height];
        let image = image(PixelFormat::CMYK, stored_width, stored_height, &mut cmyk);
        decompress(&mut decompressor, bytes, image)?;
        pixels.fill(cmyk.as_chunks().0.iter().map(cmyk_to_rgb));
    } else {
        let room = pixels.room(3 * stored_width * stored_height);
        let image = image(PixelFormat::RGB, stored_width, stored_height, room);
        decompress(&mut decompressor, bytes, image)?;
    }
    Ok(Decoded {
        format: Format::Jpeg,
        width,
        height,
        orientation: orientation::of_jpeg(bytes),
        eighths,
    })
}

/// Eighths of the picture's size to decode. Other numerators than these are slower than the full size.
fn fraction(width: u32, height: u32, scaling: JpegScaling, size: InputSize) -> u32 {
    let Some(least) = scaling.least() else {
        return 8;
    };
    let needed = least * size.width.max(size.height);
    let enough =
        |eighths: &u32| u64::from(width.min(height)) * u64::from(*eighths) >= 8 * u64::from(needed);
    [1, 2, 4].into_iter().find(enough).unwrap_or(8)
}

fn image(format: PixelFormat, width: usize, height: usize, pixels: &mut [u8]) -> Image<&mut [u8]> {
    Image {
        pixels,
        width,
        pitch: format.size() * width,
        height,
        format,
    }
}

fn decompress(
    decompressor: &mut Decompressor,
    bytes: &[u8],
    image: Image<&mut [u8]>,
) -> Result<(), ImageError> {
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
fn cmyk_to_rgb(inverted: &[u8; 4]) -> [u8; 3] {
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
