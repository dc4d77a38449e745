//! Erasure, retention and the columns that a table gets: what is left, and what is not.

use std::time::Duration;

use arrow::array::AsArray as _;
use kinora_schema::table::Table;
use kinora_schema::{CreatorId, EventKind, UserId, VideoId};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::catalog::{self, UserRecord, VideoRecord};
use crate::fixtures::{NOW_MS, START_MS, event, impressions};
use crate::ingest::{QuarantinedRow, ingest_events, quarantine};
use crate::query::{QueryLimits, query};

const AT_ONCE: Retention = Retention { history: Duration::ZERO, events_days: None, quarantine_days: None };

async fn number(lake: &Lake, of: &str) -> i64 {
    let session = lake.session().await.unwrap();
    let answer =
        query(&session, &format!("select count(*) as n from {of}"), QueryLimits::default()).await.unwrap();
    answer.to_json_rows().unwrap()[0]["n"].as_i64().unwrap()
}

/// A lake in which this person watched, published, was imported and was refused, over several versions.
async fn lived_in(directory: &TempDir, person: &str) -> Lake {
    let lake = Lake::open(directory.path().join("lake")).await.unwrap();
    ingest_events(&lake, "test", impressions(40), NOW_MS).await.unwrap();
    let day = 86_400_000;
    let events = (0..30).map(|at| {
        let mut event =
            event(1000 + at, EventKind::Impression, START_MS + at as i64 * day / 10, person, "v1");
        if at % 2 == 0 {
            // Others met a clip of theirs.
            event.user_id = UserId::new("u3");
            event.creator_id = Some(CreatorId::new(person));
        }
        event
    });
    ingest_events(&lake, "test", events.collect(), NOW_MS).await.unwrap();
    let refused =
        [format!(r#"{{"user_id":"{person}","kind":"unheard-of"}}"#), r#"{"user_id":"u1"}"#.to_owned()];
    let refused = refused.map(|raw| QuarantinedRow::new("malformed".to_owned(), raw));
    quarantine(&lake, "test", 1, refused.into(), NOW_MS).await.unwrap();
    let user =
        |name: &str| UserRecord { user_id: UserId::new(name), attributes: vec!["age=young".to_owned()] };
    catalog::upsert_users(&lake, &[user("u1"), user(person)], NOW_MS).await.unwrap();
    let video = |creator: &str| VideoRecord {
        video_id: VideoId::new(format!("clip-of-{}", creator.len())),
        creator_id: Some(CreatorId::new(creator)),
        duration_ms: Some(4_000),
        created_time_ms: Some(START_MS),
        topic: None,
        caption: Some("a ball".to_owned()),
        attributes: Vec::new(),
    };
    catalog::upsert_videos(&lake, &[video("u1"), video(person)], NOW_MS).await.unwrap();
    lake
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn an_export_holds_what_is_the_persons_and_no_more() {
    let directory = TempDir::new().unwrap();
    let lake = lived_in(&directory, "ann").await;
    let out = directory.path().join("of-ann");
    let exported = lake.export(&UserId::new("ann"), &out).await.unwrap();
    let rows: Vec<(&str, u64)> = exported.rows.iter().map(|(table, rows)| (table.as_str(), *rows)).collect();
    assert_eq!(rows, [("events", 15), ("histories", 0), ("quarantine", 1), ("users", 1), ("videos", 1)]);
    let lines = fs::read_to_string(out.join("events.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 15);
    assert!(lines.lines().all(|line| line.contains(r#""user_id":"ann""#)), "{lines}");
    let file = File::open(out.join("events.parquet")).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    assert_eq!(reader.metadata().file_metadata().num_rows(), 15);
    let again = lake.export(&UserId::new("ann"), &out).await.unwrap_err().one_line();
    assert!(again.contains("give a new directory"), "{again}");
    let nobody = lake.export(&UserId::new("nobody"), &directory.path().join("none")).await.unwrap();
    assert!(nobody.rows.values().all(|rows| *rows == 0), "{nobody:?}");
}

#[tokio::test]
async fn a_person_who_is_erased_is_in_no_file_once_history_is_let_go() {
    let directory = TempDir::new().unwrap();
    // Longer than what statistics keep of a value, and as part of another's name.
    let person = "person-0123456789-0123456789-0123456789";
    let lake = lived_in(&directory, person).await;
    let longer = event(2000, EventKind::Click, START_MS, &format!("{person}x"), "v2");
    ingest_events(&lake, "test", vec![longer], NOW_MS).await.unwrap();
    let user = UserId::new(person);
    let before = lake.traces(&user).await.unwrap();
    assert!(before.found.iter().any(|trace| !trace.is_history), "{before:?}");
    assert!(before.found.iter().any(|trace| trace.file.starts_with("events/_delta_log")), "{before:?}");
    let others = number(&lake, &format!("events where user_id <> '{person}'")).await;

    let erased = lake.erase(&user).await.unwrap();
    assert_eq!((erased.removed_rows["events"], erased.anonymised_rows), (15, 15));
    assert_eq!(
        (erased.removed_rows["quarantine"], erased.removed_rows["users"], erased.removed_rows["videos"]),
        (1, 1, 1)
    );
    assert_eq!(number(&lake, "events").await, others);
    assert_eq!(number(&lake, "quarantine").await, 1);
    assert_eq!(number(&lake, &format!("events where user_id = '{person}x'")).await, 1);
    assert_eq!(number(&lake, "events where creator_id is null").await, 15);
    // The history can still be read, and holds them; the latest version does not.
    let left = lake.traces(&user).await.unwrap();
    assert!(!left.found.is_empty() && left.found.iter().all(|trace| trace.is_history), "{left:?}");
    let as_of = AsOf { versions: [("events".to_owned(), 2)].into(), ingested_until_ms: None };
    assert!(lake.session_as_of(&as_of).await.is_ok());
    let again = lake.erase(&user).await.unwrap();
    assert_eq!((again.rewritten_files, again.anonymised_rows), (0, 0));

    // Within the history nothing is let go of; after it, all.
    let kept = Retention { history: Duration::from_hours(24), ..AT_ONCE };
    lake.retain(&kept, NOW_MS).await.unwrap();
    assert!(lake.session_as_of(&as_of).await.is_ok());
    let retained = lake.retain(&AT_ONCE, NOW_MS).await.unwrap();
    assert!(retained.deleted_files > 0 && retained.deleted_log_entries > 0, "{retained:?}");
    let left = lake.traces(&user).await.unwrap();
    // The one with the longer name alone has the same beginning in statistics.
    assert!(left.found.iter().all(|trace| trace.file.starts_with("events/_delta_log")), "{left:?}");
    lake.erase(&UserId::new(format!("{person}x"))).await.unwrap();
    lake.retain(&AT_ONCE, NOW_MS).await.unwrap();
    let left = lake.traces(&user).await.unwrap();
    assert_eq!(left.found, Vec::new());
    assert!(left.files > 5 && left.bytes > 1000);
    assert!(lake.session_as_of(&as_of).await.is_err());
    assert_eq!(number(&Lake::open(lake.root()).await.unwrap(), "events").await, others - 1);
    // Bytes too, where nothing is compressed.
    for path in files_below(lake.root()) {
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(person.len()).any(|window| window == person.as_bytes()), "{}", path.display());
    }
}

#[tokio::test]
async fn what_was_committed_once_stays_committed_and_what_is_there_is_not_let_go() {
    let directory = TempDir::new().unwrap();
    let lake = lived_in(&directory, "ann").await;
    let batch = crate::event_batch::events_to_batch(&impressions(3), NOW_MS).unwrap();
    lake.append_in_transaction(Table::Events, batch.clone(), "log", 7).await.unwrap();
    let events = number(&lake, "events").await;
    lake.erase(&UserId::new("ann")).await.unwrap();
    lake.retain(&AT_ONCE, NOW_MS).await.unwrap();
    let again = Lake::open(lake.root()).await.unwrap();
    assert_eq!(again.append_in_transaction(Table::Events, batch, "log", 7).await.unwrap(), Committed::Before);
    assert_eq!(number(&again, "events").await, events - 15);
    // With nothing to do there is no new version.
    let versions = again.versions().await.unwrap();
    assert_eq!(again.retain(&AT_ONCE, NOW_MS).await.unwrap().deleted_files, 0);
    assert_eq!(again.versions().await.unwrap(), versions);
    let history = again.history(Table::Events).await.unwrap();
    assert_eq!(history[0].version, versions["events"]);
}

#[tokio::test]
async fn old_events_go_by_the_day_and_refused_rows_by_the_time_they_came() {
    let directory = TempDir::new().unwrap();
    let lake = lived_in(&directory, "ann").await;
    let now_ms = START_MS + 10 * 86_400_000;
    let keep = |days| Retention { events_days: Some(days), quarantine_days: Some(90), ..AT_ONCE };
    let none = lake.retain(&keep(30), now_ms).await.unwrap();
    assert_eq!((none.dropped_days.len(), none.dropped_quarantine_rows), (0, 0));
    let some = lake.retain(&keep(9), now_ms).await.unwrap();
    assert_eq!(some.dropped_days, ["2026-01-05"]);
    assert_eq!(number(&lake, "events where event_date < '2026-01-06'").await, 0);
    assert_eq!(number(&lake, "events").await, 20);
    assert_eq!(number(&lake, "quarantine").await, 2);
    let later = lake.retain(&keep(9), NOW_MS + 91 * 86_400_000).await.unwrap();
    assert_eq!(later.dropped_quarantine_rows, 2);
    assert_eq!((number(&lake, "quarantine").await, number(&lake, "events").await), (0, 0));
}

#[tokio::test]
async fn a_table_gets_the_columns_that_it_was_made_without() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("events");
    std::fs::create_dir_all(&path).unwrap();
    // As it was before events had features and propensities.
    let known = |name: &str| !["features", "propensity"].contains(&name);
    let schema: StructType = Table::Events.schema().as_ref().try_into_kernel().unwrap();
    let url = ensure_table_uri(path.to_string_lossy()).unwrap();
    let made = DeltaTableBuilder::from_url(url).unwrap().build().unwrap().create();
    let made = made.with_columns(schema.fields().filter(|field| known(field.name())).cloned());
    let made = made.with_partition_columns(["event_date"]).await.unwrap();
    let batch = crate::event_batch::events_to_batch(&impressions(5), NOW_MS).unwrap();
    let indices: Vec<usize> =
        (0..batch.num_columns()).filter(|&at| known(batch.schema().field(at).name())).collect();
    let mut writer = RecordBatchWriter::for_table(&made).unwrap();
    writer.write(batch.project(&indices).unwrap()).await.unwrap();
    let mut made = made;
    writer.flush_and_commit(&mut made).await.unwrap();

    let lake = Lake::open(directory.path()).await.unwrap();
    let mut newer = event(99, EventKind::Impression, START_MS, "u1", "v1");
    newer.propensity = Some(0.25);
    ingest_events(&lake, "test", vec![newer], NOW_MS).await.unwrap();
    assert_eq!(number(&lake, "events where propensity is null").await, 5);
    assert_eq!(number(&lake, "events where propensity = 0.25").await, 1);
    // What rewrites a file gives it the columns too.
    let erased = lake.erase(&UserId::new("u2")).await.unwrap();
    assert_eq!(erased.removed_rows["events"], 1);
    assert_eq!(number(&lake, "events where propensity is null and features is null").await, 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn an_erasure_takes_the_person_and_nobody_else(
        rows in prop::collection::vec((0..5_u8, prop::option::of(0..5_u8)), 1..60), who in 0..5_u8,
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let directory = TempDir::new().unwrap();
            let lake = Lake::open(directory.path()).await.unwrap();
            let name = |number: u8| format!("p{number}");
            let events = rows.iter().zip(0..).map(|(&(user, creator), at)| {
                let mut event = event(at, EventKind::Impression, START_MS + at as i64 * 9_000_000, &name(user), "v1");
                event.creator_id = creator.map(|creator| CreatorId::new(name(creator)));
                event
            });
            ingest_events(&lake, "test", events.collect(), NOW_MS).await.unwrap();
            lake.erase(&UserId::new(name(who))).await.unwrap();
            let session = lake.session().await.unwrap();
            let batches = session.sql("select user_id, creator_id from events").await.unwrap().collect().await.unwrap();
            let mut left: Vec<(String, Option<String>)> = Vec::new();
            for batch in &batches {
                let column = |at: usize| arrow::compute::cast(batch.column(at), &arrow::datatypes::DataType::Utf8).unwrap();
                let (users, creators) = (column(0), column(1));
                let pairs = users.as_string::<i32>().iter().zip(creators.as_string::<i32>());
                left.extend(pairs.map(|(user, creator)| (user.unwrap().to_owned(), creator.map(str::to_owned))));
            }
            let mut expected: Vec<_> = rows.iter().filter(|(user, _)| *user != who).map(|&(user, creator)| {
                (name(user), creator.filter(|&creator| creator != who).map(name))
            }).collect();
            left.sort();
            expected.sort();
            prop_assert_eq!(left, expected);
            Ok(())
        })?;
    }
}
