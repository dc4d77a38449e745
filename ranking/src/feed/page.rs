//! A page of the feed, with everything that its log and its explanation need.

use std::collections::{BTreeMap, HashMap};

use kinora_schema::VideoId;
use serde::{Deserialize, Serialize};

use super::candidate::Candidate;
use super::sources::SourceKind;

/// A page of the feed, in the order to show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeedPage {
    pub items: Vec<FeedItem>,
    /// Clips that were considered and are not on the page, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// What entered and left each stage, in their order.
    pub stages: Vec<StageCount>,
    /// The recipe and model that made the page.
    pub policy: String,
    /// What became of each clip that is not on the page.
    #[serde(skip)]
    pub fates: HashMap<VideoId, Fate>,
    /// What the best clip that is not on the page would have been worth below it.
    pub runner_up: Option<f32>,
}

/// What became of a clip that is not on the page.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fate {
    /// The stage that dropped it, as in [`FeedPage::dropped`].
    pub reason: &'static str,
    /// What it was worth, where it came as far as being chosen from.
    pub worth: Option<f32>,
}

impl Fate {
    /// What would have had to be otherwise, in words for the engineer.
    pub fn remedy(&self) -> &'static str {
        match self.reason {
            "not_retrieved" => {
                "a source that finds it: a follow, its place, a history that leads to it, more impressions, or fewer \
                 newer clips"
            }
            "moderation" => "moderation clears it",
            "cameo" => "everyone whose likeness is in it consents",
            "age" => "the person is an adult",
            "sensitive" => "the person allows sensitive clips",
            "blocked" => "neither the person nor the creator blocks the other",
            "scrolled" => "a new scroll: this one has shown it",
            "not_interested" => "the person takes back that they want to see less like it",
            "steered_away" => "the person takes back the words that ask for none of it",
            "seen" => "a day goes by, or there is nothing else left to show",
            "below_the_page" => "a higher value than the clips on the page, or a longer page",
            _ => "nothing is known of this reason",
        }
    }
}

/// Why a clip is where it is on the page.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// All sources that found it.
    pub sources: Vec<SourceKind>,
    /// Filters that let it pass, in their order.
    pub passed: Vec<String>,
    /// What the score is the sum of: for an outcome its weight times its probability.
    pub contributions: BTreeMap<String, f32>,
    /// What its likeness to the clips above it took off the score for its place.
    pub likeness: f32,
    /// Contributions without any one of which another clip would be here.
    pub decisive: Vec<String>,
    /// The wish of the person that it meets best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wish: Option<String>,
}

/// One clip on the page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeedItem {
    pub candidate: Candidate,
    /// Zero-based place on the page.
    pub position: usize,
    pub source: SourceKind,
    /// Whether the score drew on what the person did before.
    pub personal: bool,
    /// Expected value of showing it. Null in JSON where it could not be computed.
    pub score: f32,
    /// Probability with which the policy shows this clip at this place, in (0, 1].
    pub propensity: f32,
    pub policy: String,
    /// The features it was scored on, and what was predicted from them.
    pub features: BTreeMap<String, f32>,
    pub why: Why,
}

impl FeedItem {
    /// Why it is on the page, in words for the person who sees it.
    pub fn reason(&self) -> &'static str {
        match self.source {
            SourceKind::Steered => "what you asked for",
            SourceKind::Following => "from a creator you follow",
            SourceKind::Nearby => "popular near you",
            SourceKind::Sequence => "what people who watched the same went on to",
            SourceKind::Alike => "like a clip that you liked",
            SourceKind::Trending if self.personal => "like clips that you enjoyed",
            SourceKind::Trending => "popular with everyone",
            SourceKind::Fresh => "new here",
            SourceKind::Exploration => "new: shown to find out who likes it",
            SourceKind::Newcomer => "from a creator who is new here",
            SourceKind::Backfill => "seen before, and there is nothing newer for you now",
        }
    }
}

/// What entered and left one stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageCount {
    pub stage: String,
    pub entered: usize,
    pub left: usize,
}
