//! The passes with the 16-bit multiply-add of AVX2.
//!
//! A weight has 22 bits and a multiplier 16, so each weight is two halves, `high << LOW_BITS | low`, summed
//! apart and joined at the end: exact, and still several times faster than 32-bit multiplication.
//!
//! An intrinsic becomes one instruction only where it is inlined into code compiled for AVX2. So there are no
//! closures around them here (also none for `map`), and every function that uses one is `inline(always)`.

use std::arch::x86_64::__m256i;
use std::ops::Range;

use pulp::x86::V3;
use pulp::{NullaryFnOnce, cast};

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
        self.simd.vectorize(Horizontal {
            kept: self,
            source,
            rows,
            taps,
            out,
        });
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
        self.simd.vectorize(Vertical {
            kept: self,
            source,
            columns,
            taps,
            out,
        });
    }
}

struct Horizontal<'a> {
    kept: &'a mut Avx2,
    source: &'a Rows<'a>,
    rows: Range<usize>,
    taps: &'a Taps,
    out: &'a mut [u8],
}

impl NullaryFnOnce for Horizontal<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Avx2 {
            simd,
            spans,
            groups,
            ..
        } = self.kept;
        spans.clear();
        groups.clear();
        for (first, weights) in self.taps.iter() {
            let start = groups.len();
            for four in weights.chunks(GROUP) {
                groups.push(Group::of_neighbours(*simd, four));
            }
            let groups = start..groups.len();
            spans.push(Span { first, groups });
        }
        horizontal(*simd, self.source, self.rows, spans, groups, self.out);
    }
}

struct Vertical<'a> {
    kept: &'a mut Avx2,
    source: &'a Rows<'a>,
    columns: Range<usize>,
    taps: &'a Taps,
    out: &'a mut [u8],
}

impl NullaryFnOnce for Vertical<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Avx2 { simd, pairs, .. } = self.kept;
        let stride = self.source.stride;
        let outs = self.out.chunks_exact_mut(3 * self.columns.len());
        for ((first, weights), out) in self.taps.iter().zip(outs) {
            pairs.clear();
            for two in weights.chunks(2) {
                pairs.push(Group::of_rows(*simd, two));
            }
            let rows = self.source.at(self.columns.start, first);
            vertical(*simd, rows, stride, pairs, weights.len(), out);
        }
    }
}

impl Group {
    /// Of up to [`GROUP`] pixels beside each other.
    #[inline(always)]
    fn of_neighbours(simd: V3, weights: &[i32]) -> Self {
        let mut four = [0; GROUP];
        four[..weights.len()].copy_from_slice(weights);
        let [a, b, c, d] = four;
        Self {
            high: halves(simd, high(a, b), high(c, d)),
            low: halves(simd, low(a, b), low(c, d)),
        }
    }

    /// Of up to two pixels below each other.
    #[inline(always)]
    fn of_rows(simd: V3, weights: &[i32]) -> Self {
        let mut two = [0; 2];
        two[..weights.len()].copy_from_slice(weights);
        let [a, b] = two;
        Self {
            high: simd.avx._mm256_set1_epi32(high(a, b)),
            low: simd.avx._mm256_set1_epi32(low(a, b)),
        }
    }
}

#[inline(always)]
fn halves(simd: V3, left: i32, right: i32) -> __m256i {
    let (left, right) = (
        simd.sse2._mm_set1_epi32(left),
        simd.sse2._mm_set1_epi32(right),
    );
    let left = simd.avx._mm256_castsi128_si256(left);
    simd.avx2._mm256_inserti128_si256::<1>(left, right)
}

/// The upper halves of two weights, as neighbouring multipliers.
#[inline(always)]
fn high(a: i32, b: i32) -> i32 {
    a >> LOW_BITS | b >> LOW_BITS << 16
}

/// The lower halves.
#[inline(always)]
fn low(a: i32, b: i32) -> i32 {
    const MASK: i32 = (1 << LOW_BITS) - 1;
    a & MASK | (b & MASK) << 16
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
        let mut together = [rows.end - 1; TOGETHER];
        let mut pixels = [source.row(rows.end - 1); TOGETHER];
        for n in 0..TOGETHER.min(rows.end - start) {
            together[n] = start + n;
            pixels[n] = source.row(start + n);
        }
        for (column, span) in spans.iter().enumerate() {
            let groups = &groups[span.groups.clone()];
            let from = 3 * (span.first - source.origin.0);
            let to = from + 3 * GROUP * groups.len() + 4;
            let [a, b, c, d] = pixels;
            let pixels = [&a[from..to], &b[from..to], &c[from..to], &d[from..to]];
            let sums = weigh(simd, pixels, groups);
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
        let [a, b, c, d] = sums;
        let left = avx2._mm256_packus_epi32(rounded(simd, a), rounded(simd, b));
        let right = avx2._mm256_packus_epi32(rounded(simd, c), rounded(simd, d));
        let bytes: [u8; BLOCK] = cast(avx2._mm256_packus_epi16(left, right));
        out[start..start + BLOCK].copy_from_slice(&bytes);
    }
}

#[inline(always)]
fn rounded(simd: V3, sums: Sums) -> __m256i {
    let sum = simd
        .avx2
        ._mm256_add_epi32(sums.joined(simd), cast([ROUND; 8]));
    simd.avx2._mm256_srai_epi32::<SHIFT>(sum)
}

#[inline(always)]
fn load(bytes: &[u8], at: usize) -> __m256i {
    let mut block = [0; BLOCK];
    block.copy_from_slice(&bytes[at..at + BLOCK]);
    cast(block)
}
