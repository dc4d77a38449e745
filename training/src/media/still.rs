//! Still pictures: of a clip, as PNG (one frame, or many on a sheet), and of a cameo, as the portrait that the
//! model reads.

use std::io::Cursor;

use image::codecs::png::PngEncoder;
use image::imageops::{self, FilterType};
use image::{ExtendedColorType, ImageEncoder, ImageReader, Limits};

use super::MediaError;
use crate::clip::Clip;
use crate::world::{FPS, SAMPLE_RATE};

/// One frame at its own size.
pub fn thumbnail_png(clip: &Clip, frame: usize) -> Result<Vec<u8>, MediaError> {
    let pixels = clip.frame(frame).ok_or(MediaError::NoFrame { frame, count: clip.frame_count() })?;
    picture_png(pixels, clip.width, clip.height)
}

/// `columns` x `rows` frames, evenly spread over the clip, in reading order without gaps.
pub fn spritesheet_png(clip: &Clip, columns: usize, rows: usize) -> Result<Vec<u8>, MediaError> {
    let count = clip.frame_count();
    if count == 0 || columns == 0 || rows == 0 {
        return Err(MediaError::Empty);
    }
    let cells = columns * rows;
    let frames: Vec<&[u8]> = (0..cells).filter_map(|cell| clip.frame(cell * count / cells)).collect();
    sheet(&frames, (clip.width, clip.height), columns, 0)
}

/// One row of `columns` frames for each clip, with gaps between the rows, for looking at many clips at once.
pub fn contact_sheet_png(clips: &[Clip], columns: usize) -> Result<Vec<u8>, MediaError> {
    let first = clips.first().ok_or(MediaError::Empty)?;
    let size = (first.width, first.height);
    let mut frames = Vec::new();
    for clip in clips {
        let count = clip.frame_count();
        if count == 0 || columns == 0 || (clip.width, clip.height) != size {
            return Err(MediaError::Empty);
        }
        let last = columns.saturating_sub(1).max(1);
        frames.extend((0..columns).filter_map(|column| clip.frame(column * (count - 1) / last)));
    }
    sheet(&frames, size, columns, 4)
}

/// Any RGB8 picture.
pub fn picture_png(pixels: &[u8], width: usize, height: usize) -> Result<Vec<u8>, MediaError> {
    let mut png = Vec::new();
    PngEncoder::new(&mut png).write_image(pixels, width as u32, height as u32, ExtendedColorType::Rgb8)?;
    Ok(png)
}

/// The middle square of a PNG or JPEG, RGB8 of `side` x `side`.
pub fn portrait(picture: &[u8], side: usize) -> Result<Vec<u8>, MediaError> {
    fitted(picture, side, side)
}

/// The middle of a PNG or JPEG, as large as fits `width` x `height`, as a clip of one frame.
pub fn still(picture: &[u8], width: usize, height: usize) -> Result<Clip, MediaError> {
    let frames = fitted(picture, width, height)?;
    Ok(Clip { width, height, fps: FPS, frames, sample_rate: SAMPLE_RATE, samples: Vec::new() })
}

/// The largest part about the middle that has the shape of `width` x `height`, RGB8 of that size.
fn fitted(picture: &[u8], width: usize, height: usize) -> Result<Vec<u8>, MediaError> {
    let mut reader = ImageReader::new(Cursor::new(picture))
        .with_guessed_format()
        .map_err(|source| MediaError::Picture { source: source.into() })?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_PICTURE_SIDE);
    limits.max_image_height = Some(MAX_PICTURE_SIDE);
    reader.limits(limits);
    let image = reader.decode().map_err(|source| MediaError::Picture { source })?.into_rgb8();
    let (across, up) = image.dimensions();
    let (wide, high) = (u64::from(width.max(1) as u32), u64::from(height.max(1) as u32));
    let part_across = u64::from(across).min(u64::from(up) * wide / high).max(1) as u32;
    let part_up = u64::from(up).min(u64::from(across) * high / wide).max(1) as u32;
    let part =
        imageops::crop_imm(&image, (across - part_across) / 2, (up - part_up) / 2, part_across, part_up);
    Ok(imageops::resize(&*part, width as u32, height as u32, FilterType::Triangle).into_raw())
}

/// The largest side of a cameo's picture, in pixels.
const MAX_PICTURE_SIDE: u32 = 8192;

fn sheet(frames: &[&[u8]], size: (usize, usize), columns: usize, gap: usize) -> Result<Vec<u8>, MediaError> {
    let rows = frames.len().div_ceil(columns);
    let (cell_width, cell_height) = (size.0 + gap, size.1 + gap);
    let (width, height) = (columns * cell_width - gap, rows * cell_height - gap);
    let mut canvas = vec![255; width * height * 3];
    for (index, frame) in frames.iter().enumerate() {
        let (left, top) = (index % columns * cell_width, index / columns * cell_height);
        for (row, line) in frame.chunks_exact(size.0 * 3).enumerate() {
            let start = ((top + row) * width + left) * 3;
            canvas[start..start + line.len()].copy_from_slice(line);
        }
    }
    picture_png(&canvas, width, height)
}
