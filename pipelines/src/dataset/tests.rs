use kinora_schema::ranking::{RankingInput, examples_from_batch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::catalog::{HistoryRecord, UserRecord, VideoRecord, add_histories, upsert_users, upsert_videos};
use crate::fixtures::{NOW_MS, START_MS, event, outcome};
use crate::ingest::ingest_events;
use crate::progress::silent;
use crate::query::{QueryLimits, query};

fn read(path: &Path) -> Vec<RankingExample> {
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    reader.flat_map(|batch| examples_from_batch(&batch.unwrap()).unwrap()).collect()
}

fn split(name: &str, from_ms: i64, until_ms: i64) -> Split {
    Split { name: name.to_owned(), from_ms, until_ms }
}

fn all_time() -> DatasetOptions {
    DatasetOptions { splits: vec![split("all", 0, i64::MAX)], ..DatasetOptions::default() }
}

/// Impressions with outcomes, several at each of few times.
fn history(count: u64) -> Vec<Event> {
    (0..count)
        .flat_map(|number| {
            let (user, video) = (format!("u{}", number % 3), format!("v{}", number % 4));
            let time_ms = START_MS + (number as i64 / 2) * 1000;
            let shown = event(3 * number, EventKind::Impression, time_ms, &user, &video);
            let click = outcome(3 * number + 1, EventKind::Click, 1 + (number as i64 % 3) * 1000, &shown);
            let watch = outcome(3 * number + 2, EventKind::Watch, 1500, &shown);
            if number % 2 == 0 { vec![shown, click, watch] } else { vec![shown] }
        })
        .collect()
}

async fn built_from(events: Vec<Event>, options: &DatasetOptions) -> (TempDir, DatasetManifest) {
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path().join("lake")).await.unwrap();
    ingest_events(&lake, "test", events, NOW_MS).await.unwrap();
    let out = directory.path().join("dataset");
    let manifest = build_ranking(&lake, &out, options, &mut silent()).await.unwrap();
    (directory, manifest)
}

fn file(directory: &TempDir, name: &str) -> PathBuf {
    directory.path().join("dataset").join(name)
}

#[tokio::test]
async fn outcomes_join_their_impression_and_splits_hold_their_times() {
    let events = history(20);
    let middle_ms = START_MS + 5000;
    let splits = vec![split("train", START_MS, middle_ms), split("eval", middle_ms, START_MS + 60_000)];
    let options = DatasetOptions { splits, ..DatasetOptions::default() };
    let (directory, manifest) = built_from(events.clone(), &options).await;
    let (train, eval) = (read(&file(&directory, "train.parquet")), read(&file(&directory, "eval.parquet")));
    assert_eq!((train.len(), eval.len()), (10, 10));
    assert_eq!(manifest.splits.iter().map(|split| split.rows).collect::<Vec<_>>(), [10, 10]);
    assert!(train.iter().all(|example| example.event_time_ms < middle_ms));
    assert!(eval.iter().all(|example| example.event_time_ms >= middle_ms));
    for example in train.iter().chain(&eval) {
        let of_it = |kind| {
            events.iter().any(|event| {
                event.kind == kind
                    && event.impression_id.is_some_and(|id| id.to_string() == example.impression_id)
            })
        };
        assert_eq!(example.labels[Task::Click.index()], of_it(EventKind::Click));
        assert_eq!(example.watch_ms > 0, of_it(EventKind::Watch));
    }
}

#[tokio::test]
async fn building_twice_gives_the_same_bytes_and_the_manifest_is_true() {
    let (directory, manifest) = built_from(history(40), &all_time()).await;
    let names = ["all.parquet", MANIFEST_FILE];
    let first = names.map(|name| fs::read(file(&directory, name)).unwrap());
    let lake = Lake::open(directory.path().join("lake")).await.unwrap();
    let out = directory.path().join("dataset");
    build_ranking(&lake, &out, &all_time(), &mut silent()).await.unwrap();
    let second = names.map(|name| fs::read(file(&directory, name)).unwrap());
    assert!(first == second, "two builds of one lake differ");
    assert_eq!(manifest.splits[0].sha256, sha256_of(&file(&directory, "all.parquet")).unwrap());
    assert_eq!(serde_json::from_slice::<DatasetManifest>(&second[1]).unwrap(), manifest);
    assert_eq!(fs::read_dir(out).unwrap().count(), 2, "something was left behind");
}

#[tokio::test]
async fn a_manifest_builds_its_training_set_again_whatever_came_in_since() {
    let (directory, manifest) = built_from(history(20), &all_time()).await;
    let names = ["all.parquet", MANIFEST_FILE];
    let first = names.map(|name| fs::read(file(&directory, name)).unwrap());
    let lake = Lake::open(directory.path().join("lake")).await.unwrap();
    let late = history(40).split_off(30);
    ingest_events(&lake, "late", late, NOW_MS + 1000).await.unwrap();
    upsert_videos(&lake, &[record(1, Some(5_000))], NOW_MS + 1000).await.unwrap();

    let again = directory.path().join("again");
    let read_again = || names.map(|name| fs::read(again.join(name)).unwrap());
    let pinned = AsOf { versions: manifest.table_versions.clone(), ingested_until_ms: None };
    let options = DatasetOptions { as_of: pinned, ..all_time() };
    build_ranking(&lake, &again, &options, &mut silent()).await.unwrap();
    assert!(first == read_again(), "the pinned versions gave something else");

    // The same by a cutoff alone, but for the manifest; without either, what came in late is there.
    let cutoff = AsOf { ingested_until_ms: Some(NOW_MS), ..AsOf::default() };
    let options = DatasetOptions { as_of: cutoff, ..all_time() };
    let until = build_ranking(&lake, &again, &options, &mut silent()).await.unwrap();
    assert!(first[0] == read_again()[0], "what was ingested after the cutoff counted");
    assert_eq!(until.ingested_until_ms, Some(NOW_MS));
    build_ranking(&lake, &again, &all_time(), &mut silent()).await.unwrap();
    assert!(first[0] != read_again()[0]);

    let missing = AsOf { versions: [("events".to_owned(), 99)].into(), ingested_until_ms: None };
    let options = DatasetOptions { as_of: missing, ..all_time() };
    let error = build_ranking(&lake, &again, &options, &mut silent()).await.unwrap_err();
    assert!(error.to_string().contains("version 99 of the table `events`"), "{error}");
}

#[tokio::test]
async fn attributes_count_from_when_they_came_in_and_the_first_ones_always() {
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path().join("lake")).await.unwrap();
    let shown = |number: u64, time_ms| event(number, EventKind::Impression, time_ms, "u1", "v1");
    let change_ms = START_MS + 1000;
    let times = [START_MS, change_ms, change_ms + 1];
    let events = (1..).zip(times).map(|(number, time_ms)| shown(number, time_ms)).collect();
    ingest_events(&lake, "test", events, NOW_MS).await.unwrap();
    let of_topic = |topic: &str| VideoRecord { topic: Some(topic.to_owned()), ..record(1, None) };
    let user = |age: &str| UserRecord { user_id: UserId::new("u1"), attributes: vec![format!("age={age}")] };
    for (topic, age, from_ms) in [("dogs", "17", START_MS + 500), ("cats", "18", change_ms)] {
        upsert_videos(&lake, &[of_topic(topic)], from_ms).await.unwrap();
        upsert_users(&lake, &[user(age)], from_ms).await.unwrap();
    }
    let out = directory.path().join("dataset");
    build_ranking(&lake, &out, &all_time(), &mut silent()).await.unwrap();
    let seen: Vec<(bool, bool)> = read(&out.join("all.parquet"))
        .iter()
        .map(|example| {
            let has = |tokens: &[String], token: &str| tokens.iter().any(|it| it == token);
            let input = &example.input;
            (has(&input.video_tokens, "topic=cats"), has(&input.person.tokens, "age=18"))
        })
        .collect();
    assert_eq!(seen, [(false, false), (false, false), (true, true)]);
}

#[tokio::test]
async fn what_was_logged_at_serving_is_taken_as_it_was_logged() {
    let mut logged = event(1, EventKind::Impression, START_MS, "u1", "v1");
    logged.features =
        DENSE_FEATURES.iter().zip(0..).map(|(name, at)| ((*name).to_owned(), at as f32)).collect();
    logged.features.insert("predicted_click".to_owned(), 0.5);
    let mut partly = event(2, EventKind::Impression, START_MS + 1, "u1", "v1");
    partly.features.insert(DENSE_FEATURES[0].to_owned(), 7.0);
    let (directory, manifest) = built_from(vec![logged, partly], &all_time()).await;
    let examples = read(&file(&directory, "all.parquet"));
    assert!(examples[0].input.dense.iter().zip(0..).all(|(value, at)| (*value - at as f32).abs() < 1e-9));
    assert!(examples[1].input.dense[0] < 7.0);
    assert_eq!((manifest.splits[0].rows, manifest.splits[0].logged_rows), (2, 1));
}

#[tokio::test]
async fn people_who_opted_out_have_no_rows_and_others_see_the_clips_as_the_feed_does() {
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path().join("lake")).await.unwrap();
    ingest_events(&lake, "test", history(30), NOW_MS).await.unwrap();
    let watched = |user: &str, ordinal| HistoryRecord {
        user_id: UserId::new(user),
        ordinal,
        video_id: VideoId::new("v1"),
        outcomes: 2,
        before_ms: START_MS,
    };
    add_histories(&lake, &[watched("u1", 0), watched("u1", 1), watched("u2", 0)]).await.unwrap();
    let opted_out: HashSet<UserId> = [UserId::new("u1")].into();
    let out = directory.path().join("dataset");
    build_ranking(&lake, &out, &all_time(), &mut silent()).await.unwrap();
    let mut everybody = read(&out.join("all.parquet"));
    everybody.retain(|example| example.user_id != "u1");
    let options = DatasetOptions { opted_out, ..all_time() };
    build_ranking(&lake, &out, &options, &mut silent()).await.unwrap();
    assert_eq!(read(&out.join("all.parquet")), everybody);
}

#[tokio::test]
async fn an_outcome_that_names_anothers_impression_is_not_a_label() {
    let shown = event(1, EventKind::Impression, START_MS, "u1", "v1");
    let mut forged = outcome(2, EventKind::Click, 5, &shown);
    forged.user_id = UserId::new("u2");
    let (directory, _) = built_from(vec![shown, forged], &all_time()).await;
    assert!(!read(&file(&directory, "all.parquet"))[0].labels[Task::Click.index()]);
}

#[tokio::test]
async fn features_offline_and_online_are_the_same() {
    let mut events = history(30);
    let last = event(999, EventKind::Impression, START_MS + 3_600_000, "u1", "v2");
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path().join("lake")).await.unwrap();
    ingest_events(&lake, "test", events.clone(), NOW_MS).await.unwrap();
    let online = FeatureState::from_lake(&lake).await.unwrap().input(
        &last.user_id,
        &last.video_id,
        last.event_time_ms,
        "feed",
    );
    events.push(last);
    let (offline, _) = built_from(events, &all_time()).await;
    assert_eq!(read(&file(&offline, "all.parquet")).pop().unwrap().input, online);
}

#[test]
fn splits_that_leak_or_cannot_be_are_refused() {
    let refused = |splits: &[Split]| check_splits(splits).unwrap_err().to_string();
    assert_eq!(refused(&[]), "the splits are wrong: there are none");
    assert_eq!(
        refused(&[split("train", 0, 10), split("eval", 9, 20)]),
        "the splits are wrong: `eval` overlaps `train`"
    );
    assert_eq!(refused(&[split("train", 5, 5)]), "the splits are wrong: `train` ends before it begins");
    assert!(refused(&[split("../x", 0, 1)]).contains("is not a name"));
    check_splits(&[split("train", 0, 10), split("eval", 10, 20)]).unwrap();
}

#[tokio::test]
async fn a_lake_without_two_days_is_not_split_by_itself() {
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path()).await.unwrap();
    splits_by_time(&lake, 0.2).await.unwrap_err();
    let days = |days: i64| {
        (0..days).map(|day| event(day as u64, EventKind::Impression, START_MS + day * 86_400_000, "u", "v"))
    };
    ingest_events(&lake, "test", days(5).collect(), NOW_MS).await.unwrap();
    let splits = splits_by_time(&lake, 0.2).await.unwrap();
    assert_eq!(splits[0].until_ms, START_MS + 4 * 86_400_000);
    assert_eq!((splits[0].from_ms, splits[1].until_ms), (START_MS, START_MS + 5 * 86_400_000));
}

/// The examples of events, by the pass alone.
fn examples_of(mut events: Vec<Event>) -> Vec<RankingExample> {
    events.sort_by_key(|event| (event.event_time_ms, event.event_id));
    let mut outcomes: HashMap<ImpressionKey, Outcome> = HashMap::new();
    for event in &events {
        if let Some(impression) = event.impression_id {
            outcomes
                .entry(ImpressionKey::new(impression, &event.user_id, &event.video_id))
                .or_default()
                .add(event);
        }
    }
    let directory = TempDir::new().unwrap();
    let writer = SplitWriter::create(directory.path(), split("all", 0, i64::MAX)).unwrap();
    let nobody = HashSet::new();
    let mut pass = Pass {
        state: FeatureState::default(),
        outcomes,
        writers: vec![writer],
        opted_out: &nobody,
        moment: Vec::new(),
    };
    for event in events {
        pass.take(event).unwrap();
    }
    pass.flush().unwrap();
    std::mem::take(&mut pass.writers[0].buffer)
}

fn any_event(number: u64) -> impl Strategy<Value = Event> {
    (0usize..EventKind::ALL.len(), 0i64..12, 0u32..3, 0u32..3, proptest::option::of(0u64..30), 0i64..20_000)
        .prop_map(move |(kind, time, user, video, impression, watch_ms)| {
            let kind = EventKind::ALL[kind];
            let mut event = event(number, kind, START_MS + time, &format!("u{user}"), &format!("v{video}"));
            event.impression_id = impression.map(|number| EventId::derived("test", number, "event"));
            event.watch_ms = (kind == EventKind::Watch).then_some(watch_ms);
            event
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever happens at an impression's time or later, its features stay as they were.
    #[test]
    fn features_come_from_strictly_before(
        events in (0..30u64).map(any_event).collect::<Vec<_>>(),
        others in (100..130u64).map(any_event).collect::<Vec<_>>(),
        time in 0i64..12,
    ) {
        let time_ms = START_MS + time;
        let past = || events.iter().filter(|event| event.event_time_ms < time_ms).cloned();
        let at = events.iter().filter(|event| event.event_time_ms == time_ms && event.kind == EventKind::Impression);
        // The same past and impressions, with another present and future.
        let altered = past().chain(at.cloned())
            .chain(others.iter().filter(|event| event.event_time_ms >= time_ms).cloned());
        let altered = examples_of(altered.collect());
        let mut compared = 0;
        for example in examples_of(events.clone()) {
            if example.event_time_ms <= time_ms {
                let other = altered.iter().find(|other| other.impression_id == example.impression_id);
                prop_assert_eq!(&other.unwrap().input, &example.input);
                compared += 1;
            }
        }
        prop_assert_eq!(
            compared,
            events.iter().filter(|e| e.kind == EventKind::Impression && e.event_time_ms <= time_ms).count()
        );
    }
}

/// Impressions of a clip each, and what is said to have followed: at times of another clock, with
/// lengths and watches of its own, and now and then by somebody else or of another clip.
fn told() -> impl Strategy<Value = Vec<Event>> {
    let kind = proptest::sample::select(EventKind::ALL[1..].to_vec());
    let duration_ms = || proptest::option::of(1i64..30_000);
    let followed = (kind, -12i64..12, duration_ms(), proptest::option::of(0i64..30_000), 0u8..8);
    let impression = (0i64..12, 0u32..3, duration_ms(), proptest::collection::vec(followed, 0..5));
    proptest::collection::vec(impression, 1..10).prop_map(|impressions| {
        let mut events = Vec::new();
        for (time, user, duration_ms, outcomes) in impressions {
            let number = events.len() as u64;
            let (user, video) = (format!("u{user}"), format!("v{number}"));
            let mut shown = event(number, EventKind::Impression, START_MS + time, &user, &video);
            shown.duration_ms = duration_ms;
            for (after, (kind, after_ms, duration_ms, watch_ms, other)) in (1..).zip(outcomes) {
                let mut followed = outcome(number + after, kind, after_ms, &shown);
                followed.duration_ms = duration_ms;
                followed.watch_ms = watch_ms.or((kind == EventKind::Watch).then_some(0));
                match other {
                    0 => followed.user_id = UserId::new("u9"),
                    1 => followed.video_id = VideoId::new("v999"),
                    _ => {}
                }
                events.push(followed);
            }
            events.push(shown);
        }
        events
    })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// Whatever the clocks, no example sees what its own impression led to.
    #[test]
    fn no_history_holds_its_own_impressions_outcome(events in told()) {
        let (directory, _) = block_on(built_from(events, &all_time()));
        for example in read(&file(&directory, "all.parquet")) {
            let RankingInput { video_id, person, .. } = &example.input;
            // The clip was shown once: it can only be there by its outcome.
            prop_assert!(person.history.iter().all(|item| item.video_id != *video_id), "{:?}", example);
        }
    }

    /// The analysts' view and the training set tell the same of every impression.
    #[test]
    fn the_view_and_the_training_set_agree_row_for_row(events in told()) {
        let directory = TempDir::new().unwrap();
        let out = directory.path().join("dataset");
        let rows = block_on(async {
            let lake = Lake::open(directory.path().join("lake")).await.unwrap();
            ingest_events(&lake, "test", events, NOW_MS).await.unwrap();
            let lengths = [Some(9_000), Some(0), None].into_iter().enumerate();
            let records: Vec<VideoRecord> = lengths.map(|(number, ms)| record(number, ms)).collect();
            upsert_videos(&lake, &records, NOW_MS).await.unwrap();
            build_ranking(&lake, &out, &all_time(), &mut silent()).await.unwrap();
            let sql = "select impression_id, user_id, video_id, event_time_ms, watch_ms,
                coalesce(duration_ms, 0) as duration_ms, click, long_view, liked, followed, commented,
                shared, profile_entered, not_interested, reported
                from impression_outcomes order by impression_id";
            let context = lake.session().await.unwrap();
            query(&context, sql, QueryLimits::default()).await.unwrap().to_json_rows().unwrap()
        });
        let mut examples = read(&out.join("all.parquet"));
        examples.sort_by(|a, b| a.impression_id.cmp(&b.impression_id));
        prop_assert_eq!(rows.len(), examples.len());
        for (row, example) in rows.iter().zip(&examples) {
            let mut told = serde_json::json!({
                "impression_id": example.impression_id, "user_id": example.user_id,
                "video_id": example.input.video_id, "event_time_ms": example.event_time_ms,
                "watch_ms": example.watch_ms, "duration_ms": example.duration_ms,
            });
            let columns = ["click", "long_view", "liked", "followed", "commented", "shared",
                "profile_entered", "not_interested", "reported"];
            for (column, label) in columns.into_iter().zip(example.labels) {
                told[column] = label.into();
            }
            prop_assert_eq!(row, &told);
        }
    }
}

fn record(number: usize, duration_ms: Option<i64>) -> VideoRecord {
    VideoRecord {
        video_id: VideoId::new(format!("v{number}")),
        creator_id: None,
        duration_ms,
        created_time_ms: None,
        topic: None,
        caption: None,
        attributes: Vec::new(),
    }
}
