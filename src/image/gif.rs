//! The first frame of a GIF.

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};
use image::metadata::Orientation;

use super::decode::Decoded;
use super::pixels::Pixels;
use super::{Format, ImageError, check_size};

/// Decodes the first frame into `pixels`, on a canvas filled as Pillow fills it: with the frame's
/// transparent colour, or colour 0 if it has none.
pub(super) fn decode(
    bytes: &[u8],
    max_pixels: u64,
    pixels: &mut Pixels,
) -> Result<Decoded, ImageError> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    let limit = std::num::NonZeroU64::new(max_pixels).unwrap_or(std::num::NonZeroU64::MIN);
    options.set_memory_limit(MemoryLimit::Bytes(limit));
    let mut decoder = options.read_info(bytes).map_err(explain)?;
    let (width, height) = (u32::from(decoder.width()), u32::from(decoder.height()));
    check_size(width, height, max_pixels)?;

    let global = decoder.global_palette().map(<[u8]>::to_vec);
    let frame = decoder
        .read_next_frame()
        .map_err(explain)?
        .ok_or(ImageError::Truncated {
            format: Format::Gif,
        })?;
    let colours = colour_table(frame.palette.as_deref().or(global.as_deref()));

    // A first frame that reaches beyond the canvas makes it larger.
    let width = width.max(u32::from(frame.left) + u32::from(frame.width));
    let height = height.max(u32::from(frame.top) + u32::from(frame.height));
    check_size(width, height, max_pixels)?;
    let (canvas_width, canvas_height) = (width as usize, height as usize);
    let fill = colours[usize::from(frame.transparent.unwrap_or(0))];
    let (canvas, _) = pixels
        .room(3 * canvas_width * canvas_height)
        .as_chunks_mut::<3>();
    canvas.fill(fill);
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let rows = frame.buffer.chunks_exact(usize::from(frame.width).max(1));
    for (row, y) in rows.zip(top..canvas_height) {
        for (&index, x) in row.iter().zip(left..canvas_width) {
            canvas[y * canvas_width + x] = colours[usize::from(index)];
        }
    }
    Ok(Decoded {
        format: Format::Gif,
        width,
        height,
        orientation: Orientation::NoTransforms,
        eighths: 8,
    })
}

// Without a palette, indices are greys; indices beyond a short one are black.
fn colour_table(palette: Option<&[u8]>) -> [[u8; 3]; 256] {
    let Some(palette) = palette else {
        return std::array::from_fn(|i| [i as u8; 3]);
    };
    let mut table = [[0; 3]; 256];
    for (slot, colour) in table.iter_mut().zip(palette.chunks_exact(3)) {
        slot.copy_from_slice(colour);
    }
    table
}

fn explain(error: DecodingError) -> ImageError {
    let format = Format::Gif;
    match error {
        DecodingError::UnexpectedEof => ImageError::Truncated { format },
        DecodingError::Io(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImageError::Truncated { format }
        }
        other => ImageError::Damaged {
            format,
            reason: other.to_string(),
        },
    }
}
