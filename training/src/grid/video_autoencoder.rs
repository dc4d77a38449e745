//! The causal video autoencoder: RGB frames enter, latents leave, and back.
//!
//! The first frame stands alone; every further four make one latent frame, of one latent for each square of
//! 8 x 8 pixels. INVARIANT: no latent depends on a later frame and no frame on a later latent, so clips are
//! worked through in chunks: what comes out is what one pass over the whole clip would give.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor};

use super::causal::{
    ChannelNorm, PAST, Posterior, convolve, join_pairs, join_squares, picture_conv, point_conv, split_pairs,
    split_squares, with_past,
};
use super::config::{PictureConfig, SPACE_FACTOR, TIME_FACTOR};
use crate::model::memory::Memory;

/// Latent frames that are worked on at once.
const LATENTS_AT_ONCE: usize = 4;
/// Red, green and blue.
const COLOURS: usize = 3;
/// Weights of the loss, beside the plain error's.
const GRADIENT_WEIGHT: f32 = 0.5;
const COARSE_WEIGHT: f32 = 0.5;
const DIVERGENCE_WEIGHT: f32 = 1e-5;
/// How much more a pixel counts that moves.
const MOVING_WEIGHT: f32 = 4.0;
/// A pixel that changes by this share of the range counts as moving wholly.
const MOVING_CHANGE: f32 = 0.1;

/// Sees three frames, then what is around in one.
#[derive(Module, Debug)]
struct ResidualBlock {
    norm_in: ChannelNorm,
    over_time: Conv2d,
    norm_out: ChannelNorm,
    over_space: Conv2d,
}

impl ResidualBlock {
    fn new(width: usize, device: &Device) -> Self {
        Self {
            norm_in: ChannelNorm::new(width, device),
            over_time: picture_conv([(PAST + 1) * width, width], device),
            norm_out: ChannelNorm::new(width, device),
            over_space: picture_conv([width, width], device),
        }
    }

    fn forward(&self, frames: Tensor<5>, memory: &mut Memory<5>) -> Tensor<5> {
        let seen = with_past(silu(self.norm_in.forward(frames.clone())), memory);
        let hidden = convolve(&self.over_time, seen);
        frames.add(convolve(&self.over_space, silu(self.norm_out.forward(hidden))))
    }
}

/// Residual blocks at one level.
#[derive(Module, Debug)]
struct Level {
    blocks: Vec<ResidualBlock>,
}

impl Level {
    fn new(config: &PictureConfig, width: usize, device: &Device) -> Self {
        Self { blocks: (0..config.blocks).map(|_| ResidualBlock::new(width, device)).collect() }
    }

    fn forward(&self, frames: Tensor<5>, memory: &mut Memory<5>) -> Tensor<5> {
        self.blocks.iter().fold(frames, |frames, block| block.forward(frames, memory))
    }
}

/// By how much height and width shrink from the first level to the second, and to the third. Time halves each
/// time.
fn space_steps(config: &PictureConfig) -> [usize; 2] {
    [2, SPACE_FACTOR / (2 * config.patch)]
}

#[derive(Module, Debug)]
struct Encoder {
    stem: Conv2d,
    levels: [Level; 3],
    steps: [Conv2d; 2],
    norm_out: ChannelNorm,
    out: Conv2d,
}

impl Encoder {
    fn new(config: &PictureConfig, device: &Device) -> Self {
        let [fine, middle, coarse] = config.widths;
        let [first, second] = space_steps(config);
        Self {
            stem: picture_conv([COLOURS * config.patch.pow(2), fine], device),
            levels: config.widths.map(|width| Level::new(config, width, device)),
            steps: [
                point_conv([2 * first * first * fine, middle], device),
                point_conv([2 * second * second * middle, coarse], device),
            ],
            norm_out: ChannelNorm::new(coarse, device),
            out: picture_conv([coarse, 2 * config.channels], device),
        }
    }

    fn forward(&self, frames: Tensor<5>, config: &PictureConfig, memory: &mut Memory<5>) -> Tensor<5> {
        memory.begin_chunk();
        let is_first = memory.is_first_chunk();
        let [fine, middle, coarse] = &self.levels;
        let steps = space_steps(config);
        let shrink = |index: usize, frames: Tensor<5>| {
            convolve(&self.steps[index], join_squares(join_pairs(frames, is_first), steps[index]))
        };
        let frames = convolve(&self.stem, join_squares(frames, config.patch));
        let frames = shrink(0, fine.forward(frames, memory));
        let frames = shrink(1, middle.forward(frames, memory));
        let frames = coarse.forward(frames, memory);
        convolve(&self.out, silu(self.norm_out.forward(frames)))
    }
}

#[derive(Module, Debug)]
struct Decoder {
    stem: Conv2d,
    /// From the coarsest to the finest.
    levels: [Level; 3],
    steps: [Conv2d; 2],
    norm_out: ChannelNorm,
    out: Conv2d,
}

impl Decoder {
    fn new(config: &PictureConfig, device: &Device) -> Self {
        let [fine, middle, coarse] = config.widths;
        let [first, second] = space_steps(config);
        Self {
            stem: picture_conv([config.channels, coarse], device),
            levels: [coarse, middle, fine].map(|width| Level::new(config, width, device)),
            steps: [
                point_conv([coarse, 2 * second * second * middle], device),
                point_conv([middle, 2 * first * first * fine], device),
            ],
            norm_out: ChannelNorm::new(fine, device),
            out: picture_conv([fine, COLOURS * config.patch.pow(2)], device),
        }
    }

    fn forward(&self, latents: Tensor<5>, config: &PictureConfig, memory: &mut Memory<5>) -> Tensor<5> {
        memory.begin_chunk();
        let is_first = memory.is_first_chunk();
        let [coarse, middle, fine] = &self.levels;
        let [first, second] = space_steps(config);
        let grow = |index: usize, side: usize, frames: Tensor<5>| {
            split_pairs(split_squares(convolve(&self.steps[index], frames), side), is_first)
        };
        let frames = coarse.forward(convolve(&self.stem, latents), memory);
        let frames = middle.forward(grow(0, second, frames), memory);
        let frames = fine.forward(grow(1, first, frames), memory);
        split_squares(convolve(&self.out, silu(self.norm_out.forward(frames))), config.patch)
    }
}

/// The autoencoder.
#[derive(Module, Debug)]
pub(crate) struct VideoAutoencoder {
    encoder: Encoder,
    decoder: Decoder,
    #[module(skip)]
    config: PictureConfig,
}

impl VideoAutoencoder {
    pub(crate) fn new(config: &PictureConfig, device: &Device) -> Self {
        Self { encoder: Encoder::new(config, device), decoder: Decoder::new(config, device), config: *config }
    }

    /// # Shapes
    /// - frames: `[batch, 1 + 4 n, 3, height, width]` in [-1, 1], height and width multiples of 8;
    /// - output: `[batch, 1 + n, channels, height / 8, width / 8]`.
    pub(crate) fn encode(&self, frames: Tensor<5>) -> Posterior<5> {
        self.encode_next(frames, &mut Memory::default())
    }

    /// Encodes the next frames of a clip: at first 1 + 4 n of them, then 4 n.
    pub(crate) fn encode_next(&self, frames: Tensor<5>, memory: &mut Memory<5>) -> Posterior<5> {
        Posterior::of(self.encoder.forward(frames, &self.config, memory))
    }

    /// # Shapes
    /// - latents: `[batch, 1 + n, channels, height, width]`;
    /// - output: `[batch, 1 + 4 n, 3, 8 height, 8 width]`, about [-1, 1].
    pub(crate) fn decode(&self, latents: Tensor<5>) -> Tensor<5> {
        self.decode_next(latents, &mut Memory::default())
    }

    /// Decodes the next latents of a clip.
    pub(crate) fn decode_next(&self, latents: Tensor<5>, memory: &mut Memory<5>) -> Tensor<5> {
        self.decoder.forward(latents, &self.config, memory)
    }

    /// [`Self::encode`] in chunks, for clips of any length: means alone.
    pub(crate) fn encode_long(&self, frames: &Tensor<5>) -> Tensor<5> {
        let mut memory = Memory::default();
        let times = frames.dims()[1];
        // The first chunk has one frame more.
        let step = LATENTS_AT_ONCE * TIME_FACTOR;
        let chunks = (0..times.max(2) - 1).step_by(step).map(|before| {
            let start = if before == 0 { 0 } else { before + 1 };
            let end = (before + 1 + step).min(times);
            self.encode_next(frames.clone().narrow(1, start, end - start), &mut memory).mean
        });
        Tensor::cat(chunks.collect(), 1)
    }

    /// [`Self::decode`] in chunks, for clips of any length.
    pub(crate) fn decode_long(&self, latents: &Tensor<5>) -> Tensor<5> {
        let mut memory = Memory::default();
        let times = latents.dims()[1];
        let chunks = (0..times).step_by(LATENTS_AT_ONCE).map(|start| {
            let length = LATENTS_AT_ONCE.min(times - start);
            self.decode_next(latents.clone().narrow(1, start, length), &mut memory)
        });
        Tensor::cat(chunks.collect(), 1)
    }

    /// How far decoded latents are from the frames that they were encoded from. `noise` is of the latents'
    /// shape and unit variance.
    pub(crate) fn loss(&self, frames: Tensor<5>, noise: Tensor<5>) -> Tensor<1> {
        let posterior = self.encode(frames.clone());
        let error = self.decode(posterior.sample(noise)).sub(frames.clone());
        let weight = moving(frames);
        let plain = error.clone().abs().mul(weight.clone()).mean().div(weight.mean());
        plain
            .add(gradient(&error).mul_scalar(GRADIENT_WEIGHT))
            .add(coarse(&error).mul_scalar(COARSE_WEIGHT))
            .add(posterior.divergence().mul_scalar(DIVERGENCE_WEIGHT))
    }
}

/// Weights of pixels: those that change from frame to frame count more, before and after the change.
fn moving(frames: Tensor<5>) -> Tensor<5> {
    let [batch, times, _, rows, columns] = frames.dims();
    let still = Tensor::<5>::zeros([batch, 1, 1, rows, columns], &frames.device());
    if times == 1 {
        return still.add_scalar(1.0);
    }
    let change = frames.clone().narrow(1, 1, times - 1).sub(frames.narrow(1, 0, times - 1));
    // The range is two wide.
    let change = change.abs().max_dim(2).mul_scalar(0.5 / MOVING_CHANGE).clamp_max(1.0);
    let after = Tensor::cat(vec![still.clone(), change.clone()], 1);
    let before = Tensor::cat(vec![change, still], 1);
    after.max_pair(before).mul_scalar(MOVING_WEIGHT).add_scalar(1.0)
}

/// How much the error changes from pixel to pixel and from frame to frame: what is seen as blur and flicker.
fn gradient(error: &Tensor<5>) -> Tensor<1> {
    let along = |axis: usize| {
        let length = error.dims()[axis];
        let later = error.clone().narrow(axis, 1, length - 1);
        later.sub(error.clone().narrow(axis, 0, length - 1)).abs().mean()
    };
    let across = along(3).add(along(4));
    if error.dims()[1] > 1 { across.add(along(1)) } else { across }
}

/// The error of pictures at a half and a quarter of their size: what is seen as wrong colours.
fn coarse(error: &Tensor<5>) -> Tensor<1> {
    let [batch, times, colours, rows, columns] = error.dims();
    let shrunk = |side: usize| {
        let squares =
            error.clone().reshape([batch * times * colours, rows / side, side, columns / side, side]);
        squares.mean_dim(4).mean_dim(2).abs().mean()
    };
    shrunk(2).add(shrunk(4))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;
    use kinora_harness::seed::seeded;
    use proptest::prelude::*;

    use super::*;
    use crate::grid::config::tests::tiny;

    fn autoencoder(patch: usize) -> VideoAutoencoder {
        let device = Device::flex();
        let config = PictureConfig { patch, ..tiny().picture };
        seeded(&device, 3, || VideoAutoencoder::new(&config, &device))
    }

    fn frames(times: usize, seed: u64) -> Tensor<5> {
        let device = Device::flex();
        seeded(&device, seed, || {
            burn::module::Param::from_tensor(Tensor::<5>::random(
                [1, times, 3, 16, 32],
                Distribution::Uniform(-1.0, 1.0),
                &device,
            ))
        })
        .val()
    }

    fn furthest(one: Tensor<5>, two: Tensor<5>) -> f32 {
        one.sub(two).abs().max().into_scalar::<f32>()
    }

    #[test]
    fn chunks_give_what_the_whole_clip_gives() {
        for patch in [2, 4] {
            let autoencoder = autoencoder(patch);
            let clip = frames(25, 1);
            let whole = autoencoder.encode(clip.clone()).mean;
            assert_eq!(whole.dims(), [1, 7, 4, 2, 4]);
            for cuts in [vec![1, 4, 4, 4, 4, 4, 4], vec![5, 8, 12], vec![1, 24]] {
                let (mut memory, mut start, mut parts) = (Memory::default(), 0, Vec::new());
                for length in cuts {
                    let chunk = clip.clone().narrow(1, start, length);
                    parts.push(autoencoder.encode_next(chunk, &mut memory).mean);
                    start += length;
                }
                assert!(furthest(whole.clone(), Tensor::cat(parts, 1)) < 1e-5);
            }
            assert!(furthest(whole.clone(), autoencoder.encode_long(&clip)) < 1e-5);
            let first = clip.clone().narrow(1, 0, 1);
            assert!(furthest(whole.clone().narrow(1, 0, 1), autoencoder.encode_long(&first)) < 1e-5);
            let decoded = autoencoder.decode(whole.clone());
            assert!(furthest(decoded.clone(), autoencoder.decode_long(&whole)) < 1e-5);
            assert_eq!(decoded.dims(), clip.dims());
            for cuts in [vec![1; 7], vec![2, 5], vec![1, 4, 2]] {
                let (mut memory, mut start, mut parts) = (Memory::default(), 0, Vec::new());
                for length in cuts {
                    let chunk = whole.clone().narrow(1, start, length);
                    parts.push(autoencoder.decode_next(chunk, &mut memory));
                    start += length;
                }
                assert!(furthest(decoded.clone(), Tensor::cat(parts, 1)) < 1e-5);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn what_comes_later_changes_nothing_before(known in 0_usize..4, seed in 0_u64..100) {
            let autoencoder = autoencoder(4);
            let (one, other) = (frames(17, seed), frames(17, seed + 1000));
            let kept = 1 + 4 * known;
            let mixed = Tensor::cat(vec![one.clone().narrow(1, 0, kept), other.narrow(1, kept, 17 - kept)], 1);
            let (a, b) = (autoencoder.encode(one).mean, autoencoder.encode(mixed).mean);
            let begin = |latents: &Tensor<5>| latents.clone().narrow(1, 0, known + 1);
            prop_assert!(furthest(begin(&a), begin(&b)) < 1e-6);
            prop_assert!(furthest(a.clone(), b.clone()) > 1e-4, "later latents do change");
            let (c, d) = (autoencoder.decode(a), autoencoder.decode(b));
            let begin = |frames: &Tensor<5>| frames.clone().narrow(1, 0, kept);
            prop_assert!(furthest(begin(&c), begin(&d)) < 1e-6);
        }
    }

    #[test]
    fn a_ball_weighs_more_than_the_wall_behind_it() {
        let device = Device::flex();
        let mut pixels = vec![0.0_f32; 2 * 3 * 8 * 8];
        pixels[3 * 64] = 1.0;
        let clip = Tensor::<1>::from_floats(pixels.as_slice(), &device).reshape([1, 2, 3, 8, 8]);
        let weights: Vec<f32> = moving(clip).try_into_vec_as::<f32>().unwrap();
        assert!((weights[0] - 5.0).abs() < 1e-6 && (weights[64] - 5.0).abs() < 1e-6);
        assert!((weights[1] - 1.0).abs() < 1e-6);
    }
}
