//! A whole pixel model and its directory: a trained model enters, `weights.safetensors` and `config.json`
//! leave, and back.
//!
//! INVARIANT: a directory is read only if its two files belong together, fit this code and are of a pixel
//! model; anything else is one clear line.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use kinora_harness::weights::load_weights_from_bytes;
use serde::{Deserialize, Serialize};

use super::config::GridConfig;
use super::footage::Footage;
use super::sound_autoencoder::SoundAutoencoder;
use super::train::GridPlan;
use super::transformer::{GridTransformer, Grids};
use super::video_autoencoder::VideoAutoencoder;
use crate::weights::{CONFIG_FILE, GRID_SPACE, Space, WeightsError, parse_card, read_files, save_files};
use crate::words::Vocabulary;

/// Everything that is trained.
#[derive(Module, Debug)]
pub(crate) struct GridModel {
    pub(crate) picture: VideoAutoencoder,
    pub(crate) sound: Option<SoundAutoencoder>,
    pub(crate) flow: GridTransformer,
}

impl GridModel {
    pub(crate) fn new(config: &GridConfig, vocabulary: usize, device: &Device) -> Self {
        Self {
            picture: VideoAutoencoder::new(&config.picture, device),
            sound: config.sound.map(|sound| SoundAutoencoder::new(&sound, device)),
            flow: GridTransformer::new(config, vocabulary, device),
        }
    }
}

/// Mean and deviation of each channel of latents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Spread {
    channels: Vec<[f32; 2]>,
}

impl Spread {
    /// Measures latents in which each channel has `repeats` numbers in a row, in turn.
    pub(crate) fn measure<'a>(
        latents: impl Iterator<Item = &'a [f32]>,
        channels: usize,
        repeats: usize,
    ) -> Self {
        let mut sums = vec![[0.0_f64; 3]; channels];
        for row in latents {
            for (index, numbers) in row.chunks_exact(repeats.max(1)).enumerate() {
                let [count, sum, squares] = &mut sums[index % channels.max(1)];
                for &number in numbers {
                    *count += 1.0;
                    *sum += f64::from(number);
                    *squares += f64::from(number).powi(2);
                }
            }
        }
        let channels = sums.into_iter().map(|[count, sum, squares]| {
            let mean = sum / count.max(1.0);
            let variance = (squares / count.max(1.0) - mean * mean).max(0.0);
            // A channel that never changes is left as it is.
            [mean as f32, if variance > 1e-6 { variance.sqrt() as f32 } else { 1.0 }]
        });
        Self { channels: channels.collect() }
    }

    fn fits(&self, channels: usize) -> bool {
        self.channels.len() == channels
            && self.channels.iter().all(|[mean, deviation]| mean.is_finite() && *deviation > 0.0)
    }

    /// Means and deviations, shaped for latents whose third axis holds the channels.
    fn tensors<const D: usize>(&self, device: &Device) -> [Tensor<D>; 2] {
        [0, 1].map(|part| {
            let values: Vec<f32> = self.channels.iter().map(|pair| pair[part]).collect();
            let mut shape = [1; D];
            shape[2] = values.len();
            Tensor::from_data(TensorData::new(values, shape), device)
        })
    }

    /// Latents of zero mean and unit variance.
    pub(crate) fn apply<const D: usize>(&self, latents: Tensor<D>) -> Tensor<D> {
        let [mean, deviation] = self.tensors(&latents.device());
        latents.sub(mean).div(deviation)
    }

    /// The inverse of [`Spread::apply`].
    pub(crate) fn undo<const D: usize>(&self, latents: Tensor<D>) -> Tensor<D> {
        let [mean, deviation] = self.tensors(&latents.device());
        latents.mul(deviation).add(mean)
    }
}

/// What brings the latents of a model to unit variance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spreads {
    pub(crate) picture: Spread,
    pub(crate) sound: Option<Spread>,
}

impl Spreads {
    pub(crate) fn apply(&self, latents: Grids) -> Grids {
        Grids {
            picture: self.picture.apply(latents.picture),
            sound: latents.sound.zip(self.sound.as_ref()).map(|(sound, spread)| spread.apply(sound)),
        }
    }

    pub(crate) fn undo(&self, latents: Grids) -> Grids {
        Grids {
            picture: self.picture.undo(latents.picture),
            sound: latents.sound.zip(self.sound.as_ref()).map(|(sound, spread)| spread.undo(sound)),
        }
    }
}

/// Everything beside the tensors that a model needs, and how it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GridCard {
    pub(crate) space: String,
    pub(crate) format: u32,
    pub(crate) model: GridConfig,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) spreads: Spreads,
    pub(crate) plan: GridPlan,
    pub(crate) footage: Footage,
    pub(crate) seed: u64,
    pub(crate) code_version: String,
}

impl GridCard {
    pub(crate) const FORMAT: u32 = 1;
    pub(crate) const SPACE: &'static str = GRID_SPACE;

    fn parse(json: &[u8], path: &Path) -> Result<Self, WeightsError> {
        let card: Self = parse_card(json, path, Space::Grid, Self::FORMAT)?;
        let path = path.to_owned();
        if !card.model.is_buildable() {
            return Err(WeightsError::Contradiction { path, what: "the model's sizes cannot be built" });
        }
        let GridConfig { picture, sound, .. } = card.model;
        let sound_fits = match (&card.spreads.sound, sound) {
            (Some(spread), Some(sound)) => spread.fits(sound.channels),
            (None, None) => true,
            _ => false,
        };
        if !sound_fits || !card.spreads.picture.fits(picture.channels) {
            let what = "the normalisation is not of the model's widths";
            return Err(WeightsError::Contradiction { path, what });
        }
        Ok(card)
    }
}

/// Writes a model.
pub(super) fn save(directory: &Path, model: &GridModel, card: &GridCard) -> Result<(), WeightsError> {
    save_files(directory, model, card)
}

/// Reads the model in `directory`.
pub(super) fn load(directory: &Path, device: &Device) -> Result<(GridModel, GridCard), WeightsError> {
    let (json, tensors) = read_files(directory)?;
    let card = GridCard::parse(&json, &directory.join(CONFIG_FILE))?;
    let model = GridModel::new(&card.model, card.vocabulary.len(), device);
    Ok((load_weights_from_bytes(model, tensors)?, card))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::GridSize;

    /// Millions of parameters, autoencoders included.
    const EXPECTED: [&str; 8] = [
        "micro 1.8",
        "small 68.0",
        "base 311.3",
        "large 788.0",
        "phyworld-s 35.5",
        "phyworld-b 102.0",
        "phyworld-l 321.9",
        "phyworld-xl 467.6",
    ];

    #[test]
    fn every_size_has_the_parameters_it_says() {
        let found = GridSize::ALL.map(|size| {
            // Weights are drawn at first use: counting them costs nothing.
            let model = GridModel::new(&size.config(), 64, &Device::flex());
            format!("{size} {:.1}", model.num_params() as f64 / 1e6)
        });
        assert_eq!(found, EXPECTED);
    }

    /// The larger sizes are counted without being built; this says that such a count is true.
    #[test]
    fn what_is_counted_is_what_is_built() {
        struct Count(usize);
        impl burn::module::ModuleVisitor for Count {
            fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
                self.0 += param.val().dims().iter().product::<usize>();
            }
        }
        let model = GridModel::new(&GridSize::Micro.config(), 64, &Device::flex());
        let counted = model.num_params();
        let mut built = Count(0);
        model.visit(&mut built);
        assert_eq!(built.0, counted);
    }

    #[test]
    fn measured_latents_get_unit_variance_in_each_channel() {
        let device = Device::flex();
        let row: Vec<f32> = (0..2 * 3 * 4).map(|index| ((index * 31) % 23) as f32 - 4.0).collect();
        let spread = Spread::measure(std::iter::once(row.as_slice()), 3, 4);
        assert!(spread.fits(3) && !spread.fits(2));
        let latents = Tensor::<1>::from_floats(row.as_slice(), &device).reshape([1, 2, 3, 2, 2]);
        let even = spread.apply(latents.clone());
        for channel in 0..3 {
            let part: Vec<f32> = even.clone().narrow(2, channel, 1).try_into_vec_as::<f32>().unwrap();
            let mean = part.iter().sum::<f32>() / 8.0;
            let variance = part.iter().map(|value| value * value).sum::<f32>() / 8.0;
            assert!(mean.abs() < 1e-4 && (variance - 1.0).abs() < 1e-3, "{mean} {variance}");
        }
        let back = spread.undo(even).sub(latents).abs().max().into_scalar::<f32>();
        assert!(back < 1e-4);
        let still = Spread::measure(std::iter::once(&[2.0_f32; 8][..]), 2, 2);
        assert_eq!(still.channels, [[2.0, 1.0]; 2]);
    }
}
