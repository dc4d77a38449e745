//! The eye: one frame enters as pixels; who and what it shows, where, and on which stage leave.
//!
//! It reads a [glance](super::latents::Layout::glance): the part of a clip's latents that one frame decides,
//! at unit variance as the transformer sees them. What it says is a start for
//! [`encoder::fit`](crate::encoder), not a measurement.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};

use super::latents::GLANCE;

/// Side of the pictures that the eye sees.
pub(crate) const EYE_SIDE: usize = 96;
/// Channels after each halving of the picture.
const WIDTHS: [usize; 5] = [3, 16, 32, 64, 96];
/// Channels of each of the places that are left.
const SUMMARY: usize = 32;
const HIDDEN: usize = 192;

#[derive(Module, Debug)]
pub(crate) struct Eye {
    halvings: Vec<Conv2d>,
    summary: Conv2d,
    hidden: Linear,
    head: Linear,
}

impl Eye {
    pub(crate) fn new(device: &Device) -> Self {
        let halvings = WIDTHS.windows(2).map(|pair| {
            Conv2dConfig::new([pair[0], pair[1]], [3, 3])
                .with_stride([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device)
        });
        let places = (EYE_SIDE >> (WIDTHS.len() - 1)).pow(2);
        Self {
            halvings: halvings.collect(),
            summary: Conv2dConfig::new([WIDTHS[WIDTHS.len() - 1], SUMMARY], [1, 1]).init(device),
            hidden: LinearConfig::new(places * SUMMARY, HIDDEN).init(device),
            head: LinearConfig::new(HIDDEN, GLANCE).init(device),
        }
    }

    /// # Shapes
    /// - pictures: `[pictures, 3, 96, 96]`, as [`seen`] makes them; output: `[pictures, GLANCE]`.
    pub(crate) fn forward(&self, pictures: Tensor<4>) -> Tensor<2> {
        let seen = self.halvings.iter().fold(pictures, |seen, layer| relu(layer.forward(seen)));
        let summary = relu(self.summary.forward(seen)).flatten::<2>(1, 3);
        self.head.forward(relu(self.hidden.forward(summary)))
    }
}

/// RGB8 pictures of 96 x 96 pixels as the eye sees them.
pub(crate) fn seen<'a>(pictures: impl IntoIterator<Item = &'a [u8]>, device: &Device) -> Tensor<4> {
    let mut values = Vec::new();
    for picture in pictures {
        for channel in 0..3 {
            let plane = picture.iter().skip(channel).step_by(3);
            values.extend(plane.map(|&value| f32::from(value) / 127.5 - 1.0));
        }
    }
    let count = values.len() / (3 * EYE_SIDE * EYE_SIDE);
    Tensor::from_data(TensorData::new(values, [count, 3, EYE_SIDE, EYE_SIDE]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_seen_apart_from_each_other() {
        let device = Device::flex();
        let eye = Eye::new(&device);
        assert!((200_000..400_000).contains(&eye.num_params()), "{}", eye.num_params());
        let grey = vec![90_u8; EYE_SIDE * EYE_SIDE * 3];
        let bright: Vec<u8> = (0..EYE_SIDE * EYE_SIDE * 3).map(|at| (at % 251) as u8).collect();
        let both = eye.forward(seen([grey.as_slice(), bright.as_slice()], &device));
        let alone = eye.forward(seen([bright.as_slice()], &device));
        assert_eq!(both.dims(), [2, GLANCE]);
        let both: Vec<f32> = both.try_into_vec_as::<f32>().unwrap();
        let alone: Vec<f32> = alone.try_into_vec_as::<f32>().unwrap();
        for (a, b) in both[GLANCE..].iter().zip(&alone) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
        assert!(both[..GLANCE].iter().zip(&alone).any(|(a, b)| (a - b).abs() > 1e-3));
    }
}
