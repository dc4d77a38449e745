//! Nothing that is meant for an older audience.

use crate::feed::candidate::Candidate;
use crate::feed::query::FeedQuery;
use crate::feed::stage::Filter;

#[derive(Clone, Copy, Debug)]
pub struct AgeFilter;

impl Filter for AgeFilter {
    fn reason(&self) -> &'static str {
        "age"
    }

    fn keep(&self, query: &FeedQuery, candidate: &Candidate) -> bool {
        candidate.audience <= query.age
    }
}
