//! Worth by what the person asked for in words: a clip that meets a wish wholly stands above every clip
//! that does not, whatever else is known; among those that meet it alike, all else decides.

use crate::feed::query::FeedQuery;
use crate::feed::stage::{Scored, Scorer, spread};
use crate::feed::steering::said;

#[derive(Clone, Copy, Debug)]
pub struct Steered;

impl Scorer for Steered {
    fn name(&self) -> &'static str {
        "steered"
    }

    fn score(&self, query: &FeedQuery, clips: &mut [Scored]) {
        if query.steering.is_empty() {
            return;
        }
        let spread = spread(clips);
        for clip in clips {
            let leaning = query.steering.leaning(&said(&clip.candidate));
            if leaning != 0.0 {
                clip.add("steering", leaning * spread);
            }
        }
    }
}
