//! The feed: a person's query and the clips there are enter, a page leaves.
//!
//! Folders are the stages in order: [`sources`] say where a clip came from, [`filters`] say why
//! it may not be shown, [`scorers`] say what it is worth, [`select`] and [`explore`] make the
//! page. [`recipe`] is the journey, top to bottom. All are pure functions over values: the
//! caller gathers candidates and features, and logs what was shown.

pub mod candidate;
pub mod experiment;
pub mod explore;
pub mod filters;
pub mod page;
pub mod query;
pub mod recipe;
pub mod scorers;
pub mod select;
pub mod sources;
pub mod stage;
pub mod steering;
pub mod weights;

pub use candidate::{AgeBand, CameoConsent, Candidate, Moderation};
pub use experiment::{Arm, Experiment, Recipes};
pub use kinora_schema::ranking::Engagement;
pub use page::{Fate, FeedItem, FeedPage, StageCount, Why};
pub use query::{FeedQuery, Less};
pub use sources::SourceKind;
pub use steering::Steering;
pub use weights::Weights;

/// The ranker's inputs by clip, as of the query's moment.
pub type Inputs = std::collections::HashMap<kinora_schema::VideoId, kinora_schema::ranking::RankingInput>;

#[cfg(test)]
mod tests;
