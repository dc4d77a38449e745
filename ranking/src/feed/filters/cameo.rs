//! Only likenesses whose consent holds now: revoked and unknown stay out.

use crate::feed::candidate::{CameoConsent, Candidate};
use crate::feed::query::FeedQuery;
use crate::feed::stage::Filter;

#[derive(Clone, Copy, Debug)]
pub struct CameoFilter;

impl Filter for CameoFilter {
    fn reason(&self) -> &'static str {
        "cameo"
    }

    fn keep(&self, _query: &FeedQuery, candidate: &Candidate) -> bool {
        matches!(candidate.cameo, CameoConsent::NotUsed | CameoConsent::Held)
    }
}
