//! Nothing of a creator that the person blocked, personalised or not.

use crate::feed::candidate::Candidate;
use crate::feed::query::FeedQuery;
use crate::feed::stage::Filter;

#[derive(Clone, Copy, Debug)]
pub struct BlockedFilter;

impl Filter for BlockedFilter {
    fn reason(&self) -> &'static str {
        "blocked"
    }

    fn keep(&self, query: &FeedQuery, candidate: &Candidate) -> bool {
        !query.blocked.contains(&candidate.creator_id)
    }
}
