//! The dials of the ranker's training: values from outside enter, refused by name where they
//! cannot be meant.

use serde::{Deserialize, Serialize};

use crate::error::{RankingError, Result};
use crate::model::RankerConfig;

/// How the ranker learns. The defaults are for one pass over some ten thousand impressions or
/// more: embeddings of ids learn by heart in a second pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hyperparameters {
    pub model: RankerConfig,
    pub epochs: u32,
    /// Steps taken at least, in further passes where the data set is small.
    pub minimum_steps: u64,
    pub batch: usize,
    pub learning_rate: f64,
    pub weight_decay: f32,
    /// Probability that a clip's id is made unknown for a step.
    pub forget_videos: f64,
    /// Probability that a token is made unknown for a step.
    pub forget_tokens: f64,
    /// Rarer tokens have no embedding of their own.
    pub token_minimum: u32,
    /// Rarer clips have no embedding of their own.
    pub video_minimum: u32,
    /// Share of the training split, its latest part, that calibrates instead of training.
    pub calibration_share: f64,
    /// Duration buckets of the watch head.
    pub watch_buckets: usize,
}

impl Default for Hyperparameters {
    fn default() -> Self {
        Self {
            model: RankerConfig::default(),
            epochs: 1,
            minimum_steps: 400,
            batch: 128,
            learning_rate: 4e-3,
            weight_decay: 1e-3,
            forget_videos: 0.1,
            forget_tokens: 0.05,
            token_minimum: 5,
            video_minimum: 5,
            calibration_share: 0.1,
            watch_buckets: 20,
        }
    }
}

impl Hyperparameters {
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |name, value: &dyn ToString, accepted| {
            Err(RankingError::Option { name, value: value.to_string(), accepted })
        };
        if let Some((name, width)) =
            self.model.widths().into_iter().find(|(_, width)| !(1..=4096).contains(width))
        {
            return refuse(name, &width, "1 to 4096");
        }
        if !(1..=1000).contains(&self.epochs) {
            return refuse("epochs", &self.epochs, "1 to 1000");
        }
        if !(2..=65_536).contains(&self.batch) {
            return refuse("batch", &self.batch, "2 to 65536");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            return refuse("learning_rate", &self.learning_rate, "above 0, at most 1");
        }
        if !(0.0..=1.0).contains(&self.weight_decay) {
            return refuse("weight_decay", &self.weight_decay, "0 to 1");
        }
        for (name, share) in [("forget_videos", self.forget_videos), ("forget_tokens", self.forget_tokens)] {
            if !(0.0..=1.0).contains(&share) {
                return refuse(name, &share, "0 to 1");
            }
        }
        if !(0.0..=0.5).contains(&self.calibration_share) {
            return refuse("calibration_share", &self.calibration_share, "0 to 0.5");
        }
        if !(1..=1000).contains(&self.watch_buckets) {
            return refuse("watch_buckets", &self.watch_buckets, "1 to 1000");
        }
        Ok(())
    }
}
