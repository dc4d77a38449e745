//! A page that is not all of one kind: scored clips enter, the chosen ones leave in order.
//!
//! Each place goes to the clip whose value, discounted by its likeness to what is above it, is
//! greatest. A creator's second clip counts half, and no further one less than a quarter, so
//! that a page is not one creator's while others have something to say nearly as good.

use super::query::FeedQuery;
use super::stage::{Scored, Selector};

/// What remains of a creator's share with each further clip, and at least.
const CREATOR_DECAY: f32 = 0.5;
const CREATOR_FLOOR: f32 = 0.25;
/// What a clip loses where its topic fills all of the window above.
const TOPIC_LIKENESS: f32 = 0.2;
/// Places above in which a topic is remembered.
const TOPIC_WINDOW: usize = 3;

/// Greedy choice with a discount for repeated creators and topics.
#[derive(Clone, Copy, Debug)]
pub struct Diverse;

impl Selector for Diverse {
    fn select(&self, _query: &FeedQuery, clips: &mut Vec<Scored>, count: usize) -> Vec<Scored> {
        clips.sort_by(Scored::order);
        let mut chosen: Vec<Scored> = Vec::new();
        while chosen.len() < count && !clips.is_empty() {
            let worth = |clip: &Scored| {
                if clip.value.is_finite() { clip.value - discount(clip, &chosen) } else { f32::NEG_INFINITY }
            };
            // Clips are in order of value: among equals the first is the one.
            let mut best = 0;
            let mut best_worth = worth(&clips[0]);
            for (place, clip) in clips.iter().enumerate().skip(1) {
                let worth = worth(clip);
                if worth > best_worth {
                    (best, best_worth) = (place, worth);
                }
            }
            let mut clip = clips.remove(best);
            clip.likeness = discount(&clip, &chosen);
            chosen.push(clip);
        }
        chosen
    }
}

/// What a clip loses below `above`. On the value's own scale, so that it never helps a harmful clip.
pub fn discount(clip: &Scored, above: &[Scored]) -> f32 {
    if clip.value.is_finite() { likeness(clip, above) * clip.value.abs() } else { 0.0 }
}

/// Between 0 and 1: how much of the same the clip would be below `above`.
fn likeness(clip: &Scored, above: &[Scored]) -> f32 {
    let creator = &clip.candidate.creator_id;
    let clips = above.iter().filter(|shown| shown.candidate.creator_id == *creator).count();
    let share = CREATOR_DECAY.powi(i32::try_from(clips).unwrap_or(i32::MAX)).max(CREATOR_FLOOR);
    let near = above.iter().rev().take(TOPIC_WINDOW);
    let topic = clip.candidate.topic.is_some();
    let repeats = near.filter(|shown| topic && shown.candidate.topic == clip.candidate.topic).count();
    let creator_likeness = if clips == 0 { 0.0 } else { 1.0 - share };
    creator_likeness + TOPIC_LIKENESS * repeats as f32 / TOPIC_WINDOW as f32
}
