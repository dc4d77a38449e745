//! How a retrieval model is trained: what the command line and the model's card name.

use serde::{Deserialize, Serialize};

use super::model::RetrieverConfig;
use crate::error::{RankingError, Result};

/// What is compared with the wanted item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// All items.
    #[default]
    Full,
    /// Items drawn anew for each step.
    Sampled,
}

impl std::str::FromStr for LossKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "full" => Ok(Self::Full),
            "sampled" => Ok(Self::Sampled),
            _ => Err(format!("`{text}` is no loss: it must be `full` or `sampled`")),
        }
    }
}

/// How a retrieval model is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hyperparameters {
    pub model: RetrieverConfig,
    pub loss: LossKind,
    /// Items drawn for a step of the sampled loss.
    pub negatives: usize,
    /// Passes over the histories, at most.
    pub epochs: u64,
    /// Epochs without a better validation after which training ends.
    pub patience: u64,
    /// Positions a step, about.
    pub positions: usize,
    pub learning_rate: f64,
    pub weight_decay: f64,
    /// Share of the numbers that are forgotten, in [0, 1).
    pub dropout: f64,
    /// Decay of the averaged weights a step.
    pub averaging: f64,
}

impl Default for Hyperparameters {
    fn default() -> Self {
        Self {
            model: RetrieverConfig::default(),
            loss: LossKind::Full,
            negatives: 2048,
            epochs: 200,
            patience: 15,
            positions: 8192,
            learning_rate: 1e-3,
            weight_decay: 0.0,
            dropout: 0.2,
            averaging: 0.999,
        }
    }
}

impl Hyperparameters {
    /// Refuses what no training can be made of.
    pub fn check(&self) -> Result<()> {
        let bad = |name, value: String, accepted| Err(RankingError::Option { name, value, accepted });
        let model = &self.model;
        let counts = [
            ("width", model.width),
            ("blocks", model.blocks),
            ("heads", model.heads),
            ("hidden", model.hidden),
            ("length", model.length),
            ("positions", self.positions),
            ("negatives", self.negatives),
            ("epochs", self.epochs as usize),
            ("patience", self.patience as usize),
        ];
        if let Some((name, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return bad(name, "0".to_owned(), "at least 1");
        }
        if !model.width.is_multiple_of(model.heads) {
            return bad("width", model.width.to_string(), "a multiple of the heads");
        }
        for (name, value) in [("dropout", self.dropout), ("averaging", self.averaging)] {
            if !(0.0..1.0).contains(&value) {
                return bad(name, value.to_string(), "at least 0 and below 1");
            }
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return bad("learning rate", self.learning_rate.to_string(), "above 0");
        }
        Ok(())
    }
}
