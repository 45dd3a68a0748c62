//! Pixels → the input's pixels → normalised floats.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::metadata::Orientation;

use super::ImageError;
use super::decode::Decoded;
use super::geometry::{self, InputSize};

/// Resizes, crops and turns upright; keeps its buffers.
pub(super) struct Resampler {
    resizer: Resizer,
    stored: Vec<u8>,
    upright: Vec<u8>,
    turned: bool,
}

impl Resampler {
    pub(super) fn new() -> Self {
        Self {
            resizer: Resizer::new(),
            stored: Vec::new(),
            upright: Vec::new(),
            turned: false,
        }
    }

    /// Fills [`Resampler::rgb`] from `pixels`, 8-bit RGB as stored in the file.
    ///
    /// The picture is turned upright after it has become small: turning all of a phone's picture first costs
    /// more than resizing it.
    pub(super) fn run(
        &mut self,
        pixels: &[u8],
        picture: &Decoded,
        size: InputSize,
    ) -> Result<(), ImageError> {
        let Decoded {
            width,
            height,
            orientation,
            format,
        } = *picture;
        let (up_width, up_height) = geometry::upright(width, height, orientation);
        let area =
            geometry::crop_box(up_width, up_height, size).in_stored(width, height, orientation);
        let (out_width, out_height) = geometry::upright(size.width, size.height, orientation);

        let length = 3 * size.width as usize * size.height as usize;
        self.stored.resize(length, 0);
        let resize = || -> Result<(), Box<dyn std::error::Error>> {
            let source = ImageRef::new(width, height, pixels, PixelType::U8x3)?;
            let mut target =
                Image::from_slice_u8(out_width, out_height, &mut self.stored, PixelType::U8x3)?;
            let options = ResizeOptions::new()
                .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
                .crop(area.left, area.top, area.width, area.height);
            self.resizer.resize(&source, &mut target, &options)?;
            Ok(())
        }();
        resize.map_err(|e| ImageError::Damaged {
            format,
            reason: e.to_string(),
        })?;

        self.turned = orientation != Orientation::NoTransforms;
        if self.turned {
            turn(
                &self.stored,
                &mut self.upright,
                [out_width, out_height].map(|n| n as usize),
                orientation,
            );
        }
        Ok(())
    }

    /// The input's pixels, 8-bit RGB, row by row.
    pub(super) fn rgb(&self) -> &[u8] {
        if self.turned {
            &self.upright
        } else {
            &self.stored
        }
    }
}

fn turn(
    stored: &[u8],
    upright: &mut Vec<u8>,
    [width, height]: [usize; 2],
    orientation: Orientation,
) {
    use Orientation::*;
    let (out_width, out_height) = if geometry::swaps_sides(orientation) {
        (height, width)
    } else {
        (width, height)
    };
    upright.clear();
    for y in 0..out_height {
        for x in 0..out_width {
            let (sx, sy) = match orientation {
                NoTransforms => (x, y),
                FlipHorizontal => (width - 1 - x, y),
                FlipVertical => (x, height - 1 - y),
                Rotate180 => (width - 1 - x, height - 1 - y),
                Rotate90FlipH => (y, x),
                Rotate90 => (y, height - 1 - x),
                Rotate270 => (width - 1 - y, x),
                Rotate270FlipH => (width - 1 - y, height - 1 - x),
            };
            let at = 3 * (sy * width + sx);
            upright.extend_from_slice(&stored[at..at + 3]);
        }
    }
}

/// 8-bit RGB, row by row → red, green and blue planes of 0 to 1.
pub(super) fn normalise(rgb: &[u8], out: &mut [f32]) {
    assert_eq!(
        rgb.len(),
        out.len(),
        "the tensor must have the input's size"
    );
    let plane = out.len() / 3;
    let (red, rest) = out.split_at_mut(plane);
    let (green, blue) = rest.split_at_mut(plane);
    for (((pixel, r), g), b) in rgb.chunks_exact(3).zip(red).zip(green).zip(blue) {
        *r = f32::from(pixel[0]) / 255.0;
        *g = f32::from(pixel[1]) / 255.0;
        *b = f32::from(pixel[2]) / 255.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turning_agrees_with_the_image_crate() {
        use Orientation::*;
        let stored: Vec<u8> = (0..3 * 4 * 3).map(|n| n as u8).collect();
        let mut upright = Vec::new();
        for orientation in [
            NoTransforms,
            FlipHorizontal,
            FlipVertical,
            Rotate180,
            Rotate90,
            Rotate270,
            Rotate90FlipH,
            Rotate270FlipH,
        ] {
            let mut expected =
                image::DynamicImage::from(image::RgbImage::from_raw(4, 3, stored.clone()).unwrap());
            expected.apply_orientation(orientation);
            turn(&stored, &mut upright, [4, 3], orientation);
            assert_eq!(upright, expected.as_bytes(), "{orientation:?}");
        }
    }

    #[test]
    fn normalising_separates_the_channels() {
        let mut out = [0.0; 6];
        normalise(&[0, 51, 255, 255, 102, 0], &mut out);
        assert_eq!(out, [0.0, 1.0, 0.2, 0.4, 1.0, 0.0]);
    }
}
