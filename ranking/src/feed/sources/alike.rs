//! What is like the clips that the person liked last, item by item, in the order of likeness.

use std::collections::HashMap;

use super::SourceKind;
use crate::feed::candidate::Candidate;
use crate::feed::query::FeedQuery;
use crate::feed::stage::Source;

#[derive(Clone, Copy, Debug)]
pub struct Alike;

impl Source for Alike {
    fn kind(&self) -> SourceKind {
        SourceKind::Alike
    }

    fn enabled(&self, query: &FeedQuery) -> bool {
        !query.alike.is_empty()
    }

    fn retrieve(&self, query: &FeedQuery, pool: &[Candidate]) -> Vec<usize> {
        let places: HashMap<_, _> = pool.iter().enumerate().map(|(at, clip)| (&clip.video_id, at)).collect();
        query.alike.iter().filter_map(|video| places.get(video).copied()).collect()
    }
}
