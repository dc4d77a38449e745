//! What nobody on the platform sees: each person's taste, each clip's appeal.

use std::collections::BTreeMap;

use kinora_schema::{UserId, VideoId};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::Prompt;

/// How much topic, colour and quality weigh in an affinity.
const TOPIC_WEIGHT: f64 = 1.4;
const COLOUR_WEIGHT: f64 = 1.0;
const QUALITY_WEIGHT: f64 = 0.5;
/// Most clips please most people less than half.
const BIAS: f64 = -0.5;

/// Tastes and traits; serialises for evaluation later.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    pub users: BTreeMap<UserId, Taste>,
    pub videos: BTreeMap<VideoId, Traits>,
}

/// What a person likes: standard normal weights by topic and by colour.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Taste {
    pub topics: BTreeMap<String, f64>,
    pub colours: BTreeMap<String, f64>,
}

/// What a clip has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Traits {
    pub topic: String,
    pub colours: Vec<String>,
    /// Standard normal; what everybody agrees on.
    pub quality: f64,
    pub creator: String,
}

impl Truth {
    /// How much `user` likes `video`, in [0, 1]; 0 for one that is not of this simulation.
    pub fn affinity(&self, user: &UserId, video: &VideoId) -> f64 {
        match (self.users.get(user), self.videos.get(video)) {
            (Some(taste), Some(traits)) => taste.affinity(traits),
            _ => 0.0,
        }
    }
}

impl Taste {
    pub(super) fn draw(prompts: &[Prompt], rng: &mut ChaCha8Rng) -> Self {
        let mut taste = Self::default();
        // In the order of names, so that the prompts' order does not change a person.
        let mut topics: Vec<&String> = prompts.iter().map(|prompt| &prompt.topic).collect();
        let mut colours: Vec<&String> = prompts.iter().flat_map(|prompt| &prompt.colours).collect();
        for names in [&mut topics, &mut colours] {
            names.sort_unstable();
            names.dedup();
        }
        taste.topics.extend(topics.into_iter().map(|topic| (topic.clone(), normal(rng))));
        taste.colours.extend(colours.into_iter().map(|colour| (colour.clone(), normal(rng))));
        taste
    }

    /// How much this person likes a clip, in [0, 1].
    pub fn affinity(&self, traits: &Traits) -> f64 {
        let weight =
            |weights: &BTreeMap<String, f64>, name: &String| weights.get(name).copied().unwrap_or(0.0);
        let topic = weight(&self.topics, &traits.topic);
        let colours: f64 = traits.colours.iter().map(|colour| weight(&self.colours, colour)).sum();
        let colour = colours / traits.colours.len().max(1) as f64;
        sigmoid(BIAS + TOPIC_WEIGHT * topic + COLOUR_WEIGHT * colour + QUALITY_WEIGHT * traits.quality)
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// A standard normal draw (Box-Muller).
pub(super) fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}
