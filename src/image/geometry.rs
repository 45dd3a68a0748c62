//! Where the model's input lies in the picture.

use image::metadata::Orientation;

/// Size of a model's input in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputSize {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// A rectangle of the picture in (fractional) pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CropBox {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

pub(super) fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation::*;
    matches!(
        orientation,
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH
    )
}

/// Sides of the picture once it is upright.
pub(super) fn upright(width: u32, height: u32, orientation: Orientation) -> (u32, u32) {
    if swaps_sides(orientation) {
        (height, width)
    } else {
        (width, height)
    }
}

/// The part of an upright picture that fills the input: torchvision's `Resize` (shorter side for square
/// inputs, both sides otherwise) and `CenterCrop` in one.
///
/// Resampling this box straight to the input gives the pixels of resizing first and cropping then, without
/// the huge intermediate that a very long picture would need.
pub(super) fn crop_box(width: u32, height: u32, size: InputSize) -> CropBox {
    let (w, h) = (f64::from(width), f64::from(height));
    if size.width != size.height {
        return CropBox {
            left: 0.0,
            top: 0.0,
            width: w,
            height: h,
        };
    }
    let target = u64::from(size.width);
    let resized = |side: u32, shorter: u32| (target * u64::from(side)) / u64::from(shorter);
    let shorter = width.min(height);
    let axis = |side: u32| {
        let resized = resized(side, shorter);
        let scale = f64::from(side) / resized as f64;
        (offset(resized, target) * scale, target as f64 * scale)
    };
    let (left, box_width) = axis(width);
    let (top, box_height) = axis(height);
    CropBox {
        left,
        top,
        width: box_width.min(w - left),
        height: box_height.min(h - top),
    }
}

// Python's round() goes to the even neighbour at .5, and so must this.
fn offset(resized: u64, target: u64) -> f64 {
    ((resized - target) as f64 / 2.0).round_ties_even()
}

impl CropBox {
    /// The same part in the stored picture, which `orientation` turns upright; `width` and `height` are the
    /// stored picture's.
    pub(super) fn in_stored(self, width: u32, height: u32, orientation: Orientation) -> Self {
        use Orientation::*;
        let (w, h) = (f64::from(width), f64::from(height));
        let mirrored_x = |b: Self| Self {
            left: w - b.left - b.width,
            ..b
        };
        let mirrored_y = |b: Self| Self {
            top: h - b.top - b.height,
            ..b
        };
        let transposed = Self {
            left: self.top,
            top: self.left,
            width: self.height,
            height: self.width,
        };
        match orientation {
            NoTransforms => self,
            FlipHorizontal => mirrored_x(self),
            FlipVertical => mirrored_y(self),
            Rotate180 => mirrored_x(mirrored_y(self)),
            Rotate90FlipH => transposed,
            Rotate90 => mirrored_y(transposed),
            Rotate270 => mirrored_x(transposed),
            Rotate270FlipH => mirrored_x(mirrored_y(transposed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQUARE: InputSize = InputSize {
        width: 224,
        height: 224,
    };

    #[test]
    fn the_box_is_centred_and_inside() {
        for (w, h) in [
            (640, 480),
            (1, 1),
            (1, 2000),
            (3000, 20),
            (223, 225),
            (224, 224),
            (65_535, 763),
        ] {
            let b = crop_box(w, h, SQUARE);
            assert!(b.left >= 0.0 && b.top >= 0.0, "{b:?}");
            assert!(
                b.left + b.width <= f64::from(w) && b.top + b.height <= f64::from(h),
                "{b:?}"
            );
        }
    }

    #[test]
    fn half_offsets_round_to_even() {
        // 225×224 → 225 wide, offset 0.5 → 0; 227×224 → 227 wide, offset 1.5 → 2.
        assert_eq!(crop_box(225, 224, SQUARE).left, 0.0);
        assert_eq!(crop_box(227, 224, SQUARE).left, 2.0);
    }

    #[test]
    fn the_box_follows_every_orientation() {
        let b = CropBox {
            left: 1.0,
            top: 2.0,
            width: 3.0,
            height: 4.0,
        };
        // A stored 20×10 picture that stands 10×20 upright.
        let turned = b.in_stored(20, 10, Orientation::Rotate90);
        assert_eq!(
            turned,
            CropBox {
                left: 2.0,
                top: 6.0,
                width: 4.0,
                height: 3.0
            }
        );
        let turned = b.in_stored(20, 10, Orientation::Rotate270);
        assert_eq!(
            turned,
            CropBox {
                left: 14.0,
                top: 1.0,
                width: 4.0,
                height: 3.0
            }
        );
    }
}
