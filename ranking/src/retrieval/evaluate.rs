//! How good retrieval is on what no training has seen: a model and histories enter, figures with
//! intervals leave, beside those of simple baselines.
//!
//! Everyone's last item is wanted, the items before it are known. All items of the catalogue are ranked,
//! those of the history left out; nothing is sampled (Krichene and Rendle, KDD 2020).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use kinora_harness::device::{self, DeviceChoice};
use rayon::prelude::*;
use serde::Serialize;

use super::artifact::{self, Loaded};
use super::baselines::{ItemToItem, LastItem, Popularity};
use super::index::{ExactIndex, VectorIndex};
use super::metrics;
use super::model::Retriever;
use super::sequences::{Sequences, Split};
use crate::error::{RankingError, Result};
use crate::interval::{Draws, Interval};
use crate::train::read_floats;

/// Lengths of the lists that are judged.
pub const CUTOFFS: [usize; 6] = [1, 5, 10, 20, 50, 100];
/// The list that groups of people and the index are judged by.
const USUAL: usize = 10;
/// Draws of the bootstrap.
const DRAWS: usize = 200;
/// Groups of about as many people.
const GROUPS: usize = 4;
/// Histories that are scored at once.
const BATCH: usize = 64;

/// Scores every item of the catalogue after a history.
pub trait Scorer: Sync {
    /// Scores of all items, history after history.
    fn scores(&self, histories: &[&[u32]]) -> Result<Vec<f32>>;

    /// Up to where a history is read from its end, which tells what may be scored together cheaply.
    fn length(&self) -> usize {
        0
    }
}

impl Scorer for Retriever {
    fn scores(&self, histories: &[&[u32]]) -> Result<Vec<f32>> {
        let latest: Vec<&[u32]> = histories.iter().map(|history| self.latest(history)).collect();
        let scores = read_floats(self.last_queries(&latest).matmul(self.items().transpose()))?;
        if scores.iter().all(|score| score.is_finite()) { Ok(scores) } else { Err(RankingError::Scores) }
    }

    fn length(&self) -> usize {
        Retriever::length(self)
    }
}

/// Where the wanted item of a person came, and what came first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// Items before the wanted one; `usize::MAX` where the catalogue lacks it.
    pub rank: usize,
    pub top: Vec<u32>,
}

/// The `top` first items after each history, and the rank of what is wanted. Items of the history do not count.
pub fn place(
    scorer: &impl Scorer,
    histories: &[&[u32]],
    wanted: &[Option<u32>],
    top: usize,
) -> Result<Vec<Placed>> {
    // Similar lengths together: little is computed in vain.
    let mut order: Vec<usize> = (0..histories.len()).collect();
    order.sort_by_key(|&person| histories[person].len().min(scorer.length()));
    let found: Vec<Vec<(usize, Placed)>> = order
        .par_chunks(BATCH)
        .map(|people| {
            let known: Vec<&[u32]> = people.iter().map(|&person| histories[person]).collect();
            let scores = scorer.scores(&known)?;
            let items = scores.len() / people.len();
            let place = |(&person, scores): (&usize, &[f32])| {
                let seen = histories[person];
                let rank = wanted[person].map_or(usize::MAX, |item| metrics::rank(scores, item, seen));
                (person, Placed { rank, top: metrics::first(scores, seen, top) })
            };
            Ok(people.iter().zip(scores.chunks_exact(items)).map(place).collect())
        })
        .collect::<Result<_>>()?;
    let mut placed = vec![Placed::default(); histories.len()];
    for (person, of_person) in found.into_iter().flatten() {
        placed[person] = of_person;
    }
    Ok(placed)
}

/// A figure, and where it would lie at 95% if other people of the same kind had come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    pub value: f64,
    pub interval: Option<Interval>,
}

/// Figures of lists of one length.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AtCutoff {
    pub hit_rate: Estimate,
    pub ndcg: Estimate,
    pub mrr: Estimate,
    /// Share of the catalogue that is in any list. Without an interval: fewer distinct people list fewer items,
    /// so draws with repetition lie below it.
    pub coverage: f64,
    /// Mean of -log2 of the share of people who had an item.
    pub novelty_bits: Estimate,
    /// Mean number of times that a listed item is in the training histories.
    pub popularity: Estimate,
    /// Gini coefficient of how often items are listed: 0 where all are alike.
    pub gini: Estimate,
}

/// People who are alike in one number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    pub from: u64,
    pub until: u64,
    pub people: usize,
    pub hit_rate_10: Estimate,
    pub ndcg_10: Estimate,
}

/// How one way of ranking does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ranking {
    pub at: BTreeMap<usize, AtCutoff>,
    /// By the number of items in a history.
    pub by_activity: Vec<Group>,
    /// By how often the wanted item is in the training histories.
    pub by_popularity: Vec<Group>,
}

/// How the approximate index does against exact search, with the model's queries.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct IndexFigures {
    /// Share of the exact ten first unseen items that the index finds.
    pub recall_10: Estimate,
}

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RetrievalReport {
    pub model: PathBuf,
    /// Whether the histories are those of the training, whose last items it has not seen.
    pub training_histories: bool,
    pub people: usize,
    /// People with fewer than three items, or none that the model knows.
    pub people_left_out: usize,
    pub items: usize,
    /// Items of the histories that the model does not know, and how often they are there.
    pub unknown_items: usize,
    pub unknown_lines: usize,
    /// People whose wanted item the model does not know: a miss.
    pub unknown_wanted: usize,
    /// Mean number of times that an item of the catalogue is in the training histories, and how unequal that is.
    pub catalogue_popularity: f64,
    pub catalogue_gini: f64,
    pub rankings: BTreeMap<&'static str, Ranking>,
    pub index: IndexFigures,
    pub bootstrap_draws: usize,
    pub seed: u64,
}

/// A person's items in the numbers of the model.
struct Person {
    /// All items but the wanted one.
    history: Vec<u32>,
    /// Of these, how many a training may have seen.
    trained: usize,
    wanted: Option<u32>,
}

/// Evaluates the model in `path` on the histories of a file.
pub fn evaluate(path: &Path, file: &Path, seed: u64, choice: DeviceChoice) -> Result<RetrievalReport> {
    let Loaded { model, index, card, items } = artifact::load(path, &device::resolve(choice)?)?;
    let sequences = Sequences::read(file)?;

    // --- Histories in the model's numbers.
    let numbers: HashMap<&str, u32> = items.iter().map(String::as_str).zip(0..).collect();
    let known: Vec<Option<u32>> =
        sequences.items.iter().map(|id| numbers.get(id.as_str()).copied()).collect();
    if known.iter().all(Option::is_none) {
        return Err(RankingError::Vocabulary { model: path.to_owned(), sequences: file.to_owned() });
    }
    let lines = sequences.histories.iter().flatten();
    let unknown_lines = lines.filter(|&&item| known[item as usize].is_none()).count();
    let people: Vec<Person> = sequences
        .splits()
        .map(|Split { train, validation, test }| {
            let number = |item: &u32| known[*item as usize];
            let mut history: Vec<u32> = train.iter().filter_map(number).collect();
            let trained = history.len();
            history.extend(number(&validation));
            Person { history, trained, wanted: number(&test) }
        })
        .filter(|person| !person.history.is_empty())
        .collect();
    if people.is_empty() {
        return Err(RankingError::Vocabulary { model: path.to_owned(), sequences: file.to_owned() });
    }
    let histories: Vec<&[u32]> = people.iter().map(|person| person.history.as_slice()).collect();
    let trained: Vec<&[u32]> = people.iter().map(|person| &person.history[..person.trained]).collect();
    let wanted: Vec<Option<u32>> = people.iter().map(|person| person.wanted).collect();

    // --- Every way of ranking, judged alike.
    let popularity = Popularity::of(&trained, items.len());
    let everyone: Vec<u32> = (0..people.len() as u32).collect();
    let judge = Judge {
        activity: histories.iter().map(|history| history.len() as u64).collect(),
        wanted: wanted.iter().map(|item| item.map_or(0, |item| popularity.counts[item as usize])).collect(),
        novelty: popularity.counts.iter().map(|&count| novelty(count, people.len())).collect(),
        counts: &popularity.counts,
        draws: Draws::new(&everyone, DRAWS, seed),
        seed,
    };
    let longest = CUTOFFS.into_iter().max().unwrap_or(USUAL);
    let by_model = place(&model, &histories, &wanted, longest)?;
    let item_to_item = ItemToItem::of(&trained, items.len());
    let last_item = LastItem::of(&trained, items.len());
    let rankings = BTreeMap::from([
        ("model", judge.ranking(&by_model)),
        ("popularity", judge.ranking(&place(&popularity, &histories, &wanted, longest)?)),
        ("item_to_item", judge.ranking(&place(&item_to_item, &histories, &wanted, longest)?)),
        ("last_item", judge.ranking(&place(&last_item, &histories, &wanted, longest)?)),
    ]);
    let recall = index_recall(&model, index.as_ref(), &histories)?;

    Ok(RetrievalReport {
        model: path.to_owned(),
        training_histories: sequences.sha256() == card.sequences_sha256,
        people: people.len(),
        people_left_out: sequences.histories.len() - people.len(),
        items: items.len(),
        unknown_items: known.iter().filter(|number| number.is_none()).count(),
        unknown_lines,
        unknown_wanted: wanted.iter().filter(|item| item.is_none()).count(),
        catalogue_popularity: popularity.counts.iter().sum::<u64>() as f64 / items.len() as f64,
        catalogue_gini: metrics::gini(&popularity.counts),
        rankings,
        index: IndexFigures { recall_10: judge.mean(&recall) },
        bootstrap_draws: DRAWS,
        seed,
    })
}

/// Of each person, the share of the ten best unseen items that `index` finds too.
fn index_recall(model: &Retriever, index: &dyn VectorIndex, histories: &[&[u32]]) -> Result<Vec<f64>> {
    let [items, width] = model.items().dims();
    let vectors = read_floats(model.items())?;
    let mut exact = ExactIndex::new(width);
    for (item, vector) in (0..items as u32).zip(vectors.chunks_exact(width)) {
        exact.insert(item, vector)?;
    }
    let shares: Vec<Vec<f64>> = histories
        .par_chunks(BATCH)
        .map(|part| {
            let latest: Vec<&[u32]> = part.iter().map(|history| model.latest(history)).collect();
            let queries = read_floats(model.last_queries(&latest))?;
            let share = |(query, history): (&[f32], &&[u32])| {
                let seen: HashSet<u32> = history.iter().copied().collect();
                let best: HashSet<u32> =
                    exact.search(query, USUAL, &seen)?.into_iter().map(|found| found.item).collect();
                let found = index.search(query, USUAL, &seen)?;
                let both = found.iter().filter(|found| best.contains(&found.item)).count();
                Ok(both as f64 / best.len().max(1) as f64)
            };
            queries.chunks_exact(width).zip(part).map(share).collect()
        })
        .collect::<Result<_>>()?;
    Ok(shares.into_iter().flatten().collect())
}

/// Bits of surprise of an item that `count` of `people` had; one more had it, so that none is infinite.
fn novelty(count: u64, people: usize) -> f64 {
    -((count + 1) as f64 / (people + 1) as f64).min(1.0).log2()
}

/// What every way of ranking is judged by.
struct Judge<'a> {
    /// Of each person: items of the history, and popularity of what is wanted.
    activity: Vec<u64>,
    wanted: Vec<u64>,
    /// Of each item.
    novelty: Vec<f64>,
    counts: &'a [u64],
    draws: Draws,
    seed: u64,
}

impl Judge<'_> {
    fn ranking(&self, placed: &[Placed]) -> Ranking {
        Ranking {
            at: CUTOFFS.into_iter().map(|cutoff| (cutoff, self.at(placed, cutoff))).collect(),
            by_activity: self.groups(placed, &self.activity),
            by_popularity: self.groups(placed, &self.wanted),
        }
    }

    fn at(&self, placed: &[Placed], cutoff: usize) -> AtCutoff {
        let by_rank = |figure: fn(usize, usize) -> f64| {
            self.mean(&placed.iter().map(|of| figure(of.rank, cutoff)).collect::<Vec<_>>())
        };
        let by_item = |figure: &dyn Fn(usize) -> f64| {
            let of_list = |of: &Placed| {
                let list = list(of, cutoff);
                list.iter().map(|&item| figure(item as usize)).sum::<f64>() / list.len().max(1) as f64
            };
            self.mean(&placed.iter().map(of_list).collect::<Vec<_>>())
        };
        let listed = |people: &mut dyn Iterator<Item = usize>| {
            let mut counts = vec![0_u64; self.counts.len()];
            for person in people {
                for &item in list(&placed[person], cutoff) {
                    counts[item as usize] += 1;
                }
            }
            counts
        };
        let counts = listed(&mut (0..placed.len()));
        let gini = |rows: &[u32], _: &[u32]| {
            Some(metrics::gini(&listed(&mut rows.iter().map(|&person| person as usize))))
        };
        AtCutoff {
            hit_rate: by_rank(metrics::hit),
            ndcg: by_rank(metrics::ndcg),
            mrr: by_rank(metrics::reciprocal),
            coverage: counts.iter().filter(|&&count| count > 0).count() as f64 / counts.len() as f64,
            novelty_bits: by_item(&|item| self.novelty[item]),
            popularity: by_item(&|item| self.counts[item] as f64),
            gini: Estimate { value: metrics::gini(&counts), interval: self.draws.interval(gini) },
        }
    }

    /// The mean of a number that each person has.
    fn mean(&self, values: &[f64]) -> Estimate {
        mean(values, &self.draws)
    }

    fn groups(&self, placed: &[Placed], by: &[u64]) -> Vec<Group> {
        let group = |(index, people): (usize, Vec<usize>)| {
            let numbers = || people.iter().map(|&person| by[person]);
            let everyone: Vec<u32> = (0..people.len() as u32).collect();
            let draws = Draws::new(&everyone, DRAWS, self.seed.wrapping_add(index as u64));
            let figure = |figure: fn(usize, usize) -> f64| {
                let values: Vec<f64> =
                    people.iter().map(|&person| figure(placed[person].rank, USUAL)).collect();
                mean(&values, &draws)
            };
            Group {
                from: numbers().min().unwrap_or(0),
                until: numbers().max().unwrap_or(0),
                people: people.len(),
                hit_rate_10: figure(metrics::hit),
                ndcg_10: figure(metrics::ndcg),
            }
        };
        grouped(by).into_iter().enumerate().map(group).collect()
    }
}

fn mean(values: &[f64], draws: &Draws) -> Estimate {
    let of = |rows: &[u32], _: &[u32]| {
        Some(rows.iter().map(|&row| values[row as usize]).sum::<f64>() / rows.len().max(1) as f64)
    };
    let value = values.iter().sum::<f64>() / values.len().max(1) as f64;
    Estimate { value, interval: draws.interval(of) }
}

fn list(placed: &Placed, cutoff: usize) -> &[u32] {
    &placed.top[..cutoff.min(placed.top.len())]
}

/// People in groups of about equal size, by rising numbers; people with the same number stay together.
fn grouped(by: &[u64]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..by.len()).collect();
    order.sort_by_key(|&person| by[person]);
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (place, person) in order.into_iter().enumerate() {
        let same = groups.last().and_then(|group| group.last()).is_some_and(|&last| by[last] == by[person]);
        let full = place >= groups.len() * by.len() / GROUPS;
        match groups.last_mut() {
            Some(group) if same || !full => group.push(person),
            _ => groups.push(vec![person]),
        }
    }
    groups
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;
