//! What a model of retrieval must beat: popularity, what follows the last item, what lies near the latest items.

use std::collections::HashMap;

use super::evaluate::Scorer;
use crate::error::Result;

/// Items of a history that lie so near each other that they belong together.
const NEAR: usize = 10;
/// So small a share of popularity that it only decides between items that are otherwise alike.
const TIE_BREAK: f32 = 1e-6;

/// Every item by how often it is in the histories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Popularity {
    pub(super) counts: Vec<u64>,
}

impl Popularity {
    pub(super) fn of(histories: &[&[u32]], items: usize) -> Self {
        let mut counts = vec![0; items];
        histories.iter().copied().flatten().for_each(|&item| counts[item as usize] += 1);
        Self { counts }
    }

    fn shares(&self) -> Vec<f32> {
        let most = self.counts.iter().copied().max().unwrap_or(0).max(1) as f32;
        self.counts.iter().map(|&count| count as f32 / most).collect()
    }
}

impl Scorer for Popularity {
    fn scores(&self, histories: &[&[u32]]) -> Result<Vec<f32>> {
        Ok(self.shares().repeat(histories.len()))
    }
}

/// Items by how often they came right after the last item of the history: a Markov chain of first order.
#[derive(Clone, Debug)]
pub(super) struct LastItem {
    next: Vec<HashMap<u32, f32>>,
    ties: Vec<f32>,
}

impl LastItem {
    pub(super) fn of(histories: &[&[u32]], items: usize) -> Self {
        let mut next = vec![HashMap::new(); items];
        for pair in histories.iter().flat_map(|history| history.array_windows()) {
            let [item, after] = *pair;
            *next[item as usize].entry(after).or_insert(0.0) += 1.0;
        }
        Self { next, ties: ties(histories, items) }
    }
}

impl Scorer for LastItem {
    fn scores(&self, histories: &[&[u32]]) -> Result<Vec<f32>> {
        let mut scores = self.ties.repeat(histories.len());
        for (history, scores) in histories.iter().zip(scores.chunks_exact_mut(self.ties.len())) {
            for (&item, &count) in history.last().into_iter().flat_map(|&last| &self.next[last as usize]) {
                scores[item as usize] += count;
            }
        }
        Ok(scores)
    }
}

/// Items by their cosine with each of the latest items, the later the more: items are alike where they are
/// near each other in many histories.
#[derive(Clone, Debug)]
pub(super) struct ItemToItem {
    alike: Vec<HashMap<u32, f32>>,
    ties: Vec<f32>,
}

impl ItemToItem {
    pub(super) fn of(histories: &[&[u32]], items: usize) -> Self {
        let mut together = vec![HashMap::<u32, f32>::new(); items];
        for history in histories {
            for (place, &item) in history.iter().enumerate() {
                for &other in &history[(place + 1)..(place + 1 + NEAR).min(history.len())] {
                    *together[item as usize].entry(other).or_insert(0.0) += 1.0;
                    *together[other as usize].entry(item).or_insert(0.0) += 1.0;
                }
            }
        }
        let norms: Vec<f32> =
            Popularity::of(histories, items).counts.iter().map(|&count| (count as f32).sqrt()).collect();
        for (item, others) in together.iter_mut().enumerate() {
            for (&other, count) in others {
                *count /= norms[item] * norms[other as usize];
            }
        }
        Self { alike: together, ties: ties(histories, items) }
    }
}

impl Scorer for ItemToItem {
    fn scores(&self, histories: &[&[u32]]) -> Result<Vec<f32>> {
        let mut scores = self.ties.repeat(histories.len());
        for (history, scores) in histories.iter().zip(scores.chunks_exact_mut(self.ties.len())) {
            for (age, &item) in history.iter().rev().take(NEAR).enumerate() {
                for (&other, &alike) in &self.alike[item as usize] {
                    scores[other as usize] += alike / (age + 1) as f32;
                }
            }
        }
        Ok(scores)
    }
}

fn ties(histories: &[&[u32]], items: usize) -> Vec<f32> {
    Popularity::of(histories, items).shares().into_iter().map(|share| TIE_BREAK * share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_baseline_ranks_as_its_counts_say() {
        let histories: [&[u32]; 3] = [&[0, 1, 2], &[0, 1], &[2, 1, 0]];
        assert_eq!(Popularity::of(&histories, 4).counts, [3, 3, 2, 0]);
        let scores = LastItem::of(&histories, 4).scores(&[&[0], &[1]]).unwrap();
        // 0 is followed by 1 twice; 1 by 2 once and by 0 once.
        let rounded: Vec<f32> = scores.iter().map(|score| score.round()).collect();
        assert_eq!(rounded, [0.0, 2.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
        let scores = ItemToItem::of(&histories, 4).scores(&[&[0]]).unwrap();
        // 0 and 1 are together in three histories, 0 and 2 in two.
        let expected = [0.0, 3.0 / 3.0, 2.0 / 6.0_f32.sqrt(), 0.0];
        for (score, expected) in scores.iter().zip(expected) {
            assert!((score - expected).abs() < 1e-5, "{scores:?}");
        }
    }
}
