//! The network beside the trees: features of impressions enter, logits of all heads leave.
//!
//! One hidden body serves every head, so that a rare outcome leans on the common ones. Features
//! enter as their place among the training rows' quantiles, which no outlier can stretch.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor, TensorData};
use kinora_harness::seed::{derive, seeded};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::impression::TASKS_HERE;
use crate::dropout::{Dropout, maybe};
use crate::error::{RankingError, Result};
use crate::gbdt::Table;
use crate::train::read_floats;

/// One head a task, and last the logarithm of the watched seconds.
pub const HEADS: usize = TASKS_HERE.len() + 1;
/// The head of the watch time.
pub const WATCH_HEAD: usize = TASKS_HERE.len();
/// Points of a feature's quantile table.
const KNOTS: usize = 64;
/// Where the quantiles are spread to on either side: a uniform variable of variance one.
const SPREAD: f32 = 1.732;
/// Share of the watch time's squared error in the loss.
const WATCH_WEIGHT: f64 = 0.1;
/// Rows scored at once.
const SCORE_ROWS: usize = 1024;

/// Quantile tables of the features.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantiles {
    /// Distinct values at even shares of the rows, ascending.
    knots: Vec<Vec<f32>>,
    /// Features that miss values, which each get an input that says so.
    gaps: Vec<usize>,
}

impl Quantiles {
    pub fn fit(table: &Table) -> Self {
        let mut quantiles = Self::default();
        for feature in 0..table.features() {
            let values = (0..table.rows()).map(|row| table.row(row)[feature]);
            let mut values: Vec<f32> = values.filter(|value| value.is_finite()).collect();
            if values.len() < table.rows() {
                quantiles.gaps.push(feature);
            }
            values.sort_unstable_by(f32::total_cmp);
            let last = values.len().saturating_sub(1);
            let mut knots: Vec<f32> =
                (0..KNOTS).filter_map(|knot| values.get(knot * last / (KNOTS - 1)).copied()).collect();
            knots.dedup();
            quantiles.knots.push(knots);
        }
        quantiles
    }

    /// Inputs that the network takes.
    pub fn width(&self) -> usize {
        self.knots.len() + self.gaps.len()
    }

    fn apply(&self, row: &[f32], inputs: &mut Vec<f32>) {
        inputs.extend(row.iter().zip(&self.knots).map(|(&value, knots)| place(knots, value)));
        inputs.extend(self.gaps.iter().map(|&feature| f32::from(u8::from(!row[feature].is_finite()))));
    }

    /// Whether tables read from a file fit rows of `features` values.
    pub fn is_sound(&self, features: usize) -> bool {
        self.knots.len() == features
            && self.gaps.iter().all(|&feature| feature < features)
            && self.knots.iter().all(|knots| knots.is_sorted() && knots.iter().all(|knot| knot.is_finite()))
    }
}

/// Where a value lies among the knots, from minus to plus [`SPREAD`]; the middle where it is missing.
fn place(knots: &[f32], value: f32) -> f32 {
    let last = knots.len().saturating_sub(1);
    if last == 0 || !value.is_finite() {
        return 0.0;
    }
    let above = knots.partition_point(|&knot| knot <= value);
    let share = match above {
        0 => 0.0,
        above if above > last => 1.0,
        above => {
            let (low, high) = (knots[above - 1], knots[above]);
            ((above - 1) as f32 + (value - low) / (high - low)) / last as f32
        }
    };
    SPREAD * (2.0 * share - 1.0)
}

/// How the network is shaped and trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSettings {
    /// Widths of the two hidden layers.
    pub hidden: [usize; 2],
    pub dropout: f64,
    pub epochs: u32,
    pub batch: usize,
    pub learning_rate: f64,
    pub weight_decay: f64,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            hidden: [256, 128],
            dropout: 0.2,
            epochs: 2,
            batch: 128,
            learning_rate: 7e-4,
            weight_decay: 0.3,
        }
    }
}

#[derive(Module, Debug)]
pub struct Network {
    first: Linear,
    second: Linear,
    heads: Linear,
}

impl Network {
    pub fn new(settings: &NetworkSettings, inputs: usize, device: &Device) -> Self {
        let [first, second] = settings.hidden;
        Self {
            first: LinearConfig::new(inputs, first).init(device),
            second: LinearConfig::new(first, second).init(device),
            heads: LinearConfig::new(second, HEADS).init(device),
        }
    }

    /// # Shapes
    ///
    /// - inputs: `[rows, inputs]`
    /// - output: `[rows, HEADS]`
    pub fn forward(&self, inputs: Tensor<2>, mut dropout: Option<&mut Dropout>) -> Tensor<2> {
        let body = maybe(&mut dropout, relu(self.first.forward(inputs)));
        let body = maybe(&mut dropout, relu(self.second.forward(body)));
        self.heads.forward(body)
    }

    /// Trains a network; `targets` holds [`HEADS`] values a row.
    pub fn fit(
        table: &Table,
        quantiles: &Quantiles,
        targets: &[[f32; HEADS]],
        settings: &NetworkSettings,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        let training = device.clone().autodiff();
        let inputs = quantiles.width();
        let mut network =
            seeded(&training, derive(seed, "network"), || Self::new(settings, inputs, &training));
        let mut optimizer = AdamWConfig::new().with_weight_decay(settings.weight_decay as f32).init();
        let mut rows: Vec<usize> = (0..table.rows()).collect();
        let batches = rows.len().div_ceil(settings.batch);
        let steps = batches * settings.epochs as usize;
        let mut dropout = Dropout::new(settings.dropout, derive(seed, "dropout"));
        let mut step = 0_usize;
        for epoch in 0..settings.epochs {
            rows.shuffle(&mut ChaCha8Rng::seed_from_u64(derive(seed, &format!("network epoch {epoch}"))));
            for chunk in rows.chunks(settings.batch) {
                let output = network.forward(batch(table, quantiles, chunk, &training), Some(&mut dropout));
                let wanted = chunk.iter().flat_map(|&row| targets[row]).collect();
                let wanted =
                    Tensor::from_data(TensorData::new::<f32, _>(wanted, [chunk.len(), HEADS]), &training);
                let gradients = GradientsParams::from_grads(loss(output, wanted).backward(), &network);
                let rise = ((step + 1) as f64 / 20.0).min(1.0);
                let fall = 1.0 - 0.95 * step as f64 / steps as f64;
                network = optimizer.step(settings.learning_rate * rise * fall, network, gradients);
                step += 1;
            }
        }
        Ok(network.valid())
    }

    /// The logits of every row.
    pub fn scores(&self, table: &Table, quantiles: &Quantiles, device: &Device) -> Result<Vec<[f32; HEADS]>> {
        let rows: Vec<usize> = (0..table.rows()).collect();
        let mut scores = Vec::with_capacity(rows.len());
        for chunk in rows.chunks(SCORE_ROWS) {
            let values = read_floats(self.forward(batch(table, quantiles, chunk, device), None))?;
            if values.len() != chunk.len() * HEADS || values.iter().any(|value| !value.is_finite()) {
                return Err(RankingError::Scores);
            }
            scores.extend(values.chunks_exact(HEADS).map(|row| std::array::from_fn(|head| row[head])));
        }
        Ok(scores)
    }
}

fn batch(table: &Table, quantiles: &Quantiles, rows: &[usize], device: &Device) -> Tensor<2> {
    let mut inputs = Vec::with_capacity(rows.len() * quantiles.width());
    for &row in rows {
        quantiles.apply(table.row(row), &mut inputs);
    }
    Tensor::from_data(TensorData::new(inputs, [rows.len(), quantiles.width()]), device)
}

/// Log loss of the tasks, all together, and the squared error of the watch head.
fn loss(output: Tensor<2>, wanted: Tensor<2>) -> Tensor<1> {
    let [rows, _] = output.dims();
    let (logits, targets) =
        (output.clone().narrow(1, 0, WATCH_HEAD), wanted.clone().narrow(1, 0, WATCH_HEAD));
    // Of the logit's size where it is wrong, near zero where it is right, and never infinite.
    let sure = (sigmoid(logits.clone().abs()).log()).neg();
    let tasks = (relu(logits.clone()) - logits * targets + sure).sum();
    let watch = (output.narrow(1, WATCH_HEAD, 1) - wanted.narrow(1, WATCH_HEAD, 1)).square().sum();
    (tasks + watch * WATCH_WEIGHT) / rows as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_their_place_among_the_quantiles() {
        let mut table = Table::new(2);
        for row in 0..=100_u8 {
            table.push(&[f32::from(row), if row % 2 == 0 { f32::NAN } else { 1.0 }]);
        }
        let quantiles = Quantiles::fit(&table);
        assert!(quantiles.is_sound(2) && !quantiles.is_sound(3));
        assert_eq!(quantiles.width(), 3);
        let inputs = |row: [f32; 2]| {
            let mut inputs = Vec::new();
            quantiles.apply(&row, &mut inputs);
            inputs
        };
        assert!((inputs([50.0, 1.0])[0]).abs() < 0.1);
        for (row, expected) in [
            ([-1e30, 1.0], [-SPREAD, 0.0, 0.0]),
            ([1e30, 1.0], [SPREAD, 0.0, 0.0]),
            ([f32::NAN, f32::NAN], [0.0, 0.0, 1.0]),
        ] {
            let same =
                inputs(row).iter().zip(expected).all(|(input, expected)| (input - expected).abs() < 1e-6);
            assert!(same, "{row:?}: {:?}", inputs(row));
        }
    }
}
