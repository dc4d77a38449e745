//! Only what moderation has cleared: pending, hidden and unknown stay out.

use crate::feed::candidate::{Candidate, Moderation};
use crate::feed::query::FeedQuery;
use crate::feed::stage::Filter;

#[derive(Clone, Copy, Debug)]
pub struct ModerationFilter;

impl Filter for ModerationFilter {
    fn reason(&self) -> &'static str {
        "moderation"
    }

    fn keep(&self, _query: &FeedQuery, candidate: &Candidate) -> bool {
        candidate.moderation == Moderation::Cleared
    }
}
