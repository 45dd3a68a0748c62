//! The passes with the 16-bit multiply-add of AVX2.
//!
//! A weight has 22 bits and a multiplier 16, so each weight is two halves, `high << LOW_BITS | low`, summed
//! apart and joined at the end: exact, and still several times faster than 32-bit multiplication.

use std::arch::x86_64::__m256i;
use std::array;
use std::ops::Range;

use pulp::cast;
use pulp::x86::V3;

use super::Rows;
use super::taps::{PRECISION, ROUND, Taps};

/// Bytes that [`Avx2::vertical`] computes at once, and the least it can.
pub(super) const BLOCK: usize = 32;

const LOW_BITS: i32 = 11;
const SHIFT: i32 = PRECISION as i32;

/// Source pixels of a [`Group`].
const GROUP: usize = 4;

/// Rows that [`Avx2::horizontal`] resizes together: each weight is then loaded once for all of them.
const TOGETHER: usize = 4;

/// Turns four RGB pixels, once in each half, into `r0 r1 g0 g1 b0 b1 0 0 | r2 r3 g2 g3 b2 b3 0 0`, 16 bits each.
const SPREAD: [u8; 32] = {
    const Z: u8 = 0x80;
    [
        0, Z, 3, Z, 1, Z, 4, Z, 2, Z, 5, Z, Z, Z, Z, Z, //
        6, Z, 9, Z, 7, Z, 10, Z, 8, Z, 11, Z, Z, Z, Z, Z,
    ]
};

/// The weights of four neighbouring source pixels, in the order of [`SPREAD`].
#[derive(Clone, Copy)]
struct Group {
    high: __m256i,
    low: __m256i,
}

/// The groups of one output pixel.
struct Span {
    first: usize,
    groups: Range<usize>,
}

/// Keeps its buffers from picture to picture.
pub(super) struct Avx2 {
    simd: V3,
    spans: Vec<Span>,
    groups: Vec<Group>,
    pairs: Vec<Group>,
}

impl Avx2 {
    /// If this processor has AVX2.
    pub(super) fn detect() -> Option<Self> {
        Some(Self {
            simd: V3::try_new()?,
            spans: Vec::new(),
            groups: Vec::new(),
            pairs: Vec::new(),
        })
    }

    pub(super) fn horizontal(
        &mut self,
        source: &Rows<'_>,
        rows: Range<usize>,
        taps: &Taps,
        out: &mut [u8],
    ) {
        let (simd, spans, groups) = (self.simd, &mut self.spans, &mut self.groups);
        spans.clear();
        groups.clear();
        simd.vectorize(
            #[inline(always)]
            || {
                for (first, weights) in taps.iter() {
                    let start = groups.len();
                    let four = |weights| Group::of_neighbours(simd, weights);
                    groups.extend(weights.chunks(GROUP).map(four));
                    let groups = start..groups.len();
                    spans.push(Span { first, groups });
                }
                horizontal(simd, source, rows, spans, groups, out);
            },
        );
    }

    /// # Panics
    /// If the columns have less than [`BLOCK`] bytes.
    pub(super) fn vertical(
        &mut self,
        source: &Rows<'_>,
        columns: Range<usize>,
        taps: &Taps,
        out: &mut [u8],
    ) {
        let (simd, pairs) = (self.simd, &mut self.pairs);
        let length = 3 * columns.len();
        simd.vectorize(
            #[inline(always)]
            || {
                for ((first, weights), out) in taps.iter().zip(out.chunks_exact_mut(length)) {
                    pairs.clear();
                    pairs.extend(weights.chunks(2).map(|pair| Group::of_rows(simd, pair)));
                    let rows = source.at(columns.start, first);
                    vertical(simd, rows, source.stride, pairs, weights.len(), out);
                }
            },
        );
    }
}

impl Group {
    /// Of up to [`GROUP`] pixels beside each other.
    #[inline(always)]
    fn of_neighbours(simd: V3, weights: &[i32]) -> Self {
        let weight = |n: usize| weights.get(n).copied().unwrap_or(0);
        let (left, right) = ([weight(0), weight(1)], [weight(2), weight(3)]);
        let of = |half: fn(i32) -> i32| {
            let [left, right] = [left, right].map(|[a, b]| half(a) | half(b) << 16);
            simd.avx2._mm256_inserti128_si256::<1>(
                simd.avx
                    ._mm256_castsi128_si256(simd.sse2._mm_set1_epi32(left)),
                simd.sse2._mm_set1_epi32(right),
            )
        };
        Self {
            high: of(high),
            low: of(low),
        }
    }

    /// Of up to two pixels below each other.
    #[inline(always)]
    fn of_rows(simd: V3, weights: &[i32]) -> Self {
        let [a, b] = [0, 1].map(|n| weights.get(n).copied().unwrap_or(0));
        let of = |half: fn(i32) -> i32| simd.avx._mm256_set1_epi32(half(a) | half(b) << 16);
        Self {
            high: of(high),
            low: of(low),
        }
    }
}

#[inline(always)]
fn high(weight: i32) -> i32 {
    weight >> LOW_BITS
}

#[inline(always)]
fn low(weight: i32) -> i32 {
    weight & ((1 << LOW_BITS) - 1)
}

/// The sums of the two halves of weights.
#[derive(Clone, Copy)]
struct Sums {
    high: __m256i,
    low: __m256i,
}

impl Sums {
    const ZERO: Self = Self {
        high: cast([0; 8]),
        low: cast([0; 8]),
    };

    #[inline(always)]
    fn add(&mut self, simd: V3, pixels: __m256i, weights: &Group) {
        let avx2 = simd.avx2;
        let products = avx2._mm256_madd_epi16(pixels, weights.high);
        self.high = avx2._mm256_add_epi32(self.high, products);
        let products = avx2._mm256_madd_epi16(pixels, weights.low);
        self.low = avx2._mm256_add_epi32(self.low, products);
    }

    #[inline(always)]
    fn joined(self, simd: V3) -> __m256i {
        let high = simd.avx2._mm256_slli_epi32::<LOW_BITS>(self.high);
        simd.avx2._mm256_add_epi32(high, self.low)
    }
}

#[inline(always)]
fn horizontal(
    simd: V3,
    source: &Rows<'_>,
    rows: Range<usize>,
    spans: &[Span],
    groups: &[Group],
    out: &mut [u8],
) {
    let length = 3 * spans.len();
    for start in rows.clone().step_by(TOGETHER) {
        // The last rows may be computed more than once.
        let together: [usize; TOGETHER] = array::from_fn(|n| (start + n).min(rows.end - 1));
        let pixels = together.map(|row| source.row(row));
        for (column, span) in spans.iter().enumerate() {
            let groups = &groups[span.groups.clone()];
            let from = 3 * (span.first - source.origin.0);
            let to = from + 3 * GROUP * groups.len() + 4;
            let sums = weigh(simd, pixels.map(|row| &row[from..to]), groups);
            for (row, sums) in together.into_iter().zip(sums) {
                let at = (row - rows.start) * length + 3 * column;
                out[at..at + 3].copy_from_slice(&pixel(simd, sums)[..3]);
            }
        }
    }
}

#[inline(always)]
fn weigh(simd: V3, pixels: [&[u8]; TOGETHER], groups: &[Group]) -> [Sums; TOGETHER] {
    let spread = cast(SPREAD);
    let mut sums = [Sums::ZERO; TOGETHER];
    for (n, weights) in groups.iter().enumerate() {
        let at = 3 * GROUP * n;
        for (sums, pixels) in sums.iter_mut().zip(pixels) {
            let mut four = [0; 16];
            four.copy_from_slice(&pixels[at..at + 16]);
            let twice = simd.avx2._mm256_broadcastsi128_si256(cast(four));
            let spread = simd.avx2._mm256_shuffle_epi8(twice, spread);
            sums.add(simd, spread, weights);
        }
    }
    sums
}

/// Red, green, blue and nothing.
#[inline(always)]
fn pixel(simd: V3, sums: Sums) -> [u8; 4] {
    let (sse2, avx2) = (simd.sse2, simd.avx2);
    let sum = sums.joined(simd);
    let right = avx2._mm256_extracti128_si256::<1>(sum);
    let sum = sse2._mm_add_epi32(simd.avx._mm256_castsi256_si128(sum), right);
    let sum = sse2._mm_srai_epi32::<SHIFT>(sse2._mm_add_epi32(sum, cast([ROUND; 4])));
    let words = simd.sse4_1._mm_packus_epi32(sum, sum);
    let bytes = sse2._mm_packus_epi16(words, words);
    sse2._mm_cvtsi128_si32(bytes).to_le_bytes()
}

/// One output row: `taps` rows of `stride` bytes, weighed in `pairs`.
#[inline(always)]
fn vertical(simd: V3, rows: &[u8], stride: usize, pairs: &[Group], taps: usize, out: &mut [u8]) {
    let avx2 = simd.avx2;
    let zero = cast([0; 8]);
    let last = out.len() - BLOCK;
    for start in (0..out.len()).step_by(BLOCK) {
        // The last block may overlap the one before it.
        let start = start.min(last);
        let mut sums = [Sums::ZERO; 4];
        for (n, weights) in pairs.iter().enumerate() {
            let upper = 2 * n * stride + start;
            // An odd last row is paired with itself, with no weight.
            let lower = if 2 * n + 1 < taps {
                upper + stride
            } else {
                upper
            };
            let (upper, lower) = (load(rows, upper), load(rows, lower));
            let left = avx2._mm256_unpacklo_epi8(upper, lower);
            let right = avx2._mm256_unpackhi_epi8(upper, lower);
            let quarters = [
                avx2._mm256_unpacklo_epi8(left, zero),
                avx2._mm256_unpackhi_epi8(left, zero),
                avx2._mm256_unpacklo_epi8(right, zero),
                avx2._mm256_unpackhi_epi8(right, zero),
            ];
            for (sums, pixels) in sums.iter_mut().zip(quarters) {
                sums.add(simd, pixels, weights);
            }
        }
        let [a, b, c, d] = sums.map(|sums| {
            let sum = avx2._mm256_add_epi32(sums.joined(simd), cast([ROUND; 8]));
            avx2._mm256_srai_epi32::<SHIFT>(sum)
        });
        let words = (
            avx2._mm256_packus_epi32(a, b),
            avx2._mm256_packus_epi32(c, d),
        );
        let bytes: [u8; BLOCK] = cast(avx2._mm256_packus_epi16(words.0, words.1));
        out[start..start + BLOCK].copy_from_slice(&bytes);
    }
}

#[inline(always)]
fn load(bytes: &[u8], at: usize) -> __m256i {
    let mut block = [0; BLOCK];
    block.copy_from_slice(&bytes[at..at + BLOCK]);
    cast(block)
}
