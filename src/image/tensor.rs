//! Pixels → normalised floats.

/// 8-bit RGB, row by row → red, green and blue planes of 0 to 1.
pub(super) fn normalise(rgb: &[u8], out: &mut [f32]) {
    assert_eq!(
        rgb.len(),
        out.len(),
        "the tensor must have the input's size"
    );
    // Compiled for several generations of processors; the best this one has is taken.
    pulp::Arch::new().dispatch(Normalise { rgb, out });
}

struct Normalise<'a> {
    rgb: &'a [u8],
    out: &'a mut [f32],
}

impl pulp::NullaryFnOnce for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let plane = self.out.len() / 3;
        let (red, rest) = self.out.split_at_mut(plane);
        let (green, blue) = rest.split_at_mut(plane);
        let planes = red.iter_mut().zip(green).zip(blue);
        let pixels = self.rgb.as_chunks::<3>().0;
        for (&[red, green, blue], ((r, g), b)) in pixels.iter().zip(planes) {
            *r = f32::from(red) / 255.0;
            *g = f32::from(green) / 255.0;
            *b = f32::from(blue) / 255.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalising_separates_the_channels() {
        let mut out = [0.0; 6];
        normalise(&[0, 51, 255, 255, 102, 0], &mut out);
        assert_eq!(out, [0.0, 1.0, 0.2, 0.4, 1.0, 0.0]);
    }
}
