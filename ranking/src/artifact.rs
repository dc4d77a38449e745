//! A trained ranker on disk: `weights.safetensors` and `model.json`, both or neither.
//!
//! INVARIANT: what was read can be used. Everything that scoring indexes by was checked here,
//! so that a file from elsewhere is one clear line and never a panic.

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use kinora_harness::publish::{self, FileError};
use kinora_harness::weights::{self, Precision};
use kinora_schema::ranking::{DENSE_FEATURES, TASKS, Task};
use serde::{Deserialize, Serialize};

use crate::calibrate::Platt;
use crate::error::{RankingError, Result};
use crate::model::{RankerConfig, RankerModel};
use crate::normalise::Normaliser;
use crate::rows::Vocabularies;
use crate::train::Hyperparameters;
use crate::watch::WatchQuantiles;

const FORMAT: u32 = 2;
const KIND: &str = "kinora-ranker";
const WEIGHTS: &str = "weights.safetensors";
const MODEL: &str = "model.json";
/// Beyond this no width is meant.
const WIDEST: usize = 4096;

/// What `model.json` holds: all that scoring needs beside the weights, and how they came to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    pub format: u32,
    pub kind: String,
    pub code_version: String,
    pub dense_features: Vec<String>,
    pub tasks: Vec<Task>,
    pub config: RankerConfig,
    pub normaliser: Normaliser,
    pub watch: WatchQuantiles,
    /// In the order of `tasks`.
    pub calibration: Vec<Platt>,
    pub vocabularies: Vocabularies,
    pub trained: Trained,
}

/// How a ranker came to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trained {
    pub hyperparameters: Hyperparameters,
    pub seed: u64,
    pub steps: u64,
    pub rows: usize,
    pub calibration_rows: usize,
    /// Event times covered, in UTC milliseconds since the epoch.
    pub from_ms: i64,
    pub until_ms: i64,
    /// SHA-256 of the training split's file.
    pub dataset_sha256: String,
    /// The run that recorded it.
    pub run_id: String,
    /// The run of the ranker whose weights it began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_run_id: Option<String>,
}

impl ModelCard {
    /// A card of this version.
    pub fn new(parts: CardParts) -> Self {
        Self {
            format: FORMAT,
            kind: KIND.to_owned(),
            code_version: kinora_harness::CODE_VERSION.to_owned(),
            dense_features: DENSE_FEATURES.iter().map(ToString::to_string).collect(),
            tasks: Task::ALL.to_vec(),
            config: parts.config,
            normaliser: parts.normaliser,
            watch: parts.watch,
            calibration: parts.calibration.to_vec(),
            vocabularies: parts.vocabularies,
            trained: parts.trained,
        }
    }
}

/// What training adds to a [`ModelCard`].
#[derive(Clone, Debug)]
pub struct CardParts {
    pub config: RankerConfig,
    pub normaliser: Normaliser,
    pub watch: WatchQuantiles,
    pub calibration: [Platt; TASKS],
    pub vocabularies: Vocabularies,
    pub trained: Trained,
}

/// Writes a ranker to `directory`, replacing the one that was there.
pub fn save(directory: &Path, model: &RankerModel, card: &ModelCard) -> Result<()> {
    publish::write_directory(directory, |scratch| {
        weights::save_weights(model, &scratch.join(WEIGHTS), Precision::F32)?;
        let path = scratch.join(MODEL);
        let json =
            serde_json::to_vec(card).map_err(|error| RankingError::ranker(&path, error.to_string()))?;
        Ok(publish::write_file(&path, &json)?)
    })
}

/// Reads the ranker in `directory`.
pub fn load(directory: &Path, device: &Device) -> Result<(RankerModel, ModelCard)> {
    let card = card(directory)?;
    let Vocabularies { tokens, videos } = &card.vocabularies;
    let model = card.config.init(tokens.rows(), videos.rows(), device);
    let model = weights::load_weights(model, &directory.join(WEIGHTS))?;
    Ok((model, card))
}

/// Reads what is known of the ranker in `directory`, without its weights.
pub fn card(directory: &Path) -> Result<ModelCard> {
    publish::recover(directory)?;
    let path = directory.join(MODEL);
    if !path.is_file() {
        return Err(RankingError::NoRanker { path: directory.to_owned() });
    }
    let json = fs::read(&path).map_err(FileError::at("read", &path))?;
    parse(&json).map_err(|reason| RankingError::ranker(&path, reason))
}

fn parse(json: &[u8]) -> Result<ModelCard, String> {
    #[derive(Deserialize)]
    struct Header {
        format: u32,
        kind: String,
    }
    let header: Header = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    if header.kind != KIND {
        return Err(format!("it is a `{}`", header.kind));
    }
    if header.format != FORMAT {
        return Err(format!("its format is {}, this version reads {FORMAT}", header.format));
    }
    let card: ModelCard = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    if let Some((name, width)) =
        card.config.widths().into_iter().find(|(_, width)| !(1..=WIDEST).contains(width))
    {
        return Err(format!("its width `{name}` is {width}"));
    }
    let sound = [
        ("features", card.dense_features == DENSE_FEATURES),
        ("tasks", card.tasks == Task::ALL),
        ("normaliser", card.normaliser.is_sound()),
        ("watch quantiles", card.watch.is_sound()),
        ("calibration", card.calibration.len() == TASKS),
    ];
    match sound.into_iter().find(|(_, sound)| !sound) {
        Some((part, _)) => Err(format!("its {part} are not this version's")),
        None => Ok(card),
    }
}
