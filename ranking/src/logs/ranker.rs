//! A ranker of impression logs: impressions enter, calibrated predictions leave.
//!
//! On disk: `model.json`, `state.json.gz`, `trees.json.gz` and `weights.safetensors`, all or none. The
//! state is the one at the end of training, so a prediction depends on its impression alone.
//!
//! INVARIANT: what was read can be used. Everything that scoring indexes by was checked here.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use burn::tensor::Device;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use kinora_harness::device::{self, DeviceChoice};
use kinora_harness::publish::{self, FileError};
use kinora_harness::weights::{self, Precision};
use kinora_schema::ranking::{TASKS, Task};
use rayon::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::impression::{Impression, TASKS_HERE};
use super::network::{HEADS, Network, NetworkSettings, Quantiles, WATCH_HEAD};
use super::state::State;
use crate::calibrate::Platt;
use crate::error::{RankingError, Result};
use crate::gbdt::{Gbdt, Table};
use crate::scorer::Prediction;

const FORMAT: u32 = 1;
const KIND: &str = "kinora-log-ranker";
const MODEL: &str = "model.json";
const STATE: &str = "state.json.gz";
const TREES: &str = "trees.json.gz";
const WEIGHTS: &str = "weights.safetensors";
/// Beyond this no width is meant.
const WIDEST: usize = 4096;

/// How a head is put together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blend {
    /// The network's share; the trees have the rest.
    pub network: f32,
    /// What turns the blend into a probability; the watch time has none.
    pub calibration: Platt,
}

/// What `model.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    pub format: u32,
    pub kind: String,
    pub code_version: String,
    pub tasks: Vec<Task>,
    pub features: Vec<String>,
    /// In the order of `tasks`, the watch time last.
    pub blends: Vec<Blend>,
    pub network: NetworkSettings,
    pub quantiles: Quantiles,
    pub trained: TrainedOn,
}

/// How a ranker came to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainedOn {
    pub seed: u64,
    pub rows: usize,
    /// Event times covered, in UTC milliseconds since the epoch.
    pub from_ms: i64,
    pub until_ms: i64,
    /// The run that recorded it.
    pub run_id: String,
}

impl Card {
    pub fn new(
        features: Vec<String>,
        blends: Vec<Blend>,
        network: NetworkSettings,
        quantiles: Quantiles,
        trained: TrainedOn,
    ) -> Self {
        Self {
            format: FORMAT,
            kind: KIND.to_owned(),
            code_version: kinora_harness::CODE_VERSION.to_owned(),
            tasks: TASKS_HERE.to_vec(),
            features,
            blends,
            network,
            quantiles,
            trained,
        }
    }
}

/// A ranker, ready to score. Scoring blocks, so an async caller scores on a blocking thread.
#[derive(Debug)]
pub struct LogRanker {
    pub card: Card,
    pub state: State,
    /// Ensembles of each head, whose mean is the trees' score.
    pub trees: Vec<Vec<Gbdt>>,
    pub network: Network,
    pub device: Device,
}

impl LogRanker {
    /// Writes the ranker to `directory`, replacing the one that was there.
    pub fn save(&self, directory: &Path) -> Result<()> {
        publish::write_directory(directory, |scratch| {
            weights::save_weights(&self.network, &scratch.join(WEIGHTS), Precision::F32)?;
            write_gzip(&scratch.join(STATE), &self.state)?;
            write_gzip(&scratch.join(TREES), &self.trees)?;
            let path = scratch.join(MODEL);
            let json = serde_json::to_vec_pretty(&self.card)
                .map_err(|error| RankingError::ranker(&path, error.to_string()))?;
            Ok(publish::write_file(&path, &json)?)
        })
    }

    /// Loads the ranker in `directory` onto the CPU.
    pub fn load(directory: &Path) -> Result<Self> {
        publish::recover(directory)?;
        let path = directory.join(MODEL);
        if !path.is_file() {
            return Err(RankingError::NoRanker { path: directory.to_owned() });
        }
        let json = fs::read(&path).map_err(FileError::at("read", &path))?;
        let card = parse(&json).map_err(|reason| RankingError::ranker(&path, reason))?;
        let state: State = read_gzip(&directory.join(STATE))?;
        let trees: Vec<Vec<Gbdt>> = read_gzip(&directory.join(TREES))?;
        let features = card.features.len();
        let sound = [
            (STATE, state.is_sound() && state.feature_names() == card.features),
            (TREES, trees.len() == HEADS && trees.iter().flatten().all(|trees| trees.is_sound(features))),
        ];
        if let Some((file, _)) = sound.into_iter().find(|(_, sound)| !sound) {
            return Err(RankingError::ranker(&directory.join(file), "it does not fit `model.json`"));
        }
        let device = device::resolve(DeviceChoice::Cpu)?;
        let network = Network::new(&card.network, card.quantiles.width(), &device);
        let network = weights::load_weights(network, &directory.join(WEIGHTS))?;
        Ok(Self { card, state, trees, network, device })
    }

    /// The features of impressions, as the state shows them.
    pub fn table(&self, impressions: &[Impression]) -> Table {
        table(&self.state, impressions)
    }

    /// Predicts what will come of each impression, in their order.
    pub fn score(&self, impressions: &[Impression]) -> Result<Vec<Prediction>> {
        let table = self.table(impressions);
        let trees: Vec<Vec<f32>> = self.trees.iter().map(|bag| mean_scores(bag, &table)).collect();
        let network = self.network.scores(&table, &self.card.quantiles, &self.device)?;
        let predict = |row: usize| {
            let blended = |head: usize| {
                blend(self.card.blends[head].network, trees[head][row], network_score(head, &network[row]))
            };
            let mut probabilities = [0.0; TASKS];
            for (head, task) in TASKS_HERE.into_iter().enumerate() {
                probabilities[task.index()] = self.card.blends[head].calibration.probability(blended(head));
            }
            Prediction { probabilities, watch_ms: blended(WATCH_HEAD).max(0.0) * 1000.0 }
        };
        Ok((0..impressions.len()).map(predict).collect())
    }
}

/// The features of impressions through a state.
pub fn table(state: &State, impressions: &[Impression]) -> Table {
    let rows: Vec<Vec<f32>> = impressions.par_iter().map(|shown| state.features(shown)).collect();
    let mut table = Table::new(state.feature_names().len());
    for row in &rows {
        table.push(row);
    }
    table
}

/// The mean of the ensembles' scores.
pub fn mean_scores(bag: &[Gbdt], table: &Table) -> Vec<f32> {
    let count = bag.len().max(1) as f32;
    let score = |row: usize| bag.iter().map(|trees| trees.score(table.row(row))).sum::<f32>() / count;
    (0..table.rows()).into_par_iter().map(score).collect()
}

/// A head's answer in the unit of its trees: a logit, or seconds.
pub fn network_score(head: usize, outputs: &[f32; HEADS]) -> f32 {
    if head == WATCH_HEAD { outputs[head].clamp(0.0, 12.0).exp_m1() } else { outputs[head] }
}

pub fn blend(share: f32, trees: f32, network: f32) -> f32 {
    (1.0 - share) * trees + share * network
}

fn parse(json: &[u8]) -> Result<Card, String> {
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
    let card: Card = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let blend_is_sound = |blend: &Blend| {
        blend.network.is_finite()
            && blend.calibration.slope.is_finite()
            && blend.calibration.offset.is_finite()
    };
    let sound = [
        ("tasks", card.tasks == TASKS_HERE),
        ("blends", card.blends.len() == HEADS && card.blends.iter().all(blend_is_sound)),
        ("quantiles", card.quantiles.is_sound(card.features.len())),
        ("network", card.network.hidden.iter().all(|width| (1..=WIDEST).contains(width))),
    ];
    match sound.into_iter().find(|(_, sound)| !sound) {
        Some((part, _)) => Err(format!("its {part} are not this version's")),
        None => Ok(card),
    }
}

fn write_gzip(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    serde_json::to_writer(&mut encoder, value)
        .map_err(|error| RankingError::ranker(path, error.to_string()))?;
    let bytes = encoder.flush().and_then(|()| encoder.finish()).map_err(FileError::at("write", path))?;
    Ok(publish::write_file(path, &bytes)?)
}

fn read_gzip<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let file = File::open(path).map_err(FileError::at("open", path))?;
    let mut json = Vec::new();
    GzDecoder::new(file).read_to_end(&mut json).map_err(FileError::at("read", path))?;
    serde_json::from_slice(&json).map_err(|error| RankingError::ranker(path, error.to_string()))
}
