//! The causal video autoencoder of Wan2.1: RGB frames enter, latents leave, and back.
//!
//! The first frame stands alone; every further four make one latent frame. INVARIANT: no output depends on a
//! later input, so a video is worked through in chunks, each convolution remembering the frames that it still
//! needs: what comes out is what one pass over the whole video would give, and what diffusers'
//! `AutoencoderKLWan` gives in f32.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig, Conv3d, Conv3dConfig};
use burn::nn::{Initializer, PaddingConfig2d, PaddingConfig3d};
use burn::tensor::activation::silu;
use burn::tensor::module::attention;
use burn::tensor::ops::{AttentionModuleOptions, PadMode};
use burn::tensor::{Device, Tensor, TensorData};

use super::WanError;
use super::config::VaeConfig;

/// The last frames that each causal convolution has seen.
type Memory = crate::model::memory::Memory<5>;

/// `[batch, channels, time, height, width]` to `[batch * time, channels, height, width]`.
fn as_pictures(video: Tensor<5>) -> Tensor<4> {
    let [batch, channels, times, rows, columns] = video.dims();
    video.swap_dims(1, 2).reshape([batch * times, channels, rows, columns])
}

/// The inverse of [`as_pictures`].
fn as_video(pictures: Tensor<4>, batch: usize) -> Tensor<5> {
    let [count, channels, rows, columns] = pictures.dims();
    pictures.reshape([batch, count / batch, channels, rows, columns]).swap_dims(1, 2)
}

fn zeros_before(video: &Tensor<5>, times: usize) -> Tensor<5> {
    let [batch, channels, _, rows, columns] = video.dims();
    Tensor::zeros([batch, channels, times, rows, columns], &video.device())
}

/// The last frames, copied: a view of them would keep the whole chunk in memory.
fn last_frames(video: &Tensor<5>, count: usize) -> Tensor<5> {
    let times = video.dims()[2];
    video.clone().narrow(2, times - count, count).mul_scalar(1.0)
}

/// A convolution over three frames of which none is later; it is padded in space alone.
fn causal_conv(channels: [usize; 2], device: &Device) -> Conv3d {
    Conv3dConfig::new(channels, [3, 3, 3]).with_padding(PaddingConfig3d::Explicit(0, 1, 1)).init(device)
}

/// A convolution over time alone.
fn time_conv(channels: [usize; 2], stride: usize, device: &Device) -> Conv3d {
    Conv3dConfig::new(channels, [3, 1, 1]).with_stride([stride, 1, 1]).init(device)
}

/// A convolution at each place of each frame.
fn point_conv(channels: [usize; 2], device: &Device) -> Conv3d {
    Conv3dConfig::new(channels, [1, 1, 1]).init(device)
}

/// Convolves a chunk after the frames remembered before it; before the video there is nothing but zeros.
fn convolve(conv: &Conv3d, video: Tensor<5>, memory: &mut Option<Tensor<5>>) -> Tensor<5> {
    let past = conv.kernel_size[0] - 1;
    let before = memory.take().unwrap_or_else(|| zeros_before(&video, past));
    let frames = Tensor::cat(vec![before, video], 2);
    *memory = Some(last_frames(&frames, past));
    conv.forward(frames)
}

/// Normalises the channels at each place to a common length.
#[derive(Module, Debug)]
struct ChannelNorm<const D: usize> {
    gamma: Param<Tensor<D>>,
}

impl<const D: usize> ChannelNorm<D> {
    /// The files hold the gains as `[channels, 1, ..]`.
    fn new(channels: usize, device: &Device) -> Self {
        let mut shape = [1; D];
        shape[0] = channels;
        Self { gamma: Initializer::Ones.init(shape, device) }
    }

    fn forward(&self, video: Tensor<5>) -> Tensor<5> {
        let [_, channels, ..] = video.dims();
        let length = video.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
        let gain = self.gamma.val().reshape([1, channels, 1, 1, 1]).mul_scalar((channels as f64).sqrt());
        video.div(length).mul(gain)
    }
}

#[derive(Module, Debug)]
struct ResidualBlock {
    norm1: ChannelNorm<4>,
    conv1: Conv3d,
    norm2: ChannelNorm<4>,
    conv2: Conv3d,
    conv_shortcut: Option<Conv3d>,
}

impl ResidualBlock {
    fn new(inputs: usize, outputs: usize, device: &Device) -> Self {
        Self {
            norm1: ChannelNorm::new(inputs, device),
            conv1: causal_conv([inputs, outputs], device),
            norm2: ChannelNorm::new(outputs, device),
            conv2: causal_conv([outputs, outputs], device),
            conv_shortcut: (inputs != outputs).then(|| point_conv([inputs, outputs], device)),
        }
    }

    fn forward(&self, video: Tensor<5>, memory: &mut Memory) -> Tensor<5> {
        let shortcut = match &self.conv_shortcut {
            Some(conv) => conv.forward(video.clone()),
            None => video.clone(),
        };
        let hidden = convolve(&self.conv1, silu(self.norm1.forward(video)), memory.recall());
        convolve(&self.conv2, silu(self.norm2.forward(hidden)), memory.recall()).add(shortcut)
    }
}

/// Attention between the places of one frame, with one head.
#[derive(Module, Debug)]
struct FrameAttention {
    norm: ChannelNorm<3>,
    to_qkv: Conv2d,
    proj: Conv2d,
}

impl FrameAttention {
    fn new(channels: usize, device: &Device) -> Self {
        Self {
            norm: ChannelNorm::new(channels, device),
            to_qkv: Conv2dConfig::new([channels, 3 * channels], [1, 1]).init(device),
            proj: Conv2dConfig::new([channels, channels], [1, 1]).init(device),
        }
    }

    fn forward(&self, video: Tensor<5>) -> Tensor<5> {
        let [batch, channels, ..] = video.dims();
        let mixed = self.to_qkv.forward(as_pictures(self.norm.forward(video.clone())));
        let [count, _, rows, columns] = mixed.dims();
        let mixed = mixed.reshape([count, 1, 3 * channels, rows * columns]).swap_dims(2, 3);
        let part = |index| mixed.clone().narrow(3, index * channels, channels);
        let attended = attention(part(0), part(1), part(2), None, None, AttentionModuleOptions::default());
        let attended = attended.swap_dims(2, 3).reshape([count, channels, rows, columns]);
        as_video(self.proj.forward(attended), batch).add(video)
    }
}

/// Halves or doubles height and width, and time where there is a convolution for it.
#[derive(Module, Debug)]
struct Resample {
    resample: Conv2d,
    time_conv: Option<Conv3d>,
}

impl Resample {
    fn down(channels: usize, in_time: bool, device: &Device) -> Self {
        Self {
            resample: Conv2dConfig::new([channels, channels], [3, 3]).with_stride([2, 2]).init(device),
            time_conv: in_time.then(|| time_conv([channels, channels], 2, device)),
        }
    }

    fn up(channels: usize, in_time: bool, device: &Device) -> Self {
        Self {
            resample: Conv2dConfig::new([channels, channels / 2], [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device),
            time_conv: in_time.then(|| time_conv([channels, 2 * channels], 1, device)),
        }
    }

    fn halve(&self, video: Tensor<5>, memory: &mut Memory) -> Tensor<5> {
        let [batch, ..] = video.dims();
        let padded = as_pictures(video).pad((0, 1, 0, 1), PadMode::Constant(0.0));
        let video = as_video(self.resample.forward(padded), batch);
        let Some(conv) = &self.time_conv else { return video };
        // The first frame stands alone: it is halved in space only.
        match memory.recall().replace(last_frames(&video, 1)) {
            None => video,
            Some(before) => conv.forward(Tensor::cat(vec![before, video], 2)),
        }
    }

    fn double(&self, video: Tensor<5>, memory: &mut Memory) -> Tensor<5> {
        let video = match &self.time_conv {
            Some(conv) => Self::double_time(conv, video, memory.recall()),
            None => video,
        };
        let [batch, ..] = video.dims();
        let pictures = as_pictures(video);
        let [count, channels, rows, columns] = pictures.dims();
        let doubled = pictures
            .reshape([count, channels, rows, 1, columns, 1])
            .expand([count, channels, rows, 2, columns, 2])
            .reshape([count, channels, 2 * rows, 2 * columns]);
        as_video(self.resample.forward(doubled), batch)
    }

    /// Each frame becomes two, made as channels side by side; the first frame stands alone, unseen by the rest.
    fn double_time(conv: &Conv3d, video: Tensor<5>, memory: &mut Option<Tensor<5>>) -> Tensor<5> {
        if memory.is_none() {
            *memory = Some(zeros_before(&video, conv.kernel_size[0] - 1));
            return video;
        }
        let [batch, channels, times, rows, columns] = video.dims();
        convolve(conv, video, memory)
            .reshape([batch, 2, channels, times, rows, columns])
            .permute([0, 2, 3, 1, 4, 5])
            .reshape([batch, channels, 2 * times, rows, columns])
    }
}

#[derive(Module, Debug)]
struct MidBlock {
    resnets: [ResidualBlock; 2],
    attentions: [FrameAttention; 1],
}

impl MidBlock {
    fn new(channels: usize, device: &Device) -> Self {
        let resnet = || ResidualBlock::new(channels, channels, device);
        Self { resnets: [resnet(), resnet()], attentions: [FrameAttention::new(channels, device)] }
    }

    fn forward(&self, video: Tensor<5>, memory: &mut Memory) -> Tensor<5> {
        let ([first, second], [attention]) = (&self.resnets, &self.attentions);
        second.forward(attention.forward(first.forward(video, memory)), memory)
    }
}

#[expect(clippy::large_enum_variant, reason = "an encoder holds a dozen, and a module cannot be boxed")]
#[derive(Module, Debug)]
enum DownBlock {
    Residual(ResidualBlock),
    Halve(Resample),
}

#[derive(Module, Debug)]
struct Encoder {
    conv_in: Conv3d,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
    norm_out: ChannelNorm<4>,
    conv_out: Conv3d,
}

impl Encoder {
    fn new(config: &VaeConfig, device: &Device) -> Self {
        let mut width = config.base_dim;
        let conv_in = causal_conv([VaeConfig::CHANNELS, width], device);
        let mut down_blocks = Vec::new();
        for (level, mult) in config.dim_mult.iter().enumerate() {
            for _ in 0..config.num_res_blocks {
                let block = ResidualBlock::new(width, config.base_dim * mult, device);
                down_blocks.push(DownBlock::Residual(block));
                width = config.base_dim * mult;
            }
            if let Some(&in_time) = config.temperal_downsample.get(level) {
                down_blocks.push(DownBlock::Halve(Resample::down(width, in_time, device)));
            }
        }
        Self {
            conv_in,
            down_blocks,
            mid_block: MidBlock::new(width, device),
            norm_out: ChannelNorm::new(width, device),
            conv_out: causal_conv([width, 2 * config.z_dim], device),
        }
    }

    fn forward(&self, video: Tensor<5>, memory: &mut Memory) -> Tensor<5> {
        memory.begin_chunk();
        let hidden = convolve(&self.conv_in, video, memory.recall());
        let hidden = self.down_blocks.iter().fold(hidden, |hidden, block| match block {
            DownBlock::Residual(block) => block.forward(hidden, memory),
            DownBlock::Halve(resample) => resample.halve(hidden, memory),
        });
        let hidden = silu(self.norm_out.forward(self.mid_block.forward(hidden, memory)));
        convolve(&self.conv_out, hidden, memory.recall())
    }
}

#[derive(Module, Debug)]
struct UpBlock {
    resnets: Vec<ResidualBlock>,
    upsampler: Option<Resample>,
}

impl UpBlock {
    fn forward(&self, video: Tensor<5>, memory: &mut Memory) -> Tensor<5> {
        let video = self.resnets.iter().fold(video, |video, block| block.forward(video, memory));
        match &self.upsampler {
            Some(upsampler) => upsampler.double(video, memory),
            None => video,
        }
    }
}

#[derive(Module, Debug)]
struct Decoder {
    conv_in: Conv3d,
    mid_block: MidBlock,
    up_blocks: Vec<UpBlock>,
    norm_out: ChannelNorm<4>,
    conv_out: Conv3d,
}

impl Decoder {
    fn new(config: &VaeConfig, device: &Device) -> Self {
        let widths: Vec<usize> =
            config.dim_mult.iter().rev().map(|mult| config.decoder_dim() * mult).collect();
        let widest = widths.first().copied().unwrap_or_default();
        let mut width = widest;
        let mut up_blocks = Vec::with_capacity(widths.len());
        // The encoder's steps between levels, the other way round; after the last level there is none.
        let mut steps = config.temperal_downsample.iter().rev();
        for outputs in widths {
            let resnets = (0..=config.num_res_blocks).map(|_| {
                let inputs = std::mem::replace(&mut width, outputs);
                ResidualBlock::new(inputs, outputs, device)
            });
            let resnets = resnets.collect();
            let upsampler = steps.next().map(|&in_time| Resample::up(outputs, in_time, device));
            if upsampler.is_some() {
                width = outputs / 2;
            }
            up_blocks.push(UpBlock { resnets, upsampler });
        }
        Self {
            conv_in: causal_conv([config.z_dim, widest], device),
            mid_block: MidBlock::new(widest, device),
            up_blocks,
            norm_out: ChannelNorm::new(width, device),
            conv_out: causal_conv([width, VaeConfig::CHANNELS], device),
        }
    }

    fn forward(&self, latents: Tensor<5>, memory: &mut Memory) -> Tensor<5> {
        memory.begin_chunk();
        let hidden = convolve(&self.conv_in, latents, memory.recall());
        let hidden = self.mid_block.forward(hidden, memory);
        let hidden = self.up_blocks.iter().fold(hidden, |hidden, block| block.forward(hidden, memory));
        convolve(&self.conv_out, silu(self.norm_out.forward(hidden)), memory.recall())
    }
}

/// What the encoder believes about a video: independent normal distributions.
#[derive(Clone, Debug)]
pub struct Posterior {
    /// `[batch, z_dim, latent time, height / 8, width / 8]`.
    pub mean: Tensor<5>,
    /// Of the same shape, within [-30, 20].
    pub log_variance: Tensor<5>,
}

/// The autoencoder.
#[derive(Module, Debug)]
pub struct WanVae {
    encoder: Encoder,
    quant_conv: Conv3d,
    post_quant_conv: Conv3d,
    decoder: Decoder,
    #[module(skip)]
    config: VaeConfig,
}

impl WanVae {
    pub(super) fn new(config: &VaeConfig, device: &Device) -> Self {
        Self {
            encoder: Encoder::new(config, device),
            quant_conv: point_conv([2 * config.z_dim, 2 * config.z_dim], device),
            post_quant_conv: point_conv([config.z_dim, config.z_dim], device),
            decoder: Decoder::new(config, device),
            config: config.clone(),
        }
    }

    /// Sizes of the autoencoder.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// Encodes a video.
    ///
    /// # Shapes
    /// - video: `[batch, 3, 1 + 4 n, height, width]` in [-1, 1], height and width multiples of 8;
    /// - output: `[batch, z_dim, 1 + n, height / 8, width / 8]`.
    pub fn encode(&self, video: &Tensor<5>) -> Result<Posterior, WanError> {
        let [_, channels, times, rows, columns] = video.dims();
        let (factor, frames) = (self.config.spatial_factor(), VaeConfig::TEMPORAL_FACTOR);
        let whole = rows.is_multiple_of(factor) && columns.is_multiple_of(factor) && rows * columns > 0;
        if channels != VaeConfig::CHANNELS || times % frames != 1 || !whole {
            return Err(WanError::Shape {
                what: "a video",
                expected: format!(
                    "[batch, 3, 1 + {frames} n, height, width], height and width multiples of {factor}"
                ),
                found: format!("{:?}", video.dims()),
            });
        }
        let mut memory = Memory::default();
        let mut encoded = vec![self.encoder.forward(video.clone().narrow(2, 0, 1), &mut memory)];
        for start in (1..times).step_by(frames) {
            encoded.push(self.encoder.forward(video.clone().narrow(2, start, frames), &mut memory));
        }
        let moments = self.quant_conv.forward(Tensor::cat(encoded, 2));
        let z = self.config.z_dim;
        Ok(Posterior {
            mean: moments.clone().narrow(1, 0, z),
            log_variance: moments.narrow(1, z, z).clamp(-30.0, 20.0),
        })
    }

    /// Decodes latents at once; [`Self::decoding`] gives the same, chunk by chunk.
    ///
    /// # Shapes
    /// - latents: `[batch, z_dim, 1 + n, height, width]`, as the encoder gave them;
    /// - output: `[batch, 3, 1 + 4 n, 8 height, 8 width]` in [-1, 1].
    pub fn decode(&self, latents: Tensor<5>) -> Result<Tensor<5>, WanError> {
        self.decoding().decode_next(latents)
    }

    /// Begins to decode a video.
    pub fn decoding(&self) -> Decoding<'_> {
        Decoding { vae: self, memory: Memory::default(), like: None }
    }

    /// Latents as the transformer knows them: of zero mean and unit variance in each channel.
    ///
    /// # Shapes
    /// - latents: `[batch, z_dim, time, height, width]`, likewise the output.
    pub fn standardise(&self, latents: Tensor<5>) -> Tensor<5> {
        let [mean, std] = self.statistics(&latents.device());
        latents.sub(mean).div(std)
    }

    /// The inverse of [`Self::standardise`].
    pub fn unstandardise(&self, latents: Tensor<5>) -> Tensor<5> {
        let [mean, std] = self.statistics(&latents.device());
        latents.mul(std).add(mean)
    }

    fn statistics(&self, device: &Device) -> [Tensor<5>; 2] {
        [&self.config.latents_mean, &self.config.latents_std].map(|values| {
            Tensor::from_data(TensorData::new(values.clone(), [1, values.len(), 1, 1, 1]), device)
        })
    }
}

/// A video that is being decoded, some latent frames at a time.
#[derive(Debug)]
pub struct Decoding<'a> {
    vae: &'a WanVae,
    memory: Memory,
    /// Batch, height and width of the chunks before.
    like: Option<[usize; 3]>,
}

impl Decoding<'_> {
    /// Decodes the next latent frames.
    ///
    /// # Shapes
    /// - latents: `[batch, z_dim, 1 or more, height, width]`, as before but for the time;
    /// - output: `[batch, 3, time, 8 height, 8 width]` in [-1, 1]: four frames for each latent frame, but one
    ///   for the video's first.
    pub fn decode_next(&mut self, latents: Tensor<5>) -> Result<Tensor<5>, WanError> {
        let [batch, channels, times, rows, columns] = latents.dims();
        let z = self.vae.config.z_dim;
        let like = self.like.unwrap_or([batch, rows, columns]);
        if channels != z || like != [batch, rows, columns] || batch * times * rows * columns == 0 {
            return Err(WanError::Shape {
                what: "latents",
                expected: format!("[{}, {z}, 1 or more, {}, {}]", like[0], like[1], like[2]),
                found: format!("{:?}", latents.dims()),
            });
        }
        self.like = Some(like);
        let latents = self.vae.post_quant_conv.forward(latents);
        let decoded = (0..times)
            .map(|time| self.vae.decoder.forward(latents.clone().narrow(2, time, 1), &mut self.memory));
        Ok(Tensor::cat(decoded.collect(), 2).clamp(-1.0, 1.0))
    }
}
