//! A retrieval model on disk: `weights.safetensors`, `config.json`, `items.json` and `graph.usearch`, all or none.
//!
//! INVARIANT: the graph is of the model's item vectors; a graph that is not what was written is never read.

use std::fmt;
use std::fs;
use std::path::Path;

use burn::tensor::Device;
use kinora_harness::publish::{self, FileError};
use kinora_harness::weights::{self, Precision};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use sha2::{Digest, Sha256};

use super::hyperparameters::Hyperparameters;
use super::index::{GraphIndex, VectorIndex};
use super::model::{Retriever, RetrieverConfig};
use crate::error::{RankingError, Result};
use crate::train::read_floats;

const FORMAT: u32 = 1;
const KIND: &str = "kinora-retriever";
const WEIGHTS: &str = "weights.safetensors";
const CONFIG: &str = "config.json";
const ITEMS: &str = "items.json";
const GRAPH: &str = "graph.usearch";
/// Beyond this no width is meant.
const WIDEST: usize = 8192;

/// What `config.json` holds: the shape of the weights, and how they came to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    pub format: u32,
    pub kind: String,
    pub code_version: String,
    pub model: RetrieverConfig,
    pub hyperparameters: Hyperparameters,
    pub seed: u64,
    pub epoch: u64,
    /// NDCG@10 of the validation items.
    pub validation_ndcg: f64,
    /// SHA-256 of the histories.
    pub sequences_sha256: String,
    /// SHA-256 of the index of items; without one, it is built when the model is read.
    #[serde(default)]
    pub graph_sha256: Option<String>,
}

impl Card {
    pub(crate) fn new(
        hyperparameters: &Hyperparameters,
        seed: u64,
        epoch: u64,
        ndcg: f64,
        sha256: &str,
    ) -> Self {
        Self {
            format: FORMAT,
            kind: KIND.to_owned(),
            code_version: kinora_harness::CODE_VERSION.to_owned(),
            model: hyperparameters.model.clone(),
            hyperparameters: hyperparameters.clone(),
            seed,
            epoch,
            validation_ndcg: ndcg,
            sequences_sha256: sha256.to_owned(),
            graph_sha256: None,
        }
    }
}

/// A model that was read, with what it knows of its items.
pub struct Loaded {
    pub model: Retriever,
    /// Of all items.
    pub index: Box<dyn VectorIndex>,
    pub card: Card,
    /// Item ids in the order of the model's table.
    pub items: Vec<String>,
}

impl Loaded {
    /// Where an item is.
    pub fn vector(&self, item: u32) -> Result<Vec<f32>> {
        let item = item as usize;
        read_floats(self.model.items().narrow(0, item, 1))
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("card", &self.card)
            .field("items", &self.items.len())
            .finish_non_exhaustive()
    }
}

/// Makes the directory `path` hold the model and the index of its items.
pub fn save(path: &Path, model: &Retriever, card: &Card, items: &[String]) -> Result<()> {
    let [_, width] = model.items().dims();
    let graph = GraphIndex::build(&read_floats(model.items())?, width)?.to_bytes()?;
    let card = Card { graph_sha256: Some(sha256(&graph)), ..card.clone() };
    publish::write_directory(path, |directory| {
        weights::save_weights(model, &directory.join(WEIGHTS), Precision::F32)?;
        publish::write_file(&directory.join(GRAPH), &graph)?;
        kinora_harness::checkpoint::write_state(&directory.join(CONFIG), &card)?;
        kinora_harness::checkpoint::write_state(&directory.join(ITEMS), &items)?;
        Ok(())
    })
}

/// Reads what [`save`] wrote.
pub fn load(path: &Path, device: &Device) -> Result<Loaded> {
    publish::recover(path)?;
    if !path.join(CONFIG).is_file() {
        return Err(RankingError::NoRetriever { path: path.to_owned() });
    }
    let fault = |reason: String| RankingError::Retriever { path: path.to_owned(), reason };
    let card: Card = read(&path.join(CONFIG))?;
    if card.kind != KIND || card.format != FORMAT {
        return Err(fault(format!("it is a `{}` of format {}", card.kind, card.format)));
    }
    let shape = &card.model;
    let sizes = [shape.width, shape.blocks, shape.heads, shape.hidden, shape.length];
    if sizes.iter().any(|&size| size == 0 || size > WIDEST) || !shape.width.is_multiple_of(shape.heads) {
        return Err(fault("its widths are out of range".to_owned()));
    }
    let items: Vec<String> = read(&path.join(ITEMS))?;
    if items.is_empty() {
        return Err(fault("it knows no items".to_owned()));
    }
    let model = weights::load_weights(shape.init(items.len(), device), &path.join(WEIGHTS))?;
    let (vectors, width) = (read_floats(model.items())?, shape.width);
    let index = match &card.graph_sha256 {
        None => GraphIndex::build(&vectors, width)?,
        Some(expected) => {
            let path = path.join(GRAPH);
            let bytes = fs::read(&path).map_err(FileError::at("read", &path))?;
            if sha256(&bytes) != *expected {
                return Err(fault(format!("`{GRAPH}` is not the one that `{CONFIG}` names")));
            }
            GraphIndex::load(&bytes, &vectors, width)?
        }
    };
    Ok(Loaded { model, index: Box::new(index), card, items })
}

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let json = fs::read(path).map_err(FileError::at("read", path))?;
    serde_json::from_slice(&json)
        .map_err(|error| RankingError::Retriever { path: path.to_owned(), reason: error.to_string() })
}
