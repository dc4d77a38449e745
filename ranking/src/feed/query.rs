//! Who asks for a page, when, and what they allow.
//!
//! INVARIANT: with personalisation off, nothing that differs between two people of one age band,
//! the same blocks and the same wishes in words survives [`FeedQuery::permitted`], and every later stage sees only what
//! that returns.

use std::collections::HashSet;

use kinora_schema::{CreatorId, UserId, VideoId};

use super::candidate::{AgeBand, Candidate};
use super::steering::{self, Steering};

/// With personalisation off, all who ask within this long are given the same.
const SHARED_MS: i64 = 3_600_000;

/// A request for a page of the feed.
#[derive(Clone, Debug)]
pub struct FeedQuery {
    pub user_id: UserId,
    /// The clock, in UTC milliseconds since the epoch.
    pub now_ms: i64,
    /// Whether the person, and their guardian where they have one, allow personal signals.
    pub personalised: bool,
    pub age: AgeBand,
    /// Whether clips marked sensitive may be shown.
    pub sensitive: bool,
    pub blocked: HashSet<CreatorId>,
    pub following: HashSet<CreatorId>,
    /// Clips that the person was shown lately.
    pub seen: HashSet<VideoId>,
    /// Clips earlier in this very scroll, from the page's cursor: never repeated, personalised
    /// or not.
    pub scrolled: HashSet<VideoId>,
    /// The coarse place of the person, where they allow it.
    pub location: Option<String>,
    /// Clips that retrieval found for the person by what they had before, best first.
    pub retrieved: Vec<VideoId>,
    /// Clips that retrieval found to be like those that the person liked last, best first.
    pub alike: Vec<VideoId>,
    /// What the person asked for in words.
    pub steering: Steering,
    /// Clips that they want to see less like.
    pub less: Vec<Less>,
    /// Items wanted.
    pub limit: usize,
    /// Decides what is explored.
    pub seed: u64,
}

/// A clip that a person wants to see less like, as far as likeness is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Less {
    pub video_id: VideoId,
    pub creator_id: CreatorId,
    pub topic: Option<String>,
    /// Stems of the words that it is described by.
    pub said: HashSet<String>,
}

impl Less {
    pub fn of(candidate: &Candidate) -> Self {
        Self {
            video_id: candidate.video_id.clone(),
            creator_id: candidate.creator_id.clone(),
            topic: candidate.topic.clone(),
            said: steering::said(candidate),
        }
    }
}

impl FeedQuery {
    /// What the stages may use: everything, or with personalisation off only what safety needs
    /// (age, sensitivity, blocks), what the person asks for in so many words, the scroll position
    /// and the hour.
    #[must_use]
    pub fn permitted(&self) -> Self {
        if self.personalised {
            return self.clone();
        }
        let hour = self.now_ms.div_euclid(SHARED_MS);
        Self {
            user_id: UserId::new(""),
            now_ms: hour * SHARED_MS,
            following: HashSet::new(),
            seen: HashSet::new(),
            location: None,
            retrieved: Vec::new(),
            alike: Vec::new(),
            less: Vec::new(),
            seed: hour.cast_unsigned(),
            ..self.clone()
        }
    }
}
