//! The newest clips of creators that the person follows.

use super::{SourceKind, best};
use crate::feed::candidate::Candidate;
use crate::feed::query::FeedQuery;
use crate::feed::stage::Source;

const LIMIT: usize = 300;

#[derive(Clone, Copy, Debug)]
pub struct Following;

impl Source for Following {
    fn kind(&self) -> SourceKind {
        SourceKind::Following
    }

    fn enabled(&self, query: &FeedQuery) -> bool {
        !query.following.is_empty()
    }

    fn retrieve(&self, query: &FeedQuery, pool: &[Candidate]) -> Vec<usize> {
        best(
            pool,
            LIMIT,
            |candidate| query.following.contains(&candidate.creator_id),
            |candidate| candidate.created_ms as f64,
        )
    }
}
