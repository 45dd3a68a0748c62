//! Where the model's input lies in the picture.

use image::metadata::Orientation;

use super::decode::Decoded;
use super::resample::Axis;

/// Size of a model's input in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputSize {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// How a stored picture becomes the input.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    /// Columns of the upright picture.
    pub across: Axis,
    /// Rows of the upright picture.
    pub down: Axis,
    /// Columns of the upright picture are rows of the stored one.
    pub swapped: bool,
}

/// Sides of the picture once it is upright.
pub(super) fn upright(width: u32, height: u32, orientation: Orientation) -> (u32, u32) {
    if swaps_sides(orientation) {
        (height, width)
    } else {
        (width, height)
    }
}

/// Pixels that are decoded of a side, when `eighths` of the full size are.
pub(super) fn decoded(side: u32, eighths: u32) -> usize {
    (u64::from(side) * u64::from(eighths)).div_ceil(8) as usize
}

fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation::*;
    matches!(
        orientation,
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH
    )
}

/// torchvision's `Resize` (shorter side for square inputs, each side otherwise) and `CenterCrop` of the
/// upright picture.
pub(super) fn plan(picture: &Decoded, size: InputSize) -> Plan {
    use Orientation::*;
    let Decoded {
        orientation,
        eighths,
        ..
    } = *picture;
    let (upright_width, upright_height) = upright(picture.width, picture.height, orientation);
    let square = size.width == size.height;
    let shorter = u64::from(upright_width.min(upright_height));
    let axis = |source: u32, kept: u32, mirrored: bool| {
        let target = u64::from(kept);
        let resized = if square {
            target * u64::from(source) / shorter
        } else {
            target
        };
        Axis {
            source: decoded(source, eighths),
            length: f64::from(source) * f64::from(eighths) / 8.0,
            resized,
            offset: centre(resized - target),
            kept: kept as usize,
            mirrored,
        }
    };
    let (mirrored_x, mirrored_y) = match orientation {
        NoTransforms | Rotate90FlipH => (false, false),
        FlipHorizontal | Rotate90 => (true, false),
        FlipVertical | Rotate270 => (false, true),
        Rotate180 | Rotate270FlipH => (true, true),
    };
    Plan {
        across: axis(upright_width, size.width, mirrored_x),
        down: axis(upright_height, size.height, mirrored_y),
        swapped: swaps_sides(orientation),
    }
}

// Python's round() goes to the even neighbour at .5, and so must this.
fn centre(surplus: u64) -> u64 {
    let half = surplus / 2;
    if surplus.is_multiple_of(2) || half.is_multiple_of(2) {
        half
    } else {
        half + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32, orientation: Orientation) -> Decoded {
        Decoded {
            format: crate::image::Format::Jpeg,
            width,
            height,
            orientation,
            eighths: 8,
        }
    }

    fn across(width: u32, height: u32) -> (u64, u64) {
        let size = InputSize {
            width: 224,
            height: 224,
        };
        let axis = plan(&picture(width, height, Orientation::NoTransforms), size).across;
        (axis.resized, axis.offset)
    }

    #[test]
    fn the_shorter_side_fits_and_the_longer_is_cropped() {
        assert_eq!(across(640, 480), (298, 37));
        assert_eq!(across(480, 640), (224, 0));
        assert_eq!(across(2000, 1), (448_000, 223_888));
    }

    #[test]
    fn half_offsets_round_to_even() {
        assert_eq!(across(225, 224), (225, 0));
        assert_eq!(across(227, 224), (227, 2));
    }

    #[test]
    fn inputs_that_are_not_square_take_the_whole_picture() {
        let size = InputSize {
            width: 320,
            height: 192,
        };
        let plan = plan(&picture(640, 480, Orientation::Rotate90), size);
        assert_eq!(
            (plan.across.source, plan.across.resized, plan.across.offset),
            (480, 320, 0)
        );
        assert_eq!(
            (plan.down.source, plan.down.resized, plan.down.offset),
            (640, 192, 0)
        );
        assert!(plan.swapped && plan.across.mirrored && !plan.down.mirrored);
    }
}
