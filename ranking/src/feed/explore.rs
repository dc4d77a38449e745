//! Places on the page for what is little known, drawn at random and logged with their probability:
//! without them the feed would only ever learn about what it already shows.
//!
//! One is for clips that few have met, one for creators whom few have met. The two are drawn from clips
//! apart, so that each draw has one probability whatever the other drew.

use std::collections::HashMap;

use kinora_harness::seed::derive;
use kinora_schema::CreatorId;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::candidate::Candidate;
use super::query::FeedQuery;
use super::sources::{SourceKind, UNEXPLORED_IMPRESSIONS};
use super::stage::Scored;

/// The place of the explored clip, from zero: seen by most, but not the first impression.
pub const PLACE: usize = 3;
/// The place of a new creator's clip.
pub const NEWCOMER_PLACE: usize = 6;

/// A creator is new until all their clips together were shown so often.
pub const NEWCOMER_IMPRESSIONS: f32 = 100.0;

/// Who is new here.
#[derive(Clone, Debug)]
pub struct Newcomers(HashMap<CreatorId, f32>);

impl Newcomers {
    /// Counts the impressions of each creator's clips.
    pub fn of(pool: &[Candidate]) -> Self {
        let mut impressions = HashMap::<_, f32>::new();
        for candidate in pool {
            *impressions.entry(candidate.creator_id.clone()).or_default() += candidate.engagement.impressions;
        }
        Self(impressions)
    }

    fn include(&self, creator: &CreatorId) -> bool {
        self.0.get(creator).is_some_and(|&impressions| impressions < NEWCOMER_IMPRESSIONS)
    }
}

/// A place that is drawn for.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    pub place: usize,
    pub source: SourceKind,
}

/// The places that a page of `limit` items has to explore.
pub fn slots(limit: usize) -> impl Iterator<Item = Slot> {
    let slots = [
        Slot { place: PLACE, source: SourceKind::Exploration },
        Slot { place: NEWCOMER_PLACE, source: SourceKind::Newcomer },
    ];
    slots.into_iter().filter(move |slot| slot.place < limit)
}

impl Slot {
    /// Draws a clip for the place among `rest`. Each that it is for is as likely as any other, and the
    /// probability comes with it.
    pub fn draw(
        self,
        query: &FeedQuery,
        newcomers: &Newcomers,
        rest: &mut Vec<Scored>,
    ) -> Option<(Scored, f32)> {
        let is_for = |candidate: &Candidate| match self.source {
            SourceKind::Newcomer => newcomers.include(&candidate.creator_id),
            _ => {
                candidate.engagement.impressions < UNEXPLORED_IMPRESSIONS
                    && !newcomers.include(&candidate.creator_id)
            }
        };
        let mut eligible: Vec<usize> = (0..rest.len()).filter(|&at| is_for(&rest[at].candidate)).collect();
        if eligible.is_empty() {
            return None;
        }
        // By id, so that the draw does not depend on how the scores ordered them.
        eligible.sort_by(|&a, &b| rest[a].candidate.video_id.cmp(&rest[b].candidate.video_id));
        let seed = derive(query.seed, &format!("{} {}", self.source.as_str(), query.now_ms));
        let drawn = eligible[ChaCha8Rng::seed_from_u64(seed).random_range(0..eligible.len())];
        let mut clip = rest.remove(drawn);
        clip.sources.insert(0, self.source);
        Some((clip, 1.0 / eligible.len() as f32))
    }
}
