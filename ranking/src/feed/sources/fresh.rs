//! Clips that few have seen, newest first: a new clip has no popularity to be found by.

use super::{SourceKind, best};
use crate::feed::candidate::Candidate;
use crate::feed::query::FeedQuery;
use crate::feed::stage::Source;

const LIMIT: usize = 500;

/// Below so many impressions a clip's rates say little.
pub const UNEXPLORED_IMPRESSIONS: f32 = 100.0;

#[derive(Clone, Copy, Debug)]
pub struct Fresh;

impl Source for Fresh {
    fn kind(&self) -> SourceKind {
        SourceKind::Fresh
    }

    fn retrieve(&self, _query: &FeedQuery, pool: &[Candidate]) -> Vec<usize> {
        best(
            pool,
            LIMIT,
            |candidate| candidate.engagement.impressions < UNEXPLORED_IMPRESSIONS,
            |candidate| candidate.created_ms as f64,
        )
    }
}
