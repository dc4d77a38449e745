//! What retrieval found by what the person had before, in its order.

use std::collections::HashMap;

use super::SourceKind;
use crate::feed::candidate::Candidate;
use crate::feed::query::FeedQuery;
use crate::feed::stage::Source;

#[derive(Clone, Copy, Debug)]
pub struct Sequence;

impl Source for Sequence {
    fn kind(&self) -> SourceKind {
        SourceKind::Sequence
    }

    fn enabled(&self, query: &FeedQuery) -> bool {
        !query.retrieved.is_empty()
    }

    fn retrieve(&self, query: &FeedQuery, pool: &[Candidate]) -> Vec<usize> {
        let places: HashMap<_, _> = pool.iter().enumerate().map(|(at, clip)| (&clip.video_id, at)).collect();
        query.retrieved.iter().filter_map(|video| places.get(video).copied()).collect()
    }
}
