//! The stages of a feed as traits, and the trace that runs them: every clip that enters a page's
//! making is shown or counted with the reason why not.

use std::collections::{BTreeMap, HashSet};

use kinora_schema::VideoId;

use super::candidate::Candidate;
use super::page::StageCount;
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
    pub source: SourceKind,
}

/// A clip with its worth.
#[derive(Clone, Debug)]
pub struct Scored {
    pub candidate: Candidate,
    pub source: SourceKind,
    /// Expected value of showing it; not finite where a scorer failed, which sorts last.
    pub value: f32,
    pub prediction: Option<Prediction>,
}

impl Scored {
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

/// Runs stages and counts what each one dropped.
#[derive(Debug, Default)]
pub struct Trace {
    pub dropped: BTreeMap<String, u64>,
    pub stages: Vec<StageCount>,
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
        let mut found: Vec<Option<SourceKind>> = vec![None; entered];
        let mut order = Vec::new();
        for source in sources.iter().filter(|source| source.enabled(query)) {
            let retrieved = source.retrieve(query, &pool);
            self.count(source.kind().as_str(), entered, retrieved.len());
            for at in retrieved {
                if found[at].is_none() {
                    found[at] = Some(source.kind());
                    order.push(at);
                }
            }
        }
        let mut pool: Vec<Option<Candidate>> = pool.into_iter().map(Some).collect();
        let mut ids: HashSet<VideoId> = HashSet::new();
        let mut kept = Vec::with_capacity(order.len());
        for at in order {
            let (Some(candidate), Some(source)) = (pool[at].take(), found[at]) else { continue };
            if ids.insert(candidate.video_id.clone()) {
                kept.push(Retrieved { candidate, source });
            } else {
                self.drop("duplicate", 1);
            }
        }
        self.drop("not_retrieved", pool.iter().flatten().count());
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
            clips.retain(|clip| filter.keep(query, &clip.candidate));
            self.drop(filter.reason(), entered - clips.len());
            self.count(filter.reason(), entered, clips.len());
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

    /// Counts clips that a stage dropped.
    pub fn drop(&mut self, reason: &str, count: usize) {
        if count > 0 {
            *self.dropped.entry(reason.to_owned()).or_default() += count as u64;
        }
    }

    /// Counts what entered a stage and what left it.
    pub fn count(&mut self, stage: &str, entered: usize, left: usize) {
        self.stages.push(StageCount { stage: stage.to_owned(), entered, left });
    }
}
