//! One place on the page for a clip that is little known, drawn at random and logged with its
//! probability: without it the feed would only ever learn about what it already shows.

use kinora_harness::seed::derive;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::query::FeedQuery;
use super::sources::UNEXPLORED_IMPRESSIONS;
use super::stage::Scored;

/// The place of the explored clip, from zero: seen by most, but not the first impression.
pub const PLACE: usize = 3;

/// Whether a page of `limit` items has a place to explore.
pub fn has_place(limit: usize) -> bool {
    limit > PLACE
}

/// Draws one of the little known among `rest`. Each is as likely as any other, and the
/// probability comes with it.
pub fn draw(query: &FeedQuery, rest: &mut Vec<Scored>) -> Option<(Scored, f32)> {
    let mut eligible: Vec<usize> = (0..rest.len())
        .filter(|&at| rest[at].candidate.engagement.impressions < UNEXPLORED_IMPRESSIONS)
        .collect();
    if eligible.is_empty() {
        return None;
    }
    // By id, so that the draw does not depend on how the scores ordered them.
    eligible.sort_by(|&a, &b| rest[a].candidate.video_id.cmp(&rest[b].candidate.video_id));
    let seed = derive(query.seed, &format!("explore {}", query.now_ms));
    let drawn = eligible[ChaCha8Rng::seed_from_u64(seed).random_range(0..eligible.len())];
    Some((rest.remove(drawn), 1.0 / eligible.len() as f32))
}
