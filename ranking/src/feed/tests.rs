//! What must hold of every page, whatever the clips and the query.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kinora_schema::ranking::{DENSE, RankingInput};
use kinora_schema::{CreatorId, UserId, VideoId};
use proptest::prelude::*;

use super::recipe::{MAX_LIMIT, Recipe, rank};
use super::stage::{Filter, Retrieved, Scored, Selector, Trace};
use super::*;
use crate::fixture;
use crate::scorer::Ranker;

const NOW_MS: i64 = 1_790_000_000_000;

fn clip(id: usize) -> Candidate {
    Candidate {
        video_id: format!("v{id}").into(),
        creator_id: format!("c{}", id % 7).into(),
        created_ms: NOW_MS - 3_600_000 * id as i64,
        duration_ms: 4_000,
        topic: Some(format!("topic{}", id % 3)),
        caption: format!("clip {id}"),
        location: None,
        moderation: Moderation::Cleared,
        cameo: CameoConsent::NotUsed,
        audience: AgeBand::Teen,
        sensitive: false,
        engagement: Engagement { impressions: 500.0, clicks: 50.0, long_views: 40.0, likes: 5.0 },
    }
}

fn query() -> FeedQuery {
    FeedQuery {
        user_id: "u1".into(),
        now_ms: NOW_MS,
        personalised: true,
        age: AgeBand::Adult,
        sensitive: true,
        blocked: HashSet::new(),
        following: HashSet::new(),
        seen: HashSet::new(),
        scrolled: HashSet::new(),
        location: None,
        retrieved: Vec::new(),
        alike: Vec::new(),
        steering: Steering::default(),
        less: Vec::new(),
        limit: 10,
        seed: 1,
    }
}

fn ids(page: &FeedPage) -> Vec<&str> {
    page.items.iter().map(|item| item.candidate.video_id.as_str()).collect()
}

/// A page by popularity alone.
fn page_of(query: &FeedQuery, clips: Vec<Candidate>) -> FeedPage {
    rank(query, clips, &Inputs::new(), None, &Recipe::default())
}

fn any_clip() -> impl Strategy<Value = Candidate> {
    let moderation = prop::sample::select(vec![
        Moderation::Cleared,
        Moderation::Cleared,
        Moderation::Pending,
        Moderation::Hidden,
        Moderation::Unknown,
    ]);
    let cameo = prop::sample::select(vec![
        CameoConsent::NotUsed,
        CameoConsent::Held,
        CameoConsent::Revoked,
        CameoConsent::Unknown,
    ]);
    let count = prop_oneof![0.0_f32..2_000.0, Just(f32::NAN), Just(f32::INFINITY)];
    (0_usize..60, moderation, cameo, any::<[bool; 3]>(), [count.clone(), count.clone(), count.clone(), count])
        .prop_map(|(id, moderation, cameo, [adult, sensitive, here], counts)| Candidate {
            moderation,
            cameo,
            sensitive,
            audience: if adult { AgeBand::Adult } else { AgeBand::Teen },
            location: here.then(|| "here".to_owned()),
            engagement: Engagement {
                impressions: counts[0],
                clicks: counts[1],
                long_views: counts[2],
                likes: counts[3],
            },
            ..clip(id)
        })
}

prop_compose! {
    fn any_query()(
        personalised: bool,
        adult: bool,
        sensitive: bool,
        blocked in prop::collection::hash_set(0_usize..7, 0..4),
        following in prop::collection::hash_set(0_usize..7, 0..4),
        seen in prop::collection::hash_set(0_usize..60, 0..30),
        scrolled in prop::collection::hash_set(0_usize..60, 0..10),
        here: bool,
        wishes in prop::sample::select(vec!["", "clip 3", "nothing about clip 4", "less topic1", "more topic2 but no topic0"]),
        less in prop::collection::vec(0_usize..60, 0..3),
        limit in 0_usize..30,
        seed: u64,
    ) -> FeedQuery {
        let creators = |set: HashSet<usize>| set.into_iter().map(|c| CreatorId::new(format!("c{c}"))).collect();
        let videos = |set: HashSet<usize>| set.into_iter().map(|v| VideoId::new(format!("v{v}"))).collect();
        FeedQuery {
            personalised,
            age: if adult { AgeBand::Adult } else { AgeBand::Teen },
            sensitive,
            blocked: creators(blocked),
            following: creators(following),
            seen: videos(seen),
            scrolled: videos(scrolled),
            location: here.then(|| "here".to_owned()),
            steering: Steering::of(wishes),
            less: less.into_iter().map(|id| Less::of(&clip(id))).collect(),
            limit,
            seed,
            ..query()
        }
    }
}

proptest! {
    #[test]
    fn nothing_forbidden_is_ever_shown_and_every_clip_is_accounted_for(
        query in any_query(),
        clips in prop::collection::vec(any_clip(), 0..80),
    ) {
        let pool = clips.len();
        let page = page_of(&query, clips);
        let mut shown = HashSet::new();
        for (position, item) in page.items.iter().enumerate() {
            let clip = &item.candidate;
            prop_assert_eq!(item.position, position);
            prop_assert!(shown.insert(clip.video_id.clone()), "shown twice");
            prop_assert_eq!(clip.moderation, Moderation::Cleared);
            prop_assert!(matches!(clip.cameo, CameoConsent::NotUsed | CameoConsent::Held));
            prop_assert!(clip.audience <= query.age);
            prop_assert!(query.sensitive || !clip.sensitive);
            prop_assert!(!query.blocked.contains(&clip.creator_id));
            prop_assert!(!query.scrolled.contains(&clip.video_id));
            let is_repeat = query.personalised && query.seen.contains(&clip.video_id);
            prop_assert_eq!(is_repeat, item.source == SourceKind::Backfill);
            prop_assert!(!query.steering.forbids(&steering::said(clip)));
            prop_assert!(!query.personalised || query.less.iter().all(|less| less.video_id != clip.video_id));
            prop_assert!(item.propensity > 0.0 && item.propensity <= 1.0);
            prop_assert!(item.features.values().all(|value| value.is_finite()));
        }
        prop_assert!(page.items.len() <= query.limit.min(MAX_LIMIT));
        let dropped: u64 = page.dropped.values().sum();
        prop_assert_eq!(page.items.len() as u64 + dropped, pool as u64, "{:?}", page.dropped);
    }

    #[test]
    fn with_personalisation_off_two_people_get_the_same_page(
        one in any_query(),
        other in any_query(),
        clips in prop::collection::vec(any_clip(), 0..60),
        minutes in 0_i64..59,
    ) {
        // What differs: who they are, whom they follow, what they saw, where they are, when in
        // the hour they ask. What is equal: age, blocks and the place in the scroll.
        let hour = NOW_MS - NOW_MS % 3_600_000;
        let one = FeedQuery { personalised: false, now_ms: hour, ..one };
        let other = FeedQuery {
            user_id: UserId::new("u2"),
            personalised: false,
            now_ms: hour + minutes * 60_000,
            age: one.age,
            sensitive: one.sensitive,
            blocked: one.blocked.clone(),
            scrolled: one.scrolled.clone(),
            steering: one.steering.clone(),
            limit: one.limit,
            ..other
        };
        let page = |query: &FeedQuery| {
            let page = page_of(query, clips.clone());
            let scores: Vec<u32> = page.items.iter().map(|item| item.score.to_bits()).collect();
            (ids(&page).iter().map(ToString::to_string).collect::<Vec<_>>(), scores, page.dropped)
        };
        prop_assert_eq!(page(&one), page(&other));
    }

    #[test]
    fn what_has_no_finite_score_comes_last(values in prop::collection::vec(
        prop_oneof![-5.0_f32..5.0, Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY)], 0..40,
    )) {
        let mut clips: Vec<Scored> = values
            .iter()
            .enumerate()
            .map(|(id, &value)| {
                let mut scored =
                    Scored::new(Retrieved { candidate: clip(id), sources: vec![SourceKind::Trending] });
                scored.value = value;
                scored
            })
            .collect();
        let chosen = select::Diverse.select(&query(), &mut clips, values.len());
        prop_assert_eq!(chosen.len(), values.len());
        let finite = values.iter().filter(|value| value.is_finite()).count();
        prop_assert!(chosen[..finite].iter().all(|clip| clip.value.is_finite()));
    }

    #[test]
    fn the_order_of_the_pool_does_not_matter(
        query in any_query(),
        clips in prop::collection::btree_map(0_usize..60, any_clip(), 0..40),
        rotate in 0_usize..40,
    ) {
        let mut clips: Vec<Candidate> =
            clips.into_iter().map(|(id, any)| Candidate { video_id: format!("v{id}").into(), ..any }).collect();
        // Sums of counts depend on their order in the last digit: whole numbers do not.
        for clip in &mut clips {
            let Engagement { impressions, clicks, long_views, likes } = &mut clip.engagement;
            for count in [impressions, clicks, long_views, likes] {
                *count = if count.is_finite() { count.round() } else { 0.0 };
            }
        }
        let page = page_of(&query, clips.clone());
        let middle = rotate % clips.len().max(1);
        clips.rotate_left(middle);
        let rotated = page_of(&query, clips);
        prop_assert_eq!(ids(&page), ids(&rotated));
    }
}

#[test]
fn with_personalisation_off_the_ranker_is_not_asked() {
    let (root, examples) = fixture::trained();
    let ranker = Ranker::load(&root.path().join("ranker")).unwrap();
    let clips: Vec<Candidate> = (0..30).map(clip).collect();
    // Two people of opposite tastes.
    let inputs = |user: &str| -> Inputs {
        let example = examples.iter().find(|example| example.user_id == user).unwrap();
        clips
            .iter()
            .map(|clip| {
                let input = RankingInput { video_id: clip.video_id.clone(), ..example.input.clone() };
                (clip.video_id.clone(), input)
            })
            .collect()
    };
    let off = FeedQuery { personalised: false, ..query() };
    let [one, other] =
        ["u0", "u1"].map(|user| rank(&off, clips.clone(), &inputs(user), Some(&ranker), &Recipe::default()));
    assert_eq!(one, other);
    assert_eq!(one.policy, "feed-2/popularity");
    assert!(one.items.iter().all(|item| !item.features.keys().any(|name| name.starts_with("user_"))));

    let on = rank(&query(), clips.clone(), &inputs("u0"), Some(&ranker), &Recipe::default());
    assert!(on.policy.contains(ranker.version()));
    assert!(on.items.iter().all(|item| item.features.contains_key("predicted_click")));
    assert!(on.items.iter().all(|item| item.reason() == "like clips that you enjoyed"));
    // Somebody new has enjoyed nothing yet, whatever the ranker says.
    let mut blank = inputs("u0");
    for input in blank.values_mut() {
        input.person = Arc::default();
    }
    let new = rank(&query(), clips, &blank, Some(&ranker), &Recipe::default());
    assert!(new.items.iter().all(|item| item.reason() == "popular with everyone"));
}

#[test]
fn the_ranker_puts_first_what_the_person_likes() {
    let (root, examples) = fixture::trained();
    let ranker = Ranker::load(&root.path().join("ranker")).unwrap();
    let mut hits = [0, 0];
    for taste in 0..4_usize {
        let user = format!("u{taste}");
        let example = examples.iter().rev().find(|example| example.user_id == user).unwrap();
        let clips: Vec<Candidate> =
            (0..40).map(|id| Candidate { topic: Some(format!("{}", id % 4)), ..clip(id) }).collect();
        let inputs = (0..40_usize)
            .map(|id| {
                let input = RankingInput {
                    video_id: format!("v{id}").into(),
                    video_tokens: [format!("topic={}", id % 4)].into(),
                    dense: [0.0; DENSE],
                    ..example.input.clone()
                };
                (input.video_id.clone(), input)
            })
            .collect();
        let query = FeedQuery { limit: 8, ..query() };
        let liked = |page: FeedPage| {
            page.items.iter().filter(|item| item.candidate.topic == Some(taste.to_string())).count()
        };
        hits[0] += liked(rank(&query, clips.clone(), &inputs, Some(&ranker), &Recipe::default()));
        hits[1] += liked(rank(&query, clips, &inputs, None, &Recipe::default()));
    }
    let [personal, popular] = hits;
    assert!(personal >= 20 && personal > 2 * popular, "{personal} and {popular} of 32");
}

#[test]
fn there_is_a_feed_before_there_is_a_model_or_a_history() {
    let mut clips: Vec<Candidate> = (0..6).map(clip).collect();
    for clip in &mut clips {
        clip.engagement = Engagement::default();
    }
    let page = page_of(&query(), clips);
    assert_eq!(ids(&page), ["v0", "v1", "v2", "v3", "v4", "v5"], "the newest first");
    assert!(page.items.iter().all(|item| item.source == SourceKind::Fresh && item.propensity > 0.999));
    assert!(page_of(&query(), Vec::new()).items.is_empty());
}

#[test]
fn one_place_explores_with_its_probability_logged() {
    let clips: Vec<Candidate> = (0..60)
        .map(|id| match id {
            0..40 => clip(id),
            _ => Candidate { engagement: Engagement::default(), created_ms: 0, ..clip(id) },
        })
        .collect();
    let mut drawn = HashMap::<String, u32>::new();
    for seed in 0..2_000 {
        let page = page_of(&FeedQuery { seed, ..query() }, clips.clone());
        let explored: Vec<_> =
            page.items.iter().filter(|item| item.source == SourceKind::Exploration).collect();
        assert_eq!(explored.len(), 1);
        assert_eq!(explored[0].position, explore::PLACE);
        assert!((explored[0].propensity - 0.05).abs() < 1e-6);
        *drawn.entry(explored[0].candidate.video_id.to_string()).or_default() += 1;
    }
    assert_eq!(drawn.len(), 20, "every little known clip has its chance");
    assert!(drawn.values().all(|&count| (60..=140).contains(&count)), "{drawn:?}");
}

#[test]
fn a_creator_does_not_fill_the_page() {
    let clips: Vec<Candidate> = (0..20)
        .map(|id| Candidate {
            creator_id: if id < 10 { "loud".into() } else { format!("c{id}").into() },
            topic: None,
            engagement: Engagement { likes: if id < 10 { 40.0 } else { 30.0 }, ..clip(id).engagement },
            ..clip(0)
        })
        .enumerate()
        .map(|(id, candidate)| Candidate { video_id: format!("v{id}").into(), ..candidate })
        .collect();
    let page = page_of(&query(), clips);
    let loud = page.items.iter().filter(|item| item.candidate.creator_id.as_str() == "loud").count();
    assert!((1..=6).contains(&loud), "{loud} of 10");
    assert_eq!(page.items[0].candidate.creator_id.as_str(), "loud");
}

#[test]
fn each_source_says_why_a_clip_is_there() {
    let clips = vec![
        clip(0),
        Candidate { location: Some("Here".into()), ..clip(1) },
        clip(2),
        Candidate { engagement: Engagement::default(), ..clip(3) },
    ];
    let query =
        FeedQuery { following: [CreatorId::new("c0")].into(), location: Some("here".to_owned()), ..query() };
    let page = page_of(&query, clips);
    let reason =
        |id: &str| page.items.iter().find(|item| item.candidate.video_id.as_str() == id).unwrap().reason();
    assert_eq!(reason("v0"), "from a creator you follow");
    assert_eq!(reason("v1"), "popular near you");
    assert_eq!(reason("v2"), "popular with everyone");
    assert_eq!(reason("v3"), "new here");
}

#[test]
fn a_drop_is_counted_under_the_gravest_reason() {
    let clips = vec![
        Candidate { moderation: Moderation::Hidden, cameo: CameoConsent::Revoked, ..clip(0) },
        Candidate { cameo: CameoConsent::Revoked, ..clip(1) },
        clip(2),
        clip(2),
    ];
    let query = FeedQuery { seen: [VideoId::new("v1"), VideoId::new("v2")].into(), ..query() };
    let page = page_of(&query, clips);
    let expected = [("cameo", 1), ("duplicate", 1), ("moderation", 1)];
    assert_eq!(page.dropped, expected.map(|(reason, count)| (reason.to_owned(), count)).into());
    assert_eq!(page.fates[&VideoId::new("v0")].reason, "moderation");
    assert_eq!(page.items[0].source, SourceKind::Backfill, "there is nothing else to show");
}

#[test]
fn a_wish_in_words_changes_the_page_composes_and_can_be_taken_back() {
    let clips: Vec<Candidate> = (0..40)
        .map(|id| {
            let (caption, topic) = [
                ("a kitten sleeps on a sofa", "cats"),
                ("a dog barks loudly", "dogs"),
                ("the ball is thrown into the hoop", "hoop"),
                ("a pendulum swings", "pendulum"),
            ][id % 4];
            Candidate { caption: caption.to_owned(), topic: Some(topic.to_owned()), ..clip(id) }
        })
        .collect();
    let page = |text: &str, blocked: &[&str]| {
        let blocked = blocked.iter().map(|id| CreatorId::new(*id)).collect();
        page_of(&FeedQuery { steering: Steering::of(text), blocked, ..query() }, clips.clone())
    };
    let count = |page: &FeedPage, topic: &str| {
        page.items.iter().filter(|item| item.candidate.topic.as_deref() == Some(topic)).count()
    };
    let plain = page("", &[]);
    let calm = page("calm clips of pets, nothing about sport", &[]);
    assert!(count(&plain, "hoop") > 0 && count(&plain, "cats") < 5);
    assert!(count(&calm, "hoop") == 0 && count(&calm, "cats") >= 7, "{:?}", ids(&calm));
    assert_eq!(calm.items[0].reason(), "what you asked for");
    assert_eq!(calm.items[0].why.wish.as_deref(), Some("calm pets"));
    let is_decisive = |item: &FeedItem| item.why.decisive.iter().any(|name| name == "steering");
    assert!(calm.items.iter().any(is_decisive));
    assert_eq!(calm.dropped["steered_away"], 10);
    let composed = page("calm clips of pets, nothing about sport", &["c0", "c1", "c2"]);
    assert!(
        composed.items.iter().all(|item| !["c0", "c1", "c2"].contains(&item.candidate.creator_id.as_str()))
    );
    assert!(count(&composed, "hoop") == 0 && count(&composed, "cats") > 0);
    assert_eq!(page("", &[]), plain);
}

#[test]
fn less_like_a_clip_is_less_of_its_kind() {
    let clips: Vec<Candidate> = (0..40).map(clip).collect();
    let like = |page: &FeedPage| {
        page.items.iter().filter(|item| item.candidate.topic.as_deref() == Some("topic0")).count()
    };
    let before = page_of(&query(), clips.clone());
    let after = page_of(&FeedQuery { less: vec![Less::of(&clips[0])], ..query() }, clips.clone());
    assert!(like(&after) < like(&before), "{} {}", like(&before), like(&after));
    assert!(!ids(&after).contains(&"v0"));
    assert_eq!(after.fates[&VideoId::new("v0")].reason, "not_interested");
}

#[test]
fn a_page_explains_itself() {
    let clips: Vec<Candidate> = (0..40).map(clip).collect();
    let page = page_of(&query(), clips);
    let runner_up = page.runner_up.unwrap();
    for item in &page.items {
        let sum: f32 = item.why.contributions.values().sum();
        assert!((sum - item.score).abs() < 1e-5);
        assert!(item.score - item.why.likeness >= runner_up - 1e-6);
        assert_eq!(item.why.passed.len(), 9);
    }
    let below: Vec<f32> = page
        .fates
        .values()
        .filter(|fate| fate.reason == "below_the_page")
        .filter_map(|fate| fate.worth)
        .collect();
    assert_eq!(below.len(), 30);
    assert!(below.iter().all(|worth| *worth <= runner_up));
}

#[test]
fn a_new_creator_has_a_place() {
    let clips: Vec<Candidate> = (0..60)
        .map(|id| match id {
            0..40 => clip(id),
            40..50 => Candidate { engagement: Engagement::default(), created_ms: 0, ..clip(id) },
            _ => Candidate {
                engagement: Engagement::default(),
                creator_id: format!("n{id}").into(),
                created_ms: 0,
                ..clip(id)
            },
        })
        .collect();
    let page = page_of(&query(), clips);
    let of = |source| page.items.iter().find(|item| item.source == source).unwrap();
    assert_eq!(of(SourceKind::Newcomer).position, explore::NEWCOMER_PLACE);
    assert!(of(SourceKind::Newcomer).candidate.creator_id.as_str().starts_with('n'));
    assert_eq!(of(SourceKind::Exploration).position, explore::PLACE);
    for source in [SourceKind::Newcomer, SourceKind::Exploration] {
        assert!((of(source).propensity - 0.1).abs() < 1e-6);
    }
    assert_eq!(page.items.len(), 10);
}

#[test]
fn a_drawn_clip_is_logged_with_its_probability_on_a_page_of_any_length() {
    // Nothing but new creators to draw: each of 20 clips is as likely.
    let clips: Vec<Candidate> = (0..60)
        .map(|id| match id {
            0..40 => clip(id),
            _ => Candidate {
                engagement: Engagement::default(),
                creator_id: format!("n{id}").into(),
                created_ms: 0,
                ..clip(id)
            },
        })
        .collect();
    for limit in 0..12 {
        let page = page_of(&FeedQuery { limit, ..query() }, clips.clone());
        assert_eq!(page.items.len(), limit);
        for item in &page.items {
            let is_drawn = item.source == SourceKind::Newcomer;
            assert_eq!(is_drawn, item.position == explore::NEWCOMER_PLACE, "{limit} {}", item.position);
            let expected = if is_drawn { 0.05 } else { 1.0 };
            assert!((item.propensity - expected).abs() < 1e-6, "{limit} {}", item.position);
        }
    }
}

proptest! {
    #[test]
    fn the_order_of_filters_decides_what_is_counted_but_not_what_is_kept(
        query in any_query(),
        clips in prop::collection::vec(any_clip(), 0..60),
        order in Just((0_usize..9).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let filters: [&dyn Filter; 9] = [
            &filters::ModerationFilter,
            &filters::CameoFilter,
            &filters::AgeFilter,
            &filters::SensitiveFilter,
            &filters::BlockedFilter,
            &filters::ScrolledFilter,
            &filters::SeenFilter,
            &filters::NotInterestedFilter,
            &filters::SteeringFilter,
        ];
        let shuffled: Vec<&dyn Filter> = order.into_iter().map(|at| filters[at]).collect();
        let kept = |filters: &[&dyn Filter]| -> Vec<VideoId> {
            let clips = clips.iter().map(|clip| Retrieved { candidate: clip.clone(), sources: Vec::new() });
            let kept = Trace::default().filter(filters, &query, clips.collect());
            kept.into_iter().map(|clip| clip.candidate.video_id).collect()
        };
        prop_assert_eq!(kept(&filters), kept(&shuffled));
    }
}

#[test]
fn what_retrieval_found_is_considered_in_its_order_and_by_nobody_without_personalisation() {
    let clips: Vec<Candidate> = (0..30).map(clip).collect();
    let found = FeedQuery {
        retrieved: ["v7", "gone", "v3"].map(VideoId::from).into(),
        alike: ["v9", "v3"].map(VideoId::from).into(),
        ..query()
    };
    let page = page_of(&FeedQuery { limit: 30, ..found.clone() }, clips.clone());
    let of = |source: SourceKind, page: &FeedPage| {
        let items = page.items.iter().filter(|item| item.why.sources.contains(&source));
        items.map(|item| item.candidate.video_id.as_str().to_owned()).collect::<HashSet<_>>()
    };
    assert_eq!(of(SourceKind::Sequence, &page), ["v3", "v7"].map(str::to_owned).into());
    assert_eq!(of(SourceKind::Alike, &page), ["v3", "v9"].map(str::to_owned).into());
    let private = FeedQuery { personalised: false, limit: 30, ..found };
    let page = page_of(&private, clips);
    assert!(of(SourceKind::Sequence, &page).is_empty() && of(SourceKind::Alike, &page).is_empty());
}
