use std::fs::{self, File};
use std::path::Path;

use arrow::array::UInt64Array;
use kinora_schema::EventKind;
use kinora_schema::event::SCHEMA_VERSION;
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;
use tempfile::TempDir;

use super::file::ingest_file;
use super::*;
use crate::fixtures::{NOW_MS, START_MS, event, impressions};
use crate::progress::{Progress, silent};
use crate::query::{QueryLimits, query};

async fn lake_in(directory: &TempDir) -> Lake {
    Lake::open(directory.path().join("lake")).await.unwrap()
}

async fn rows(lake: &Lake, sql: &str) -> Vec<serde_json::Value> {
    let context = lake.session().await.unwrap();
    query(&context, sql, QueryLimits::default()).await.unwrap().to_json_rows().unwrap()
}

async fn count(lake: &Lake, table: &str) -> i64 {
    rows(lake, &format!("select count(*) as n from {table}")).await[0]["n"].as_i64().unwrap()
}

fn write_lines(path: &Path, lines: &[String]) {
    fs::write(path, lines.join("\n")).unwrap();
}

fn write_parquet(path: &Path, batch: &RecordBatch) {
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

#[tokio::test]
async fn the_same_events_again_add_nothing() {
    let directory = TempDir::new().unwrap();
    let lake = lake_in(&directory).await;
    let mut events = impressions(20);
    events.push(events[3].clone());
    let first = ingest_events(&lake, "test", events.clone(), NOW_MS).await.unwrap();
    assert_eq!((first.accepted, first.duplicates, first.quarantined), (20, 1, 0));
    let version = lake.version(Table::Events).await.unwrap();
    let again = ingest_events(&lake, "test", events, NOW_MS + 1).await.unwrap();
    assert_eq!((again.accepted, again.duplicates), (0, 21));
    assert_eq!(lake.version(Table::Events).await.unwrap(), version);
    assert_eq!(count(&lake, "events").await, 20);
}

#[tokio::test]
async fn a_retry_that_is_dated_anew_is_stored_once() {
    const DAY_MS: i64 = 86_400_000;
    let directory = TempDir::new().unwrap();
    let first = impressions(1).remove(0);
    let dated = |days: i64| Event { event_time_ms: first.event_time_ms + days * DAY_MS, ..first.clone() };
    let lake = lake_in(&directory).await;
    let both = ingest_events(&lake, "test", vec![dated(0), dated(1)], NOW_MS).await.unwrap();
    assert_eq!((both.accepted, both.duplicates), (1, 1));
    for days in [-7, -1, 1, 7] {
        // With what the ingest before left known, and without.
        for lake in [lake.clone(), lake_in(&directory).await] {
            let again = ingest_events(&lake, "test", vec![dated(days)], NOW_MS).await.unwrap();
            assert_eq!((again.accepted, again.duplicates), (0, 1), "{days} days");
        }
    }
}

#[tokio::test]
async fn every_field_survives_the_lake() {
    let directory = TempDir::new().unwrap();
    let lake = lake_in(&directory).await;
    let mut full = event(1, EventKind::Impression, START_MS + 1, "u'1", "v\"1\u{e9}");
    full.position = Some(3);
    full.policy = Some("recipe-7".to_owned());
    full.propensity = Some(0.25);
    full.features.insert("user_click_rate".to_owned(), 0.5);
    full.impression_id = Some(kinora_schema::EventId::derived("other", 1, "impression"));
    ingest_events(&lake, "test", vec![full.clone()], NOW_MS).await.unwrap();
    let context = lake.session().await.unwrap();
    let batches = context.table("events").await.unwrap().collect().await.unwrap();
    let columns = crate::event_batch::EventColumns::of(&batches[0], Path::new("events")).unwrap();
    assert_eq!(columns.event(0).unwrap(), full);
}

#[tokio::test]
async fn bad_lines_are_quarantined_with_reason_and_text_and_only_once() {
    let directory = TempDir::new().unwrap();
    let lake = lake_in(&directory).await;
    let path = directory.path().join("events.jsonl");
    let good = serde_json::to_string(&impressions(1)[0]).unwrap();
    let mut early = impressions(2).remove(1);
    early.event_time_ms = 5;
    let early = serde_json::to_string(&early).unwrap();
    write_lines(&path, &[good, "{not json".to_owned(), String::new(), early.clone()]);
    let report = ingest_file(&lake, &path, NOW_MS, &mut silent()).await.unwrap();
    assert_eq!((report.accepted, report.quarantined), (1, 2));
    assert_eq!(report.reasons.keys().collect::<Vec<_>>(), ["`event_time_ms` out of range", "malformed"]);
    assert_eq!(report.first_refused.unwrap().row, 2);
    let refused = rows(&lake, "select row, reason, raw from quarantine order by row").await;
    assert_eq!(refused[0]["raw"], "{not json");
    assert_eq!(refused[1]["row"], 4);
    assert_eq!(refused[1]["raw"], early);
    assert!(refused[1]["reason"].as_str().unwrap().starts_with("`event_time_ms` is 5, outside"));

    let again = ingest_file(&lake, &path, NOW_MS, &mut silent()).await.unwrap();
    assert_eq!((again.accepted, again.duplicates, again.quarantined), (0, 1, 2));
    assert_eq!(count(&lake, "quarantine").await, 2);
}

#[tokio::test]
async fn lines_that_are_not_text_or_too_long_are_rows_too() {
    let directory = TempDir::new().unwrap();
    let lake = lake_in(&directory).await;
    let path = directory.path().join("events.jsonl");
    let mut bytes = b"\xff\xfe\n".to_vec();
    bytes.extend(std::iter::repeat_n(b'x', 3 << 20));
    bytes.push(b'\n');
    bytes.extend(serde_json::to_vec(&impressions(1)[0]).unwrap());
    fs::write(&path, bytes).unwrap();
    let report = ingest_file(&lake, &path, NOW_MS, &mut silent()).await.unwrap();
    assert_eq!((report.accepted, report.quarantined), (1, 2));
    let longest = &rows(&lake, "select max(length(raw)) as n from quarantine").await[0]["n"];
    assert_eq!(longest.as_u64().unwrap(), MAX_RAW_BYTES as u64);
}

#[tokio::test]
async fn long_lines_are_taken_fewer_at_a_time() {
    let directory = TempDir::new().unwrap();
    let lake = lake_in(&directory).await;
    let path = directory.path().join("events.jsonl");
    write_lines(&path, &vec!["x".repeat(1_000_000); 40]);
    let mut chunks = Vec::new();
    let mut note = |progress: Progress| chunks.push(progress.done);
    let report = ingest_file(&lake, &path, NOW_MS, &mut note).await.unwrap();
    assert_eq!((report.quarantined, chunks), (40, vec![34, 40]));
}

#[tokio::test]
async fn parquet_of_the_event_schema_enters_and_a_bad_row_does_not_stop_it() {
    let directory = TempDir::new().unwrap();
    let lake = lake_in(&directory).await;
    let path = directory.path().join("events.parquet");
    let mut events = impressions(3);
    events[1].watch_ms = Some(-4);
    write_parquet(&path, &events_to_batch(&events, NOW_MS).unwrap());
    let report = ingest_file(&lake, &path, NOW_MS, &mut silent()).await.unwrap();
    assert_eq!((report.accepted, report.quarantined), (2, 1));
    assert_eq!(report.reasons.keys().next().unwrap(), "`watch_ms` out of range");
}

#[tokio::test]
async fn a_number_beyond_its_column_is_that_rows_defect_and_not_a_gap() {
    let directory = TempDir::new().unwrap();
    let lake = lake_in(&directory).await;
    let path = directory.path().join("events.parquet");
    let batch = events_to_batch(&impressions(2), NOW_MS).unwrap();
    let schema = batch.schema();
    let with = |name: &str, values: ArrayRef| {
        let columns = schema.fields().iter().zip(batch.columns());
        let columns = columns.map(|(field, column)| {
            (field.name(), Arc::clone(if field.name() == name { &values } else { column }))
        });
        RecordBatch::try_from_iter(columns).unwrap()
    };
    write_parquet(&path, &with("position", Arc::new(Int64Array::from(vec![3_000_000_000, 3]))));
    let report = ingest_file(&lake, &path, NOW_MS, &mut silent()).await.unwrap();
    assert_eq!((report.accepted, report.quarantined), (1, 1));
    let refused = report.first_refused.unwrap().reason;
    assert_eq!(refused, "`position` is 3000000000, outside 0..=1000000");

    // What no column of the lake could hold is an error.
    write_parquet(&path, &with("watch_ms", Arc::new(UInt64Array::from(vec![u64::MAX, 3]))));
    let error = ingest_file(&lake, &path, NOW_MS, &mut silent()).await.unwrap_err().one_line();
    assert!(error.starts_with("column `watch_ms` of `") && error.contains("does not fit Int64"), "{error}");
}

#[tokio::test]
async fn a_parquet_cut_anywhere_is_one_line_and_changes_nothing() {
    let directory = TempDir::new().unwrap();
    let lake = lake_in(&directory).await;
    let path = directory.path().join("events.parquet");
    write_parquet(&path, &events_to_batch(&impressions(50), NOW_MS).unwrap());
    let whole = fs::read(&path).unwrap();
    for cut in (4..whole.len()).step_by(whole.len() / 9) {
        fs::write(&path, &whole[..cut]).unwrap();
        let error = ingest_file(&lake, &path, NOW_MS, &mut silent()).await.unwrap_err().one_line();
        assert!(error.contains("events.parquet") && !error.contains('\n'), "{error}");
    }
    assert_eq!(count(&lake, "events").await, 0);
    fs::write(&path, whole).unwrap();
    let report = ingest_file(&lake, &path, NOW_MS, &mut silent()).await.unwrap();
    assert_eq!(report.accepted, 50);
}

#[tokio::test]
async fn a_parquet_of_another_schema_is_refused_by_column() {
    let directory = TempDir::new().unwrap();
    let lake = lake_in(&directory).await;
    let path = directory.path().join("other.parquet");
    let batch = events_to_batch(&impressions(2), NOW_MS).unwrap();
    write_parquet(&path, &batch.project(&[0, 1, 2]).unwrap());
    let error = ingest_file(&lake, &path, NOW_MS, &mut silent()).await.unwrap_err().one_line();
    assert!(error.ends_with("has no column `event_time_ms`; it is required"), "{error}");
}

#[tokio::test]
async fn a_gzip_cut_short_applies_nothing() {
    use std::io::Write;
    let directory = TempDir::new().unwrap();
    let lake = lake_in(&directory).await;
    let path = directory.path().join("events.jsonl.gz");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for event in impressions(200) {
        writeln!(gzip, "{}", serde_json::to_string(&event).unwrap()).unwrap();
    }
    let whole = gzip.finish().unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    ingest_file(&lake, &path, NOW_MS, &mut silent()).await.unwrap_err();
    assert_eq!(count(&lake, "events").await, 0);
    fs::write(&path, &whole).unwrap();
    assert_eq!(ingest_file(&lake, &path, NOW_MS, &mut silent()).await.unwrap().accepted, 200);
}

#[tokio::test]
async fn a_newer_clients_event_is_kept_for_a_newer_server() {
    let directory = TempDir::new().unwrap();
    let lake = lake_in(&directory).await;
    let mut newer = impressions(1);
    newer[0].schema_version = SCHEMA_VERSION + 1;
    let report = ingest_events(&lake, "test", newer, NOW_MS).await.unwrap();
    assert_eq!(report.reasons["newer `schema_version`"], 1);
    assert_eq!(count(&lake, "quarantine").await, 1);
}

#[tokio::test]
async fn what_a_service_refused_is_kept_in_its_words_once_for_each_batch() {
    let directory = TempDir::new().unwrap();
    let lake = lake_in(&directory).await;
    let raw = serde_json::to_string(&impressions(1)[0]).unwrap();
    let row = QuarantinedRow::new("not yours".to_owned(), raw);
    for batch in [1, 1, 2] {
        quarantine(&lake, "service", batch, vec![row.clone()], NOW_MS).await.unwrap();
    }
    assert_eq!(rows(&lake, "select distinct source, row, reason from quarantine").await.len(), 1);
    assert_eq!((count(&lake, "quarantine").await, count(&lake, "events").await), (2, 0));
    let long = QuarantinedRow::new(String::new(), "x".repeat(MAX_RAW_BYTES + 1));
    assert_eq!(long.raw.len(), MAX_RAW_BYTES);
}

#[test]
fn raw_text_is_cut_between_characters() {
    let mut raw = "a\u{e9}\u{e9}".to_owned();
    truncate(&mut raw, 4);
    assert_eq!(raw, "a\u{e9}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    /// However events are split into deliveries, with whatever repeats, each is stored once.
    #[test]
    fn each_id_is_stored_once(deliveries in proptest::collection::vec(
        proptest::collection::vec(0usize..12, 1..10), 1..4,
    )) {
        let events = impressions(12);
        let sent: HashSet<usize> = deliveries.iter().flatten().copied().collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stored = runtime.block_on(async {
            let directory = TempDir::new().unwrap();
            let lake = lake_in(&directory).await;
            let mut accepted = 0;
            for delivery in &deliveries {
                let batch = delivery.iter().map(|&index| events[index].clone()).collect();
                accepted += ingest_events(&lake, "test", batch, NOW_MS).await.unwrap().accepted;
            }
            (accepted, count(&lake, "events").await)
        });
        prop_assert_eq!(stored, (sent.len() as u64, sent.len() as i64));
    }
}
