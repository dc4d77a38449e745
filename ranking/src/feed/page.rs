//! A page of the feed, with everything that its log and its explanation need.

use std::collections::BTreeMap;

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
}

impl FeedItem {
    /// Why it is on the page, in words for the person who sees it.
    pub fn reason(&self) -> &'static str {
        match self.source {
            SourceKind::Following => "from a creator you follow",
            SourceKind::Nearby => "popular near you",
            SourceKind::Trending if self.personal => "like clips that you enjoyed",
            SourceKind::Trending => "popular with everyone",
            SourceKind::Fresh => "new here",
            SourceKind::Exploration => "new: shown to find out who likes it",
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
