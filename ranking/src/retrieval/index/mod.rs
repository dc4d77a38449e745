//! The items nearest to a query: vectors enter, the items with the largest inner products leave.
//!
//! [`ExactIndex`] looks at every item and is the reference; [`GraphIndex`] looks at few and computes what it
//! found exactly. Both keep to one contract, and one suite of tests holds them to it.
//! INVARIANT: what was removed, or is excepted, is never found; scores are exact inner products, highest
//! first, the smaller item first among equals.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use crate::error::{RankingError, Result};

pub mod benchmark;
mod graph;

pub use graph::GraphIndex;

/// An item that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    pub item: u32,
    /// Inner product with the query.
    pub score: f32,
}

/// Finds items by their vectors.
pub trait VectorIndex: Send + Sync {
    /// Adds an item, in place of the vector that it had.
    fn insert(&mut self, item: u32, vector: &[f32]) -> Result<()>;

    /// Takes an item out. One that is not there is out already.
    fn remove(&mut self, item: u32) -> Result<()>;

    /// At most `count` of the items, best first, without those of `except`.
    fn search(&self, query: &[f32], count: usize, except: &HashSet<u32>) -> Result<Vec<Neighbour>>;

    /// Items that are there.
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Looks at every item.
#[derive(Clone, Debug)]
pub struct ExactIndex {
    width: usize,
    /// End to end, so that a search reads memory in one go.
    vectors: Vec<f32>,
    items: Vec<u32>,
    /// Where in `items` each item is.
    places: HashMap<u32, usize>,
}

impl ExactIndex {
    /// Without items; vectors have `width` numbers.
    pub fn new(width: usize) -> Self {
        Self { width, vectors: Vec::new(), items: Vec::new(), places: HashMap::new() }
    }

    fn score(&self, query: &[f32], item: u32) -> Option<Neighbour> {
        let place = *self.places.get(&item)?;
        Some(Neighbour { item, score: inner_product(query, self.vector(place)) })
    }

    fn vector(&self, place: usize) -> &[f32] {
        &self.vectors[place * self.width..(place + 1) * self.width]
    }
}

impl VectorIndex for ExactIndex {
    fn insert(&mut self, item: u32, vector: &[f32]) -> Result<()> {
        check(vector, self.width)?;
        let next = self.items.len();
        let place = *self.places.entry(item).or_insert(next);
        if place == next {
            self.items.push(item);
            self.vectors.extend(vector);
        } else {
            self.vectors[place * self.width..(place + 1) * self.width].copy_from_slice(vector);
        }
        Ok(())
    }

    fn remove(&mut self, item: u32) -> Result<()> {
        let Some(place) = self.places.remove(&item) else { return Ok(()) };
        // The last takes its place.
        let last = self.items.len() - 1;
        self.vectors.copy_within(last * self.width.., place * self.width);
        self.vectors.truncate(last * self.width);
        self.items.swap_remove(place);
        if let Some(&moved) = self.items.get(place) {
            self.places.insert(moved, place);
        }
        Ok(())
    }

    fn search(&self, query: &[f32], count: usize, except: &HashSet<u32>) -> Result<Vec<Neighbour>> {
        check(query, self.width)?;
        // Few of many: only what may still be among the best is kept, and thinned out now and then.
        let room = (4 * count).max(1024);
        let mut found: Vec<Neighbour> = Vec::new();
        let mut least = f32::NEG_INFINITY;
        for (place, &item) in self.items.iter().enumerate() {
            let score = inner_product(query, self.vector(place));
            if score >= least && !except.contains(&item) {
                found.push(Neighbour { item, score });
                if found.len() == room {
                    found = best(found, count);
                    least = found.last().map_or(f32::INFINITY, |last| last.score);
                }
            }
        }
        Ok(best(found, count))
    }

    fn len(&self) -> usize {
        self.items.len()
    }
}

pub(super) fn inner_product(a: &[f32], b: &[f32]) -> f32 {
    // Eight sums side by side, which the compiler can keep in one register.
    let mut sums = [0.0_f32; 8];
    let (a, b) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.0.iter().zip(b.0) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    let rest: f32 = a.1.iter().zip(b.1).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// The `count` best, in order.
fn best(mut found: Vec<Neighbour>, count: usize) -> Vec<Neighbour> {
    let order =
        |a: &Neighbour, b: &Neighbour| -> Ordering { b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)) };
    if count == 0 {
        return Vec::new();
    }
    if found.len() > count {
        found.select_nth_unstable_by(count - 1, order);
        found.truncate(count);
    }
    found.sort_unstable_by(order);
    found
}

fn check(vector: &[f32], width: usize) -> Result<()> {
    if vector.len() != width {
        let reason = format!("a vector has {} numbers: it must have {width}", vector.len());
        return Err(RankingError::Index { reason });
    }
    if !vector.iter().all(|number| number.is_finite()) {
        return Err(RankingError::Index { reason: "a vector holds numbers that are not finite".to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
