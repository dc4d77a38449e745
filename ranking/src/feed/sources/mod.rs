//! Where clips come from, in the order of precedence: a clip that several sources find belongs
//! to the first.

mod alike;
mod following;
mod fresh;
mod nearby;
mod sequence;
mod steered;
mod trending;

pub use alike::Alike;
pub use following::Following;
pub use fresh::{Fresh, UNEXPLORED_IMPRESSIONS};
pub use nearby::Nearby;
pub use sequence::Sequence;
use serde::{Deserialize, Serialize};
pub use steered::Steered;
pub use trending::Trending;

/// Why a clip was considered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// Asked for in words.
    Steered,
    Following,
    Nearby,
    /// Retrieved by what the person had before.
    Sequence,
    /// Like a clip that the person liked.
    Alike,
    Trending,
    Fresh,
    /// Drawn at random among the little known.
    Exploration,
    /// Drawn at random among the clips of creators whom few have met.
    Newcomer,
    /// Seen lately, and shown again because nothing else is left.
    Backfill,
}

impl SourceKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Steered => "steered",
            Self::Following => "following",
            Self::Nearby => "nearby",
            Self::Sequence => "sequence",
            Self::Alike => "alike",
            Self::Trending => "trending",
            Self::Fresh => "fresh",
            Self::Exploration => "exploration",
            Self::Newcomer => "newcomer",
            Self::Backfill => "backfill",
        }
    }
}

/// Positions in `pool` that pass, greatest `key` first, at most `limit`. A key that is not
/// finite comes last.
fn best(
    pool: &[super::Candidate],
    limit: usize,
    passes: impl Fn(&super::Candidate) -> bool,
    key: impl Fn(&super::Candidate) -> f64,
) -> Vec<usize> {
    let finite = |key: f64| if key.is_finite() { key } else { f64::NEG_INFINITY };
    let mut found: Vec<(f64, usize)> = pool
        .iter()
        .enumerate()
        .filter(|(_, candidate)| passes(candidate))
        .map(|(at, candidate)| (finite(key(candidate)), at))
        .collect();
    found
        .sort_by(|(a, at), (b, bt)| b.total_cmp(a).then_with(|| pool[*at].video_id.cmp(&pool[*bt].video_id)));
    found.truncate(limit);
    found.into_iter().map(|(_, at)| at).collect()
}
