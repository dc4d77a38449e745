//! The items nearest to a query: vectors enter, the items with the largest inner products leave.
//!
//! [`ExactIndex`] looks at every item and is the reference; [`GraphIndex`] looks at few and computes what it
//! found exactly. Both keep to one contract, and one suite of tests holds them to it.
//! INVARIANT: what was removed, or is not allowed, is never found; scores are exact inner products, highest
//! first, the smaller item first among equals.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::error::{RankingError, Result};

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

    /// At most `count` of the allowed items, best first.
    fn search(&self, query: &[f32], count: usize, allowed: &dyn Fn(u32) -> bool) -> Result<Vec<Neighbour>>;

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
    vectors: BTreeMap<u32, Vec<f32>>,
}

impl ExactIndex {
    /// Without items; vectors have `width` numbers.
    pub fn new(width: usize) -> Self {
        Self { width, vectors: BTreeMap::new() }
    }

    fn score(&self, query: &[f32], item: u32) -> Option<Neighbour> {
        let vector = self.vectors.get(&item)?;
        Some(Neighbour { item, score: inner_product(query, vector) })
    }
}

impl VectorIndex for ExactIndex {
    fn insert(&mut self, item: u32, vector: &[f32]) -> Result<()> {
        check(vector, self.width)?;
        self.vectors.insert(item, vector.to_vec());
        Ok(())
    }

    fn remove(&mut self, item: u32) -> Result<()> {
        self.vectors.remove(&item);
        Ok(())
    }

    fn search(&self, query: &[f32], count: usize, allowed: &dyn Fn(u32) -> bool) -> Result<Vec<Neighbour>> {
        check(query, self.width)?;
        let found = self.vectors.keys().filter(|&&item| allowed(item));
        Ok(best(found.filter_map(|&item| self.score(query, item)).collect(), count))
    }

    fn len(&self) -> usize {
        self.vectors.len()
    }
}

fn inner_product(a: &[f32], b: &[f32]) -> f32 {
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
