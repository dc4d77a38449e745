//! One feed in force for some days, in front of people who react to it.

use std::collections::{HashMap, HashSet};

use kinora_pipelines::catalog::VideoRecord;
use kinora_pipelines::features::FeatureState;
use kinora_pipelines::simulate::{Shown, Simulation, Visit, Visits};
use kinora_ranking::feed::recipe::rank;
use kinora_ranking::feed::scorers::Popularity;
use kinora_ranking::feed::{
    AgeBand, CameoConsent, Candidate, FeedQuery, Inputs, Moderation, Steering, Weights,
};
use kinora_schema::{CreatorId, EventKind, UserId, VideoId};
use rand::Rng;
use rand::seq::SliceRandom;

use super::{Feed, FeedReport, TrialOptions};
use crate::clock::DAY_MS;

/// Clips that a page holds; who leaves early has not seen its end.
const PAGE: usize = 10;
const SURFACE: &str = "feed";
/// Impressions after which a creator has been met.
const MET: usize = 100;
const HOUR_MS: f64 = 3_600_000.0;

/// What is counted while a feed is in force.
#[derive(Default)]
struct Tally {
    impressions: usize,
    clicks: usize,
    affinity: f64,
    best: f64,
    newcomers: HashMap<CreatorId, Newcomer>,
}

struct Newcomer {
    first_ms: i64,
    impressions: usize,
    met_ms: Option<i64>,
}

/// Runs a feed after the simulation's days. `new` are the clips of new creators.
pub(super) fn run(
    feed: Feed<'_>,
    options: &TrialOptions,
    simulation: &Simulation,
    new: &[VideoRecord],
) -> FeedReport {
    let config = &options.simulation;
    let visits = Visits::new(config, &simulation.truth, config.seed);
    let mut features = FeatureState::default();
    for user in &simulation.users {
        features.set_user(user.clone());
    }
    for video in &simulation.videos {
        features.set_video(video.clone());
    }
    for event in &simulation.events {
        features.observe(event);
    }

    let mut tally = Tally::default();
    for record in new {
        let (Some(creator), Some(created_ms)) = (&record.creator_id, record.created_time_ms) else {
            continue;
        };
        let newcomer = Newcomer { first_ms: created_ms, impressions: 0, met_ms: None };
        let newcomer = tally.newcomers.entry(creator.clone()).or_insert(newcomer);
        newcomer.first_ms = newcomer.first_ms.min(created_ms);
    }
    let mut seen: HashMap<UserId, Vec<(i64, VideoId)>> = HashMap::new();
    for day in i64::from(config.days)..i64::from(config.days + options.days) {
        for visit in visits.day(day) {
            let lately = seen.entry(visit.user_id.clone()).or_default();
            lately.retain(|(shown_ms, _)| *shown_ms > visit.start_ms - DAY_MS);
            scroll(feed, &visits, simulation, visit, &mut features, lately, &mut tally);
        }
    }
    tally.report(feed.name())
}

/// One person's session, page after page.
fn scroll(
    feed: Feed<'_>,
    visits: &Visits<'_>,
    simulation: &Simulation,
    visit: Visit,
    features: &mut FeatureState,
    seen: &mut Vec<(i64, VideoId)>,
    tally: &mut Tally,
) {
    let Visit { user_id, start_ms, clips, mut rng } = visit;
    let mut time_ms = start_ms;
    let mut scrolled: Vec<VideoId> = Vec::new();
    let mut events = Vec::new();
    while scrolled.len() < clips {
        let query = FeedQuery {
            user_id: user_id.clone(),
            now_ms: time_ms,
            personalised: true,
            age: AgeBand::Adult,
            sensitive: false,
            blocked: HashSet::new(),
            following: HashSet::new(),
            seen: seen.iter().map(|(_, video)| video.clone()).collect(),
            scrolled: scrolled.iter().cloned().collect(),
            location: None,
            retrieved: Vec::new(),
            alike: Vec::new(),
            steering: Steering::default(),
            less: Vec::new(),
            limit: PAGE,
            seed: time_ms.cast_unsigned(),
        };
        let published: Vec<&VideoRecord> = simulation
            .videos
            .iter()
            .filter(|video| video.created_time_ms.is_some_and(|created_ms| created_ms <= time_ms))
            .filter(|video| !query.scrolled.contains(&video.video_id))
            .collect();
        let affinity = |video: &VideoId| simulation.truth.affinity(&user_id, video);
        let mut page = page(feed, &query, &published, features, &affinity, &mut rng);
        page.truncate(clips - scrolled.len());
        if page.is_empty() {
            break;
        }
        // What was seen lately comes again only where nothing else is left, here as in every feed.
        let worth = |video: &&VideoRecord| (query.seen.contains(&video.video_id), affinity(&video.video_id));
        let mut best: Vec<(bool, f64)> = published.iter().map(worth).collect();
        best.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.total_cmp(&a.1)));
        tally.best += best.iter().take(page.len()).map(|(_, affinity)| affinity).sum::<f64>();

        let before = events.len();
        for (video_id, propensity) in page {
            let Some(video) = published.iter().find(|video| video.video_id == video_id) else { continue };
            let shown = Shown {
                user_id: &user_id,
                video,
                time_ms,
                position: scrolled.len() as i32,
                policy: feed.name(),
                propensity,
            };
            tally.shown(video, affinity(&video_id), time_ms);
            time_ms = visits.react(shown, &mut rng, &mut events);
            seen.push((time_ms, video_id.clone()));
            scrolled.push(video_id);
        }
        for event in &events[before..] {
            tally.clicks += usize::from(event.kind == EventKind::Click);
            features.observe(event);
        }
    }
}

/// A page, each clip with the probability that it was shown with.
fn page(
    feed: Feed<'_>,
    query: &FeedQuery,
    published: &[&VideoRecord],
    features: &FeatureState,
    affinity: &dyn Fn(&VideoId) -> f64,
    rng: &mut impl Rng,
) -> Vec<(VideoId, f32)> {
    let candidates: Vec<Candidate> = published.iter().map(|record| candidate(record, features)).collect();
    if let Feed::Recipe(ranker, recipe) = feed {
        let viewing = features.viewing(Some(&query.user_id), query.now_ms, SURFACE);
        let input = |candidate: &Candidate| (candidate.video_id.clone(), viewing.input(&candidate.video_id));
        let inputs: Inputs = candidates.iter().map(input).collect();
        let page = rank(query, candidates, &inputs, ranker, recipe);
        return page.items.into_iter().map(|item| (item.candidate.video_id, item.propensity)).collect();
    }
    let popularity = Popularity::of(&candidates, &Weights::default());
    let mut order: Vec<&Candidate> = candidates.iter().collect();
    // What is equal comes in no order that anybody could rely on.
    order.shuffle(rng);
    let worth = |candidate: &Candidate| match feed {
        Feed::MostWatched => f64::from(candidate.engagement.long_views),
        Feed::Popular => f64::from(popularity.value(candidate, query.now_ms)),
        Feed::Oracle => affinity(&candidate.video_id),
        Feed::Random | Feed::Recipe(..) => 0.0,
    };
    order.sort_by(|a, b| {
        let is_seen = |candidate: &Candidate| query.seen.contains(&candidate.video_id);
        is_seen(a).cmp(&is_seen(b)).then_with(|| worth(b).total_cmp(&worth(a)))
    });
    order.into_iter().take(query.limit).map(|candidate| (candidate.video_id.clone(), 1.0)).collect()
}

fn candidate(record: &VideoRecord, features: &FeatureState) -> Candidate {
    Candidate {
        video_id: record.video_id.clone(),
        creator_id: record.creator_id.clone().unwrap_or_else(|| CreatorId::new("")),
        created_ms: record.created_time_ms.unwrap_or_default(),
        duration_ms: record.duration_ms.unwrap_or_default(),
        topic: record.topic.clone(),
        caption: record.caption.clone().unwrap_or_default(),
        location: None,
        moderation: Moderation::Cleared,
        cameo: CameoConsent::NotUsed,
        audience: AgeBand::Teen,
        sensitive: false,
        engagement: features.engagement(&record.video_id),
    }
}

impl Tally {
    fn shown(&mut self, video: &VideoRecord, affinity: f64, time_ms: i64) {
        self.impressions += 1;
        self.affinity += affinity;
        let newcomer = video.creator_id.as_ref().and_then(|creator| self.newcomers.get_mut(creator));
        if let Some(newcomer) = newcomer {
            newcomer.impressions += 1;
            if newcomer.impressions == MET {
                newcomer.met_ms = Some(time_ms);
            }
        }
    }

    fn report(self, feed: &'static str) -> FeedReport {
        let impressions = self.impressions.max(1) as f64;
        let mut hours: Vec<f64> = self
            .newcomers
            .values()
            .map(|newcomer| match newcomer.met_ms {
                Some(met_ms) => (met_ms - newcomer.first_ms) as f64 / HOUR_MS,
                None => f64::INFINITY,
            })
            .collect();
        hours.sort_by(f64::total_cmp);
        let to_newcomers: usize = self.newcomers.values().map(|newcomer| newcomer.impressions).sum();
        FeedReport {
            feed,
            impressions: self.impressions,
            click_rate: self.clicks as f64 / impressions,
            affinity: self.affinity / impressions,
            // Sums in another order differ in the last digits.
            regret: ((self.best - self.affinity) / impressions).max(0.0),
            newcomer_share: to_newcomers as f64 / impressions,
            newcomers_reached: hours.iter().filter(|hours| hours.is_finite()).count(),
            newcomer_hours: hours.get(hours.len() / 2).copied().filter(|hours| hours.is_finite()),
        }
    }
}
