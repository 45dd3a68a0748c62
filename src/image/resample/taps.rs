//! Which source pixels make an output pixel along one axis, and with what weight.
//!
//! The arithmetic is Pillow's (`precompute_coeffs` and `normalize_coeffs_8bpc` in its `Resample.c`, bilinear):
//! a classifier's answer moves by more than 1e-3 when pixels differ by single levels, so close is not enough.

/// Bits after the binary point of a weight.
pub(super) const PRECISION: u32 = 22;

/// Half of the last bit.
pub(super) const ROUND: i32 = 1 << (PRECISION - 1);

/// The source pixels of each output pixel.
#[derive(Debug, Default)]
pub(super) struct Taps {
    spans: Vec<Span>,
    weights: Vec<i32>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    first: usize,
    weights: usize,
    count: usize,
}

/// One axis of resize and crop: `source` pixels become `resized`, of which `kept` from `offset` on are wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::image) struct Axis {
    pub source: usize,
    /// Length of the source in pixels; less than `source` if the last pixel is only partly of the picture.
    pub length: f64,
    pub resized: u64,
    pub offset: u64,
    pub kept: usize,
    /// The file stores this axis the other way round.
    pub mirrored: bool,
}

impl Taps {
    /// Computes the taps of `axis` into the memory of `self`.
    pub(super) fn compute(&mut self, axis: Axis) {
        self.spans.clear();
        self.weights.clear();
        let scale = axis.length / axis.resized as f64;
        let support = scale.max(1.0);
        let mut weights = Vec::new();
        for out in 0..axis.kept as u64 {
            let center = ((out + axis.offset) as f64 + 0.5) * scale;
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(axis.source);
            weights.clear();
            let triangle = |source: usize| {
                let distance = (source as f64 - center + 0.5) * (1.0 / support);
                (1.0 - distance.abs()).max(0.0)
            };
            weights.extend((first..end).map(triangle));
            let sum: f64 = weights.iter().sum();
            let at = self.weights.len();
            self.weights
                .extend(weights.iter().map(|weight| fixed_point(weight / sum)));
            let first = if axis.mirrored {
                self.weights[at..].reverse();
                axis.source - end
            } else {
                first
            };
            self.spans.push(Span {
                first,
                weights: at,
                count: weights.len(),
            });
        }
    }

    /// For each output pixel: its first source pixel, and the weights of that and the following ones.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.spans.iter().map(|span| {
            (
                span.first,
                &self.weights[span.weights..span.weights + span.count],
            )
        })
    }

    /// The source pixels that are used at all.
    pub(super) fn range(&self) -> std::ops::Range<usize> {
        let first = self.spans.iter().map(|span| span.first).min().unwrap_or(0);
        let end = self
            .spans
            .iter()
            .map(|span| span.first + span.count)
            .max()
            .unwrap_or(0);
        first..end
    }
}

fn fixed_point(weight: f64) -> i32 {
    (0.5 + weight * f64::from(1u32 << PRECISION)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one_and_stay_inside() {
        for (source, resized, offset) in [
            (480, 224, 0),
            (640, 298, 37),
            (1, 224, 0),
            (3, 448_000, 223_888),
            (4000, 298, 37),
        ] {
            let mut taps = Taps::default();
            taps.compute(Axis {
                source,
                length: source as f64,
                resized,
                offset,
                kept: 224,
                mirrored: false,
            });
            assert_eq!(taps.iter().count(), 224);
            assert!(taps.range().end <= source);
            for (_, weights) in taps.iter() {
                let sum: i32 = weights.iter().sum();
                assert!(
                    (sum - (1 << PRECISION)).abs() <= weights.len() as i32,
                    "{sum}"
                );
            }
        }
    }

    #[test]
    fn the_same_size_is_the_identity() {
        let mut taps = Taps::default();
        taps.compute(Axis {
            source: 5,
            length: 5.0,
            resized: 5,
            offset: 1,
            kept: 3,
            mirrored: false,
        });
        for (out, (first, weights)) in taps.iter().enumerate() {
            let whole: Vec<usize> = (0..weights.len())
                .filter(|&k| weights[k] == 1 << PRECISION)
                .collect();
            assert_eq!(whole.len(), 1);
            assert_eq!(first + whole[0], out + 1);
        }
    }

    #[test]
    fn mirrored_taps_read_from_the_other_end() {
        let (mut plain, mut mirrored) = (Taps::default(), Taps::default());
        let axis = Axis {
            source: 7,
            length: 7.0,
            resized: 4,
            offset: 0,
            kept: 4,
            mirrored: false,
        };
        plain.compute(axis);
        mirrored.compute(Axis {
            mirrored: true,
            ..axis
        });
        for ((first, weights), (mirrored_first, mirrored_weights)) in
            plain.iter().zip(mirrored.iter())
        {
            assert_eq!(mirrored_first, 7 - first - weights.len());
            assert!(weights.iter().eq(mirrored_weights.iter().rev()));
        }
    }
}
