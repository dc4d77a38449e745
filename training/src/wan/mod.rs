//! Wan2.1 text-to-video in its published layout: a directory that diffusers could load enters, clips leave.
//!
//! ```text
//! transformer/  config.json, diffusion_pytorch_model.safetensors or its shards with their index
//! vae/          config.json, diffusion_pytorch_model.safetensors
//! ```
//!
//! Text embeddings are computed elsewhere and read from a file, since the text encoder is larger than the rest.
//! INVARIANT: what comes out is what diffusers' `WanPipeline` with a `FlowMatchEulerDiscreteScheduler` makes of
//! the same noise in f32 (`tests/peers/wan/`), and the same request and seed give the same clip on the same
//! kind of device.

mod config;
mod convert;
mod schedule;
mod transformer;
mod vae;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::store::bridge;
use burn::tensor::{DType, Device, Tensor, TensorData};
use kinora_harness::device::{DeviceChoice, DeviceError, resolve};
use kinora_harness::publish::FileError;
use kinora_harness::seed::derive;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

pub use config::{TransformerConfig, VaeConfig, WanConfig};
pub use transformer::WanTransformer;
pub use vae::{Decoding, Posterior, WanVae};

use crate::clip::Clip;
use crate::media::ENCODED_SAMPLE_RATE;
use crate::train::normal;

/// Frames per second that the model was trained with.
const FPS: u32 = 16;
/// Text tokens that the model always attends to; those that a prompt does not fill are zeros.
const TEXT_TOKENS: usize = 512;
/// Tokens that a clip may become: more than three times those of five seconds at 720p.
const MOST_TOKENS: usize = 1 << 18;
/// Steps that the sampler may take.
const STEPS: std::ops::RangeInclusive<usize> = 1..=1000;

/// Why a model is not read, or a clip not made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WanError {
    #[error("there is no file `{}`", path.display())]
    Missing { path: PathBuf },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("`{}` cannot be read as diffusers writes it: {source}", path.display())]
    Config { path: PathBuf, source: serde_json::Error },
    #[error("`{}`: `{option}` is {found}, which is not supported: it must be {supported}", path.display())]
    Unsupported { path: PathBuf, option: String, found: String, supported: String },
    #[error("`{}` names a shard that does not lie beside it: `{file}`", path.display())]
    Shard { path: PathBuf, file: String },
    #[error("`{}` holds no readable tensors: {reason}", path.display())]
    Tensors { path: PathBuf, reason: String },
    #[error("tensor `{key}` is missing in `{}`", path.display())]
    MissingKey { key: String, path: PathBuf },
    #[error("tensor `{key}` in `{}` is not one of the model's", path.display())]
    ForeignKey { key: String, path: PathBuf },
    #[error("tensor `{key}` in `{}` is of shape {found:?}, but the configuration asks for {expected:?}", path.display())]
    KeyShape { key: String, path: PathBuf, expected: Vec<usize>, found: Vec<usize> },
    #[error("tensor `{key}` in `{}` holds {found:?}, but weights are floats", path.display())]
    KeyType { key: String, path: PathBuf, found: DType },
    #[error("`{}` holds no text embeddings: {reason}", path.display())]
    Embeddings { path: PathBuf, reason: String },
    #[error("text embeddings are {found} wide, but the model reads {expected}")]
    EmbeddingWidth { found: usize, expected: usize },
    #[error("{what} must be of shape {expected}, not {found}")]
    Shape { what: &'static str, expected: String, found: String },
    #[error(
        "a picture of {width} x {height} pixels cannot be made: use multiples of {multiple} up to {most}"
    )]
    Size { width: usize, height: usize, multiple: String, most: String },
    #[error("{frames} frames cannot be made: use 1, 5, 9 and so on up to {most}")]
    Frames { frames: usize, most: usize },
    #[error(
        "{frames} frames of {width} x {height} pixels are {tokens} tokens, of which {MOST_TOKENS} can be made"
    )]
    Length { width: usize, height: usize, frames: usize, tokens: usize },
    #[error("{steps} steps cannot be taken: use 1 to 1000")]
    Steps { steps: usize },
    #[error("guidance must lie between 1 and 30")]
    Guidance,
    #[error("guidance above 1 needs the embeddings of a negative prompt; those of an empty one will do")]
    NoNegative,
    #[error("the generation was cancelled")]
    Cancelled,
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// What a text encoder made of a prompt, `[tokens, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TextEmbeddings {
    values: Vec<f32>,
    tokens: usize,
}

impl TextEmbeddings {
    /// Reads a `safetensors` file with one tensor of any name: `[tokens, 4096]` for the published models, with
    /// the tokens of the prompt alone or all 512.
    pub fn read(path: &Path) -> Result<Self, WanError> {
        let refuse = |reason: String| WanError::Embeddings { path: path.to_owned(), reason };
        let tensors = convert::read_file(path)?;
        let mut tensors = tensors.values();
        let (Some(tensor), None) = (tensors.next(), tensors.next()) else {
            return Err(refuse("there must be one tensor and no other".to_owned()));
        };
        let tokens = match *tensor.shape.as_slice() {
            [tokens, width] if (1..=TEXT_TOKENS).contains(&tokens) && width > 0 => tokens,
            _ => {
                let found = tensor.shape.as_slice();
                return Err(refuse(format!(
                    "`{}` is {found:?}, not [1 to {TEXT_TOKENS}, width]",
                    tensor.name
                )));
            }
        };
        if !tensor.dtype.is_float() {
            return Err(refuse(format!("`{}` is of {:?}, not of floats", tensor.name, tensor.dtype)));
        }
        let data = bridge::to_data(tensor).map_err(|error| WanError::tensors(path, &error))?;
        let values = data
            .convert::<f32>()
            .try_to_vec()
            .map_err(|error| WanError::tensors(path, &format!("{error:?}")))?;
        Ok(Self { values, tokens })
    }

    fn width(&self) -> usize {
        self.values.len() / self.tokens
    }

    /// `[1, 512, width]`, zeros after the prompt.
    fn padded(&self, device: &Device) -> Tensor<3> {
        let width = self.width();
        let mut values = self.values.clone();
        values.resize(TEXT_TOKENS * width, 0.0);
        Tensor::from_data(TensorData::new(values, [1, TEXT_TOKENS, width]), device)
    }
}

/// What is to be generated.
#[derive(Clone, Debug, PartialEq)]
pub struct WanRequest {
    /// Height in pixels, a multiple of 16.
    pub height: usize,
    /// Width in pixels, a multiple of 16.
    pub width: usize,
    /// 1, 5, 9, .. frames, of which 16 make a second.
    pub frames: usize,
    /// Steps of the sampler.
    pub steps: usize,
    /// How strongly the prompt is followed; 1 is as learned, and needs no negative prompt.
    pub guidance: f32,
    pub seed: u64,
}

impl WanRequest {
    /// Five seconds at 480p with the settings that the model was published with.
    pub fn new(seed: u64) -> Self {
        Self { height: 480, width: 832, frames: 81, steps: 50, guidance: 5.0, seed }
    }
}

/// A loaded model, ready to generate.
#[derive(Debug)]
pub struct WanPipeline {
    transformer: WanTransformer,
    vae: WanVae,
    device: Device,
}

impl WanPipeline {
    /// Loads the model in `directory`, as f32 whatever its files hold.
    pub fn load(directory: &Path, device: DeviceChoice) -> Result<Self, WanError> {
        let config = WanConfig::read(directory)?;
        let device = resolve(device)?;
        let vae = convert::load(WanVae::new(&config.vae, &device), &directory.join("vae"))?;
        let transformer = WanTransformer::new(&config.transformer, &device);
        let transformer = convert::load(transformer, &directory.join("transformer"))?;
        Ok(Self { transformer, vae, device })
    }

    pub fn transformer(&self) -> &WanTransformer {
        &self.transformer
    }

    pub fn vae(&self) -> &WanVae {
        &self.vae
    }

    /// Generates a silent clip. `on_step` learns how many of how many steps are done, and may cancel.
    ///
    /// A negative prompt is needed, and used, where guidance is above 1.
    pub fn generate(
        &self,
        prompt: &TextEmbeddings,
        negative: Option<&TextEmbeddings>,
        request: &WanRequest,
        on_step: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Clip, WanError> {
        let dims = self.check(prompt, negative, request)?;
        let mut rng = ChaCha8Rng::seed_from_u64(derive(request.seed, "wan"));
        let noise: Vec<f32> = (0..dims.iter().product()).map(|_| normal(&mut rng)).collect();
        let noise = Tensor::from_data(TensorData::new(noise, dims), &self.device);
        let latents = self.sample(noise, prompt, negative, request, on_step)?;
        self.render(latents, request)
    }

    /// The dimensions of the latents, if the request can be met.
    fn check(
        &self,
        prompt: &TextEmbeddings,
        negative: Option<&TextEmbeddings>,
        request: &WanRequest,
    ) -> Result<[usize; 5], WanError> {
        let &WanRequest { height, width, frames, steps, guidance, .. } = request;
        if !STEPS.contains(&steps) {
            return Err(WanError::Steps { steps });
        }
        if !(1.0..=30.0).contains(&guidance) {
            return Err(WanError::Guidance);
        }
        if guidance > 1.0 && negative.is_none() {
            return Err(WanError::NoNegative);
        }
        let expected = self.transformer.config().text_dim;
        for embeddings in std::iter::once(prompt).chain(negative) {
            let found = embeddings.width();
            if found != expected {
                return Err(WanError::EmbeddingWidth { found, expected });
            }
        }
        let (config, factor) = (self.transformer.config(), self.vae.config().spatial_factor());
        let ([patch_t, patch_h, patch_w], longest) = (config.patch_size, config.rope_max_seq_len);
        let later = frames.saturating_sub(1) / VaeConfig::TEMPORAL_FACTOR;
        let times = later + 1;
        let most = (longest * patch_t - 1) * VaeConfig::TEMPORAL_FACTOR + 1;
        if frames != later * VaeConfig::TEMPORAL_FACTOR + 1 || frames > most || !times.is_multiple_of(patch_t)
        {
            return Err(WanError::Frames { frames, most });
        }
        let fits = |side: usize, patch: usize| {
            let multiple = factor * patch;
            side.is_multiple_of(multiple) && (1..=longest).contains(&(side / multiple))
        };
        if !fits(height, patch_h) || !fits(width, patch_w) {
            let each = |times: usize| {
                let (wide, high) = (factor * patch_w * times, factor * patch_h * times);
                if wide == high { wide.to_string() } else { format!("{wide} x {high}") }
            };
            return Err(WanError::Size { width, height, multiple: each(1), most: each(longest) });
        }
        let dims = [1, config.in_channels, times, height / factor, width / factor];
        let tokens = self.transformer.grid(dims)?.iter().product();
        if tokens > MOST_TOKENS {
            return Err(WanError::Length { width, height, frames, tokens });
        }
        Ok(dims)
    }

    /// Follows the predicted velocity from noise to data.
    fn sample(
        &self,
        noise: Tensor<5>,
        prompt: &TextEmbeddings,
        negative: Option<&TextEmbeddings>,
        request: &WanRequest,
        on_step: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Tensor<5>, WanError> {
        let prompt = prompt.padded(&self.device);
        let negative = negative.filter(|_| request.guidance > 1.0).map(|text| text.padded(&self.device));
        let shift = schedule::shift_for(request.width, request.height);
        let levels = schedule::noise_levels(request.steps, shift);
        let mut latents = noise;
        for (step, (level, next)) in levels.iter().zip(levels.iter().skip(1)).enumerate() {
            let timesteps = Tensor::full([1], schedule::timestep(*level), &self.device);
            let velocity_for =
                |text: &Tensor<3>| self.transformer.forward(latents.clone(), timesteps.clone(), text.clone());
            let mut velocity = velocity_for(&prompt)?;
            if let Some(negative) = &negative {
                let unwanted = velocity_for(negative)?;
                velocity = unwanted.clone().add(velocity.sub(unwanted).mul_scalar(request.guidance));
            }
            latents = latents.add(velocity.mul_scalar(next - level));
            if on_step(step + 1, request.steps).is_break() {
                return Err(WanError::Cancelled);
            }
        }
        Ok(latents)
    }

    /// Decodes one latent frame at a time: a video as floats is far larger than as bytes.
    fn render(&self, latents: Tensor<5>, request: &WanRequest) -> Result<Clip, WanError> {
        let latents = self.vae.unstandardise(latents);
        let mut decoding = self.vae.decoding();
        let mut frames = Vec::with_capacity(request.frames * request.height * request.width * 3);
        for time in 0..latents.dims()[2] {
            let decoded = decoding.decode_next(latents.clone().narrow(2, time, 1))?;
            frames.extend(rgb(decoded));
        }
        Ok(Clip {
            width: request.width,
            height: request.height,
            fps: FPS,
            frames,
            sample_rate: ENCODED_SAMPLE_RATE,
            samples: Vec::new(),
        })
    }
}

/// `[1, 3, time, height, width]` in [-1, 1] to RGB8, `[time, height, width, 3]`.
fn rgb(video: Tensor<5>) -> impl Iterator<Item = u8> {
    let values = video.permute([0, 2, 3, 4, 1]).into_data().convert::<f32>();
    let values: Vec<f32> = values.try_to_vec().unwrap_or_default();
    values.into_iter().map(|value| ((value * 0.5 + 0.5) * 255.0).round() as u8)
}

#[cfg(test)]
mod tests;
