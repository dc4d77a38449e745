//! Worth by popularity and freshness: the same for everyone, and there without any model.
//!
//! Values are on the scale of the ranker's, with the platform's weights on observed rates, so
//! that clips scored either way can stand on one page.

use kinora_schema::ranking::Engagement;

use crate::feed::candidate::Candidate;
use crate::feed::query::FeedQuery;
use crate::feed::stage::{Scored, Scorer};
use crate::feed::weights::Weights;

/// Impressions' worth of the platform's mean that every clip starts with.
const PRIOR_IMPRESSIONS: f32 = 20.0;
/// Time in which a clip's news halves.
const HALF_LIFE_MS: f32 = 3.0 * 86_400_000.0;
/// What is left of an old clip's value.
const OLD_SHARE: f32 = 0.3;
/// What being new is worth by itself, which orders clips that nobody has met.
const NEWS_VALUE: f32 = 0.02;

/// Observed rates smoothed towards those of the whole pool.
#[derive(Clone, Debug)]
pub struct Popularity {
    weights: Weights,
    prior: Engagement,
}

impl Popularity {
    /// Learns the platform's mean rates from the pool.
    pub fn of(pool: &[Candidate], weights: &Weights) -> Self {
        let sum = |of: fn(&Engagement) -> f32| {
            pool.iter()
                .map(|candidate| of(&candidate.engagement))
                .filter(|count| count.is_finite())
                .map(f64::from)
                .sum::<f64>()
        };
        let impressions = sum(|engagement| engagement.impressions).max(1.0);
        let rate = |count: f64| (count / impressions) as f32;
        Self {
            weights: weights.clone(),
            prior: Engagement {
                impressions: PRIOR_IMPRESSIONS,
                clicks: PRIOR_IMPRESSIONS * rate(sum(|engagement| engagement.clicks)),
                long_views: PRIOR_IMPRESSIONS * rate(sum(|engagement| engagement.long_views)),
                likes: PRIOR_IMPRESSIONS * rate(sum(|engagement| engagement.likes)),
            },
        }
    }

    /// Expected value of showing the clip to anyone.
    pub fn value(&self, candidate: &Candidate, now_ms: i64) -> f32 {
        self.contributions(candidate, now_ms).into_iter().map(|(_, value)| value).sum()
    }

    /// What each observed rate adds to that, and being new.
    pub fn contributions(&self, candidate: &Candidate, now_ms: i64) -> [(&'static str, f32); 4] {
        let Engagement { impressions, clicks, long_views, likes } = candidate.engagement;
        let shown = impressions + self.prior.impressions;
        let age_ms = now_ms.saturating_sub(candidate.created_ms).max(0) as f32;
        let news = (-age_ms / HALF_LIFE_MS).exp2();
        let share = (OLD_SHARE + (1.0 - OLD_SHARE) * news) / shown;
        [
            ("click", self.weights.click * (clicks + self.prior.clicks) * share),
            ("long_view", self.weights.long_view * (long_views + self.prior.long_views) * share),
            ("like", self.weights.like * (likes + self.prior.likes) * share),
            ("new", NEWS_VALUE * news),
        ]
    }
}

impl Scorer for Popularity {
    fn name(&self) -> &'static str {
        "popularity"
    }

    fn score(&self, query: &FeedQuery, clips: &mut [Scored]) {
        for clip in clips {
            clip.set(self.contributions(&clip.candidate, query.now_ms));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{AgeBand, CameoConsent, Moderation};

    fn clip(clicks: f32) -> Candidate {
        Candidate {
            video_id: "v".into(),
            creator_id: "c".into(),
            created_ms: 0,
            duration_ms: 4_000,
            topic: None,
            caption: String::new(),
            location: None,
            moderation: Moderation::Cleared,
            cameo: CameoConsent::NotUsed,
            audience: AgeBand::Teen,
            sensitive: false,
            engagement: Engagement { impressions: 20.0, clicks, ..Engagement::default() },
        }
    }

    #[test]
    fn a_clip_is_half_its_own_record_after_as_many_impressions_as_the_prior() {
        let weights = Weights::default();
        let popularity = Popularity::of(&[clip(0.0), clip(20.0)], &weights);
        let far_future_ms = 100 * 365 * 86_400_000;
        for (clicks, rate) in [(0.0, 0.25), (20.0, 0.75)] {
            let value = popularity.value(&clip(clicks), far_future_ms);
            assert!((value - weights.click * rate * OLD_SHARE).abs() < 1e-6, "{value}");
        }
    }
}
