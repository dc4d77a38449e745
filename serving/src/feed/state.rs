//! What the feed keeps between requests: the rankers in force, and the engagement that everyone without
//! personalisation is shown by.
//!
//! INVARIANT: within an hour two people without personalisation are ranked by the same numbers:
//! one person's scrolling must not show in another's order. And a ranker that cannot be loaded never takes
//! the place of one that can, nor does one in the shadow keep a champion from coming into force.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use kinora_pipelines::features::FeatureState;
use kinora_ranking::feed::{Candidate, Engagement, FeedQuery};
use kinora_ranking::retrieval::Seeker;
use kinora_ranking::rollout::{Aliases, Rankers};
use kinora_ranking::{Ranker, RankingError};
use kinora_schema::VideoId;
use thiserror::Error;

use super::place::{Cities, CitiesError};

const HOUR_MS: i64 = 3_600_000;
/// How often the names of the rankers are read again.
const FOLLOWED_EVERY: Duration = Duration::from_secs(1);
/// Counts rankers that were named and could not be loaded.
const LOAD_FAILURES: &str = "kinora_ranker_load_failures_total";

#[derive(Debug, Error)]
pub enum FeedError {
    #[error("cannot load the feed's ranker")]
    Ranker(#[from] RankingError),
    #[error("cannot load the feed's retrieval model")]
    Retrieval(#[source] RankingError),
    #[error(transparent)]
    Cities(#[from] CitiesError),
}

#[derive(Debug)]
pub struct FeedState {
    /// Where addresses are, if that is to be known.
    pub(super) cities: Option<Cities>,
    /// What finds clips by what people had before, where a model was trained.
    pub(super) seeker: Option<Seeker>,
    rankers: Rankers,
    in_force: RwLock<Arc<InForce>>,
    followed: Mutex<Followed>,
    shared: Mutex<Shared>,
}

/// The rankers of one moment. A request keeps to those that it began with.
#[derive(Debug, Default)]
pub(super) struct InForce {
    pub(super) champion: Option<Ranker>,
    pub(super) shadow: Option<Shadow>,
}

/// A version that scores what the champion showed.
#[derive(Debug)]
pub(super) struct Shadow {
    pub(super) version: String,
    pub(super) ranker: Ranker,
}

/// When the names were read last, and what they were.
#[derive(Debug)]
struct Followed {
    read: Instant,
    aliases: Aliases,
}

/// The engagement of this hour, as it was when each clip was first asked for.
#[derive(Debug, Default)]
struct Shared {
    hour: i64,
    engagement: HashMap<VideoId, Engagement>,
}

impl FeedState {
    /// Loads the rankers that `models_dir/rankers` names, where it names any, the retrieval model in
    /// `models_dir/retrieval`, where there is one, and the database of cities.
    pub fn load(
        models_dir: &Path,
        cities: Option<&Path>,
        features: &FeatureState,
    ) -> Result<Self, FeedError> {
        let cities = cities.map(Cities::open).transpose()?;
        let tokens_of = |clip: &str| Some(features.video_tokens(&VideoId::from(clip)));
        let seeker = match Seeker::load(&models_dir.join("retrieval"), tokens_of) {
            Ok(seeker) => Some(seeker),
            Err(RankingError::NoRetriever { .. }) => None,
            Err(error) => return Err(FeedError::Retrieval(error)),
        };
        let rankers = Rankers::at(models_dir.join("rankers"));
        let aliases = rankers.aliases()?;
        let in_force = InForce::load(&rankers, &aliases)?;
        Ok(Self {
            cities,
            seeker,
            rankers,
            in_force: RwLock::new(Arc::new(in_force)),
            followed: Mutex::new(Followed { read: Instant::now(), aliases }),
            shared: Mutex::default(),
        })
    }

    /// The rankers in force. Follows the names once a second, and then loads what they point to: to be called
    /// where blocking is allowed.
    pub(super) fn rankers(&self) -> Arc<InForce> {
        // Whoever comes while another loads goes on with what there is.
        if let Ok(mut followed) = self.followed.try_lock()
            && followed.read.elapsed() >= FOLLOWED_EVERY
        {
            self.follow(&mut followed);
        }
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn follow(&self, followed: &mut Followed) {
        followed.read = Instant::now();
        let loaded = self.rankers.aliases().and_then(|aliases| {
            if aliases == followed.aliases {
                return Ok(None);
            }
            // Remembered even where loading fails, so that the failure is told once.
            followed.aliases = aliases;
            InForce::load(&self.rankers, &followed.aliases).map(Some)
        });
        match loaded {
            Ok(None) => {}
            Ok(Some(in_force)) => {
                tracing::info!(aliases = ?followed.aliases, "the feed follows other rankers");
                *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(in_force);
            }
            Err(error) => {
                metrics::counter!(LOAD_FAILURES).increment(1);
                tracing::error!(%error, "the feed keeps its ranker: the one named cannot be loaded");
            }
        }
    }

    #[cfg(test)]
    pub(super) fn follow_now(&self) {
        self.follow(&mut self.followed.lock().unwrap());
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

impl InForce {
    /// Loads what the names point to. Without its shadow the feed is whole: one that cannot be loaded is told
    /// and left out, so that a server starts and a rollback is followed whatever became of what was being tried.
    fn load(rankers: &Rankers, aliases: &Aliases) -> Result<Self, RankingError> {
        let champion = aliases.champion.as_deref().map(|version| rankers.load(version)).transpose()?;
        let shadow = aliases.shadow.clone().and_then(|version| match rankers.load(&version) {
            Ok(ranker) => Some(Shadow { version, ranker }),
            Err(error) => {
                metrics::counter!(LOAD_FAILURES).increment(1);
                tracing::error!(%error, "no ranker scores in the shadow: the one named cannot be loaded");
                None
            }
        });
        Ok(Self { champion, shadow })
    }
}
