//! Resizes, crops and turns upright in two passes, bit for bit as Pillow does it one after the other.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod kernels;
mod portable;
mod taps;

use super::decode::Decoded;
use super::geometry::{self, InputSize};
use super::pixels::PADDING;
use kernels::Kernels;
pub(super) use taps::Axis;
use taps::Taps;

/// Keeps its buffers from picture to picture.
#[derive(Default)]
pub(super) struct Resampler {
    kernels: Kernels,
    across: Taps,
    down: Taps,
    between: Vec<u8>,
    turned: Vec<u8>,
    rgb: Vec<u8>,
}

/// Rows of 8-bit RGB, followed by [`PADDING`]; the first column and row are `origin` of the picture they come from.
struct Rows<'a> {
    bytes: &'a [u8],
    stride: usize,
    origin: (usize, usize),
}

impl Resampler {
    /// Fills [`Resampler::rgb`] from `pixels`, 8-bit RGB as stored in the file, and [`PADDING`].
    ///
    /// Pillow turns the picture upright, resizes across and then down, rounding to 8 bits each time. Here the
    /// picture stays as it is stored: a quarter turn swaps the order of the passes instead, and a mirrored axis
    /// its weights. Only what the crop keeps is computed.
    pub(super) fn run(&mut self, pixels: &[u8], picture: &Decoded, size: InputSize) {
        let plan = geometry::plan(picture, size);
        self.across.compute(plan.across);
        self.down.compute(plan.down);
        let (width, height) = (size.width as usize, size.height as usize);
        let stored = Rows {
            bytes: pixels,
            stride: 3 * geometry::decoded(picture.width, picture.eighths),
            origin: (0, 0),
        };
        let used = self.down.range();
        if plan.swapped {
            // Upright columns are stored rows.
            let stride = 3 * used.len();
            self.between.resize(stride * width + PADDING, 0);
            let out = &mut self.between[..stride * width];
            self.kernels
                .vertical(&stored, used.clone(), &self.across, out);
            let between = Rows {
                bytes: &self.between,
                stride,
                origin: (used.start, 0),
            };
            self.turned.resize(3 * width * height, 0);
            self.kernels
                .horizontal(&between, 0..width, &self.down, &mut self.turned);
            transpose(&self.turned, height, &mut self.rgb);
        } else {
            let stride = 3 * width;
            self.between.resize(stride * used.len() + PADDING, 0);
            let out = &mut self.between[..stride * used.len()];
            self.kernels
                .horizontal(&stored, used.clone(), &self.across, out);
            let between = Rows {
                bytes: &self.between,
                stride,
                origin: (0, used.start),
            };
            self.rgb.resize(stride * height, 0);
            self.kernels
                .vertical(&between, 0..width, &self.down, &mut self.rgb);
        }
    }

    /// The input's pixels, 8-bit RGB, row by row.
    pub(super) fn rgb(&self) -> &[u8] {
        &self.rgb
    }
}

impl<'a> Rows<'a> {
    /// From the first pixel of `row` on.
    #[inline(always)]
    fn row(&self, row: usize) -> &'a [u8] {
        &self.bytes[(row - self.origin.1) * self.stride..]
    }

    /// From the pixel at `column` of `row` on.
    #[inline(always)]
    fn at(&self, column: usize, row: usize) -> &'a [u8] {
        &self.row(row)[3 * (column - self.origin.0)..]
    }
}

fn transpose(rows: &[u8], row_length: usize, out: &mut Vec<u8>) {
    out.clear();
    let count = rows.len() / (3 * row_length);
    for x in 0..row_length {
        for y in 0..count {
            let at = 3 * (y * row_length + x);
            out.extend_from_slice(&rows[at..at + 3]);
        }
    }
}

#[cfg(test)]
mod tests {
    use image::metadata::Orientation;

    use super::*;
    use crate::image::Format;

    /// Every orientation of a stored picture gives what turning it first and resizing then gives.
    #[test]
    fn orientation_commutes_exactly() {
        use Orientation::*;
        let (width, height) = (37u32, 23u32);
        let noise = |n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8;
        let stored: Vec<u8> = (0..3 * width * height).map(noise).collect();
        let all = [
            NoTransforms,
            FlipHorizontal,
            FlipVertical,
            Rotate180,
            Rotate90,
            Rotate270,
            Rotate90FlipH,
            Rotate270FlipH,
        ];
        for (orientation, side) in all.into_iter().flat_map(|o| [(o, 8), (o, 64)]) {
            let size = InputSize {
                width: side,
                height: side,
            };
            let run = |pixels: &[u8], width, height, orientation| {
                let mut resampler = Resampler::default();
                let pixels = [pixels, &[0; PADDING]].concat();
                let picture = Decoded {
                    format: Format::Png,
                    width,
                    height,
                    orientation,
                    eighths: 8,
                };
                resampler.run(&pixels, &picture, size);
                resampler.rgb
            };
            let picture = image::RgbImage::from_raw(width, height, stored.clone()).unwrap();
            let mut upright = image::DynamicImage::from(picture);
            upright.apply_orientation(orientation);
            let expected = run(
                upright.as_bytes(),
                upright.width(),
                upright.height(),
                NoTransforms,
            );
            assert!(
                run(&stored, width, height, orientation) == expected,
                "{orientation:?} at {side}"
            );
        }
    }

    /// The kernels for this processor give what the portable ones give.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn kernels_agree() {
        assert!(
            matches!(Kernels::default(), Kernels::Avx2(_)),
            "this needs a processor with AVX2"
        );
        let sizes = [(1, 1), (1, 40), (40, 1), (223, 225), (640, 481), (1100, 37)];
        for ((width, height), side) in sizes.into_iter().flat_map(|s| [(s, 9), (s, 10), (s, 224)]) {
            let noise = |n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8;
            let mut pixels: Vec<u8> = (0..3 * width * height).map(noise).collect();
            pixels.extend([255; PADDING]);
            for orientation in [Orientation::NoTransforms, Orientation::Rotate90FlipH] {
                let picture = Decoded {
                    format: Format::Png,
                    width,
                    height,
                    orientation,
                    eighths: 8,
                };
                let size = InputSize {
                    width: side,
                    height: side,
                };
                let run = |kernels| {
                    let mut resampler = Resampler {
                        kernels,
                        ..Resampler::default()
                    };
                    resampler.run(&pixels, &picture, size);
                    resampler.rgb
                };
                assert!(
                    run(Kernels::default()) == run(Kernels::Portable),
                    "{width}x{height}, {orientation:?}, to {side}"
                );
            }
        }
    }

    /// Where an intrinsic is not inlined the pixels stay right and the time grows tenfold.
    #[test]
    #[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
    fn kernels_are_faster_than_plain_code() {
        let picture = Decoded {
            format: Format::Png,
            width: 640,
            height: 480,
            orientation: Orientation::NoTransforms,
            eighths: 8,
        };
        let size = InputSize {
            width: 224,
            height: 224,
        };
        let pixels = vec![0; 3 * 640 * 480 + PADDING];
        let shortest = |kernels| {
            let mut resampler = Resampler {
                kernels,
                ..Resampler::default()
            };
            let times = (0..15).map(|_| {
                let start = std::time::Instant::now();
                resampler.run(&pixels, &picture, size);
                start.elapsed()
            });
            times.min().unwrap()
        };
        let (fast, plain) = (shortest(Kernels::default()), shortest(Kernels::Portable));
        assert!(fast * 3 < plain * 2, "{fast:?} and {plain:?}");
    }
}
