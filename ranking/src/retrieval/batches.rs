//! An epoch's batches: histories enter, windows of similar lengths leave, in random order.
//!
//! Every item but the first of a history is a target once an epoch. A history longer than a window is cut
//! at random places, so that over the epochs an item is seen with many different pasts.

use kinora_harness::seed::derive;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Windows whose lengths differ by less than this may share a batch.
const BUCKET: usize = 16;

/// Inputs and, one place later, targets: a stretch of one history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window<'a> {
    pub(crate) inputs: &'a [u32],
    pub(crate) targets: &'a [u32],
}

impl<'a> Window<'a> {
    fn of(history: &'a [u32], from: usize, until: usize) -> Self {
        Self { inputs: &history[from..until], targets: &history[from + 1..=until] }
    }
}

impl AsRef<[u32]> for Window<'_> {
    fn as_ref(&self) -> &[u32] {
        self.inputs
    }
}

/// The batches of `epoch`, each of about `positions` positions in windows of at most `length`.
pub(crate) fn batches<'a>(
    histories: &[&'a [u32]],
    length: usize,
    positions: usize,
    seed: u64,
    epoch: u64,
) -> Vec<Vec<Window<'a>>> {
    let mut rng = ChaCha8Rng::seed_from_u64(derive(seed, &format!("epoch {epoch}")));
    let mut windows = Vec::new();
    for history in histories.iter().filter(|history| history.len() > 1) {
        let last = history.len() - 1;
        // The first window is shorter by a random part, which shifts the others.
        let first = if last > length { rng.random_range(1..=length) } else { last };
        let (mut from, mut until) = (0, first);
        loop {
            windows.push(Window::of(history, from, until));
            if until == last {
                break;
            }
            from = until;
            until = (until + length).min(last);
        }
    }
    windows.shuffle(&mut rng);
    windows.sort_by_key(|window| window.inputs.len() / BUCKET);
    let mut batches: Vec<Vec<Window<'a>>> = vec![Vec::new()];
    let mut filled = 0;
    for window in windows {
        if filled >= positions {
            batches.push(Vec::new());
            filled = 0;
        }
        filled += window.inputs.len();
        if let Some(batch) = batches.last_mut() {
            batch.push(window);
        }
    }
    batches.shuffle(&mut rng);
    batches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_item_but_the_first_is_a_target_once(
            lengths in prop::collection::vec(1_usize..70, 1..20), length in 1_usize..30, positions in 1_usize..90,
            seed: u64,
        ) {
            let mut next = 0..;
            let histories: Vec<Vec<u32>> = lengths.iter().map(|&n| next.by_ref().take(n).collect()).collect();
            let views: Vec<&[u32]> = histories.iter().map(Vec::as_slice).collect();
            let batches = batches(&views, length, positions, seed, 3);
            let mut targets: Vec<u32> = Vec::new();
            for window in batches.iter().flatten() {
                prop_assert!(window.inputs.len() <= length);
                prop_assert!(window.inputs.iter().zip(window.targets).all(|(input, target)| input + 1 == *target));
                targets.extend(window.targets);
            }
            targets.sort_unstable();
            let expected: Vec<u32> = histories.iter().flat_map(|history| history[1..].to_vec()).collect();
            prop_assert_eq!(targets, expected);
        }
    }
}
