//! Ranking inputs as numbers: what the ranker sees enters, tensors of one batch leave.
//!
//! Training and serving both come through here, so a feature cannot mean two things. Rows are
//! compact (lists end to end, names as numbers); only a batch becomes padded tensors.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};
use kinora_schema::ranking::{DENSE, MAX_HISTORY, Person, RankingExample, RankingInput, TASKS};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::normalise::Normaliser;
use crate::vocabulary::{Counter, PADDING, UNKNOWN, Vocabulary};

/// Padded lists are a multiple of this long, which keeps the shapes few.
const PAD_TO: usize = 8;

/// Gives names their numbers.
pub trait Naming {
    fn token(&mut self, name: &str) -> u32;
    fn video(&mut self, name: &str) -> u32;
}

/// Numbers the names of the training split while it is read, and counts them once it is known which
/// of its rows train.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    pub tokens: Counter,
    pub videos: Counter,
}

impl Naming for Counters {
    fn token(&mut self, name: &str) -> u32 {
        self.tokens.number(name)
    }

    fn video(&mut self, name: &str) -> u32 {
        self.videos.number(name)
    }
}

/// The names that a trained ranker knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vocabularies {
    pub tokens: Vocabulary,
    pub videos: Vocabulary,
}

impl Naming for &Vocabularies {
    fn token(&mut self, name: &str) -> u32 {
        self.tokens.row(name)
    }

    fn video(&mut self, name: &str) -> u32 {
        self.videos.row(name)
    }
}

/// Lists of numbers, end to end.
#[derive(Clone, Debug, Default)]
struct Lists {
    values: Vec<u32>,
    ends: Vec<usize>,
}

impl Lists {
    fn push(&mut self, values: impl Iterator<Item = u32>) {
        self.values.extend(values);
        self.ends.push(self.values.len());
    }

    fn range(&self, row: usize) -> std::ops::Range<usize> {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[row]
    }

    fn of(&self, row: usize) -> &[u32] {
        &self.values[self.range(row)]
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    /// Length that the longest of `rows` is padded to.
    fn width(&self, rows: &[usize]) -> usize {
        let longest = rows.iter().map(|&row| self.range(row).len()).max().unwrap_or(0);
        longest.max(1).next_multiple_of(PAD_TO)
    }
}

/// Inputs of many rows.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    dense: Vec<[f32; DENSE]>,
    videos: Vec<u32>,
    clips: Lists,
    moments: Lists,
    /// Who of `people` each row is for.
    viewers: Vec<u32>,
    people: People,
    /// Whom the last of `people` was read from.
    latest: Option<Arc<Person>>,
}

/// People, each of whom one or more rows are for.
#[derive(Clone, Debug, Default)]
struct People {
    tokens: Lists,
    history: Lists,
    /// Beside `history.values`: bit `i` is the outcome of task `i`.
    outcomes: Vec<u16>,
}

impl People {
    fn push(&mut self, person: &Person, names: &mut impl Naming) {
        self.tokens.push(person.tokens.iter().map(|token| names.token(token)));
        // The most recent, where a caller hands over more than the limit.
        let recent = &person.history[person.history.len().saturating_sub(MAX_HISTORY)..];
        self.history.push(recent.iter().map(|item| names.video(item.video_id.as_str())));
        self.outcomes.extend(recent.iter().map(|item| item.outcomes));
    }
}

impl Rows {
    pub fn push(&mut self, input: &RankingInput, names: &mut impl Naming) {
        self.dense.push(input.dense);
        self.videos.push(names.video(input.video_id.as_str()));
        self.clips.push(input.video_tokens.iter().map(|token| names.token(token)));
        self.moments.push(input.context_tokens.iter().map(|token| names.token(token)));
        let is_same = self.latest.as_ref().is_some_and(|latest| Arc::ptr_eq(latest, &input.person));
        if !is_same {
            self.people.push(&input.person, names);
            self.latest = Some(Arc::clone(&input.person));
        }
        self.viewers.push(self.people.tokens.len() as u32 - 1);
    }

    pub fn len(&self) -> usize {
        self.videos.len()
    }

    pub fn is_empty(&self) -> bool {
        self.videos.is_empty()
    }

    pub fn dense(&self) -> &[[f32; DENSE]] {
        &self.dense
    }

    /// Counts the names of `rows`.
    pub fn count(&self, rows: &[usize], names: &mut Counters) {
        for &row in rows {
            names.videos.count(&self.videos[row..=row]);
            let person = self.viewers[row] as usize;
            names.videos.count(self.people.history.of(person));
            for tokens in [self.people.tokens.of(person), self.clips.of(row), self.moments.of(row)] {
                names.tokens.count(tokens);
            }
        }
    }

    /// Replaces provisional numbers by rows of the vocabulary.
    pub fn renumber(&mut self, tokens: &[u32], videos: &[u32]) {
        let renumber = |values: &mut [u32], rows: &[u32]| {
            for value in values {
                *value = rows.get(*value as usize).copied().unwrap_or(UNKNOWN);
            }
        };
        renumber(&mut self.videos, videos);
        renumber(&mut self.people.history.values, videos);
        for lists in [&mut self.people.tokens, &mut self.clips, &mut self.moments] {
            renumber(&mut lists.values, tokens);
        }
    }

    /// The tensors of `rows`, in their order. `forget` makes ids unknown at random: for
    /// training only.
    pub fn batch(
        &self,
        rows: &[usize],
        normaliser: &Normaliser,
        mut forget: Option<Forget<'_>>,
        device: &Device,
    ) -> Batch {
        let count = rows.len();
        let mut dense = Vec::with_capacity(count * DENSE);
        let mut bins = Vec::with_capacity(count * DENSE);
        for &row in rows {
            normaliser.apply(&self.dense[row], &mut dense, &mut bins);
        }
        let videos: Vec<i32> =
            rows.iter().map(|&row| Forget::video(&mut forget, self.videos[row]) as i32).collect();
        let [clips, moments] =
            [&self.clips, &self.moments].map(|lists| padded(lists, rows, &mut forget, device));
        let (people, viewers) = self.people(rows, forget, device);
        Batch {
            clips: ClipsBatch {
                dense: Tensor::from_data(TensorData::new(dense, [count, DENSE]), device),
                bins: int_tensor(bins, [count, DENSE], device),
                video: int_tensor(videos, [count, 1], device),
                tokens: clips,
                moments,
            },
            people,
            viewers,
        }
    }

    /// The people of `rows`, in the order of the rows that they first appear in, and who each row is for.
    pub fn people(
        &self,
        rows: &[usize],
        mut forget: Option<Forget<'_>>,
        device: &Device,
    ) -> (PeopleBatch, Viewers) {
        let (mut people, mut viewers) = (Vec::new(), Vec::with_capacity(rows.len()));
        let mut places = HashMap::new();
        for &row in rows {
            let person = self.viewers[row] as usize;
            let place = *places.entry(person).or_insert_with(|| {
                people.push(person);
                people.len() as i32 - 1
            });
            viewers.push(place);
        }
        let viewers = match people.len() {
            1 => Viewers::One,
            number if number == rows.len() => Viewers::Each,
            _ => Viewers::Of(Box::new(Tensor::from_data(TensorData::new(viewers, [rows.len()]), device))),
        };

        let tokens = padded(&self.people.tokens, &people, &mut forget, device);
        let width = self.people.history.width(&people);
        let mut history = vec![PADDING as i32; people.len() * width];
        let mut recency = vec![MAX_HISTORY as i32; people.len() * width];
        let mut outcomes = vec![0.0_f32; people.len() * width * TASKS];
        for (place, &person) in people.iter().enumerate() {
            let range = self.people.history.range(person);
            let length = range.len();
            for (item, value) in range.enumerate() {
                let at = place * width + item;
                history[at] = Forget::video(&mut forget, self.people.history.values[value]) as i32;
                recency[at] = (length - 1 - item) as i32;
                for (task, flag) in outcomes[at * TASKS..(at + 1) * TASKS].iter_mut().enumerate() {
                    *flag = f32::from((self.people.outcomes[value] >> task) & 1);
                }
            }
        }
        let first_length = people.first().map_or(0, |&person| self.people.history.of(person).len());
        let people = PeopleBatch {
            first_length,
            tokens,
            history: int_tensor(history, [people.len(), width], device),
            recency: int_tensor(recency, [people.len(), width], device),
            outcomes: Tensor::from_data(TensorData::new(outcomes, [people.len(), width, TASKS]), device),
        };
        (people, viewers)
    }

    /// The row of a clip and those of its tokens.
    pub(crate) fn clip(&self, row: usize) -> (u32, &[u32]) {
        (self.videos[row], self.clips.of(row))
    }

    /// The rows of a moment's tokens.
    pub(crate) fn moment(&self, row: usize) -> &[u32] {
        self.moments.of(row)
    }

    /// Stretches of rows that are for one person at one moment.
    pub(crate) fn pages(&self) -> Vec<Range<usize>> {
        let mut pages: Vec<Range<usize>> = Vec::new();
        for row in 0..self.len() {
            match pages.last_mut() {
                Some(page)
                    if self.viewers[page.start] == self.viewers[row]
                        && self.moment(page.start) == self.moment(row) =>
                {
                    page.end = row + 1;
                }
                _ => pages.push(row..row + 1),
            }
        }
        pages
    }
}

/// Lists of tokens as one tensor.
fn padded(lists: &Lists, rows: &[usize], forget: &mut Option<Forget<'_>>, device: &Device) -> Tensor<2, Int> {
    let width = lists.width(rows);
    let mut padded = vec![PADDING as i32; rows.len() * width];
    for (padded, &row) in padded.chunks_exact_mut(width).zip(rows) {
        for (place, &token) in padded.iter_mut().zip(lists.of(row)) {
            *place = Forget::token(forget, token) as i32;
        }
    }
    int_tensor(padded, [rows.len(), width], device)
}

/// Makes ids unknown at random while training: an id that is always there is learnt by heart,
/// and a new clip would find the row of the unknown untrained.
#[derive(Debug)]
pub struct Forget<'a> {
    pub rng: &'a mut ChaCha8Rng,
    /// Probability for a clip's id.
    pub videos: f64,
    /// Probability for a token.
    pub tokens: f64,
}

impl Forget<'_> {
    fn video(forget: &mut Option<Self>, row: u32) -> u32 {
        forget
            .as_mut()
            .map_or(row, |forget| if forget.rng.random_bool(forget.videos) { UNKNOWN } else { row })
    }

    fn token(forget: &mut Option<Self>, row: u32) -> u32 {
        forget
            .as_mut()
            .map_or(row, |forget| if forget.rng.random_bool(forget.tokens) { UNKNOWN } else { row })
    }
}

/// What the model takes. Ids of zero are padding.
#[derive(Clone, Debug)]
pub struct Batch {
    pub clips: ClipsBatch,
    pub people: PeopleBatch,
    pub viewers: Viewers,
}

/// The rows' clips and moments.
#[derive(Clone, Debug)]
pub struct ClipsBatch {
    /// Standardised, `[rows, DENSE]`.
    pub dense: Tensor<2>,
    /// Row of each feature's bin, `[rows, DENSE]`.
    pub bins: Tensor<2, Int>,
    /// `[rows, 1]`.
    pub video: Tensor<2, Int>,
    /// Tokens of the clips, `[rows, tokens]`.
    pub tokens: Tensor<2, Int>,
    /// Tokens of the moments, `[rows, tokens]`.
    pub moments: Tensor<2, Int>,
}

/// Who of a batch's people each row is for.
#[derive(Clone, Debug)]
pub enum Viewers {
    /// All rows for the only one.
    One,
    /// Each row for its own, in their order.
    Each,
    /// `[rows]`.
    Of(Box<Tensor<1, Int>>),
}

/// People of a batch.
#[derive(Clone, Debug)]
pub struct PeopleBatch {
    /// `[people, tokens]`.
    pub tokens: Tensor<2, Int>,
    /// `[people, history]`, oldest first, then padding.
    pub history: Tensor<2, Int>,
    /// Clips since, zero for the newest, `[people, history]`.
    pub recency: Tensor<2, Int>,
    /// `[people, history, TASKS]`.
    pub outcomes: Tensor<3>,
    /// Items of the first person's history, which the others' are padded like.
    pub first_length: usize,
}

fn int_tensor(values: Vec<i32>, shape: [usize; 2], device: &Device) -> Tensor<2, Int> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// What happened, beside [`Rows`].
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    pub labels: Vec<[bool; TASKS]>,
    pub watch_ms: Vec<f32>,
    pub event_time_ms: Vec<i64>,
    pub positions: Vec<Option<u16>>,
}

impl Outcomes {
    pub fn push(&mut self, example: &RankingExample) {
        self.labels.push(example.labels);
        self.watch_ms.push(example.watch_ms as f32);
        self.event_time_ms.push(example.event_time_ms);
        self.positions.push(example.position);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::fixture;

    fn ints<const D: usize>(tensor: Tensor<D, Int>) -> Vec<i64> {
        tensor.into_data().iter::<i64>().collect()
    }

    fn encoded() -> (Rows, Normaliser) {
        let mut counters = Counters::default();
        let mut rows = Rows::default();
        for example in fixture::examples(40, 3) {
            rows.push(&example.input, &mut counters);
        }
        rows.count(&(0..rows.len()).collect::<Vec<_>>(), &mut counters);
        let (_, tokens) = counters.tokens.into_vocabulary(1);
        let (_, videos) = counters.videos.into_vocabulary(1);
        rows.renumber(&tokens, &videos);
        let normaliser = Normaliser::fit(&rows.dense().iter());
        (rows, normaliser)
    }

    #[test]
    fn the_training_and_the_serving_path_give_the_same_rows() {
        let examples = fixture::examples(40, 3);
        let (trained, normaliser) = encoded();
        let all: Vec<usize> = (0..examples.len()).collect();
        let (mut counters, mut rows) = (Counters::default(), Rows::default());
        for example in &examples {
            rows.push(&example.input, &mut counters);
        }
        rows.count(&all, &mut counters);
        let vocabularies = Vocabularies {
            tokens: counters.tokens.into_vocabulary(1).0,
            videos: counters.videos.into_vocabulary(1).0,
        };
        let mut served = Rows::default();
        for example in &examples {
            served.push(&example.input, &mut &vocabularies);
        }
        let device = Device::flex();
        let [a, b] = [trained, served].map(|rows| rows.batch(&all, &normaliser, None, &device));
        assert_eq!(ints(a.clips.video), ints(b.clips.video));
        assert_eq!(ints(a.people.history), ints(b.people.history));
        assert_eq!(ints(a.people.tokens), ints(b.people.tokens));
        assert_eq!(ints(a.clips.tokens), ints(b.clips.tokens));
        assert_eq!(ints(a.clips.moments), ints(b.clips.moments));
        assert_eq!(a.people.outcomes.into_data(), b.people.outcomes.into_data());
    }

    #[test]
    fn a_long_history_keeps_its_newest_clips() {
        let mut input = fixture::examples(1, 1).remove(0).input;
        let item = |n: usize| kinora_schema::ranking::HistoryItem {
            video_id: format!("h{n}").into(),
            outcomes: 1 << (n % TASKS),
        };
        input.person =
            Arc::new(Person { history: (0..MAX_HISTORY + 7).map(item).collect(), ..Person::default() });
        let mut counters = Counters::default();
        let mut rows = Rows::default();
        rows.push(&input, &mut counters);
        assert_eq!(rows.people.history.values.len(), MAX_HISTORY);
        assert_eq!(rows.people.outcomes[0], 1 << (7 % TASKS));
        assert_eq!(rows.people.outcomes[MAX_HISTORY - 1], 1 << ((MAX_HISTORY + 6) % TASKS));
    }

    #[test]
    fn recency_counts_from_the_newest() {
        let (rows, normaliser) = encoded();
        let row = (0..rows.len()).find(|&row| rows.people.history.range(row).len() >= 3).unwrap();
        let length = rows.people.history.range(row).len();
        let batch = rows.batch(&[row], &normaliser, None, &Device::flex());
        let recency = ints(batch.people.recency);
        assert_eq!(recency[length - 1], 0);
        assert_eq!(recency[0], length as i64 - 1);
        assert!(recency[length..].iter().all(|&place| place == MAX_HISTORY as i64));
    }

    #[test]
    fn forgetting_everything_leaves_only_unknown_and_padding() {
        let (rows, normaliser) = encoded();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let forget = Forget { rng: &mut rng, videos: 1.0, tokens: 1.0 };
        let batch = rows.batch(&[0, 1, 2], &normaliser, Some(forget), &Device::flex());
        let tokens = [batch.clips.tokens, batch.clips.moments, batch.people.tokens];
        let ids = [batch.clips.video, batch.people.history].into_iter().chain(tokens).flat_map(ints);
        assert!(ids.into_iter().all(|id| id <= i64::from(UNKNOWN)));
    }
}
