//! Pixels and tensors: RGB8 frames enter, `[batch, time, 3, height, width]` in [-1, 1] leaves, and back.

use burn::tensor::{Device, Tensor, TensorData};

/// A box of pixels out of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crop {
    pub(super) first: usize,
    pub(super) frames: usize,
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Crop {
    /// All of a clip.
    pub(super) fn whole(frames: usize, width: usize, height: usize) -> Self {
        Self { first: 0, frames, left: 0, top: 0, width, height }
    }
}

/// Appends the pixels in `crop` of frames that are `width` wide and `height` high, colour by colour.
pub(super) fn append(into: &mut Vec<f32>, frames: &[u8], [width, height]: [usize; 2], crop: Crop) {
    for frame in frames.chunks_exact((width * height * 3).max(1)).skip(crop.first).take(crop.frames) {
        for colour in 0..3 {
            for row in frame.chunks_exact(width * 3).skip(crop.top).take(crop.height) {
                let pixels = row.chunks_exact(3).skip(crop.left).take(crop.width);
                into.extend(pixels.map(|pixel| f32::from(pixel[colour]) / 127.5 - 1.0));
            }
        }
    }
}

/// Clips whose pixels were appended one after another.
pub(super) fn tensor(pixels: Vec<f32>, crop: Crop, device: &Device) -> Tensor<5> {
    let clip = crop.frames * 3 * crop.height * crop.width;
    let shape = [pixels.len() / clip.max(1), crop.frames, 3, crop.height, crop.width];
    Tensor::from_data(TensorData::new(pixels, shape), device)
}

/// Whole clips of one size.
pub(super) fn of_clips(clips: &[&[u8]], [width, height]: [usize; 2], device: &Device) -> Tensor<5> {
    let frames = clips.first().map_or(0, |clip| clip.len() / (width * height * 3).max(1));
    let crop = Crop::whole(frames, width, height);
    let mut pixels = Vec::with_capacity(clips.len() * frames * 3 * width * height);
    for clip in clips {
        append(&mut pixels, clip, [width, height], crop);
    }
    tensor(pixels, crop, device)
}

/// RGB8 frames of each clip of a batch.
pub(super) fn to_clips(frames: Tensor<5>) -> Vec<Vec<u8>> {
    let [batch, times, colours, rows, columns] = frames.dims();
    let bytes = times * colours * rows * columns;
    // The devices hold f32 here by construction; an empty clip fails every later length check.
    let values: Vec<f32> = frames.permute([0, 1, 3, 4, 2]).try_into_vec_as::<f32>().unwrap_or_default();
    let to_byte = |value: &f32| ((value + 1.0) * 127.5 + 0.5).clamp(0.0, 255.0) as u8;
    (0..batch).map(|clip| values.iter().skip(clip * bytes).take(bytes).map(to_byte).collect()).collect()
}

/// Peak signal-to-noise ratio in decibels.
pub(super) fn psnr_db(one: &[u8], two: &[u8]) -> f64 {
    let squares: f64 = one.iter().zip(two).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    let mean = squares / one.len().max(1) as f64;
    20.0 * 255.0_f64.log10() - 10.0 * mean.max(1e-9).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_come_back() {
        let clips: Vec<Vec<u8>> =
            (0..2).map(|clip| (0..3 * 4 * 6 * 3).map(|byte| (byte * 7 + clip * 5) as u8).collect()).collect();
        let all: Vec<&[u8]> = clips.iter().map(Vec::as_slice).collect();
        let tensor = of_clips(&all, [6, 4], &Device::flex());
        assert_eq!(tensor.dims(), [2, 3, 3, 4, 6]);
        assert_eq!(to_clips(tensor), clips);
        assert!(psnr_db(&clips[0], &clips[0]) > 100.0);
        assert!(psnr_db(&clips[0], &clips[1]) < 50.0);
    }

    #[test]
    fn a_crop_is_a_box_of_the_whole() {
        let clip: Vec<u8> = (0..3 * 4 * 6 * 3).map(|byte| byte as u8).collect();
        let whole = of_clips(&[&clip], [6, 4], &Device::flex());
        let crop = Crop { first: 1, frames: 2, left: 2, top: 1, width: 3, height: 2 };
        let mut pixels = Vec::new();
        append(&mut pixels, &clip, [6, 4], crop);
        let part = tensor(pixels, crop, &Device::flex());
        let expected = whole.narrow(1, 1, 2).narrow(3, 1, 2).narrow(4, 2, 3);
        assert_eq!(part.into_data(), expected.into_data());
    }
}
