//! A graph of near items (HNSW, Malkov and Yashunin 2018), by way of `USearch`.
//!
//! The graph walks over vectors of 16-bit floats and hands more items than were asked for to an exact comparison of
//! the full ones.

use std::collections::HashSet;
use std::fmt;

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

use super::{ExactIndex, Neighbour, VectorIndex, best, check};
use crate::error::{RankingError, Result};

/// Edges of an item.
const CONNECTIVITY: usize = 32;
/// Items looked at while an item is added, and while items are sought.
const EXPANSION_ADD: usize = 256;
const EXPANSION_SEARCH: usize = 128;
/// Searches that the graph serves at once.
const SEATS: usize = 64;
/// Items compared exactly for each one that is asked for.
const OVERSAMPLING: usize = 4;
/// A walk that meets a larger part of the items than one in so many is slower than to look at every item.
const FEW: usize = 4;
/// Items of which a graph is built by all cores.
pub(super) const ALL_CORES_FROM: usize = 100_000;

/// Looks at the items near those that it has looked at.
pub struct GraphIndex {
    graph: Index,
    /// What the graph holds in half the bits.
    exact: ExactIndex,
}

impl fmt::Debug for GraphIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GraphIndex")
            .field("len", &self.len())
            .field("width", &self.exact.width)
            .finish_non_exhaustive()
    }
}

impl GraphIndex {
    /// Of the vectors of items 0, 1, ..., each of `width` numbers. From [`ALL_CORES_FROM`] items on all cores
    /// build the graph, and its edges differ from time to time; below, they follow from the vectors.
    pub fn build(vectors: &[f32], width: usize) -> Result<Self> {
        let mut exact = ExactIndex::new(width);
        for (item, vector) in (0..).zip(vectors.chunks_exact(width)) {
            exact.insert(item, vector)?;
        }
        let index = Self { graph: graph(width)?, exact };
        index.reserve(index.len())?;
        let add = |item: usize| {
            let vector = &vectors[item * width..(item + 1) * width];
            index.graph.add(item as u64, vector).map_err(fault)
        };
        if index.len() < ALL_CORES_FROM {
            (0..index.len()).try_for_each(add)?;
        } else {
            (0..index.len()).into_par_iter().try_for_each(add)?;
        }
        Ok(index)
    }

    /// The graph as it is kept; the vectors are the model's.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.graph.serialized_length()];
        self.graph.save_to_buffer(&mut bytes).map_err(fault)?;
        Ok(bytes)
    }

    /// Reads what [`GraphIndex::to_bytes`] gave for the same vectors. `bytes` must be known to be whole.
    pub fn load(bytes: &[u8], vectors: &[f32], width: usize) -> Result<Self> {
        let graph = graph(width)?;
        graph.load_from_buffer(bytes).map_err(fault)?;
        let items = vectors.len() / width;
        if graph.dimensions() != width || graph.size() != items {
            let reason = format!(
                "it holds {} items of {} numbers where {items} of {width} are expected",
                graph.size(),
                graph.dimensions()
            );
            return Err(RankingError::Index { reason });
        }
        let mut exact = ExactIndex::new(width);
        for (item, vector) in (0..).zip(vectors.chunks_exact(width)) {
            exact.insert(item, vector)?;
        }
        let index = Self { graph, exact };
        index.reserve(items)?;
        index.graph.change_expansion_add(EXPANSION_ADD);
        index.graph.change_expansion_search(EXPANSION_SEARCH);
        Ok(index)
    }

    fn reserve(&self, items: usize) -> Result<()> {
        self.graph.reserve_capacity_and_threads(items, SEATS).map_err(fault)
    }
}

impl VectorIndex for GraphIndex {
    fn insert(&mut self, item: u32, vector: &[f32]) -> Result<()> {
        check(vector, self.exact.width)?;
        self.remove(item)?;
        if self.graph.size() == self.graph.capacity() {
            self.reserve((2 * self.graph.size()).max(64))?;
        }
        self.graph.add(u64::from(item), vector).map_err(fault)?;
        self.exact.insert(item, vector)
    }

    fn remove(&mut self, item: u32) -> Result<()> {
        self.graph.remove(u64::from(item)).map_err(fault)?;
        self.exact.remove(item)
    }

    fn search(&self, query: &[f32], count: usize, except: &HashSet<u32>) -> Result<Vec<Neighbour>> {
        check(query, self.exact.width)?;
        // All that are excepted may be nearer than the rest. To ask at each step of the walk would take longer.
        let wanted = OVERSAMPLING * count + except.len();
        if wanted >= self.len() / FEW {
            return self.exact.search(query, count, except);
        }
        match self.graph.search(query, wanted) {
            Ok(found) if found.keys.len() >= count + except.len() => {
                let items = found.keys.iter().filter_map(|&key| u32::try_from(key).ok());
                let left = items.filter(|item| !except.contains(item));
                Ok(best(left.filter_map(|item| self.exact.score(query, item)).collect(), count))
            }
            // The walk ended early, or every seat is taken.
            _ => self.exact.search(query, count, except),
        }
    }

    fn len(&self) -> usize {
        self.exact.len()
    }
}

fn graph(width: usize) -> Result<Index> {
    let options = IndexOptions {
        dimensions: width,
        metric: MetricKind::IP,
        quantization: ScalarKind::BF16,
        connectivity: CONNECTIVITY,
        expansion_add: EXPANSION_ADD,
        expansion_search: EXPANSION_SEARCH,
        multi: false,
    };
    Index::new(&options).map_err(fault)
}

fn fault(error: impl fmt::Display) -> RankingError {
    RankingError::Index { reason: error.to_string() }
}
