//! The published configurations: a `config.json` of diffusers enters, checked sizes leave.
//!
//! INVARIANT: an option that would change what the model computes and is not read here is refused, never
//! ignored: a configuration that parses can be built, and is computed as diffusers computes it.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

use kinora_harness::publish::FileError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::WanError;

/// Widest layer and longest sequence that is taken for a model rather than for a mistake.
const WIDEST: usize = 1 << 16;
const DEEPEST: usize = 1 << 10;
/// Options that only matter in training.
const TRAINING_ONLY: [&str; 1] = ["dropout"];

/// Sizes of a published Wan2.1 text-to-video model.
#[derive(Clone, Debug, PartialEq)]
pub struct WanConfig {
    pub transformer: TransformerConfig,
    pub vae: VaeConfig,
}

/// `transformer/config.json`, a `WanTransformer3DModel`. Names are diffusers' own.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct TransformerConfig {
    /// Latents to a token: time, height, width.
    pub patch_size: [usize; 3],
    pub num_attention_heads: usize,
    pub attention_head_dim: usize,
    pub in_channels: usize,
    pub out_channels: usize,
    /// Width of the text embeddings.
    pub text_dim: usize,
    /// Sines and cosines that describe a timestep.
    pub freq_dim: usize,
    pub ffn_dim: usize,
    pub num_layers: usize,
    pub cross_attn_norm: bool,
    pub eps: f64,
    /// Tokens along one axis at most.
    pub rope_max_seq_len: usize,
    qk_norm: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// `vae/config.json`, an `AutoencoderKLWan`. Names are diffusers' own.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct VaeConfig {
    pub base_dim: usize,
    pub decoder_base_dim: Option<usize>,
    pub z_dim: usize,
    /// Widths of the levels, in `base_dim`.
    pub dim_mult: Vec<usize>,
    pub num_res_blocks: usize,
    /// Which of the steps between levels also halve time.
    pub temperal_downsample: Vec<bool>,
    pub latents_mean: Vec<f32>,
    pub latents_std: Vec<f32>,
    #[serde(default = "rgb")]
    in_channels: usize,
    #[serde(default = "rgb")]
    out_channels: usize,
    scale_factor_temporal: Option<usize>,
    scale_factor_spatial: Option<usize>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

fn rgb() -> usize {
    VaeConfig::CHANNELS
}

impl WanConfig {
    /// Reads `transformer/config.json` and `vae/config.json` in the model's directory.
    pub fn read(directory: &Path) -> Result<Self, WanError> {
        let transformer_path = directory.join("transformer").join(CONFIG_FILE);
        let transformer: TransformerConfig = read_json(&transformer_path)?;
        transformer.check(&transformer_path)?;
        let vae_path = directory.join("vae").join(CONFIG_FILE);
        let vae: VaeConfig = read_json(&vae_path)?;
        vae.check(&vae_path)?;
        let (refuse, z) = (Refuse(&transformer_path), vae.z_dim);
        for (option, channels) in
            [("in_channels", transformer.in_channels), ("out_channels", transformer.out_channels)]
        {
            refuse.unless(channels == z, option, channels, &format!("the autoencoder's `z_dim`, {z}"))?;
        }
        Ok(Self { transformer, vae })
    }
}

impl TransformerConfig {
    /// Width of a token.
    pub fn dim(&self) -> usize {
        self.num_attention_heads * self.attention_head_dim
    }

    fn check(&self, path: &Path) -> Result<(), WanError> {
        let refuse = Refuse(path);
        refuse.unknown(&self.rest, "WanTransformer3DModel")?;
        let qk_norm = self.qk_norm.as_deref();
        let across_heads = "rms_norm_across_heads";
        let found = qk_norm.unwrap_or("null");
        refuse.unless(qk_norm == Some(across_heads), "qk_norm", found, across_heads)?;
        let [time, height, width] = self.patch_size;
        for (option, size) in [
            ("num_attention_heads", self.num_attention_heads),
            ("attention_head_dim", self.attention_head_dim),
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("text_dim", self.text_dim),
            ("ffn_dim", self.ffn_dim),
            ("rope_max_seq_len", self.rope_max_seq_len),
        ] {
            refuse.size(option, size, WIDEST)?;
        }
        for side in [time, height, width] {
            refuse.size("patch_size", side, 16)?;
        }
        refuse.size("num_layers", self.num_layers, DEEPEST)?;
        refuse.size("num_attention_heads x attention_head_dim", self.dim(), WIDEST)?;
        // Each of the three axes must turn at least one pair.
        let (head, frequencies) = (self.attention_head_dim, self.freq_dim);
        refuse.unless(
            head >= 6 && head.is_multiple_of(2),
            "attention_head_dim",
            head,
            "an even 6 or more",
        )?;
        let even = (2..=WIDEST).contains(&frequencies) && frequencies.is_multiple_of(2);
        refuse.unless(even, "freq_dim", frequencies, "an even number")?;
        refuse.unless(self.eps > 0.0 && self.eps < 1.0, "eps", self.eps, "a small positive number")
    }
}

impl VaeConfig {
    /// Colours of a pixel.
    pub(super) const CHANNELS: usize = 3;
    /// Frames to a latent frame, after the first.
    pub const TEMPORAL_FACTOR: usize = 4;

    /// Pixels to a latent, along height and width.
    pub fn spatial_factor(&self) -> usize {
        1 << (self.dim_mult.len() - 1)
    }

    /// Width of the decoder in units of `dim_mult`.
    pub(super) fn decoder_dim(&self) -> usize {
        self.decoder_base_dim.unwrap_or(self.base_dim)
    }

    fn check(&self, path: &Path) -> Result<(), WanError> {
        let refuse = Refuse(path);
        refuse.unknown(&self.rest, "AutoencoderKLWan")?;
        for (option, channels) in [("in_channels", self.in_channels), ("out_channels", self.out_channels)] {
            refuse.unless(channels == Self::CHANNELS, option, channels, "3")?;
        }
        let listed = |values: &[usize]| format!("{values:?}");
        let levels = self.dim_mult.len();
        let fits = (2..=6).contains(&levels) && self.dim_mult.iter().all(|mult| (1..=64).contains(mult));
        refuse.unless(fits, "dim_mult", listed(&self.dim_mult), "2 to 6 levels of 1 to 64")?;
        for (option, dim) in [("base_dim", self.base_dim), ("decoder_base_dim", self.decoder_dim())] {
            let fits = (2..=1024).contains(&dim) && dim.is_multiple_of(2);
            refuse.unless(fits, option, dim, "an even 2 to 1024")?;
        }
        refuse.size("z_dim", self.z_dim, WIDEST)?;
        refuse.size("num_res_blocks", self.num_res_blocks, DEEPEST)?;
        let halvings = self.temperal_downsample.iter().filter(|&&halves| halves).count();
        let fits = self.temperal_downsample.len() == levels - 1 && 1 << halvings == Self::TEMPORAL_FACTOR;
        let found = format!("{:?}", self.temperal_downsample);
        refuse.unless(
            fits,
            "temperal_downsample",
            found,
            "one entry between each two levels, two of them true",
        )?;
        for (option, found, expected) in [
            ("scale_factor_temporal", self.scale_factor_temporal, Self::TEMPORAL_FACTOR),
            ("scale_factor_spatial", self.scale_factor_spatial, self.spatial_factor()),
        ] {
            let found = found.unwrap_or(expected);
            refuse.unless(found == expected, option, found, &expected.to_string())?;
        }
        let every = format!("{} finite numbers", self.z_dim);
        let means = &self.latents_mean;
        let fits = means.len() == self.z_dim && means.iter().all(|mean| mean.is_finite());
        refuse.unless(fits, "latents_mean", format!("{means:?}"), &every)?;
        let deviations = &self.latents_std;
        let positive = deviations.iter().all(|std| std.is_finite() && *std > 0.0);
        let fits = deviations.len() == self.z_dim && positive;
        refuse.unless(fits, "latents_std", format!("{deviations:?}"), &format!("{every} above 0"))
    }
}

const CONFIG_FILE: &str = "config.json";

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, WanError> {
    if !path.is_file() {
        return Err(WanError::Missing { path: path.to_owned() });
    }
    let json = fs::read(path).map_err(FileError::at("read", path))?;
    serde_json::from_slice(&json).map_err(|source| WanError::Config { path: path.to_owned(), source })
}

/// Says which option of which file is not supported.
struct Refuse<'a>(&'a Path);

impl Refuse<'_> {
    fn unless(&self, fits: bool, option: &str, found: impl Display, supported: &str) -> Result<(), WanError> {
        if fits {
            return Ok(());
        }
        Err(WanError::Unsupported {
            path: PathBuf::from(self.0),
            option: option.to_owned(),
            found: found.to_string(),
            supported: supported.to_owned(),
        })
    }

    fn size(&self, option: &str, size: usize, most: usize) -> Result<(), WanError> {
        self.unless((1..=most).contains(&size), option, size, &format!("1 to {most}"))
    }

    /// Options that are not read must be off, or not be about what is computed.
    fn unknown(&self, rest: &Map<String, Value>, class: &str) -> Result<(), WanError> {
        let found = rest.get("_class_name").unwrap_or(&Value::Null);
        self.unless(found == class, "_class_name", found, class)?;
        let is_off = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(values) => values.is_empty(),
            _ => false,
        };
        for (option, value) in rest {
            let about_training = TRAINING_ONLY.contains(&option.as_str());
            let ignored = option.starts_with('_') || about_training;
            self.unless(ignored || is_off(value), option, value, "left out")?;
        }
        Ok(())
    }
}
