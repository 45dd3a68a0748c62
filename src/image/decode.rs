//! PNG, WebP, BMP and TIFF through the `image` crate, made RGB the way Pillow does.

use std::io::{Cursor, ErrorKind};

use image::error::LimitErrorKind;
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader};

use super::pixels::Pixels;
use super::{Format, ImageError, check_size, orientation};

/// What a decoder says of the 8-bit RGB pixels it wrote.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decoded {
    pub format: Format,
    /// As stored, before orientation.
    pub width: u32,
    pub height: u32,
    pub orientation: Orientation,
    /// Size of the pixels in eighths of the picture's, rounded up to whole pixels; 8 unless decoded at a fraction.
    pub eighths: u32,
}

/// Decodes a picture of the given format into `pixels`.
pub(super) fn decode(
    bytes: &[u8],
    format: Format,
    max_pixels: u64,
    pixels: &mut Pixels,
) -> Result<Decoded, ImageError> {
    let fail = |error: image::ImageError| match format {
        Format::WebP if is_cut_webp(bytes) => ImageError::Truncated { format },
        _ => explain(error, format),
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), image_format(format));
    let mut allowance = image::Limits::default();
    // 16-bit RGBA, twice over for the decoder's own needs.
    allowance.max_alloc = Some(max_pixels.saturating_mul(16).saturating_add(1 << 20));
    reader.limits(allowance);
    let mut decoder = reader.into_decoder().map_err(fail)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, max_pixels)?;
    let orientation = match format {
        Format::WebP => orientation::of_webp(bytes),
        _ => orientation::of_decoder(&mut decoder, bytes),
    };
    if decoder.color_type() == ColorType::Rgb8 {
        let room = pixels.room(3 * width as usize * height as usize);
        // Some pictures leave pixels out.
        room.fill(0);
        decoder.read_image(room).map_err(fail)?;
    } else {
        let picture = DynamicImage::from_decoder(decoder).map_err(fail)?;
        write_rgb(&picture, format, pixels)?;
    }
    Ok(Decoded {
        format,
        width,
        height,
        orientation,
        eighths: 8,
    })
}

/// The container says how long it is; the decoder only finds something corrupt.
fn is_cut_webp(bytes: &[u8]) -> bool {
    let Some(Ok(length)) = bytes.get(4..8).map(<[u8; 4]>::try_from) else {
        return false;
    };
    (bytes.len() as u64) < 8 + u64::from(u32::from_le_bytes(length))
}

fn image_format(format: Format) -> ImageFormat {
    match format {
        Format::Jpeg => ImageFormat::Jpeg,
        Format::Png => ImageFormat::Png,
        Format::WebP => ImageFormat::WebP,
        Format::Bmp => ImageFormat::Bmp,
        Format::Gif => ImageFormat::Gif,
        Format::Tiff => ImageFormat::Tiff,
    }
}

// Pillow drops alpha without blending, keeps the high byte of 16-bit colours, and clips 16-bit grey at 255.
fn write_rgb(
    picture: &DynamicImage,
    format: Format,
    pixels: &mut Pixels,
) -> Result<(), ImageError> {
    fn high(value: u16) -> u8 {
        (value >> 8) as u8
    }
    match picture {
        DynamicImage::ImageRgba8(p) => pixels.fill(p.pixels().map(|p| [p[0], p[1], p[2]])),
        DynamicImage::ImageLuma8(p) => pixels.fill(p.iter().map(|&v| [v; 3])),
        DynamicImage::ImageLumaA8(p) => pixels.fill(p.pixels().map(|p| [p[0]; 3])),
        DynamicImage::ImageRgb16(p) => pixels.fill(p.pixels().map(|p| p.0.map(high))),
        DynamicImage::ImageRgba16(p) => {
            pixels.fill(p.pixels().map(|p| [p[0], p[1], p[2]].map(high)))
        }
        DynamicImage::ImageLuma16(p) => pixels.fill(p.iter().map(|&v| [v.min(255) as u8; 3])),
        DynamicImage::ImageLumaA16(p) => pixels.fill(p.pixels().map(|p| [high(p[0]); 3])),
        other => {
            let reason = format!("pixels of type {:?}", other.color());
            return Err(ImageError::Unsupported { format, reason });
        }
    }
    Ok(())
}

pub(super) fn explain(error: image::ImageError, format: Format) -> ImageError {
    use std::error::Error;
    if let image::ImageError::Limits(limit) = &error
        && !matches!(limit.kind(), LimitErrorKind::Unsupported { .. })
    {
        return ImageError::Unsupported {
            format,
            reason: "decoding it needs too much memory".into(),
        };
    }
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    let mut reason = error.to_string();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>()
            && io.kind() == ErrorKind::UnexpectedEof
        {
            return ImageError::Truncated { format };
        }
        reason = inner.to_string();
        cause = inner.source();
    }
    // Some decoders report the end of the file only in words.
    let words = reason.to_lowercase();
    if [
        "unexpected end",
        "unexpected eof",
        "failed to fill whole buffer",
    ]
    .iter()
    .any(|w| words.contains(w))
    {
        return ImageError::Truncated { format };
    }
    match error {
        image::ImageError::Unsupported(_) => ImageError::Unsupported { format, reason },
        _ => ImageError::Damaged { format, reason },
    }
}
