//! Sensitive clips only where the person, and their guardian where they have one, allow them.

use crate::feed::candidate::Candidate;
use crate::feed::query::FeedQuery;
use crate::feed::stage::Filter;

#[derive(Clone, Copy, Debug)]
pub struct SensitiveFilter;

impl Filter for SensitiveFilter {
    fn reason(&self) -> &'static str {
        "sensitive"
    }

    fn keep(&self, query: &FeedQuery, candidate: &Candidate) -> bool {
        query.sensitive || !candidate.sensitive
    }
}
