//! What the feed keeps between requests: the ranker, where one was trained, and the engagement
//! that everyone without personalisation is shown by.
//!
//! INVARIANT: within an hour two people without personalisation are ranked by the same numbers:
//! one person's scrolling must not show in another's order.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use kinora_pipelines::features::FeatureState;
use kinora_ranking::feed::{Candidate, Engagement, FeedQuery};
use kinora_ranking::{Ranker, RankingError};
use kinora_schema::VideoId;
use thiserror::Error;

const HOUR_MS: i64 = 3_600_000;

#[derive(Debug, Error)]
#[error("cannot load the feed's ranker")]
pub struct FeedError(#[from] RankingError);

#[derive(Debug, Default)]
pub struct FeedState {
    ranker: Option<Ranker>,
    shared: Mutex<Shared>,
}

/// The engagement of this hour, as it was when each clip was first asked for.
#[derive(Debug, Default)]
struct Shared {
    hour: i64,
    engagement: HashMap<VideoId, Engagement>,
}

impl FeedState {
    /// Loads the ranker in `models_dir/ranker`, where there is one.
    pub fn load(models_dir: &Path) -> Result<Self, FeedError> {
        let ranker = match Ranker::load(&models_dir.join("ranker")) {
            Ok(ranker) => Some(ranker),
            Err(RankingError::NoRanker { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { ranker, shared: Mutex::default() })
    }

    pub(super) fn ranker(&self) -> Option<&Ranker> {
        self.ranker.as_ref()
    }

    /// Fills in how people have taken to each clip.
    pub(super) fn set_engagement(
        &self,
        query: &FeedQuery,
        candidates: &mut [Candidate],
        features: &FeatureState,
    ) {
        if query.personalised {
            for candidate in candidates {
                candidate.engagement = features.engagement(&candidate.video_id);
            }
            return;
        }
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let hour = query.now_ms.div_euclid(HOUR_MS);
        if shared.hour != hour {
            *shared = Shared { hour, engagement: HashMap::new() };
        }
        for candidate in candidates {
            let engagement = features.engagement(&candidate.video_id);
            candidate.engagement = *shared.engagement.entry(candidate.video_id.clone()).or_insert(engagement);
        }
    }
}
