//! What the person said they do not want: a clip, or what clips are about.

use crate::feed::candidate::Candidate;
use crate::feed::query::FeedQuery;
use crate::feed::stage::Filter;
use crate::feed::steering::said;

/// Drops the very clips that the person wants to see less like; what is like them is worth less, by
/// [`crate::feed::scorers::LessLike`].
#[derive(Clone, Copy, Debug)]
pub struct NotInterestedFilter;

impl Filter for NotInterestedFilter {
    fn reason(&self) -> &'static str {
        "not_interested"
    }

    fn keep(&self, query: &FeedQuery, candidate: &Candidate) -> bool {
        !query.less.iter().any(|less| less.video_id == candidate.video_id)
    }
}

/// Drops what the person asked, in words, to see nothing of.
#[derive(Clone, Copy, Debug)]
pub struct SteeringFilter;

impl Filter for SteeringFilter {
    fn reason(&self) -> &'static str {
        "steered_away"
    }

    fn keep(&self, query: &FeedQuery, candidate: &Candidate) -> bool {
        query.steering.never.is_empty() || !query.steering.forbids(&said(candidate))
    }
}
