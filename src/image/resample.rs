//! Resizes, crops and turns upright in two passes, bit for bit as Pillow does it one after the other.

use std::ops::Range;

use super::decode::Decoded;
use super::geometry::{self, InputSize};
use super::taps::{LOW_BITS, PRECISION, Taps, Weight};

/// Bytes that must follow the pixels given to [`Resampler::run`]: pixels are read four bytes at a time.
pub(super) const PADDING: usize = 1;

/// Keeps its buffers from picture to picture.
#[derive(Default)]
pub(super) struct Resampler {
    across: Taps,
    down: Taps,
    between: Vec<u8>,
    turned: Vec<u8>,
    sums: Vec<Sum>,
    rgb: Vec<u8>,
}

/// Rows of 8-bit RGB; the first column and row are `origin` of the picture they come from.
struct Rows<'a> {
    bytes: &'a [u8],
    stride: usize,
    origin: (usize, usize),
}

impl Resampler {
    /// Fills [`Resampler::rgb`] from `pixels`, 8-bit RGB as stored in the file.
    ///
    /// Pillow turns the picture upright, resizes across and then down, rounding to 8 bits each time. Here the
    /// picture stays as it is stored: a quarter turn swaps the order of the passes instead, and a mirrored axis
    /// its weights. Only what the crop keeps is computed.
    pub(super) fn run(&mut self, pixels: &[u8], picture: &Decoded, size: InputSize) {
        let plan = geometry::plan(picture.width, picture.height, picture.orientation, size);
        self.across.compute(plan.across);
        self.down.compute(plan.down);
        let (width, height) = (size.width as usize, size.height as usize);
        let stored = Rows {
            bytes: pixels,
            stride: 3 * picture.width as usize,
            origin: (0, 0),
        };
        let used = self.down.range();
        if plan.swapped {
            // Upright columns are stored rows.
            let stride = 3 * used.len();
            self.between.resize(stride * width + PADDING, 0);
            vertical(
                &stored,
                used.clone(),
                &self.across,
                &mut self.sums,
                &mut self.between,
            );
            let between = Rows {
                bytes: &self.between,
                stride,
                origin: (used.start, 0),
            };
            self.turned.resize(3 * width * height, 0);
            horizontal(&between, 0..width, &self.down, &mut self.turned);
            transpose(&self.turned, height, &mut self.rgb);
        } else {
            let stride = 3 * width;
            self.between.resize(stride * used.len() + PADDING, 0);
            horizontal(&stored, used.clone(), &self.across, &mut self.between);
            let between = Rows {
                bytes: &self.between,
                stride,
                origin: (0, used.start),
            };
            self.rgb.resize(stride * height, 0);
            vertical(
                &between,
                0..width,
                &self.down,
                &mut self.sums,
                &mut self.rgb,
            );
        }
    }

    /// The input's pixels, 8-bit RGB, row by row.
    pub(super) fn rgb(&self) -> &[u8] {
        &self.rgb
    }
}

/// The sums of the two halves of weights.
#[derive(Clone, Copy, Default)]
struct Sum {
    high: i32,
    low: i32,
}

impl Sum {
    #[inline(always)]
    fn add(&mut self, value: u8, weight: Weight) {
        self.high += i32::from(value) * i32::from(weight.high);
        self.low += i32::from(value) * i32::from(weight.low);
    }

    #[inline(always)]
    fn rounded(self) -> u8 {
        let sum = (self.high << LOW_BITS) + self.low + (1 << (PRECISION - 1));
        (sum >> PRECISION).min(255) as u8
    }
}

/// Resizes the given rows across.
fn horizontal(source: &Rows<'_>, rows: Range<usize>, taps: &Taps, out: &mut [u8]) {
    let mut out = out.chunks_exact_mut(3);
    for row in rows {
        let row = &source.bytes[(row - source.origin.1) * source.stride..];
        for (first, weights) in taps.iter() {
            let start = 3 * (first - source.origin.0);
            let span = &row[start..start + 3 * weights.len() + PADDING];
            let mut sums = [Sum::default(); 4];
            for (pixel, &weight) in span.windows(4).step_by(3).zip(weights) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    sum.add(value, weight);
                }
            }
            if let Some(pixel) = out.next() {
                pixel.copy_from_slice(&[sums[0].rounded(), sums[1].rounded(), sums[2].rounded()]);
            }
        }
    }
}

/// Resizes the given columns down.
fn vertical(
    source: &Rows<'_>,
    columns: Range<usize>,
    taps: &Taps,
    sums: &mut Vec<Sum>,
    out: &mut [u8],
) {
    let length = 3 * columns.len();
    let left = 3 * (columns.start - source.origin.0);
    for ((first, weights), out) in taps.iter().zip(out.chunks_exact_mut(length)) {
        sums.clear();
        sums.resize(length, Sum::default());
        for (row, &weight) in (first - source.origin.1..).zip(weights) {
            let start = row * source.stride + left;
            for (sum, &value) in sums.iter_mut().zip(&source.bytes[start..start + length]) {
                sum.add(value, weight);
            }
        }
        for (out, sum) in out.iter_mut().zip(sums.iter()) {
            *out = sum.rounded();
        }
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
}
