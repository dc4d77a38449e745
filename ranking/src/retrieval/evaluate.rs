//! How good retrieval is on items that no training has seen: all items ranked, those of the history left out.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::metrics;
use super::model::Retriever;
use crate::error::Result;
use crate::train::read_floats;

/// Histories that are scored at once.
const BATCH: usize = 64;

/// Of each person, the rank of the wanted item after `histories`, where the items of `seen` do not count.
pub fn ranks(model: &Retriever, histories: &[&[u32]], seen: &[&[u32]], wanted: &[u32]) -> Result<Vec<usize>> {
    let length = model.length();
    // Similar lengths together: little is computed in vain.
    let mut order: Vec<usize> = (0..histories.len()).collect();
    order.sort_by_key(|&person| histories[person].len().min(length));
    let found: Vec<Vec<(usize, usize)>> = order
        .par_chunks(BATCH)
        .map(|people| {
            let latest: Vec<&[u32]> =
                people.iter().map(|&person| latest(histories[person], length)).collect();
            let scores = scores(model, &latest)?;
            let items = scores.len() / people.len();
            let rank = |(&person, scores): (&usize, &[f32])| {
                (person, metrics::rank(scores, wanted[person], seen[person]))
            };
            Ok(people.iter().zip(scores.chunks_exact(items)).map(rank).collect())
        })
        .collect::<Result<_>>()?;
    let mut ranks = vec![0; histories.len()];
    for (person, rank) in found.into_iter().flatten() {
        ranks[person] = rank;
    }
    Ok(ranks)
}

fn latest(history: &[u32], length: usize) -> &[u32] {
    &history[history.len().saturating_sub(length)..]
}

/// Scores of all items, history after history.
fn scores(model: &Retriever, histories: &[&[u32]]) -> Result<Vec<f32>> {
    let queries: Tensor<2> = model.last_queries(histories);
    read_floats(queries.matmul(model.items().transpose()))
}
