//! The sequential transformer (`SASRec`, Kang and `McAuley` 2018): a history enters, one query vector a
//! position leaves, which is near the item that comes next.
//!
//! Pre-norm blocks of causal attention and a feed-forward layer. The table of items is both what the
//! history is read by and what queries are compared with. Positions count from the end of a history,
//! so that the latest item always has the same place.

use burn::module::{Initializer, Module, Param};
use burn::nn::{Linear, LinearConfig, RmsNorm, RmsNormConfig};
use burn::tensor::activation::{relu, softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::dropout::{Dropout, maybe};

/// Standard deviation of the initial tables.
const TABLE_DEVIATION: f64 = 0.02;

/// Widths of the transformer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetrieverConfig {
    /// Width of an item's vector.
    pub width: usize,
    pub blocks: usize,
    pub heads: usize,
    /// Width of the feed-forward layers.
    pub hidden: usize,
    /// Items of a history that are read, the latest.
    pub length: usize,
}

impl Default for RetrieverConfig {
    fn default() -> Self {
        Self { width: 64, blocks: 2, heads: 1, hidden: 256, length: 200 }
    }
}

impl RetrieverConfig {
    /// A transformer with initial weights for `items` items.
    pub fn init(&self, items: usize, device: &Device) -> Retriever {
        let table =
            |rows| Initializer::Normal { mean: 0.0, std: TABLE_DEVIATION }.init([rows, self.width], device);
        let linear = |input, output| LinearConfig::new(input, output).with_bias(false).init(device);
        let norm = || RmsNormConfig::new(self.width).init(device);
        let block = |_| Block {
            attention_norm: norm(),
            query_key_value: linear(self.width, 3 * self.width),
            attention_out: linear(self.width, self.width),
            feed_norm: norm(),
            feed_in: linear(self.width, self.hidden),
            feed_out: linear(self.hidden, self.width),
            heads: self.heads,
        };
        Retriever {
            items: table(items),
            positions: table(self.length),
            blocks: (0..self.blocks).map(block).collect(),
            norm: norm(),
        }
    }
}

/// Histories of one batch, filled up at their ends. Causality keeps what fills from what is real.
#[derive(Clone, Debug)]
pub struct Histories {
    items: Vec<i32>,
    /// Places from the end, 0 for the latest item.
    places: Vec<i32>,
    rows: usize,
    columns: usize,
}

impl Histories {
    /// Of non-empty histories of at most the model's length.
    pub fn new<H: AsRef<[u32]>>(histories: &[H]) -> Self {
        let columns = histories.iter().map(|history| history.as_ref().len()).max().unwrap_or(0);
        let (mut items, mut places) = (Vec::new(), Vec::new());
        for history in histories {
            let history = history.as_ref();
            let filling = columns - history.len();
            items.extend(history.iter().map(|&item| item as i32).chain(std::iter::repeat_n(0, filling)));
            places.extend((0..history.len() as i32).rev().chain(std::iter::repeat_n(0, filling)));
        }
        Self { items, places, rows: histories.len(), columns }
    }
}

/// The transformer's weights.
#[derive(Module, Debug)]
pub struct Retriever {
    items: Param<Tensor<2>>,
    positions: Param<Tensor<2>>,
    blocks: Vec<Block>,
    norm: RmsNorm,
}

#[derive(Module, Debug)]
struct Block {
    attention_norm: RmsNorm,
    query_key_value: Linear,
    attention_out: Linear,
    feed_norm: RmsNorm,
    feed_in: Linear,
    feed_out: Linear,
    #[module(skip)]
    heads: usize,
}

impl Retriever {
    /// The items' vectors.
    ///
    /// # Shapes
    ///
    /// - output: `[items, width]`
    pub fn items(&self) -> Tensor<2> {
        self.items.val()
    }

    /// Query vectors, of which only those of real positions mean anything.
    ///
    /// # Shapes
    ///
    /// - output: `[histories, longest history, width]`
    pub fn forward(&self, histories: &Histories, mut dropout: Option<&mut Dropout>) -> Tensor<3> {
        let (rows, columns) = (histories.rows, histories.columns);
        let device = self.items.val().device();
        let look_up = |table: &Param<Tensor<2>>, numbers: &[i32]| {
            let numbers =
                Tensor::<1, Int>::from_data(TensorData::new(numbers.to_vec(), [numbers.len()]), &device);
            let vectors = table.val().select(0, numbers);
            let [_, width] = vectors.dims();
            vectors.reshape([rows, columns, width])
        };
        let [_, width] = self.items.val().dims();
        let items = look_up(&self.items, &histories.items) * (width as f64).sqrt();
        let x = items + look_up(&self.positions, &histories.places) * (width as f64).sqrt();
        let mut x = maybe(&mut dropout, x);
        let past = causal(columns, &device);
        for block in &self.blocks {
            let update = block.attend(block.attention_norm.forward(x.clone()), past.clone());
            x = x + maybe(&mut dropout, update);
            let hidden = relu(block.feed_in.forward(block.feed_norm.forward(x.clone())));
            x = x + maybe(&mut dropout, block.feed_out.forward(hidden));
        }
        self.norm.forward(x)
    }

    /// The queries at the given places of the flattened batch.
    ///
    /// # Shapes
    ///
    /// - output: `[places, width]`
    pub fn queries(&self, histories: &Histories, places: &[i32], dropout: Option<&mut Dropout>) -> Tensor<2> {
        let x = self.forward(histories, dropout);
        let [rows, columns, width] = x.dims();
        let places =
            Tensor::<1, Int>::from_data(TensorData::new(places.to_vec(), [places.len()]), &x.device());
        x.reshape([rows * columns, width]).select(0, places)
    }

    /// The query after the last item of each history.
    ///
    /// # Shapes
    ///
    /// - output: `[histories, width]`
    pub fn last_queries<H: AsRef<[u32]>>(&self, histories: &[H]) -> Tensor<2> {
        let batch = Histories::new(histories);
        let places: Vec<i32> = histories
            .iter()
            .enumerate()
            .map(|(row, history)| (row * batch.columns + history.as_ref().len() - 1) as i32)
            .collect();
        self.queries(&batch, &places, None)
    }

    /// What of a history is read.
    pub fn latest<'a>(&self, history: &'a [u32]) -> &'a [u32] {
        &history[history.len().saturating_sub(self.length())..]
    }

    /// Items of a history that are read.
    pub fn length(&self) -> usize {
        self.positions.val().dims()[0]
    }
}

impl Block {
    /// # Shapes
    ///
    /// - `x`, output: `[rows, columns, width]`
    /// - `past`: `[1, 1, columns, columns]`, added to the scores
    fn attend(&self, x: Tensor<3>, past: Tensor<4>) -> Tensor<3> {
        let [rows, columns, width] = x.dims();
        let head = width / self.heads;
        let parts = self.query_key_value.forward(x).chunk(3, 2);
        let parts =
            parts.into_iter().map(|part| part.reshape([rows, columns, self.heads, head]).swap_dims(1, 2));
        let Ok([query, key, value]) = <[Tensor<4>; 3]>::try_from(parts.collect::<Vec<_>>()) else {
            unreachable!("a chunk of three times the width into three");
        };
        let scores = (query * (head as f64).powf(-0.5)).matmul(key.swap_dims(2, 3)) + past;
        let mixed = softmax(scores, 3).matmul(value).swap_dims(1, 2).reshape([rows, columns, width]);
        self.attention_out.forward(mixed)
    }
}

/// Zero where a position may look, far below zero where it may not.
fn causal(columns: usize, device: &Device) -> Tensor<4> {
    let masked =
        (0..columns * columns).map(|cell| if cell % columns > cell / columns { -1e9 } else { 0.0_f32 });
    Tensor::from_data(TensorData::new(masked.collect::<Vec<_>>(), [1, 1, columns, columns]), device)
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
