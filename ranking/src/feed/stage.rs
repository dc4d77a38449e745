//! The stages of a feed as traits, and the trace that runs them: every clip that enters a page's
//! making is shown or counted with the reason why not.

use std::collections::{BTreeMap, HashMap, HashSet};

use kinora_schema::VideoId;

use super::candidate::Candidate;
use super::page::{Fate, StageCount};
use super::query::FeedQuery;
use super::sources::SourceKind;
use crate::scorer::Prediction;

/// Finds clips worth considering.
pub trait Source {
    fn kind(&self) -> SourceKind;

    /// Whether the source has anything to say about this query.
    fn enabled(&self, query: &FeedQuery) -> bool {
        let _ = query;
        true
    }

    /// Positions in `pool`, best first.
    fn retrieve(&self, query: &FeedQuery, pool: &[Candidate]) -> Vec<usize>;
}

/// Says whether a clip may be shown to this person now.
pub trait Filter {
    /// Why a clip is dropped, for the counts.
    fn reason(&self) -> &'static str;

    fn keep(&self, query: &FeedQuery, candidate: &Candidate) -> bool;

    /// Clips that may be shown and clips that may not, each in their order.
    fn filter(&self, query: &FeedQuery, clips: Vec<Retrieved>) -> Filtered {
        let (kept, removed) = clips.into_iter().partition(|clip| self.keep(query, &clip.candidate));
        Filtered { kept, removed }
    }
}

/// What a filter leaves.
#[derive(Clone, Debug, Default)]
pub struct Filtered {
    pub kept: Vec<Retrieved>,
    pub removed: Vec<Retrieved>,
}

/// Says what a clip is worth to this person.
pub trait Scorer {
    fn name(&self) -> &'static str;

    fn score(&self, query: &FeedQuery, clips: &mut [Scored]);
}

/// Chooses the clips of a page, in order, from scored ones.
pub trait Selector {
    /// Moves up to `count` clips out of `clips` and returns them in the order to show.
    fn select(&self, query: &FeedQuery, clips: &mut Vec<Scored>, count: usize) -> Vec<Scored>;
}

/// A clip that was found, and how.
#[derive(Clone, Debug)]
pub struct Retrieved {
    pub candidate: Candidate,
    /// All that found it, the one it belongs to first.
    pub sources: Vec<SourceKind>,
}

/// A clip with its worth.
#[derive(Clone, Debug)]
pub struct Scored {
    pub candidate: Candidate,
    pub sources: Vec<SourceKind>,
    /// Expected value of showing it; not finite where a scorer failed, which sorts last.
    pub value: f32,
    pub prediction: Option<Prediction>,
    /// What the value is the sum of.
    pub contributions: BTreeMap<&'static str, f32>,
    /// What its likeness to the clips above it took off for its place.
    pub likeness: f32,
}

impl Scored {
    pub fn new(retrieved: Retrieved) -> Self {
        Self {
            candidate: retrieved.candidate,
            sources: retrieved.sources,
            value: 0.0,
            prediction: None,
            contributions: BTreeMap::new(),
            likeness: 0.0,
        }
    }

    /// Gives the clip the value of these contributions and no others.
    pub fn set(&mut self, contributions: impl IntoIterator<Item = (&'static str, f32)>) {
        self.contributions = contributions.into_iter().collect();
        self.value = self.contributions.values().sum();
    }

    /// Adds to what the clip is worth.
    pub fn add(&mut self, name: &'static str, value: f32) {
        *self.contributions.entry(name).or_default() += value;
        self.value += value;
    }

    /// The value less what its likeness to the clips above takes off.
    pub fn worth(&self) -> f32 {
        self.value - self.likeness
    }

    /// The value as an order: what is not finite lies below everything.
    pub fn rank_value(&self) -> f32 {
        if self.value.is_finite() { self.value } else { f32::NEG_INFINITY }
    }

    /// Best first; newer first where equal; then by id, so that the order is total.
    pub fn order(&self, other: &Self) -> std::cmp::Ordering {
        (other.rank_value().total_cmp(&self.rank_value()))
            .then_with(|| other.candidate.created_ms.cmp(&self.candidate.created_ms))
            .then_with(|| self.candidate.video_id.cmp(&other.candidate.video_id))
    }
}

/// How far the best and the worst of clips are apart: what outweighs every other reason.
pub fn spread(clips: &[Scored]) -> f32 {
    let values = || clips.iter().map(|clip| clip.value).filter(|value| value.is_finite());
    let (least, most) = (values().fold(f32::INFINITY, f32::min), values().fold(f32::NEG_INFINITY, f32::max));
    let spread = most - least;
    if spread.is_finite() { spread.max(LEAST_SPREAD) } else { LEAST_SPREAD }
}

/// Of clips that are all alike.
const LEAST_SPREAD: f32 = 0.1;

/// Runs stages and counts what each one dropped.
#[derive(Debug, Default)]
pub struct Trace {
    pub dropped: BTreeMap<String, u64>,
    pub stages: Vec<StageCount>,
    pub fates: HashMap<VideoId, Fate>,
}

impl Trace {
    /// Clips that any source found, under the first that did.
    pub fn retrieve(
        &mut self,
        sources: &[&dyn Source],
        query: &FeedQuery,
        pool: Vec<Candidate>,
    ) -> Vec<Retrieved> {
        let entered = pool.len();
        let mut found: Vec<Vec<SourceKind>> = vec![Vec::new(); entered];
        let mut order = Vec::new();
        for source in sources.iter().filter(|source| source.enabled(query)) {
            let retrieved = source.retrieve(query, &pool);
            self.count(source.kind().as_str(), entered, retrieved.len());
            for at in retrieved {
                if found[at].is_empty() {
                    order.push(at);
                }
                if !found[at].contains(&source.kind()) {
                    found[at].push(source.kind());
                }
            }
        }
        let mut pool: Vec<Option<Candidate>> = pool.into_iter().map(Some).collect();
        let mut ids: HashSet<VideoId> = HashSet::new();
        let mut kept = Vec::with_capacity(order.len());
        for at in order {
            let Some(candidate) = pool[at].take() else { continue };
            if ids.insert(candidate.video_id.clone()) {
                kept.push(Retrieved { candidate, sources: std::mem::take(&mut found[at]) });
            } else {
                *self.dropped.entry("duplicate".to_owned()).or_default() += 1;
            }
        }
        for candidate in pool.iter().flatten() {
            self.drop("not_retrieved", candidate, None);
        }
        kept
    }

    /// Clips that every filter keeps; each drop is counted under the first that does not.
    pub fn filter(
        &mut self,
        filters: &[&dyn Filter],
        query: &FeedQuery,
        mut clips: Vec<Retrieved>,
    ) -> Vec<Retrieved> {
        for filter in filters {
            let entered = clips.len();
            let Filtered { kept, removed } = filter.filter(query, clips);
            self.count(filter.reason(), entered, kept.len());
            for clip in &removed {
                self.drop(filter.reason(), &clip.candidate, None);
            }
            clips = kept;
        }
        clips
    }

    /// Applies the scorers in their order.
    pub fn score(&mut self, scorers: &[&dyn Scorer], query: &FeedQuery, clips: &mut [Scored]) {
        for scorer in scorers {
            scorer.score(query, clips);
            self.count(scorer.name(), clips.len(), clips.len());
        }
    }

    /// Counts a clip that a stage dropped, and keeps what became of it.
    pub fn drop(&mut self, reason: &'static str, candidate: &Candidate, worth: Option<f32>) {
        *self.dropped.entry(reason.to_owned()).or_default() += 1;
        self.fates.entry(candidate.video_id.clone()).or_insert(Fate { reason, worth });
    }

    /// Counts what entered a stage and what left it.
    pub fn count(&mut self, stage: &str, entered: usize, left: usize) {
        self.stages.push(StageCount { stage: stage.to_owned(), entered, left });
    }
}
