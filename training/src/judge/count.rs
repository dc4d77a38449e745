//! How often: a figure's places enter, the number of its bounces or jumps leaves.
//!
//! A height that swings up and down is cut into falls and rises, each by more than places tremble; turns
//! between them are counted. No network could count better than that.

use super::figure::Spot;

/// Where things stand, as a share of the picture's height.
const FLOOR: f32 = 0.9;
/// How far above the floor a ball's lowest place still is a bounce: frames lie between the bounces.
const NEAR_FLOOR: f32 = 0.11;
/// A turn is as deep as this share of the picture's height at least.
const BOUNCE_DEPTH: f32 = 0.004;
const JUMP_DEPTH: f32 = 0.016;

/// Bounces of a ball off the floor.
pub(super) fn bounces(spots: &[Option<Spot>]) -> usize {
    let spots: Vec<Spot> = spots.iter().copied().flatten().collect();
    let heights: Vec<f32> = spots.iter().map(|spot| FLOOR - spot.y).collect();
    let mut radii: Vec<f32> = spots.iter().map(|spot| spot.radius).collect();
    radii.sort_by(f32::total_cmp);
    let radius = radii.get(radii.len() / 2).copied().unwrap_or(0.0);
    let turns = turns(&heights, BOUNCE_DEPTH);
    turns.iter().filter(|turn| turn.low && turn.height - radius < NEAR_FLOOR).count()
}

/// Jumps of a person.
pub(super) fn jumps(spots: &[Option<Spot>]) -> usize {
    let heights: Vec<f32> = spots.iter().flatten().map(|spot| FLOOR - spot.y).collect();
    // A limb as pale as the wall comes and goes from frame to frame; nobody jumps so fast.
    turns(&steady(&heights), JUMP_DEPTH).iter().filter(|turn| !turn.low).count()
}

/// Each value's median over two frames before and after it.
fn steady(heights: &[f32]) -> Vec<f32> {
    (0..heights.len())
        .map(|at| {
            let mut near = heights[at.saturating_sub(2)..(at + 3).min(heights.len())].to_vec();
            let middle = near.len() / 2;
            *near.select_nth_unstable_by(middle, f32::total_cmp).1
        })
        .collect()
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Turn {
    height: f32,
    /// From falling to rising.
    low: bool,
}

/// The turns between falls and rises by `depth` and more.
fn turns(heights: &[f32], depth: f32) -> Vec<Turn> {
    let Some(&first) = heights.first() else { return Vec::new() };
    let (mut lowest, mut highest) = (first, first);
    let mut rising = None;
    let mut found = Vec::new();
    for &height in heights {
        lowest = lowest.min(height);
        highest = highest.max(height);
        if rising != Some(true) && height > lowest + depth {
            // The first stretch has a beginning, not a turn.
            found.extend(rising.map(|_| Turn { height: lowest, low: true }));
            (rising, highest) = (Some(true), height);
        } else if rising != Some(false) && height < highest - depth {
            found.extend(rising.map(|_| Turn { height: highest, low: false }));
            (rising, lowest) = (Some(false), height);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clip::Clip;
    use crate::judge::figure::{Kind, spots};
    use crate::world::draw::render;
    use crate::world::{Event, Family};

    #[test]
    fn a_zigzag_turns_between_its_stretches() {
        let heights = [0.5, 0.3, 0.1, 0.101, 0.1, 0.2, 0.4, 0.2, 0.1, 0.1, 0.3];
        let found: Vec<bool> = turns(&heights, 0.02).iter().map(|turn| turn.low).collect();
        assert_eq!(found, [true, false, true]);
        assert!(turns(&[], 0.1).is_empty() && turns(&[0.3, 0.3], 0.1).is_empty());
    }

    #[test]
    fn every_bounce_of_the_corpus_is_counted() {
        for seed in 0..24 {
            let scene = Family::Bounce.sample(seed);
            let frames = render(&scene, 96, 96);
            let clip =
                Clip { width: 96, height: 96, fps: 24, frames, sample_rate: 12_000, samples: Vec::new() };
            let Event::Bounces(count) = scene.event else { panic!() };
            assert_eq!(bounces(&spots(&clip, Kind::Thing)), count as usize, "seed {seed}");
        }
    }

    #[test]
    fn a_limb_that_flickers_is_no_jump() {
        let spots: Vec<Option<Spot>> = (0..60)
            .map(|frame| Some(Spot { x: 0.5, y: if frame % 7 == 3 { 0.6 } else { 0.7 }, radius: 0.1 }))
            .collect();
        assert_eq!(jumps(&spots), 0);
    }

    #[test]
    fn jumps_are_the_highest_places() {
        let spot = |frame: usize| {
            let s = frame as f32 / 24.0 % 1.2;
            let rise = if s < 0.6 { 1.5 * s * (0.6 - s) } else { 0.0 };
            Some(Spot { x: 0.5, y: 0.7 - rise, radius: 0.1 })
        };
        let spots: Vec<Option<Spot>> = (0..60).map(spot).collect();
        assert_eq!(jumps(&spots), 2);
        assert_eq!(jumps(&spots[20..37]), 0);
    }
}
