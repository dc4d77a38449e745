//! What is popular where the person is, for those who allow their location.

use super::{SourceKind, best};
use crate::feed::candidate::Candidate;
use crate::feed::query::FeedQuery;
use crate::feed::scorers::Popularity;
use crate::feed::stage::Source;

const LIMIT: usize = 100;

/// Reads the same popularity as [`super::Trending`]. People write their places as they like: case does not count.
#[derive(Clone, Debug)]
pub struct Nearby<'a>(pub &'a Popularity);

impl Source for Nearby<'_> {
    fn kind(&self) -> SourceKind {
        SourceKind::Nearby
    }

    fn enabled(&self, query: &FeedQuery) -> bool {
        query.location.is_some()
    }

    fn retrieve(&self, query: &FeedQuery, pool: &[Candidate]) -> Vec<usize> {
        let Some(here) = query.location.as_deref().map(str::to_lowercase) else { return Vec::new() };
        best(
            pool,
            LIMIT,
            |candidate| candidate.location.as_deref().is_some_and(|place| place.to_lowercase() == here),
            |candidate| f64::from(self.0.value(candidate, query.now_ms)),
        )
    }
}
