//! The training split in memory: a dataset enters, batches with their targets leave.
//!
//! INVARIANT: vocabularies and statistics come from the rows that train alone, and the rows that
//! calibrate are later than every one of those.

use burn::tensor::{Device, Int, Tensor, TensorData};
use kinora_harness::seed::derive;
use kinora_schema::ranking::{DENSE_FEATURES, TASKS};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{Hyperparameters, State, TRAIN_SPLIT, read_floats};
use crate::artifact::{CardParts, ModelCard, Trained};
use crate::calibrate::Platt;
use crate::dataset::Dataset;
use crate::error::{RankingError, Result};
use crate::model::{self, HEADS, RankerModel, WATCH_HEAD};
use crate::normalise::Normaliser;
use crate::rows::{Counters, Outcomes, Rows, Vocabularies};
use crate::watch::WatchQuantiles;

/// Fewest examples worth a model.
const FEWEST_ROWS: usize = 64;
/// Rows scored at once outside training.
const SCORE_ROWS: usize = 1024;
/// The feature whose value tells clips of like duration for the watch head.
const DURATION_FEATURE: &str = "duration_log_s";

/// The training split in memory.
pub(super) struct Data {
    pub(super) rows: Rows,
    outcomes: Outcomes,
    pub(super) normaliser: Normaliser,
    pub(super) watch: WatchQuantiles,
    /// The watch head's target of each row.
    watch_quantiles: Vec<f32>,
    pub(super) vocabularies: Vocabularies,
    /// Rows to learn from.
    pub(super) train: Vec<usize>,
    /// Later rows, to calibrate on.
    pub(super) held_out: Vec<usize>,
}

impl Data {
    /// Reads the split. With the card of an earlier ranker, its names keep their rows and its features their
    /// scale, so that its weights mean the same.
    pub(super) fn read(
        dataset: &Dataset,
        hyper: &Hyperparameters,
        earlier: Option<&ModelCard>,
    ) -> Result<Self> {
        let (mut rows, mut outcomes) = (Rows::default(), Outcomes::default());
        let mut counters = Counters::default();
        for examples in dataset.examples(TRAIN_SPLIT)? {
            for example in examples? {
                rows.push(&example.input, &mut counters);
                outcomes.push(&example);
            }
        }
        if rows.len() < FEWEST_ROWS {
            let split = TRAIN_SPLIT.to_owned();
            return Err(RankingError::TooFew { split, rows: rows.len(), needed: FEWEST_ROWS });
        }
        let mut train: Vec<usize> = (0..rows.len()).collect();
        train.sort_by_key(|&row| outcomes.event_time_ms[row]);
        let kept = rows.len() - (rows.len() as f64 * hyper.calibration_share) as usize;
        let held_out = train.split_off(kept);

        rows.count(&train, &mut counters);
        let known = earlier.map(|card| card.vocabularies.clone()).unwrap_or_default();
        let (tokens, token_rows) = counters.tokens.extend(known.tokens, hyper.token_minimum);
        let (videos, video_rows) = counters.videos.extend(known.videos, hyper.video_minimum);
        rows.renumber(&token_rows, &video_rows);

        let normaliser = match earlier {
            Some(card) => card.normaliser.clone(),
            None => Normaliser::fit(&train.iter().map(|&row| &rows.dense()[row])),
        };
        let durations = rows.dense().iter().map(|dense| duration(dense));
        let watches: Vec<(f32, f32)> = durations.zip(outcomes.watch_ms.iter().copied()).collect();
        let learnt: Vec<(f32, f32)> = train.iter().map(|&row| watches[row]).collect();
        let watch = WatchQuantiles::fit(&learnt, hyper.watch_buckets);
        let watch_quantiles =
            watches.iter().map(|&(duration, watch_ms)| watch.quantile(duration, watch_ms)).collect();
        Ok(Self {
            rows,
            outcomes,
            normaliser,
            watch,
            watch_quantiles,
            vocabularies: Vocabularies { tokens, videos },
            train,
            held_out,
        })
    }

    /// Mean target of each head over the rows to learn from.
    pub(super) fn rates(&self) -> [f64; HEADS] {
        let mut sums = [0.0; HEADS];
        for &row in &self.train {
            for (sum, target) in sums.iter_mut().zip(self.target(row)) {
                *sum += f64::from(target);
            }
        }
        sums.map(|sum| sum / self.train.len() as f64)
    }

    fn target(&self, row: usize) -> [f32; HEADS] {
        let labels = &self.outcomes.labels[row];
        std::array::from_fn(|head| match head {
            WATCH_HEAD => self.watch_quantiles[row],
            task => f32::from(u8::from(labels[task])),
        })
    }

    pub(super) fn targets(&self, rows: &[usize], device: &Device) -> Tensor<2> {
        let values: Vec<f32> = rows.iter().flat_map(|&row| self.target(row)).collect();
        Tensor::from_data(TensorData::new(values, [rows.len(), HEADS]), device)
    }

    /// Where the rows were shown, as the model numbers places.
    pub(super) fn places(&self, rows: &[usize], device: &Device) -> Tensor<2, Int> {
        let places: Vec<i32> = rows.iter().map(|&row| model::place(self.outcomes.positions[row])).collect();
        Tensor::from_data(TensorData::new(places, [rows.len(), 1]), device)
    }

    /// What the model needs beside its weights, and how it came to be.
    pub(super) fn into_card(self, calibration: [Platt; TASKS], state: &State, run_id: &str) -> ModelCard {
        let times = &self.outcomes.event_time_ms;
        ModelCard::new(CardParts {
            config: state.hyperparameters.model.clone(),
            trained: Trained {
                hyperparameters: state.hyperparameters.clone(),
                seed: state.seed,
                steps: state.step,
                rows: self.train.len(),
                calibration_rows: self.held_out.len(),
                from_ms: times.iter().copied().min().unwrap_or(0),
                until_ms: times.iter().copied().max().unwrap_or(0),
                dataset_sha256: state.dataset_sha256.clone(),
                run_id: run_id.to_owned(),
                from_run_id: state.from.clone(),
            },
            normaliser: self.normaliser,
            watch: self.watch,
            calibration,
            vocabularies: self.vocabularies,
        })
    }

    /// Mean loss of the rows held out, in nats a row, all heads together. Places are not known to the model, as
    /// they are not when it serves.
    pub(super) fn held_out_loss(&self, model: &RankerModel, device: &Device) -> Result<f64> {
        let mut sum = 0.0;
        for rows in self.held_out.chunks(SCORE_ROWS) {
            let batch = self.rows.batch(rows, &self.normaliser, None, device);
            let loss = model::loss(model.forward(batch), self.targets(rows, device));
            sum += f64::from(read_floats(loss)?[0]) * rows.len() as f64;
        }
        Ok(sum / self.held_out.len() as f64)
    }

    pub(super) fn calibrate(&self, model: &RankerModel, device: &Device) -> Result<[Platt; TASKS]> {
        let mut logits: [Vec<f32>; TASKS] = Default::default();
        for rows in self.held_out.chunks(SCORE_ROWS) {
            let batch = self.rows.batch(rows, &self.normaliser, None, device);
            let values = read_floats(model.forward(batch))?;
            for row in values.chunks_exact(HEADS) {
                for (logits, &logit) in logits.iter_mut().zip(row) {
                    logits.push(logit);
                }
            }
        }
        Ok(std::array::from_fn(|task| {
            let outcomes: Vec<bool> =
                self.held_out.iter().map(|&row| self.outcomes.labels[row][task]).collect();
            Platt::fit(&logits[task], &outcomes)
        }))
    }
}

/// The value that tells clips of like duration, of a row's dense features.
pub(crate) fn duration(dense: &[f32]) -> f32 {
    let at = DENSE_FEATURES.iter().position(|name| *name == DURATION_FEATURE);
    at.map_or(0.0, |at| dense[at])
}

/// The rows of each epoch, shuffled by the seed and the epoch's number.
pub(super) struct Order {
    seed: u64,
    epoch: Option<u64>,
    sorted: Vec<usize>,
    shuffled: Vec<usize>,
}

impl Order {
    pub(super) fn new(rows: &[usize], seed: u64) -> Self {
        Self { seed, epoch: None, sorted: rows.to_vec(), shuffled: Vec::new() }
    }

    pub(super) fn batch(&mut self, epoch: u64, number: usize, size: usize) -> &[usize] {
        if self.epoch != Some(epoch) {
            self.shuffled.clone_from(&self.sorted);
            let mut rng = ChaCha8Rng::seed_from_u64(derive(self.seed, &format!("epoch {epoch}")));
            self.shuffled.shuffle(&mut rng);
            self.epoch = Some(epoch);
        }
        let start = number * size;
        &self.shuffled[start..(start + size).min(self.shuffled.len())]
    }
}
