//! The two passes, by the fastest code this processor has.

use std::ops::Range;

use super::taps::Taps;
use super::{Rows, portable};

/// All give the same pixels.
pub(super) enum Kernels {
    #[cfg(target_arch = "x86_64")]
    Avx2(Box<super::avx2::Avx2>),
    Portable,
}

impl Default for Kernels {
    fn default() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = super::avx2::Avx2::detect() {
            return Self::Avx2(Box::new(avx2));
        }
        Self::Portable
    }
}

impl Kernels {
    /// Resizes the given rows across; `out` has as many rows.
    pub(super) fn horizontal(
        &mut self,
        source: &Rows<'_>,
        rows: Range<usize>,
        taps: &Taps,
        out: &mut [u8],
    ) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => avx2.horizontal(source, rows, taps, out),
            Self::Portable => portable::horizontal(source, rows, taps, out),
        }
    }

    /// Resizes the given columns down; `out` has as many columns.
    pub(super) fn vertical(
        &mut self,
        source: &Rows<'_>,
        columns: Range<usize>,
        taps: &Taps,
        out: &mut [u8],
    ) {
        match self {
            #[cfg(target_arch = "x86_64")]
            // It works on blocks of this many bytes.
            Self::Avx2(avx2) if 3 * columns.len() >= super::avx2::BLOCK => {
                avx2.vertical(source, columns, taps, out)
            }
            _ => portable::vertical(source, columns, taps, out),
        }
    }
}
