//! The multi-task ranker: tensors of a batch enter, one logit a row and head leaves.
//!
//! Dense features meet pooled attributes and an attention of the clip over the person's history
//! (DIN); a few experts are mixed for each head (`MMoE`), so that a rare outcome can lean on a
//! common one without being drowned by it. No dataset, optimizer or file is known here.

pub use page::PageModel;

use burn::module::{Initializer, Module, Param};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::activation::{relu, softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};
use kinora_schema::ranking::{DENSE, MAX_HISTORY, TASKS};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::normalise::{BINS, Normaliser};
use crate::rows::{Batch, ClipsBatch, PeopleBatch, Rows, Viewers};
use crate::train::read_floats;
use crate::vocabulary::PADDING;

mod page;

/// Heads: one a task, and last the watch quantile.
pub const HEADS: usize = TASKS + 1;
/// The head of the watch quantile.
pub const WATCH_HEAD: usize = TASKS;

/// Places that are told apart, the unknown one first; all further ones are one.
pub const PLACES: usize = 65;

/// The number of a place.
pub fn place(position: Option<u16>) -> i32 {
    position.map_or(0, |position| 1 + i32::from(position).min(PLACES as i32 - 2))
}

/// Standard deviation of initial embeddings. Small beside the dense features, so that an id must
/// earn its say; much smaller, and products of two embeddings would take long to say anything.
const EMBEDDING_DEVIATION: f64 = 0.1;

/// Widths of the ranker. The defaults train in a minute on two cores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RankerConfig {
    /// Width of an embedding.
    pub embedding: usize,
    /// Width of the sum of the dense features' bins.
    pub bins: usize,
    pub experts: usize,
    /// Width of each expert's hidden layer.
    pub hidden: usize,
    /// Width of each expert's answer.
    pub expert: usize,
    /// Width of each head's hidden layer.
    pub tower: usize,
}

impl Default for RankerConfig {
    fn default() -> Self {
        Self { embedding: 16, bins: 32, experts: 3, hidden: 64, expert: 32, tower: 16 }
    }
}

impl RankerConfig {
    /// The widths by name, for checks of values from outside.
    pub fn widths(&self) -> [(&'static str, usize); 6] {
        [
            ("embedding", self.embedding),
            ("bins", self.bins),
            ("experts", self.experts),
            ("hidden", self.hidden),
            ("expert", self.expert),
            ("tower", self.tower),
        ]
    }

    /// A ranker with initial weights for vocabularies of so many rows.
    pub fn init(&self, token_rows: usize, video_rows: usize, device: &Device) -> RankerModel {
        let embedding = |rows, width| {
            let initializer = Initializer::Normal { mean: 0.0, std: EMBEDDING_DEVIATION };
            EmbeddingConfig::new(rows, width).with_initializer(initializer).init(device)
        };
        let stacked = |stack: usize, input: usize, output: usize| {
            let initializer = Initializer::KaimingUniform { gain: 1.0 / 3.0_f64.sqrt(), fan_out_only: false };
            initializer.init_with([stack, input, output], Some(input), Some(output), device)
        };
        let d = self.embedding;
        let input = DENSE + self.bins + INTERACTIONS * d;
        RankerModel {
            bins: embedding(DENSE * BINS, self.bins),
            tokens: embedding(token_rows, d),
            videos: embedding(video_rows, d),
            recency: embedding(MAX_HISTORY + 1, d),
            outcomes: LinearConfig::new(TASKS, d).with_bias(false).init(device),
            query: LinearConfig::new(d, d).with_bias(false).init(device),
            key: LinearConfig::new(d, d).with_bias(false).init(device),
            experts_in: LinearConfig::new(input, self.experts * self.hidden).init(device),
            experts_out: stacked(self.experts, self.hidden, self.expert),
            gates: LinearConfig::new(input, HEADS * self.experts).init(device),
            towers: stacked(HEADS, self.expert, self.tower),
            heads: stacked(HEADS, self.tower, 1),
            wide: LinearConfig::new(DENSE + self.bins, HEADS).with_bias(false).init(device),
            bias: Initializer::Zeros.init([HEADS], device),
            places: EmbeddingConfig::new(PLACES, HEADS).with_initializer(Initializer::Zeros).init(device),
            experts: self.experts,
        }
    }
}

/// Vectors of an embedding's width that enter the experts beside the dense features.
const INTERACTIONS: usize = 9;

/// The ranker's weights.
#[derive(Module, Debug)]
pub struct RankerModel {
    bins: Embedding,
    tokens: Embedding,
    videos: Embedding,
    recency: Embedding,
    outcomes: Linear,
    query: Linear,
    key: Linear,
    experts_in: Linear,
    experts_out: Param<Tensor<3>>,
    gates: Linear,
    towers: Param<Tensor<3>>,
    heads: Param<Tensor<3>>,
    wide: Linear,
    bias: Param<Tensor<1>>,
    places: Embedding,
    #[module(skip)]
    experts: usize,
}

impl RankerModel {
    /// Starts each head at its base rate, so that training does not spend its first steps on
    /// learning that a report is rare.
    #[must_use]
    pub fn with_rates(mut self, rates: [f64; HEADS], device: &Device) -> Self {
        let logits = rates.map(|rate| {
            let rate = rate.clamp(1e-4, 1.0 - 1e-4);
            (rate / (1.0 - rate)).ln() as f32
        });
        self.bias = Param::from_tensor(Tensor::from_data(TensorData::new(logits.to_vec(), [HEADS]), device));
        self
    }

    /// This ranker with the further names of `wider`, whose first rows are for the names of this one.
    pub fn with_names_of(mut self, wider: Self) -> Result<Self> {
        self.tokens = extend(&self.tokens, wider.tokens)?;
        self.videos = extend(&self.videos, wider.videos)?;
        Ok(self)
    }

    /// # Shapes
    ///
    /// - output: `[rows, HEADS]`, logits
    pub fn forward(&self, batch: Batch) -> Tensor<2> {
        self.answer(self.look_up(batch.clips), &batch.people, batch.viewers)
    }

    /// What a place adds to the logits of whatever is shown there. Training adds it, so that attention fading
    /// down the page is not taken for dislike; scores are without it, because the feed ranks before there
    /// are places (Guo and others, `RecSys` 2019).
    ///
    /// # Shapes
    ///
    /// - places: `[rows, 1]`, by [`place`]; output: `[rows, HEADS]`
    pub fn of_places(&self, places: Tensor<2, Int>) -> Tensor<2> {
        self.places.forward(places).squeeze_dim::<2>(1)
    }

    /// What the tables say of the rows' clips and moments. [`Lookup`] says the same without tensors.
    fn look_up(&self, clips: ClipsBatch) -> Clips {
        let [clip, moment] = [clips.tokens, clips.moments].map(|tokens| self.pool(tokens));
        let target = self.videos.forward(clips.video).squeeze_dim::<2>(1) + clip.clone();
        let bins = self.bins.forward(clips.bins).sum_dim(1).squeeze_dim::<2>(1);
        Clips { dense: Tensor::cat(vec![clips.dense, bins], 1), clip, moment, target }
    }

    /// The logits of rows whose clips were looked up.
    ///
    /// # Shapes
    ///
    /// - output: `[rows, HEADS]`
    pub fn answer(&self, clips: Clips, people: &PeopleBatch, viewers: Viewers) -> Tensor<2> {
        let Clips { dense, clip, moment, target } = clips;
        let [rows, _] = dense.dims();
        let People { user, interest, average } = self.people(target.clone(), people, viewers);
        let input = Tensor::cat(
            vec![
                dense.clone(),
                user.clone(),
                clip.clone(),
                moment,
                target.clone(),
                interest.clone(),
                average,
                target.clone() * interest,
                target * user.clone(),
                user * clip,
            ],
            1,
        );

        let mixed = self.mix(input, rows);
        let towers = relu(mixed.matmul(self.towers.val()));
        let heads = towers.matmul(self.heads.val()).squeeze_dim::<2>(2).transpose();
        heads + self.wide.forward(dense) + self.bias.val().unsqueeze::<2>()
    }

    /// Sum of a row's tokens over the root of their number: neither the count nor the average
    /// alone decides its size.
    fn pool(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        let mask = present(&tokens);
        let count = mask.clone().sum_dim(1).clamp_min(1.0).sqrt();
        let vectors = self.tokens.forward(tokens) * mask.unsqueeze_dim::<3>(2);
        vectors.sum_dim(1).squeeze_dim::<2>(1) / count
    }

    /// What each row's person is like, and what of their history speaks for the target. A person is read
    /// once, however many rows are for them.
    ///
    /// # Shapes
    ///
    /// - target: `[rows, d]`
    fn people(&self, target: Tensor<2>, people: &PeopleBatch, viewers: Viewers) -> People {
        let user = self.pool(people.tokens.clone());
        let mask = present(&people.history);
        let items = self.items(people);
        let keys = self.key.forward(items.clone());
        let count = mask.clone().sum_dim(1).clamp_min(1.0);
        let average = (items.clone() * (mask.clone() / count).unsqueeze_dim::<3>(2)).sum_dim(1);
        let average = average.squeeze_dim::<2>(1);

        let [rows, d] = target.dims();
        let query = self.query.forward(target) / (d as f64).sqrt();
        let weights =
            |scores: Tensor<2>, mask: Tensor<2>| softmax(scores + (mask.clone() - 1.0) * 1e9, 1) * mask;
        match viewers {
            Viewers::One => {
                let scores = query.matmul(keys.squeeze_dim::<2>(0).transpose());
                let interest = weights(scores, mask).matmul(items.squeeze_dim::<2>(0));
                let [user, average] = [user, average].map(|person| person.expand([rows, d]));
                People { user, interest, average }
            }
            Viewers::Each | Viewers::Of(_) => {
                let Spread { user, average, items, keys, mask } =
                    Spread { user, average, items, keys, mask }.over(viewers);
                let scores = keys.matmul(query.unsqueeze_dim::<3>(2)).squeeze_dim::<2>(2);
                let weights = weights(scores, mask).unsqueeze_dim::<3>(2);
                let interest = (items * weights).sum_dim(1).squeeze_dim::<2>(1);
                People { user, interest, average }
            }
        }
    }

    /// The items of people's histories, `[people, items, d]`.
    fn items(&self, people: &PeopleBatch) -> Tensor<3> {
        self.videos.forward(people.history.clone())
            + self.outcomes.forward(people.outcomes.clone())
            + self.recency.forward(people.recency.clone())
    }

    /// The experts' answers, mixed for each head.
    ///
    /// # Shapes
    ///
    /// - input: `[rows, width]`
    /// - output: `[HEADS, rows, expert]`
    fn mix(&self, input: Tensor<2>, rows: usize) -> Tensor<3> {
        let gates = self.gates.forward(input.clone()).reshape([rows, HEADS, self.experts]);
        let gates = softmax(gates, 2);
        let hidden = relu(self.experts_in.forward(input));
        let [_, width] = hidden.dims();
        let hidden = hidden.reshape([rows, self.experts, width / self.experts]).swap_dims(0, 1);
        let answers = relu(hidden.matmul(self.experts_out.val()));
        // [experts, rows, expert] to [rows, experts, expert] and back with the heads in front.
        gates.matmul(answers.swap_dims(0, 1)).swap_dims(0, 1)
    }
}

/// `wider` with the rows of `known` in place of its first ones.
fn extend(known: &Embedding, mut wider: Embedding) -> Result<Embedding> {
    let weight = wider.weight.val();
    let (shape, device) = (weight.dims(), weight.device());
    let mut values = read_floats(weight)?;
    let known = read_floats(known.weight.val())?;
    values.splice(..known.len().min(values.len()), known);
    wider.weight = Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), &device));
    Ok(wider)
}

/// What is looked up of the rows' clips and moments.
#[derive(Clone, Debug)]
pub struct Clips {
    /// Dense features and the sum of their bins, `[rows, DENSE + bins]`.
    dense: Tensor<2>,
    /// `[rows, d]`, like the others.
    clip: Tensor<2>,
    moment: Tensor<2>,
    target: Tensor<2>,
}

/// The tables that every row of a page reads, in plain memory: adding up the few rows that a clip names takes
/// a fraction of the time that tensors of all of them do.
#[derive(Debug)]
pub struct Lookup {
    bins: Table,
    tokens: Table,
    videos: Table,
}

/// What is found for rows, one after another: dense features with the sum of their bins, clips, and clips with
/// their own row.
struct Found {
    dense: Vec<f32>,
    clips: Vec<f32>,
    targets: Vec<f32>,
}

#[derive(Debug)]
struct Table {
    width: usize,
    values: Vec<f32>,
}

impl Table {
    fn of(embedding: &Embedding) -> Result<Self> {
        let weight = embedding.weight.val();
        let [_, width] = weight.dims();
        Ok(Self { width, values: read_floats(weight)? })
    }

    fn add(&self, row: u32, sum: &mut [f32]) {
        let at = row as usize * self.width;
        for (sum, value) in sum.iter_mut().zip(&self.values[at..at + self.width]) {
            *sum += value;
        }
    }
}

impl Lookup {
    /// Copies the tables of a model.
    pub fn of(model: &RankerModel) -> Result<Self> {
        let [bins, tokens, videos] = [&model.bins, &model.tokens, &model.videos].map(Table::of);
        Ok(Self { bins: bins?, tokens: tokens?, videos: videos? })
    }

    /// What the tables say of `rows`, as tensors.
    pub fn look_up(&self, rows: &Rows, at: &[usize], normaliser: &Normaliser, device: &Device) -> Clips {
        let d = self.tokens.width;
        let tensor = |values, width| Tensor::from_data(TensorData::new(values, [at.len(), width]), device);
        let mut moments = vec![0.0; at.len() * d];
        for (sum, &row) in moments.chunks_exact_mut(d).zip(at) {
            self.pool(rows.moment(row), sum);
        }
        let Found { dense, clips, targets } = self.find(rows, at, normaliser);
        Clips {
            dense: tensor(dense, DENSE + self.bins.width),
            clip: tensor(clips, d),
            moment: tensor(moments, d),
            target: tensor(targets, d),
        }
    }

    fn find(&self, rows: &Rows, at: &[usize], normaliser: &Normaliser) -> Found {
        let (wide, d) = (DENSE + self.bins.width, self.tokens.width);
        let mut dense = vec![0.0; at.len() * wide];
        let [mut clips, mut targets] = std::array::from_fn(|_| vec![0.0; at.len() * d]);
        let (mut standard, mut bins) = (Vec::with_capacity(DENSE), Vec::with_capacity(DENSE));
        for (place, &row) in at.iter().enumerate() {
            standard.clear();
            bins.clear();
            normaliser.apply(&rows.dense()[row], &mut standard, &mut bins);
            let (features, sum) = dense[place * wide..(place + 1) * wide].split_at_mut(DENSE);
            features.copy_from_slice(&standard);
            for &bin in &bins {
                self.bins.add(bin as u32, sum);
            }

            let (video, tokens) = rows.clip(row);
            let own = place * d..(place + 1) * d;
            self.pool(tokens, &mut clips[own.clone()]);
            targets[own.clone()].copy_from_slice(&clips[own.clone()]);
            self.videos.add(video, &mut targets[own]);
        }
        Found { dense, clips, targets }
    }

    fn pool(&self, tokens: &[u32], sum: &mut [f32]) {
        for &token in tokens {
            self.tokens.add(token, sum);
        }
        let root = (tokens.len().max(1) as f32).sqrt();
        for value in sum {
            *value /= root;
        }
    }
}

/// What the rows' people add to the input, each `[rows, d]`, zero where there is no history.
struct People {
    user: Tensor<2>,
    interest: Tensor<2>,
    average: Tensor<2>,
}

/// What is read of people, by person and then by row.
struct Spread {
    user: Tensor<2>,
    average: Tensor<2>,
    items: Tensor<3>,
    keys: Tensor<3>,
    mask: Tensor<2>,
}

impl Spread {
    fn over(self, viewers: Viewers) -> Self {
        let Viewers::Of(rows) = viewers else { return self };
        let rows = *rows;
        Self {
            user: self.user.select(0, rows.clone()),
            average: self.average.select(0, rows.clone()),
            items: self.items.select(0, rows.clone()),
            keys: self.keys.select(0, rows.clone()),
            mask: self.mask.select(0, rows),
        }
    }
}

/// One where there is an id, zero where there is padding.
fn present(ids: &Tensor<2, Int>) -> Tensor<2> {
    ids.clone().not_equal_scalar(PADDING as i32).float()
}

/// Weight of each head in the loss. The watch quantile is learnt with the outcomes: it says
/// more in a row than any of them.
const LOSS_WEIGHTS: [f32; HEADS] = [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 1.0];

/// Cross-entropy of logits against targets in [0, 1], weighted over heads and averaged over rows.
///
/// # Shapes
///
/// - logits, targets: `[rows, HEADS]`
pub fn loss(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let [rows, _] = logits.dims();
    let device = logits.device();
    let weights = TensorData::new(LOSS_WEIGHTS.to_vec(), [1, HEADS]);
    let weights = Tensor::<2>::from_data(weights, &device);
    // The form that does not overflow: max(x, 0) - x y + ln(1 + exp(-|x|)).
    let entropy = relu(logits.clone()) - logits.clone() * targets + logits.abs().neg().exp().log1p();
    (entropy * weights).sum() / rows as f64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kinora_harness::seed::seeded;
    use kinora_schema::ranking::RankingInput;

    use super::*;
    use crate::fixture;
    use crate::rows::Counters;

    fn model_and_rows(examples: usize) -> (RankerModel, Rows, Normaliser) {
        let mut counters = Counters::default();
        let mut rows = Rows::default();
        for example in fixture::examples(examples, 5) {
            rows.push(&example.input, &mut counters);
        }
        let (tokens, token_rows) = counters.tokens.into_vocabulary(1);
        let (videos, video_rows) = counters.videos.into_vocabulary(1);
        rows.renumber(&token_rows, &video_rows);
        let device = Device::flex();
        let model =
            seeded(&device, 1, || RankerConfig::default().init(tokens.rows(), videos.rows(), &device));
        let normaliser = Normaliser::fit(&rows.dense().iter());
        (model, rows, normaliser)
    }

    fn logits(model: &RankerModel, rows: &Rows, normaliser: &Normaliser, at: &[usize]) -> Vec<f32> {
        let batch = rows.batch(at, normaliser, None, &Device::flex());
        model.forward(batch).into_data().try_to_vec().unwrap()
    }

    #[test]
    fn a_row_scores_the_same_alone_and_in_a_batch() {
        let (model, rows, normaliser) = model_and_rows(24);
        let all: Vec<usize> = (0..24).collect();
        let batched = logits(&model, &rows, &normaliser, &all);
        for row in all {
            let single = logits(&model, &rows, &normaliser, &[row]);
            for (single, batched) in single.iter().zip(&batched[row * HEADS..]) {
                assert!((single - batched).abs() < 1e-5, "row {row}: {single} and {batched}");
            }
        }
    }

    #[test]
    fn what_is_looked_up_without_tensors_answers_the_same() {
        let (model, rows, normaliser) = model_and_rows(24);
        let device = Device::flex();
        let at = [3, 0, 17, 3];
        let clips = Lookup::of(&model).unwrap().look_up(&rows, &at, &normaliser, &device);
        let (people, viewers) = rows.people(&at, None, &device);
        let found: Vec<f32> = model.answer(clips, &people, viewers).into_data().try_to_vec().unwrap();
        for (found, expected) in found.iter().zip(logits(&model, &rows, &normaliser, &at)) {
            assert!((found - expected).abs() < 1e-4, "{found} and {expected}");
        }
    }

    #[test]
    fn one_person_s_page_answers_as_its_rows_do_apart() {
        let device = Device::flex();
        let examples = fixture::examples(300, 5);
        for length in [0, 3, 8, 23] {
            let viewer =
                examples.iter().find(|example| example.input.person.history.len() == length).unwrap();
            let mut counters = Counters::default();
            let mut rows = Rows::default();
            for example in &examples {
                let person = Arc::clone(&viewer.input.person);
                rows.push(&RankingInput { person, ..example.input.clone() }, &mut counters);
            }
            let (tokens, token_rows) = counters.tokens.into_vocabulary(0);
            let (videos, video_rows) = counters.videos.into_vocabulary(0);
            rows.renumber(&token_rows, &video_rows);
            let model = seeded(&device, 1, || {
                RankerConfig::default().init(tokens.rows() + 99, videos.rows() + 99, &device)
            });
            let normaliser = Normaliser::fit(&rows.dense().iter());
            let at: Vec<usize> = (0..300).rev().collect();
            let lookup = Lookup::of(&model).unwrap();
            let (people, _) = rows.people(&at, None, &device);
            let page = PageModel::of(&model, &lookup, &people, rows.moment(0), &device).unwrap();
            let found = page.answer(&rows, &at, &normaliser).unwrap();
            for (found, expected) in found.iter().zip(logits(&model, &rows, &normaliser, &at)) {
                assert!((found - expected).abs() < 1e-4, "history {length}: {found} and {expected}");
            }
        }
    }

    #[test]
    fn a_person_read_once_for_many_rows_scores_as_if_read_for_each() {
        let (model, _, normaliser) = model_and_rows(24);
        let examples = fixture::examples(24, 5);
        let read = |people: usize, is_shared: bool| {
            let mut counters = Counters::default();
            let mut rows = Rows::default();
            for (row, example) in examples.iter().enumerate() {
                let viewer = &examples[24 - people + row * people / 24].input.person;
                let person = if is_shared { Arc::clone(viewer) } else { Arc::new((**viewer).clone()) };
                rows.push(&RankingInput { person, ..example.input.clone() }, &mut counters);
            }
            let (_, token_rows) = counters.tokens.into_vocabulary(0);
            let (_, video_rows) = counters.videos.into_vocabulary(0);
            // Any numbering does, as long as it is the same.
            rows.renumber(
                &token_rows.iter().map(|row| row % 8).collect::<Vec<_>>(),
                &video_rows.iter().map(|row| row % 8).collect::<Vec<_>>(),
            );
            logits(&model, &rows, &normaliser, &(0..24).collect::<Vec<_>>())
        };
        for people in [1, 3, 24] {
            for (once, each) in read(people, true).iter().zip(read(people, false)) {
                assert!((once - each).abs() < 1e-4, "{people} people: {once} and {each}");
            }
        }
    }

    #[test]
    fn an_untrained_model_starts_at_the_base_rates() {
        let (model, rows, normaliser) = model_and_rows(64);
        let rates = std::array::from_fn(|head| 0.05 + 0.09 * head as f64);
        let model = model.with_rates(rates, &Device::flex());
        let all: Vec<usize> = (0..64).collect();
        let logits = logits(&model, &rows, &normaliser, &all);
        for (head, rate) in rates.into_iter().enumerate() {
            let mean = logits.iter().skip(head).step_by(HEADS).sum::<f32>() / 64.0;
            let expected = (rate / (1.0 - rate)).ln() as f32;
            assert!((mean - expected).abs() < 0.5, "head {head}: {mean} and {expected}");
        }
    }

    #[test]
    fn the_loss_is_cross_entropy() {
        let device = Device::flex();
        let fill =
            |value: f32| Tensor::<2>::from_data(TensorData::new(vec![value; HEADS], [1, HEADS]), &device);
        let total: f32 = LOSS_WEIGHTS.iter().sum();
        let of = |logit: f32, target: f32| loss(fill(logit), fill(target)).into_scalar::<f32>() / total;
        assert!((of(0.0, 1.0) - std::f32::consts::LN_2).abs() < 1e-6);
        assert!((of(2.0, 0.0) - (1.0 + 2.0_f32.exp()).ln()).abs() < 1e-5);
        assert!(of(200.0, 1.0).abs() < 1e-6 && (of(-200.0, 1.0) - 200.0).abs() < 1e-3);
    }
}
