//! Nothing twice: not what the person saw lately, and not what lies further up this scroll.

use crate::feed::candidate::Candidate;
use crate::feed::query::FeedQuery;
use crate::feed::stage::Filter;

/// Drops what the person was shown lately. With personalisation off nothing counts as seen: a
/// history would make two people's feeds differ.
#[derive(Clone, Copy, Debug)]
pub struct SeenFilter;

impl Filter for SeenFilter {
    fn reason(&self) -> &'static str {
        "seen"
    }

    fn keep(&self, query: &FeedQuery, candidate: &Candidate) -> bool {
        !query.seen.contains(&candidate.video_id)
    }
}

/// Drops what earlier pages of this scroll have shown.
#[derive(Clone, Copy, Debug)]
pub struct ScrolledFilter;

impl Filter for ScrolledFilter {
    fn reason(&self) -> &'static str {
        "scrolled"
    }

    fn keep(&self, query: &FeedQuery, candidate: &Candidate) -> bool {
        !query.scrolled.contains(&candidate.video_id)
    }
}
