//! Causal layers for clips worked through in chunks: frames enter with what is remembered of those before
//! them, frames leave.
//!
//! Time is the second axis and channels the third, of pictures (`[batch, time, channels, height, width]`) and
//! of sound (`[batch, time, channels]`) alike. A convolution over three frames is one over one frame whose
//! channels are those of three, which runs as a plain picture convolution on every device.
//! INVARIANT: no output depends on a later frame, and chunks give what the whole clip gives.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, PaddingConfig2d};
use burn::tensor::{Device, Tensor};

use crate::model::memory::Memory;

/// Frames before the present one that a layer over time sees.
pub(super) const PAST: usize = 2;

/// The channels of each frame after those of the [`PAST`] frames before it; before the clip lie zeros.
pub(super) fn with_past<const D: usize>(frames: Tensor<D>, memory: &mut Memory<D>) -> Tensor<D> {
    let remembered = memory.recall();
    let before = remembered.take().unwrap_or_else(|| zeros_before(&frames, PAST));
    let times = frames.dims()[1];
    let frames = Tensor::cat(vec![before, frames], 1);
    // Copied: a view of the last frames would keep the whole chunk in memory.
    *remembered = Some(frames.clone().narrow(1, times, PAST).mul_scalar(1.0));
    Tensor::cat((0..=PAST).map(|start| frames.clone().narrow(1, start, times)).collect(), 2)
}

/// As many empty frames of the same kind.
pub(super) fn zeros_before<const D: usize>(frames: &Tensor<D>, times: usize) -> Tensor<D> {
    let mut shape = frames.dims();
    shape[1] = times;
    Tensor::zeros(shape, &frames.device())
}

/// Joins the channels of pairs of frames. The clip's first frame is paired with an empty one.
///
/// # Shapes
/// - frames: `[batch, 2 n, channels, ..]`, one frame less in the first chunk;
/// - output: `[batch, n, 2 channels, ..]`.
pub(super) fn join_pairs<const D: usize>(frames: Tensor<D>, is_first_chunk: bool) -> Tensor<D> {
    let frames = if is_first_chunk { Tensor::cat(vec![zeros_before(&frames, 1), frames], 1) } else { frames };
    let mut shape = frames.dims();
    shape[1] /= 2;
    shape[2] *= 2;
    frames.reshape(shape)
}

/// The inverse of [`join_pairs`].
pub(super) fn split_pairs<const D: usize>(frames: Tensor<D>, is_first_chunk: bool) -> Tensor<D> {
    let mut shape = frames.dims();
    shape[1] *= 2;
    shape[2] /= 2;
    let frames = frames.reshape(shape);
    if is_first_chunk { frames.narrow(1, 1, shape[1] - 1) } else { frames }
}

/// Joins the channels of squares of `side` x `side` pixels.
///
/// # Shapes
/// - `[batch, time, channels, height, width]` to
///   `[batch, time, channels side^2, height / side, width / side]`.
pub(super) fn join_squares(frames: Tensor<5>, side: usize) -> Tensor<5> {
    let [batch, times, channels, rows, columns] = frames.dims();
    if side == 1 {
        return frames;
    }
    frames
        .reshape([batch * times, channels, rows / side, side, columns / side, side])
        .permute([0, 1, 3, 5, 2, 4])
        .reshape([batch, times, channels * side * side, rows / side, columns / side])
}

/// The inverse of [`join_squares`].
pub(super) fn split_squares(frames: Tensor<5>, side: usize) -> Tensor<5> {
    let [batch, times, channels, rows, columns] = frames.dims();
    if side == 1 {
        return frames;
    }
    frames
        .reshape([batch * times, channels / (side * side), side, side, rows, columns])
        .permute([0, 1, 4, 2, 5, 3])
        .reshape([batch, times, channels / (side * side), rows * side, columns * side])
}

/// A convolution within each frame.
pub(super) fn picture_conv(channels: [usize; 2], device: &Device) -> Conv2d {
    Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(device)
}

/// A linear layer at each place of each frame.
pub(super) fn point_conv(channels: [usize; 2], device: &Device) -> Conv2d {
    Conv2dConfig::new(channels, [1, 1]).init(device)
}

/// Convolves each frame by itself.
pub(super) fn convolve(conv: &Conv2d, frames: Tensor<5>) -> Tensor<5> {
    let [batch, times, channels, rows, columns] = frames.dims();
    let convolved = conv.forward(frames.reshape([batch * times, channels, rows, columns]));
    let [_, channels, rows, columns] = convolved.dims();
    convolved.reshape([batch, times, channels, rows, columns])
}

/// Brings the channels at each place of each frame to a common length: no frame sees another's.
#[derive(Module, Debug)]
pub(super) struct ChannelNorm {
    gain: Param<Tensor<1>>,
}

impl ChannelNorm {
    pub(super) fn new(channels: usize, device: &Device) -> Self {
        Self { gain: Initializer::Ones.init([channels], device) }
    }

    pub(super) fn forward<const D: usize>(&self, frames: Tensor<D>) -> Tensor<D> {
        let mut shape = [1; D];
        shape[2] = frames.dims()[2];
        let length = frames.clone().square().mean_dim(2).add_scalar(1e-6).sqrt();
        frames.div(length).mul(self.gain.val().reshape(shape))
    }
}

/// A new encoder's logarithm of the variances, negated: noise of unit variance would drown what it has to say.
const CERTAINTY: f32 = 6.0;

/// What an encoder believes of each latent: independent normal distributions, as their means and the
/// logarithms of their variances.
#[derive(Clone, Debug)]
pub(crate) struct Posterior<const D: usize> {
    pub(crate) mean: Tensor<D>,
    log_variance: Tensor<D>,
}

impl<const D: usize> Posterior<D> {
    /// Of an encoder's last layer, whose channels are those of the means, then of the variances.
    pub(super) fn of(moments: Tensor<D>) -> Self {
        let channels = moments.dims()[2] / 2;
        Self {
            mean: moments.clone().narrow(2, 0, channels),
            log_variance: moments.narrow(2, channels, channels).sub_scalar(CERTAINTY).clamp(-14.0, 4.0),
        }
    }

    /// Latents as believed; `noise` is of unit variance.
    pub(crate) fn sample(&self, noise: Tensor<D>) -> Tensor<D> {
        self.mean.clone().add(self.log_variance.clone().mul_scalar(0.5).exp().mul(noise))
    }

    /// Mean divergence from the unit normal distribution, a number of the latents.
    pub(crate) fn divergence(&self) -> Tensor<1> {
        let variance = self.log_variance.clone().exp();
        let terms = self.mean.clone().square().add(variance).sub(self.log_variance.clone()).sub_scalar(1.0);
        terms.mean().mul_scalar(0.5)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;

    #[test]
    fn squares_and_pairs_come_apart_again() {
        let device = Device::flex();
        let frames = Tensor::<5>::random([2, 5, 4, 8, 12], Distribution::Default, &device);
        for side in [1, 2, 4] {
            let back = split_squares(join_squares(frames.clone(), side), side);
            assert_eq!(back.into_data(), frames.clone().into_data());
        }
        let pairs = join_pairs(frames.clone(), true);
        assert_eq!(pairs.dims(), [2, 3, 8, 8, 12]);
        assert_eq!(split_pairs(pairs, true).into_data(), frames.clone().into_data());
        let even = frames.narrow(1, 1, 4);
        assert_eq!(split_pairs(join_pairs(even.clone(), false), false).into_data(), even.into_data());
    }

    #[test]
    fn the_unit_normal_distribution_diverges_not_at_all() {
        let device = Device::flex();
        let means = Tensor::<3>::zeros([2, 3, 4], &device);
        let of =
            |level: f32| Posterior::of(Tensor::cat(vec![means.clone(), means.clone().add_scalar(level)], 2));
        assert!(of(CERTAINTY).divergence().into_scalar::<f32>().abs() < 1e-6);
        assert!(of(CERTAINTY + 1.0).divergence().into_scalar::<f32>() > 0.1);
        assert!(of(0.0).divergence().into_scalar::<f32>() > 1.0);
    }
}
