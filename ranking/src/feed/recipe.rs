//! The feed, top to bottom: a query, the clips there are and their features enter; a page
//! leaves, with every clip that is not on it counted.
//!
//! INVARIANT: nothing unsafe is shown whatever the scores say, because only what the filters left
//! is scored and chosen; and with personalisation off no stage can tell two people apart, because
//! the query that the stages see does not.

use std::collections::BTreeMap;

use kinora_schema::ranking::{DENSE_FEATURES, Task};
use serde::{Deserialize, Serialize};

use super::Inputs;
use super::candidate::Candidate;
use super::explore::{self, Newcomers};
use super::filters::{
    AgeFilter, BlockedFilter, CameoFilter, ModerationFilter, NotInterestedFilter, ScrolledFilter, SeenFilter,
    SensitiveFilter, SteeringFilter,
};
use super::page::{FeedItem, FeedPage, Why};
use super::query::FeedQuery;
use super::scorers::{self, LessLike, Personal, Popularity};
use super::select::{Diverse, discount};
use super::sources::{self, Alike, Following, Fresh, Nearby, Sequence, SourceKind, Trending};
use super::stage::{Filter, Filtered, Retrieved, Scored, Selector, Trace};
use super::steering::said;
use super::weights::Weights;
use crate::scorer::Ranker;

/// Most items on one page.
pub const MAX_LIMIT: usize = 100;

/// What may differ between two ways of making a page: what one arm of an experiment has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// Name and version, for the log.
    pub name: String,
    pub weights: Weights,
}

impl Default for Recipe {
    fn default() -> Self {
        Self { name: "feed-2".to_owned(), weights: Weights::default() }
    }
}

/// Filters in their order: safety first, so that a drop counts under its gravest reason. What was seen
/// comes last, because it alone may come back.
const FILTERS: [&dyn Filter; 8] = [
    &ModerationFilter,
    &CameoFilter,
    &AgeFilter,
    &SensitiveFilter,
    &BlockedFilter,
    &ScrolledFilter,
    &NotInterestedFilter,
    &SteeringFilter,
];

/// Makes a page of the feed.
///
/// `inputs` are the ranker's inputs by clip, as of now. Where one is missing, or the ranker is,
/// the clip is judged by its popularity: there is a feed before there is a model.
pub fn rank(
    query: &FeedQuery,
    candidates: Vec<Candidate>,
    inputs: &Inputs,
    ranker: Option<&Ranker>,
    recipe: &Recipe,
) -> FeedPage {
    let weights = &recipe.weights;
    let query = query.permitted();
    let ranker = ranker.filter(|_| query.personalised);
    let mut trace = Trace::default();

    // --- Sources: where clips come from, by precedence.
    let popularity = Popularity::of(&candidates, weights);
    let newcomers = Newcomers::of(&candidates);
    let retrieved = trace.retrieve(
        &[
            &sources::Steered,
            &Following,
            &Nearby(&popularity),
            &Sequence,
            &Alike,
            &Trending(&popularity),
            &Fresh,
        ],
        &query,
        candidates,
    );

    // --- Filters: only what passes all is scored and chosen.
    let allowed = trace.filter(&FILTERS, &query, retrieved);
    let entered = allowed.len();
    let Filtered { kept, removed: seen } = SeenFilter.filter(&query, allowed);
    trace.count(SeenFilter.reason(), entered, kept.len());

    // --- Scores: popularity for all, what the ranker knows of this person, and what they asked for.
    let mut score = |clips: Vec<Retrieved>| {
        let mut clips: Vec<Scored> = clips.into_iter().map(Scored::new).collect();
        trace.score(&[&popularity], &query, &mut clips);
        if let Some(ranker) = ranker {
            trace.score(&[&Personal { ranker, inputs, weights }], &query, &mut clips);
        }
        trace.score(&[&LessLike, &scorers::Steered], &query, &mut clips);
        clips
    };
    let mut clips = score(kept);
    let limit = query.limit.min(MAX_LIMIT);
    let mut seen =
        if clips.len() < limit { score(seen) } else { seen.into_iter().map(Scored::new).collect() };

    // --- Selection: variety, places to explore, and what was seen before where nothing else is left.
    let entered = clips.len();
    let mut chosen = Diverse.select(&query, &mut clips, limit);
    let drawn = explore(&query, &newcomers, &mut chosen, &mut clips);
    for mut clip in Diverse.select(&query, &mut seen, limit.saturating_sub(chosen.len())) {
        clip.sources.insert(0, SourceKind::Backfill);
        chosen.push(clip);
    }
    trace.count("select", entered, chosen.len());
    let below = |clip: &Scored| Some(clip.value - discount(clip, &chosen)).filter(|worth| worth.is_finite());
    let runner_up = clips.iter().filter_map(below).reduce(f32::max);
    for clip in &clips {
        trace.drop("below_the_page", &clip.candidate, below(clip));
    }
    for clip in &seen {
        trace.drop(SeenFilter.reason(), &clip.candidate, None);
    }

    // --- The page, with what its log needs.
    let model = ranker.map_or("popularity", Ranker::version);
    let policy = format!("{}/{model}", recipe.name);
    let items = chosen
        .into_iter()
        .enumerate()
        .map(|(position, clip)| FeedItem {
            features: features(&clip, inputs),
            why: why(&query, &clip, runner_up),
            position,
            source: clip.sources[0],
            personal: is_personal(&clip, inputs),
            score: clip.value,
            propensity: drawn.get(&position).copied().unwrap_or(1.0),
            policy: policy.clone(),
            candidate: clip.candidate,
        })
        .collect();
    FeedPage { items, dropped: trace.dropped, stages: trace.stages, policy, fates: trace.fates, runner_up }
}

/// Gives the places that explore to drawn clips, instead of the last of the chosen. The probabilities
/// leave, by place.
fn explore(
    query: &FeedQuery,
    newcomers: &Newcomers,
    chosen: &mut Vec<Scored>,
    rest: &mut Vec<Scored>,
) -> BTreeMap<usize, f32> {
    let mut probabilities = BTreeMap::new();
    // Where everything fits on the page, there is nothing to explore.
    if rest.is_empty() {
        return probabilities;
    }
    let length = chosen.len();
    let slots: Vec<explore::Slot> = explore::slots(length).collect();
    let last = chosen.split_off(length - slots.len());
    let mut waiting: Vec<_> = last.iter().map(|clip| clip.candidate.video_id.clone()).collect();
    rest.extend(last);
    let mut drawn = Vec::new();
    for slot in slots {
        if let Some((clip, propensity)) = slot.draw(query, newcomers, rest) {
            waiting.retain(|id| *id != clip.candidate.video_id);
            drawn.push((slot.place, clip, propensity));
        }
    }
    // Places that nothing was drawn for go back to whom they belong to, before the drawn take theirs.
    for id in waiting.into_iter().take(length - chosen.len() - drawn.len()) {
        if let Some(at) = rest.iter().position(|clip| clip.candidate.video_id == id) {
            chosen.push(rest.remove(at));
        }
    }
    for (place, mut clip, propensity) in drawn {
        clip.likeness = discount(&clip, &chosen[..place]);
        chosen.insert(place, clip);
        probabilities.insert(place, propensity);
    }
    probabilities
}

/// Why a clip is where it is.
fn why(query: &FeedQuery, clip: &Scored, runner_up: Option<f32>) -> Why {
    let finite = clip.contributions.iter().filter(|(_, value)| value.is_finite());
    let is_drawn = matches!(clip.sources[0], SourceKind::Exploration | SourceKind::Newcomer);
    let is_decisive = |value: f32| {
        !is_drawn && value > 0.0 && runner_up.is_some_and(|runner_up| clip.worth() - value < runner_up)
    };
    let passed = FILTERS.iter().map(|filter| filter.reason()).chain([SeenFilter.reason()]);
    let is_repeat = clip.sources[0] == SourceKind::Backfill;
    Why {
        sources: clip.sources.clone(),
        passed: passed
            .filter(|name| !(is_repeat && *name == SeenFilter.reason()))
            .map(str::to_owned)
            .collect(),
        contributions: finite.clone().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        likeness: clip.likeness,
        decisive: finite
            .filter(|(_, value)| is_decisive(**value))
            .map(|(name, _)| (*name).to_owned())
            .collect(),
        wish: query.steering.best(&said(&clip.candidate)).map(|wish| wish.words.clone()),
    }
}

/// Whether there was a history to score by: to a new person the ranker can only tell what is popular.
fn is_personal(clip: &Scored, inputs: &Inputs) -> bool {
    let input = inputs.get(&clip.candidate.video_id);
    clip.prediction.is_some() && input.is_some_and(|input| !input.person.history.is_empty())
}

/// What the clip was scored on. A clip that was not scored for this person has no features of
/// theirs.
fn features(clip: &Scored, inputs: &Inputs) -> BTreeMap<String, f32> {
    let mut features = BTreeMap::new();
    let mut log = |name: String, value: f32| {
        if value.is_finite() {
            features.insert(name, value);
        }
    };
    log("value".to_owned(), clip.value);
    if let Some(prediction) = &clip.prediction {
        for task in Task::ALL {
            log(format!("predicted_{}", task.as_str()), prediction.probability(task));
        }
        log("predicted_watch_ms".to_owned(), prediction.watch_ms);
        if let Some(input) = inputs.get(&clip.candidate.video_id) {
            for (name, value) in DENSE_FEATURES.iter().zip(input.dense) {
                log((*name).to_owned(), value);
            }
        }
    }
    features
}
