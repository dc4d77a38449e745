//! Watch time without its duration bias (D2Q): a watch enters, its quantile among watches of
//! clips of like duration leaves, and back.
//!
//! Long clips are watched longer whoever watches them, so a model of plain watch time learns
//! durations. Here clips fall into buckets of equal counts by duration, and the model learns
//! where in its bucket a watch lies (Zhan et al., KDD 2022). The tables are saved with the
//! model; the order within a bucket is kept both ways.

use serde::{Deserialize, Serialize};

/// Points of each bucket's quantile table.
const POINTS: usize = 41;

/// Quantile tables of watch time, a bucket of durations each.
///
/// Durations are in whatever unit the caller has, as long as it is one and the same: the ranker
/// passes the feature `duration_log_s`, which both training and serving know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchQuantiles {
    /// Upper ends of all buckets but the last, ascending.
    edges: Vec<f32>,
    /// For each bucket, watch times in milliseconds at evenly spaced quantiles, ascending.
    watch_ms: Vec<Vec<f32>>,
}

impl WatchQuantiles {
    /// Learns the tables from `(duration, watch_ms)` pairs, in at most `buckets` buckets.
    pub fn fit(watches: &[(f32, f32)], buckets: usize) -> Self {
        let mut sorted = watches.to_vec();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let mut edges: Vec<f32> = (1..buckets)
            .filter_map(|bucket| sorted.get(bucket * sorted.len() / buckets).map(|watch| watch.0))
            .collect();
        edges.dedup();
        // A bucket below the smallest duration would stay empty.
        if let (Some(first), Some(smallest)) = (edges.first(), sorted.first())
            && *first <= smallest.0
        {
            edges.remove(0);
        }
        let mut members = vec![Vec::new(); edges.len() + 1];
        for (duration, watch_ms) in sorted {
            members[bucket_of(&edges, duration)].push(watch_ms);
        }
        Self { edges, watch_ms: members.into_iter().map(quantile_table).collect() }
    }

    /// Where in [0, 1] this watch lies among those of like duration. Ties share their middle.
    pub fn quantile(&self, duration: f32, watch_ms: f32) -> f32 {
        let table = &self.watch_ms[bucket_of(&self.edges, duration)];
        let below = position(table, watch_ms, |point, watch| point < watch);
        let through = position(table, watch_ms, |point, watch| point <= watch);
        f32::midpoint(below, through)
    }

    /// The watch time in milliseconds at `quantile` of clips of like duration.
    pub fn watch_ms(&self, duration: f32, quantile: f32) -> f32 {
        let table = &self.watch_ms[bucket_of(&self.edges, duration)];
        let at = quantile.clamp(0.0, 1.0) * (table.len() - 1) as f32;
        let low = at.floor() as usize;
        let high = (low + 1).min(table.len() - 1);
        let share = at - low as f32;
        table[low] + share * (table[high] - table[low])
    }

    /// Whether tables read from a file are of a shape that can be used.
    pub fn is_sound(&self) -> bool {
        self.watch_ms.len() == self.edges.len() + 1
            && self.edges.is_sorted()
            && self.watch_ms.iter().all(|table| {
                table.len() > 1 && table.is_sorted() && table.iter().all(|watch| watch.is_finite())
            })
    }
}

fn bucket_of(edges: &[f32], duration: f32) -> usize {
    edges.partition_point(|&edge| edge <= duration)
}

/// The position of `watch_ms` in `table`, between 0 and 1, interpolated between points.
fn position(table: &[f32], watch_ms: f32, before: impl Fn(f32, f32) -> bool) -> f32 {
    let last = (table.len() - 1) as f32;
    let above = table.partition_point(|&point| before(point, watch_ms));
    if above == 0 {
        return 0.0;
    }
    if above == table.len() {
        return 1.0;
    }
    let (low, high) = (table[above - 1], table[above]);
    let share = if high > low { (watch_ms - low) / (high - low) } else { 0.0 };
    ((above - 1) as f32 + share.clamp(0.0, 1.0)) / last
}

fn quantile_table(mut watches: Vec<f32>) -> Vec<f32> {
    watches.sort_by(f32::total_cmp);
    let Some(last) = watches.len().checked_sub(1) else { return vec![0.0; POINTS] };
    (0..POINTS)
        .map(|point| {
            let at = point as f32 / (POINTS - 1) as f32 * last as f32;
            let low = at.floor() as usize;
            let high = (low + 1).min(last);
            watches[low] + (at - low as f32) * (watches[high] - watches[low])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_same_watch_is_high_for_a_short_clip_and_low_for_a_long_one() {
        let watches: Vec<(f32, f32)> = (0..1000)
            .map(|i| {
                let duration = if i % 2 == 0 { 1.0 } else { 4.0 };
                (duration, (i % 100) as f32 * 100.0 * duration)
            })
            .collect();
        let quantiles = WatchQuantiles::fit(&watches, 2);
        let [short, long] = [1.0, 4.0].map(|duration| quantiles.quantile(duration, 9_000.0));
        assert!(short > 0.85 && long < 0.3, "{short} and {long}");
    }

    #[test]
    fn nothing_and_one_watch_still_give_tables() {
        for watches in [vec![], vec![(1.0, 500.0)]] {
            let quantiles = WatchQuantiles::fit(&watches, 10);
            assert!(quantiles.is_sound());
            assert!(quantiles.watch_ms(3.0, 0.5).is_finite());
            assert!((0.0..=1.0).contains(&quantiles.quantile(3.0, 500.0)));
        }
    }

    proptest! {
        #[test]
        fn order_within_a_bucket_is_kept_both_ways(
            watches in prop::collection::vec((0.0_f32..9.0, 0.0_f32..60_000.0), 1..200),
            duration in 0.0_f32..9.0,
            [a, b] in [0.0_f32..60_000.0, 0.0_f32..60_000.0],
            [p, q] in [0.0_f32..=1.0, 0.0_f32..=1.0],
        ) {
            let quantiles = WatchQuantiles::fit(&watches, 8);
            prop_assert!(quantiles.is_sound());
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(quantiles.quantile(duration, low) <= quantiles.quantile(duration, high));
            let (below, above) = (p.min(q), p.max(q));
            prop_assert!(quantiles.watch_ms(duration, below) <= quantiles.watch_ms(duration, above));
        }
    }
}
