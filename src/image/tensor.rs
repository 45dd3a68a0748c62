//! Pixels → normalised floats.

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
    fn normalising_separates_the_channels() {
        let mut out = [0.0; 6];
        normalise(&[0, 51, 255, 255, 102, 0], &mut out);
        assert_eq!(out, [0.0, 1.0, 0.2, 0.4, 1.0, 0.0]);
    }
}
