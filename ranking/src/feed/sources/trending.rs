//! What is popular with everyone. On a platform whose clips fit in memory this is also the
//! catalogue that the ranker chooses from.

use super::{SourceKind, best};
use crate::feed::candidate::Candidate;
use crate::feed::query::FeedQuery;
use crate::feed::scorers::Popularity;
use crate::feed::stage::Source;

const LIMIT: usize = 1_000;

#[derive(Clone, Debug)]
pub struct Trending<'a>(pub &'a Popularity);

impl Source for Trending<'_> {
    fn kind(&self) -> SourceKind {
        SourceKind::Trending
    }

    fn retrieve(&self, query: &FeedQuery, pool: &[Candidate]) -> Vec<usize> {
        best(
            pool,
            LIMIT,
            |candidate| candidate.engagement.impressions >= super::UNEXPLORED_IMPRESSIONS,
            |candidate| f64::from(self.0.value(candidate, query.now_ms)),
        )
    }
}
