//! The sizes of the video+audio model, by name: a name enters, the numbers that build it leave.
//!
//! One table decides every size; the layers take a [`ModelConfig`] and know no names. `nano` is the size
//! whose weights ship with Kinora and that trains on a CPU within hours.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A size of the model, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelSize {
    /// 4.7M parameters; a CPU.
    Nano,
    /// 51M parameters; one GPU.
    Small,
    /// 273M parameters; one large GPU.
    Base,
    /// 719M parameters; several GPUs.
    Large,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown model size `{0}`: use `nano`, `small`, `base` or `large`")]
pub struct UnknownSize(String);

impl FromStr for ModelSize {
    type Err = UnknownSize;

    fn from_str(text: &str) -> Result<Self, UnknownSize> {
        match text {
            "nano" => Ok(Self::Nano),
            "small" => Ok(Self::Small),
            "base" => Ok(Self::Base),
            "large" => Ok(Self::Large),
            _ => Err(UnknownSize(text.to_owned())),
        }
    }
}

impl fmt::Display for ModelSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nano => "nano",
            Self::Small => "small",
            Self::Base => "base",
            Self::Large => "large",
        })
    }
}

/// The numbers that a model is built from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Width of the transformer's tokens; a multiple of `4 * heads`.
    pub width: usize,
    pub heads: usize,
    /// Dual-stream blocks.
    pub layers: usize,
    /// Hidden width of a feed-forward layer, in multiples of `width`.
    pub feed_forward: usize,
    /// Blocks of the text encoder.
    pub text_layers: usize,
    /// Numbers that describe one impact's timbre.
    pub sound_code: usize,
    /// Hidden width of the look encoder.
    pub picture_width: usize,
    /// Hidden width of the sound encoder and decoder.
    pub sound_width: usize,
    /// Whether picture and sound see each other; without it, what that is worth can be measured.
    pub linked: bool,
    /// Whether velocities stand beside the places; likewise.
    pub motion: bool,
}

impl ModelSize {
    pub const ALL: [Self; 4] = [Self::Nano, Self::Small, Self::Base, Self::Large];

    pub fn config(self) -> ModelConfig {
        let (width, heads, layers, feed_forward, text_layers, picture_width, sound_width) = match self {
            Self::Nano => (160, 5, 6, 3, 1, 128, 96),
            Self::Small => (384, 6, 12, 4, 2, 192, 192),
            Self::Base => (768, 12, 16, 4, 4, 256, 256),
            Self::Large => (1024, 16, 24, 4, 6, 256, 384),
        };
        ModelConfig {
            width,
            heads,
            layers,
            feed_forward,
            text_layers,
            sound_code: 6,
            picture_width,
            sound_width,
            linked: true,
            motion: true,
        }
    }
}

impl ModelConfig {
    /// Whether these numbers make a model: a configuration may come from a file.
    pub(crate) fn is_buildable(&self) -> bool {
        let sizes = [
            self.width,
            self.heads,
            self.layers,
            self.feed_forward,
            self.sound_code,
            self.picture_width,
            self.sound_width,
        ];
        let sane = sizes.iter().all(|&size| (1..=16_384).contains(&size)) && self.text_layers <= 64;
        sane && self.layers <= 256 && self.width.is_multiple_of(4 * self.heads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_print_alike() {
        for size in ModelSize::ALL {
            assert_eq!(size.to_string().parse(), Ok(size));
        }
        let error = "tiny".parse::<ModelSize>().unwrap_err().to_string();
        assert!(error.contains("`tiny`") && error.contains("`nano`"), "{error}");
    }

    #[test]
    fn every_size_can_turn_its_heads_in_time() {
        for size in ModelSize::ALL {
            let config = size.config();
            assert_eq!(config.width % (4 * config.heads), 0, "{size}");
        }
    }
}
