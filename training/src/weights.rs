//! Model directories: a trained model enters, `weights.safetensors` and `config.json` leave, and back.
//!
//! The weights are half precision: a few megabytes for `nano`. INVARIANT: a directory is read only if its two
//! files belong together and fit this code; anything else is one clear line.

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use kinora_harness::publish::{FileError, write_file};
use kinora_harness::weights::{self, Precision, load_weights_from_bytes, save_weights};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::Model;
use crate::model::flow::Sampling;
use crate::model::latents::Normalisation;
use crate::size::ModelConfig;
use crate::train::TrainPlan;
use crate::words::Vocabulary;

const WEIGHTS_FILE: &str = "weights.safetensors";
/// What the configuration of a pixel model calls its space.
pub(crate) const GRID_SPACE: &str = "grid";
pub(crate) const CONFIG_FILE: &str = "config.json";

#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WeightsError {
    #[error("there is no video model in `{}`: `{file}` is missing", directory.display())]
    Missing { directory: PathBuf, file: &'static str },
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Tensors(#[from] weights::WeightsError),
    #[error("`{}` is no configuration of a video model: {source}", path.display())]
    Config { path: PathBuf, source: serde_json::Error },
    #[error("`{}` is of format {found}, where this version reads format {wanted}: train the model again", path.display())]
    Format { path: PathBuf, found: u32, wanted: u32 },
    #[error("`{}` is of a {found} model, where one of a {wanted} model is needed", path.display())]
    Space { path: PathBuf, found: &'static str, wanted: &'static str },
    #[error("`{}` contradicts itself: {what}", path.display())]
    Contradiction { path: PathBuf, what: &'static str },
}

/// Everything beside the tensors that a model needs, and how it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    pub(crate) format: u32,
    pub(crate) model: ModelConfig,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) normalisation: Normalisation,
    pub(crate) plan: TrainPlan,
    pub(crate) seed: u64,
    /// How the model is best drawn with.
    pub(crate) sampling: Sampling,
    /// Whether guidance is in the weights, and no more to be chosen.
    pub(crate) distilled: bool,
    pub(crate) code_version: String,
}

impl ModelCard {
    pub(crate) const FORMAT: u32 = 2;

    fn parse(json: &[u8], path: &Path) -> Result<Self, WeightsError> {
        let card: Self = parse_card(json, path, Space::World, Self::FORMAT)?;
        let path = path.to_owned();
        if !card.model.is_buildable() {
            return Err(WeightsError::Contradiction { path, what: "the model's widths cannot be built" });
        }
        if !card.normalisation.fits(card.model.layout()) {
            let what = "the normalisation is not of the model's widths";
            return Err(WeightsError::Contradiction { path, what });
        }
        Ok(card)
    }
}

/// Writes a model. The weights go first: a configuration without them is no model.
pub(crate) fn save_model(directory: &Path, model: &Model, card: &ModelCard) -> Result<(), WeightsError> {
    save_files(directory, model, card)
}

/// The same for a model and a card of any kind.
pub(crate) fn save_files<M: Module, C: Serialize>(
    directory: &Path,
    model: &M,
    card: &C,
) -> Result<(), WeightsError> {
    fs::create_dir_all(directory).map_err(FileError::at("create", directory))?;
    let scratch = directory.join(".weights.tmp");
    save_weights(model, &scratch, Precision::F16)?;
    let tensors = fs::read(&scratch).map_err(FileError::at("read", &scratch))?;
    write_file(&directory.join(WEIGHTS_FILE), &tensors)?;
    fs::remove_file(&scratch).map_err(FileError::at("remove", &scratch))?;
    let path = directory.join(CONFIG_FILE);
    let json = serde_json::to_vec_pretty(card)
        .map_err(|source| WeightsError::Config { path: path.clone(), source })?;
    Ok(write_file(&path, &json)?)
}

/// Reads the model in `directory`.
pub(crate) fn load_model(directory: &Path, device: &Device) -> Result<(Model, ModelCard), WeightsError> {
    let (json, tensors) = read_files(directory)?;
    load_model_from_bytes(&json, tensors, &directory.join(CONFIG_FILE), device)
}

/// The configuration and the tensors in `directory`.
pub(crate) fn read_files(directory: &Path) -> Result<(Vec<u8>, Vec<u8>), WeightsError> {
    let read = |file: &'static str| {
        let path = directory.join(file);
        if !path.is_file() {
            return Err(WeightsError::Missing { directory: directory.to_owned(), file });
        }
        Ok(fs::read(&path).map_err(FileError::at("read", &path))?)
    };
    Ok((read(CONFIG_FILE)?, read(WEIGHTS_FILE)?))
}

/// What a model's latents describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Actors of the physics world.
    World,
    /// Pixels.
    Grid,
}

impl Space {
    fn name(self) -> &'static str {
        match self {
            Self::World => "world",
            Self::Grid => "pixel",
        }
    }
}

/// What the latents of the model in `directory` describe. What else is wrong with it is found when it is loaded.
pub fn space_of(directory: &Path) -> Result<Space, WeightsError> {
    let path = directory.join(CONFIG_FILE);
    if !path.is_file() {
        return Err(WeightsError::Missing { directory: directory.to_owned(), file: CONFIG_FILE });
    }
    let json = fs::read(&path).map_err(FileError::at("read", &path))?;
    Ok(serde_json::from_slice::<Header>(&json).map_or(Space::World, |header| header.space()))
}

/// What every configuration begins with, whatever else it says.
#[derive(Deserialize)]
struct Header {
    format: u32,
    #[serde(default)]
    space: String,
}

impl Header {
    fn space(&self) -> Space {
        if self.space == GRID_SPACE { Space::Grid } else { Space::World }
    }
}

/// Reads a configuration of a model of `wanted` space in `format`, and says which of the two another one misses
/// before it looks at what it does not know.
pub(crate) fn parse_card<C: DeserializeOwned>(
    json: &[u8],
    path: &Path,
    wanted: Space,
    format: u32,
) -> Result<C, WeightsError> {
    let other = |source| WeightsError::Config { path: path.to_owned(), source };
    let header: Header = serde_json::from_slice(json).map_err(other)?;
    if header.space() != wanted {
        let (found, wanted) = (header.space().name(), wanted.name());
        return Err(WeightsError::Space { path: path.to_owned(), found, wanted });
    }
    if header.format != format {
        return Err(WeightsError::Format { path: path.to_owned(), found: header.format, wanted: format });
    }
    serde_json::from_slice(json).map_err(other)
}

/// Reads a model that is built into the program.
pub(crate) fn load_model_from_bytes(
    json: &[u8],
    tensors: Vec<u8>,
    path: &Path,
    device: &Device,
) -> Result<(Model, ModelCard), WeightsError> {
    let card = ModelCard::parse(json, path)?;
    let model = Model::new(&card.model, card.vocabulary.len(), device);
    Ok((load_weights_from_bytes(model, tensors)?, card))
}
