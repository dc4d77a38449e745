//! Worth less by likeness to clips that the person wants to see less like.

use crate::feed::query::{FeedQuery, Less};
use crate::feed::stage::{Scored, Scorer, spread};

/// Shares of likeness: one creator, one topic, and the same words. Together 1.
const CREATOR: f32 = 0.3;
const TOPIC: f32 = 0.3;
const WORDS: f32 = 0.4;

#[derive(Clone, Copy, Debug)]
pub struct LessLike;

impl Scorer for LessLike {
    fn name(&self) -> &'static str {
        "less_like"
    }

    fn score(&self, query: &FeedQuery, clips: &mut [Scored]) {
        if query.less.is_empty() {
            return;
        }
        let spread = spread(clips);
        for clip in clips {
            let own = Less::of(&clip.candidate);
            let likeness = query.less.iter().map(|less| likeness(less, &own)).fold(0.0, f32::max);
            if likeness > 0.0 {
                clip.add("less_like", -likeness * spread);
            }
        }
    }
}

/// Between 0 and 1.
fn likeness(one: &Less, other: &Less) -> f32 {
    let both = one.said.intersection(&other.said).count() as f32;
    let either = one.said.union(&other.said).count().max(1) as f32;
    let share = |alike: bool, share: f32| if alike { share } else { 0.0 };
    share(one.creator_id == other.creator_id, CREATOR)
        + share(one.topic.is_some() && one.topic == other.topic, TOPIC)
        + WORDS * both / either
}
