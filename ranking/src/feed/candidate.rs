//! A clip that the feed might show, with the facts that decide whether it may be.
//!
//! The facts are the caller's to look up. One that is not known is `Unknown`, and keeps the
//! clip out: safety fails closed.

use kinora_schema::ranking::Engagement;
use kinora_schema::{CreatorId, VideoId};
use serde::{Deserialize, Serialize};

/// A published clip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub video_id: VideoId,
    pub creator_id: CreatorId,
    /// UTC milliseconds since the epoch.
    pub created_ms: i64,
    pub duration_ms: i64,
    pub topic: Option<String>,
    pub caption: String,
    /// The coarse place that its creator published it with.
    pub location: Option<String>,
    pub moderation: Moderation,
    pub cameo: CameoConsent,
    /// The youngest that it may be shown to.
    pub audience: AgeBand,
    /// Whether its creator or a moderator marked it sensitive.
    pub sensitive: bool,
    /// How people have taken to it.
    pub engagement: Engagement,
}

/// Where moderation stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moderation {
    Cleared,
    /// Waiting for a decision.
    Pending,
    /// Taken out of feeds.
    Hidden,
    #[default]
    Unknown,
}

/// Whether every likeness in the clip is there with consent that holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CameoConsent {
    /// No cameo in it.
    NotUsed,
    Held,
    Revoked,
    #[default]
    Unknown,
}

/// Ages as the feed tells them apart, youngest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgeBand {
    #[default]
    Teen,
    Adult,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_allowed() {
        assert_eq!(Moderation::default(), Moderation::Unknown);
        assert_eq!(CameoConsent::default(), CameoConsent::Unknown);
    }
}
