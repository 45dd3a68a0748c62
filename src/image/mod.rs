//! Bytes of a picture → the tensor a classifier expects.
//!
//! The pixels are those of `ImageOps.exif_transpose(Image.open(f)).convert("RGB")` (Pillow) followed by
//! Ultralytics' classification transform: shorter side to the input size with antialiased bilinear
//! filtering, centre crop, values divided by 255, channels first.

mod decode;
mod error;
mod format;
mod geometry;
mod gif;
mod jpeg;
mod orientation;
mod pixels;
mod resample;
mod tensor;
mod thumbnail;

use std::time::{Duration, Instant};

pub use error::ImageError;
pub use format::Format;
pub use geometry::InputSize;
pub use thumbnail::thumbnail;

use decode::Decoded;
use pixels::Pixels;
use resample::Resampler;

use crate::settings::PictureSettings;

/// Longest side of a picture; what JPEG and GIF can have. Each row has a cost of its own, and a column of 49 million
/// pixels takes a second.
const MAX_SIDE: u32 = 65_535;

/// Checks what a picture will cost from its header, before any pixel is decoded.
fn check_size(width: u32, height: u32, max_pixels: u64) -> Result<(), ImageError> {
    if width == 0 || height == 0 {
        return Err(ImageError::NoPixels { width, height });
    }
    if u64::from(width) * u64::from(height) > max_pixels {
        return Err(ImageError::TooManyPixels {
            width,
            height,
            max_pixels,
        });
    }
    if width.max(height) > MAX_SIDE {
        return Err(ImageError::TooLong {
            width,
            height,
            max_side: MAX_SIDE,
        });
    }
    Ok(())
}

/// What is known of a picture once it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureInfo {
    /// Format, told by content.
    pub format: Format,
    /// Width in pixels, upright.
    pub width: u32,
    /// Height in pixels, upright.
    pub height: u32,
}

/// Outcome of [`Preparer::prepare`].
#[derive(Clone, Copy, Debug)]
pub struct Prepared {
    /// The picture.
    pub info: PictureInfo,
    /// Time spent on decoding.
    pub decode: Duration,
    /// Time spent on resizing and normalising.
    pub preprocess: Duration,
}

/// Turns pictures into tensors; keeps its buffers, so one a thread.
pub struct Preparer {
    settings: PictureSettings,
    pixels: Pixels,
    resampler: Resampler,
}

impl Preparer {
    /// A preparer that reads pictures as `settings` say.
    pub fn new(settings: PictureSettings) -> Self {
        Self {
            settings,
            pixels: Pixels::default(),
            resampler: Resampler::default(),
        }
    }

    /// Decodes `bytes` and writes the `3 × size.height × size.width` tensor (RGB, 0 to 1, CHW) to `out`.
    ///
    /// # Errors
    /// Every way in which `bytes` can fail to be one whole picture within the limits.
    ///
    /// # Panics
    /// If `out` has another length than the tensor.
    pub fn prepare(
        &mut self,
        bytes: &[u8],
        size: InputSize,
        out: &mut [f32],
    ) -> Result<Prepared, ImageError> {
        let (info, [decode, preprocess]) = self.resample(bytes, size)?;
        let start = Instant::now();
        tensor::normalise(self.resampler.rgb(), out);
        Ok(Prepared {
            info,
            decode,
            preprocess: preprocess + start.elapsed(),
        })
    }

    /// The resized and cropped picture as 8-bit RGB, row by row: what `prepare` normalises.
    ///
    /// # Errors
    /// As [`Preparer::prepare`].
    pub fn rgb(
        &mut self,
        bytes: &[u8],
        size: InputSize,
    ) -> Result<(PictureInfo, &[u8]), ImageError> {
        let (info, _) = self.resample(bytes, size)?;
        Ok((info, self.resampler.rgb()))
    }

    fn resample(
        &mut self,
        bytes: &[u8],
        size: InputSize,
    ) -> Result<(PictureInfo, [Duration; 2]), ImageError> {
        let start = Instant::now();
        let decoded = self.decode(bytes, size)?;
        let decode = start.elapsed();

        let start = Instant::now();
        let (width, height) = geometry::upright(decoded.width, decoded.height, decoded.orientation);
        let info = PictureInfo {
            format: decoded.format,
            width,
            height,
        };
        self.resampler.run(self.pixels.padded(), &decoded, size);
        self.pixels.give_back_excess();
        Ok((info, [decode, start.elapsed()]))
    }

    fn decode(&mut self, bytes: &[u8], size: InputSize) -> Result<Decoded, ImageError> {
        let max_pixels = self.settings.max_pixels;
        match Format::sniff(bytes)? {
            Format::Jpeg => jpeg::decode(bytes, &self.settings, size, &mut self.pixels),
            Format::Gif => gif::decode(bytes, max_pixels, &mut self.pixels),
            other => decode::decode(bytes, other, max_pixels, &mut self.pixels),
        }
    }
}
