//! Still pictures of a clip, as PNG: one frame, or many on a sheet.

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::MediaError;
use crate::clip::Clip;

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
