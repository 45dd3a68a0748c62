//! Memory for decoded pictures.

/// Bytes that follow the pixels: they are read sixteen at a time.
pub(super) const PADDING: usize = 16;

/// More than this is given back after use: three bytes for each of 21 million pixels.
const KEPT_BYTES: usize = 64_000_000;

/// Rows of 8-bit RGB, one picture after the other in the same memory: fresh pages for a picture of 12 million pixels
/// take a third of the time of classifying it.
#[derive(Default)]
pub(super) struct Pixels {
    // Never made shorter, or growing again would clear it.
    bytes: Vec<u8>,
    used: usize,
}

impl Pixels {
    /// Memory for a picture of so many bytes, still with what earlier pictures left there.
    pub(super) fn room(&mut self, bytes: usize) -> &mut [u8] {
        self.used = bytes;
        if self.bytes.len() < bytes + PADDING {
            self.bytes = Vec::new();
            self.bytes = vec![0; bytes + PADDING];
        }
        &mut self.bytes[..bytes]
    }

    /// Takes in a picture pixel by pixel.
    pub(super) fn fill(&mut self, picture: impl ExactSizeIterator<Item = [u8; 3]>) {
        let (room, _) = self.room(3 * picture.len()).as_chunks_mut();
        room.iter_mut()
            .zip(picture)
            .for_each(|(to, pixel)| *to = pixel);
    }

    /// The picture and [`PADDING`].
    pub(super) fn padded(&self) -> &[u8] {
        self.bytes.get(..self.used + PADDING).unwrap_or_default()
    }

    /// Call after each picture.
    pub(super) fn give_back_excess(&mut self) {
        if self.bytes.len() > KEPT_BYTES {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_kept_unless_it_is_much() {
        let mut pixels = Pixels::default();
        let place = pixels.room(36_000_000).as_ptr();
        pixels.give_back_excess();
        pixels.room(300);
        assert_eq!(pixels.padded().len(), 300 + PADDING);
        pixels.give_back_excess();
        assert_eq!(pixels.room(36_000_000).as_ptr(), place);
        pixels.room(KEPT_BYTES);
        pixels.give_back_excess();
        assert!(pixels.bytes.is_empty());
    }
}
