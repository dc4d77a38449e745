//! The sizes of the pixel models, by name: a name enters, the numbers that build one leave.
//!
//! One table decides every size; the layers take a [`GridConfig`] and know no names. INVARIANT: a configuration
//! that [`GridConfig::is_buildable`] accepts can be built and run, whatever file it came from.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::block::BlockShape;
use crate::world::SAMPLE_RATE;

/// Frames that one latent frame stands for, after the first, which stands alone.
pub(crate) const TIME_FACTOR: usize = 4;
/// Pixels along a side of a latent.
pub(crate) const SPACE_FACTOR: usize = 8;
/// Latents along a side of the transformer's patches.
pub(crate) const PATCH: usize = 2;
/// The sides of a picture are multiples of so many pixels.
pub(crate) const SIDE_STEP: usize = SPACE_FACTOR * PATCH;
/// Sound latents a second.
pub(crate) const SOUND_RATE: usize = 25;
/// Sound samples that one sound latent stands for.
pub(crate) const SAMPLES_PER_LATENT: usize = SAMPLE_RATE as usize / SOUND_RATE;

/// A size of the pixel model, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GridSize {
    /// For demonstrations on a CPU.
    Micro,
    Small,
    Base,
    Large,
    /// The sizes of the `PhyWorld` paper's transformers: pictures alone.
    PhyWorldS,
    PhyWorldB,
    PhyWorldL,
    PhyWorldXl,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "unknown size `{0}` of a pixel model: use `micro`, `small`, `base`, `large` or `phyworld-s`, `-b`, `-l`, `-xl`"
)]
pub struct UnknownGridSize(String);

impl GridSize {
    pub const ALL: [Self; 8] = [
        Self::Micro,
        Self::Small,
        Self::Base,
        Self::Large,
        Self::PhyWorldS,
        Self::PhyWorldB,
        Self::PhyWorldL,
        Self::PhyWorldXl,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Micro => "micro",
            Self::Small => "small",
            Self::Base => "base",
            Self::Large => "large",
            Self::PhyWorldS => "phyworld-s",
            Self::PhyWorldB => "phyworld-b",
            Self::PhyWorldL => "phyworld-l",
            Self::PhyWorldXl => "phyworld-xl",
        }
    }

    pub fn config(self) -> GridConfig {
        let flow = |[width, heads, layers, text_layers, prompt_words]: [usize; 5]| FlowConfig {
            width,
            heads,
            layers,
            feed_forward: 4,
            text_layers,
            prompt_words,
            references: 2,
            reference_side: 64,
        };
        let clip = |side, fps, frames| ClipShape { width: side, height: side, fps, frames };
        let picture = |patch, widths, blocks, channels| PictureConfig { patch, widths, blocks, channels };
        let sound = |width, channels| Some(SoundConfig { width, blocks: 2, channels });
        let studied = |width, heads, layers| GridConfig {
            // The three shown frames as the first two latents, then the other 29: see `grid::phyworld`.
            clip: clip(128, 10, 37),
            picture: picture(2, [64, 128, 256], 2, 16),
            sound: None,
            flow: FlowConfig { references: 0, ..flow([width, heads, layers, 0, 4]) },
        };
        match self {
            Self::Micro => GridConfig {
                clip: clip(64, 24, 25),
                picture: picture(4, [32, 64, 96], 1, 12),
                sound: sound(64, 8),
                flow: FlowConfig {
                    feed_forward: 3,
                    references: 1,
                    reference_side: 32,
                    ..flow([64, 2, 3, 1, 24])
                },
            },
            Self::Small => GridConfig {
                clip: clip(128, 24, 97),
                picture: picture(2, [64, 128, 256], 2, 16),
                sound: sound(256, 16),
                flow: flow([384, 6, 12, 2, 64]),
            },
            Self::Base => GridConfig {
                clip: clip(192, 24, 97),
                picture: picture(2, [96, 192, 384], 2, 16),
                sound: sound(384, 16),
                flow: flow([768, 12, 16, 4, 64]),
            },
            Self::Large => GridConfig {
                clip: clip(256, 24, 97),
                picture: picture(2, [128, 256, 512], 2, 16),
                sound: sound(512, 16),
                flow: flow([1024, 16, 24, 6, 64]),
            },
            Self::PhyWorldS => studied(384, 6, 12),
            Self::PhyWorldB => studied(768, 12, 12),
            Self::PhyWorldL => studied(1024, 16, 24),
            Self::PhyWorldXl => studied(1152, 16, 28),
        }
    }
}

impl FromStr for GridSize {
    type Err = UnknownGridSize;

    fn from_str(text: &str) -> Result<Self, UnknownGridSize> {
        Self::ALL.into_iter().find(|size| size.name() == text).ok_or_else(|| UnknownGridSize(text.to_owned()))
    }
}

impl fmt::Display for GridSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What every clip is brought to before it is learned from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipShape {
    /// Width of the pictures in pixels, a multiple of 16.
    pub width: usize,
    /// Height of the pictures in pixels, a multiple of 16.
    pub height: usize,
    /// Pictures a second.
    pub fps: u32,
    /// Pictures: one more than a multiple of four.
    pub frames: usize,
}

/// The video autoencoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PictureConfig {
    /// Pixels along a side of what the first layer sees: 2 or 4. Four is cheaper, two sees finer.
    pub patch: usize,
    /// Widths of the three levels, each half as fine in time as the one before.
    pub widths: [usize; 3],
    /// Residual blocks at each level.
    pub blocks: usize,
    /// Numbers of a latent.
    pub channels: usize,
}

/// The sound autoencoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoundConfig {
    pub width: usize,
    /// Residual blocks at each level.
    pub blocks: usize,
    /// Numbers of a latent.
    pub channels: usize,
}

/// The transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowConfig {
    /// Width of the tokens; a multiple of `8 * heads`.
    pub width: usize,
    pub heads: usize,
    pub layers: usize,
    /// Hidden width of a feed-forward layer, in multiples of `width`.
    pub feed_forward: usize,
    /// Blocks of the text encoder.
    pub text_layers: usize,
    /// Words of a prompt that are read; further ones are cut.
    pub prompt_words: usize,
    /// Reference pictures that a clip may have.
    pub references: usize,
    /// Width and height of a reference picture in pixels, a multiple of 16.
    pub reference_side: usize,
}

/// The numbers that a pixel model is built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GridConfig {
    pub clip: ClipShape,
    pub picture: PictureConfig,
    /// Without it the model draws silent clips, in one stream.
    pub sound: Option<SoundConfig>,
    pub flow: FlowConfig,
}

impl ClipShape {
    pub(crate) fn seconds(&self) -> f64 {
        self.frames as f64 / f64::from(self.fps)
    }

    /// Latent frames of the clip.
    pub(crate) fn latent_frames(&self) -> usize {
        1 + self.frames / TIME_FACTOR
    }

    /// Sound latents that cover the clip.
    pub(crate) fn sound_latents(&self) -> usize {
        (self.frames * SOUND_RATE).div_ceil(self.fps.max(1) as usize)
    }

    /// Bytes of the clip's pixels.
    pub(crate) fn bytes(&self) -> usize {
        self.width * self.height * 3 * self.frames
    }
}

impl FlowConfig {
    pub(crate) fn block(&self) -> BlockShape {
        let Self { width, heads, feed_forward, .. } = *self;
        BlockShape { width, heads, feed_forward, linked: true }
    }
}

/// Widths beyond this are taken for mistakes.
const WIDEST: usize = 8192;
/// The largest side of a picture in pixels.
const LARGEST_SIDE: usize = 1024;
/// The most tokens of a clip's picture.
const MOST_TOKENS: usize = 1 << 16;

/// Whether a side of a picture can be encoded and cut into patches.
pub(crate) fn is_side(side: usize) -> bool {
    side.is_multiple_of(SIDE_STEP) && (SIDE_STEP..=LARGEST_SIDE).contains(&side)
}

impl GridConfig {
    /// Numbers of one clip's picture latents.
    pub(crate) fn picture_numbers(&self) -> usize {
        let ClipShape { width, height, .. } = self.clip;
        self.clip.latent_frames() * self.picture.channels * (width / SPACE_FACTOR) * (height / SPACE_FACTOR)
    }

    /// Numbers of one clip's sound latents; none in a silent model.
    pub(crate) fn sound_numbers(&self) -> usize {
        self.sound.map_or(0, |sound| self.clip.sound_latents() * sound.channels)
    }

    /// Numbers of one reference picture's latents.
    pub(crate) fn reference_numbers(&self) -> usize {
        self.picture.channels * (self.flow.reference_side / SPACE_FACTOR).pow(2)
    }

    /// Whether these numbers make a model: a configuration may come from a file.
    pub fn is_buildable(&self) -> bool {
        let Self { clip, picture, sound, flow } = self;
        let width = |width: usize| (1..=WIDEST).contains(&width);
        let few = |count: usize| (1..=256).contains(&count);
        let tokens = |clip: &ClipShape| {
            clip.latent_frames() * (clip.width / SIDE_STEP) * (clip.height / SIDE_STEP) <= MOST_TOKENS
        };
        let clip_fits = is_side(clip.width)
            && is_side(clip.height)
            && (1..=60).contains(&clip.fps)
            && clip.frames % TIME_FACTOR == 1
            && clip.frames > 1
            && clip.frames <= 4096
            && tokens(clip);
        let picture_fits = matches!(picture.patch, 2 | 4)
            && picture.widths.into_iter().all(width)
            && few(picture.blocks)
            && few(picture.channels);
        let sound_fits =
            sound.is_none_or(|sound| width(sound.width) && few(sound.blocks) && few(sound.channels));
        let flow_fits = width(flow.width)
            && few(flow.heads)
            && flow.width.is_multiple_of(8 * flow.heads)
            && few(flow.layers)
            && (1..=16).contains(&flow.feed_forward)
            && flow.text_layers <= 64
            && (1..=512).contains(&flow.prompt_words)
            && flow.references <= 8
            && is_side(flow.reference_side);
        clip_fits && picture_fits && sound_fits && flow_fits
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A model that a test can build and train in a moment.
    pub(crate) fn tiny() -> GridConfig {
        GridConfig {
            clip: ClipShape { width: 32, height: 32, fps: 24, frames: 9 },
            picture: PictureConfig { patch: 4, widths: [8, 12, 16], blocks: 1, channels: 4 },
            sound: Some(SoundConfig { width: 12, blocks: 1, channels: 4 }),
            flow: FlowConfig {
                width: 32,
                heads: 2,
                layers: 1,
                feed_forward: 2,
                text_layers: 1,
                prompt_words: 8,
                references: 1,
                reference_side: 16,
            },
        }
    }

    #[test]
    fn names_parse_and_print_alike_and_every_size_is_buildable() {
        for size in GridSize::ALL {
            assert_eq!(size.to_string().parse(), Ok(size));
            assert!(size.config().is_buildable(), "{size}");
        }
        assert!(tiny().is_buildable());
        let error = "nano".parse::<GridSize>().unwrap_err().to_string();
        assert!(error.contains("`nano`") && error.contains("`micro`"), "{error}");
    }

    #[test]
    fn what_cannot_be_built_is_told_apart() {
        let wrong: [fn(&mut GridConfig); 13] = [
            |config| config.clip.width = 24,
            |config| config.clip.height = 0,
            |config| config.clip.frames = 24,
            |config| config.clip.frames = 1,
            |config| config.clip.fps = 0,
            |config| config.picture.patch = 3,
            |config| config.picture.widths[1] = 0,
            |config| config.picture.channels = 0,
            |config| config.sound = Some(SoundConfig { width: 0, blocks: 1, channels: 1 }),
            |config| config.flow.heads = 3,
            |config| config.flow.width = usize::MAX / 2,
            |config| config.flow.prompt_words = 0,
            |config| config.flow.reference_side = 20,
        ];
        for (index, spoil) in wrong.into_iter().enumerate() {
            let mut config = tiny();
            spoil(&mut config);
            assert!(!config.is_buildable(), "spoiled by {index}: {config:?}");
        }
    }

    #[test]
    fn sound_covers_the_picture() {
        for size in GridSize::ALL {
            let clip = size.config().clip;
            let samples = clip.sound_latents() * SAMPLES_PER_LATENT;
            assert!(samples as f64 >= clip.seconds() * f64::from(SAMPLE_RATE), "{size}");
            assert!((samples - SAMPLES_PER_LATENT) as f64 <= clip.seconds() * f64::from(SAMPLE_RATE));
        }
    }
}
