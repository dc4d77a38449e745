//! What the person asked for in words.

use super::{SourceKind, best};
use crate::feed::candidate::Candidate;
use crate::feed::query::FeedQuery;
use crate::feed::stage::Source;
use crate::feed::steering::said;

const LIMIT: usize = 500;

#[derive(Clone, Copy, Debug)]
pub struct Steered;

impl Source for Steered {
    fn kind(&self) -> SourceKind {
        SourceKind::Steered
    }

    fn enabled(&self, query: &FeedQuery) -> bool {
        !query.steering.more.is_empty()
    }

    fn retrieve(&self, query: &FeedQuery, pool: &[Candidate]) -> Vec<usize> {
        let leaning = |candidate: &Candidate| query.steering.leaning(&said(candidate));
        best(pool, LIMIT, |candidate| leaning(candidate) > 0.0, |candidate| f64::from(leaning(candidate)))
    }
}
