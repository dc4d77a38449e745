//! The feed, top to bottom: a query, the clips there are and their features enter; a page
//! leaves, with every clip that is not on it counted.
//!
//! INVARIANT: nothing unsafe is shown whatever the scores say, because only what the filters left
//! is scored and chosen; and with personalisation off no stage can tell two people apart, because
//! the query that the stages see does not.

use std::collections::BTreeMap;

use kinora_schema::ranking::{DENSE_FEATURES, Task};

use super::Inputs;
use super::candidate::Candidate;
use super::explore;
use super::filters::{
    AgeFilter, BlockedFilter, CameoFilter, ModerationFilter, ScrolledFilter, SeenFilter, SensitiveFilter,
};
use super::page::{FeedItem, FeedPage};
use super::query::FeedQuery;
use super::scorers::{Personal, Popularity};
use super::select::Diverse;
use super::sources::{Following, Fresh, Nearby, SourceKind, Trending};
use super::stage::{Scored, Selector, Trace};
use super::weights::Weights;
use crate::scorer::Ranker;

/// Name and version of this recipe, for the log.
const RECIPE: &str = "feed-1";

/// Most items on one page.
pub const MAX_LIMIT: usize = 100;

/// Makes a page of the feed.
///
/// `inputs` are the ranker's inputs by clip, as of now. Where one is missing, or the ranker is,
/// the clip is judged by its popularity: there is a feed before there is a model.
pub fn rank(
    query: &FeedQuery,
    candidates: Vec<Candidate>,
    inputs: &Inputs,
    ranker: Option<&Ranker>,
) -> FeedPage {
    let weights = &Weights::default();
    let query = query.permitted();
    let ranker = ranker.filter(|_| query.personalised);
    let mut trace = Trace::default();

    // --- Sources: where clips come from, by precedence.
    let popularity = Popularity::of(&candidates, weights);
    let retrieved = trace.retrieve(
        &[&Following, &Nearby(&popularity), &Trending(&popularity), &Fresh],
        &query,
        candidates,
    );

    // --- Filters: safety first.
    let kept = trace.filter(
        &[
            &ModerationFilter,
            &CameoFilter,
            &AgeFilter,
            &SensitiveFilter,
            &BlockedFilter,
            &ScrolledFilter,
            &SeenFilter,
        ],
        &query,
        retrieved,
    );

    // --- Scores: popularity for all, then what the ranker knows of this person.
    let mut clips: Vec<Scored> = kept
        .into_iter()
        .map(|clip| Scored { candidate: clip.candidate, source: clip.source, value: 0.0, prediction: None })
        .collect();
    trace.score(&[&popularity], &query, &mut clips);
    if let Some(ranker) = ranker {
        trace.score(&[&Personal { ranker, inputs, weights }], &query, &mut clips);
    }

    // --- Selection: variety, and one place to explore.
    let limit = query.limit.min(MAX_LIMIT);
    let entered = clips.len();
    let mut chosen: Vec<(Scored, f32)> =
        Diverse.select(&query, &mut clips, limit).into_iter().map(|clip| (clip, 1.0)).collect();
    // Where everything fits on the page, there is nothing to explore.
    if explore::has_place(limit)
        && !clips.is_empty()
        && let Some((last, _)) = chosen.pop()
    {
        clips.push(last);
        if let Some((mut clip, propensity)) = explore::draw(&query, &mut clips) {
            clip.source = SourceKind::Exploration;
            chosen.insert(explore::PLACE, (clip, propensity));
        } else {
            chosen.extend(clips.pop().map(|last| (last, 1.0)));
        }
    }
    trace.count("select", entered, chosen.len());
    trace.drop("below_the_page", clips.len());

    // --- The page, with what its log needs.
    let model = ranker.map_or("popularity", Ranker::version);
    let policy = format!("{RECIPE}/{model}");
    let items = chosen
        .into_iter()
        .enumerate()
        .map(|(position, (clip, propensity))| FeedItem {
            features: features(&clip, inputs),
            position,
            source: clip.source,
            personal: is_personal(&clip, inputs),
            score: clip.value,
            propensity,
            policy: policy.clone(),
            candidate: clip.candidate,
        })
        .collect();
    FeedPage { items, dropped: trace.dropped, stages: trace.stages, policy }
}

/// Whether there was a history to score by: to a new person the ranker can only tell what is popular.
fn is_personal(clip: &Scored, inputs: &Inputs) -> bool {
    let input = inputs.get(&clip.candidate.video_id);
    clip.prediction.is_some() && input.is_some_and(|input| !input.history.is_empty())
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
