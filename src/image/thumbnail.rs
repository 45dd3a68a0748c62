//! Small copies of pictures, for people to look at.

use turbojpeg::{Image, PixelFormat, Subsamp};

use super::{ImageError, InputSize, Preparer, geometry};
use crate::settings::{JpegScaling, PictureSettings};

/// Quality of the JPEG, of 100: beyond it a small picture grows and looks the same.
const QUALITY: i32 = 80;

/// A small JPEG of a picture: upright and whole, its longer side at most `side` pixels, never larger than it was.
///
/// # Errors
/// As [`Preparer::prepare`].
pub fn thumbnail(
    bytes: &[u8],
    settings: PictureSettings,
    side: u32,
) -> Result<Vec<u8>, ImageError> {
    // A few levels of difference cannot be seen, and a fraction of a photograph is decoded much faster.
    let mut preparer = Preparer::new(PictureSettings {
        jpeg_scaling: JpegScaling::Fastest,
        ..settings
    });
    let least = InputSize {
        width: side,
        height: side,
    };
    let decoded = preparer.decode(bytes, least)?;
    let (width, height) = geometry::upright(decoded.width, decoded.height, decoded.orientation);
    let size = fit(width, height, side);
    preparer
        .resampler
        .run(preparer.pixels.padded(), &decoded, size);
    let (width, height) = (size.width as usize, size.height as usize);
    let image = Image {
        pixels: preparer.resampler.rgb(),
        width,
        pitch: 3 * width,
        height,
        format: PixelFormat::RGB,
    };
    let jpeg = turbojpeg::compress(image, QUALITY, Subsamp::Sub2x2);
    let jpeg = jpeg.map_err(|error| ImageError::Unsupported {
        format: decoded.format,
        reason: error.to_string(),
    })?;
    Ok(jpeg.to_vec())
}

fn fit(width: u32, height: u32, side: u32) -> InputSize {
    let longer = width.max(height).max(1);
    let scale = f64::from(side.min(longer)) / f64::from(longer);
    let scaled = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    InputSize {
        width: scaled(width),
        height: scaled(height),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_picture_fits_and_is_not_enlarged() {
        let sides = |width, height| {
            let size = fit(width, height, 160);
            (size.width, size.height)
        };
        assert_eq!(sides(4000, 3000), (160, 120));
        assert_eq!(sides(3000, 4000), (120, 160));
        assert_eq!(sides(100, 50), (100, 50));
        assert_eq!(sides(65_535, 1), (160, 1));
        assert_eq!(sides(1, 1), (1, 1));
    }
}
