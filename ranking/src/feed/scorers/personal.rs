//! Worth to this person: the ranker's predictions, weighed by what the platform values.

use crate::feed::Inputs;
use crate::feed::query::FeedQuery;
use crate::feed::stage::{Scored, Scorer};
use crate::feed::weights::Weights;
use crate::scorer::Ranker;

/// Scores the clips that there are inputs for; the others keep the value they have.
#[derive(Clone, Debug)]
pub struct Personal<'a> {
    pub ranker: &'a Ranker,
    pub inputs: &'a Inputs,
    pub weights: &'a Weights,
}

impl Scorer for Personal<'_> {
    fn name(&self) -> &'static str {
        "personal"
    }

    fn score(&self, query: &FeedQuery, clips: &mut [Scored]) {
        if !query.personalised {
            return;
        }
        let (mut places, mut inputs) = (Vec::new(), Vec::new());
        for (place, clip) in clips.iter().enumerate() {
            if let Some(input) = self.inputs.get(&clip.candidate.video_id) {
                places.push(place);
                inputs.push(input);
            }
        }
        match self.ranker.score(inputs) {
            Ok(predictions) => {
                for (place, prediction) in places.into_iter().zip(predictions) {
                    clips[place].set(self.weights.contributions(&prediction));
                    clips[place].prediction = Some(prediction);
                }
            }
            // A feed without the model is better than no feed.
            Err(error) => tracing::warn!(%error, "the feed falls back to popularity"),
        }
    }
}
