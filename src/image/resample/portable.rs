//! The passes in plain Rust.

use std::ops::Range;

use super::Rows;
use super::taps::{PRECISION, ROUND, Taps};

fn rounded(sum: i32) -> u8 {
    ((sum + ROUND) >> PRECISION).min(255) as u8
}

pub(super) fn horizontal(source: &Rows<'_>, rows: Range<usize>, taps: &Taps, out: &mut [u8]) {
    let mut out = out.chunks_exact_mut(3);
    for row in rows {
        for ((first, weights), out) in taps.iter().zip(&mut out) {
            let mut sums = [0; 3];
            for (pixel, weight) in source.at(first, row).chunks_exact(3).zip(weights) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(value) * weight;
                }
            }
            out.copy_from_slice(&sums.map(rounded));
        }
    }
}

pub(super) fn vertical(source: &Rows<'_>, columns: Range<usize>, taps: &Taps, out: &mut [u8]) {
    let length = 3 * columns.len();
    let mut sums = vec![0; length];
    for ((first, weights), out) in taps.iter().zip(out.chunks_exact_mut(length)) {
        sums.fill(0);
        for (row, weight) in (first..).zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(source.at(columns.start, row)) {
                *sum += i32::from(value) * weight;
            }
        }
        for (out, &sum) in out.iter_mut().zip(&sums) {
            *out = rounded(sum);
        }
    }
}
