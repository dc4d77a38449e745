//! A clip that the feed might show, with the facts that decide whether it may be.
//!
//! The facts are the caller's to look up. One that is not known is `Unknown`, and keeps the
//! clip out: safety fails closed.

use kinora_schema::ranking::{DENSE, DENSE_FEATURES};
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

/// How people have taken to a clip, all of them together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Engagement {
    pub impressions: f32,
    pub clicks: f32,
    pub long_views: f32,
    pub likes: f32,
}

impl Engagement {
    /// From the features of any person's input: those of the clip are the same for all.
    pub fn from_dense(dense: &[f32; DENSE]) -> Self {
        let of = |name: &str| {
            let value =
                DENSE_FEATURES.iter().position(|feature| *feature == name).map_or(0.0, |at| dense[at]);
            if value.is_finite() { value.max(0.0) } else { 0.0 }
        };
        let impressions = of("video_impressions").exp_m1();
        Self {
            impressions,
            clicks: impressions * of("video_click_rate"),
            long_views: impressions * of("video_long_view_rate"),
            likes: impressions * of("video_like_rate"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_allowed() {
        assert_eq!(Moderation::default(), Moderation::Unknown);
        assert_eq!(CameoConsent::default(), CameoConsent::Unknown);
    }

    #[test]
    fn counts_come_back_from_features() {
        let mut dense = [0.0; DENSE];
        let mut set = |name: &str, value: f32| {
            dense[DENSE_FEATURES.iter().position(|feature| *feature == name).unwrap()] = value;
        };
        set("video_impressions", 99.0_f32.ln_1p());
        set("video_like_rate", 0.1);
        let engagement = Engagement::from_dense(&dense);
        assert!((engagement.impressions - 99.0).abs() < 0.01);
        assert!((engagement.likes - 9.9).abs() < 0.01);
        assert_eq!(Engagement::from_dense(&[f32::NAN; DENSE]), Engagement::default());
    }
}
