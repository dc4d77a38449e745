use tempfile::TempDir;

use super::*;
use crate::event_batch::events_to_batch;
use crate::fixtures::{NOW_MS, impressions};

async fn count(lake: &Lake) -> usize {
    lake.session().await.unwrap().table("events").await.unwrap().count().await.unwrap()
}

async fn append(lake: &Lake, batch: RecordBatch) -> Result<u64> {
    let mut append = lake.begin(Table::Events).await?;
    append.write(batch).await?;
    append.commit().await
}

fn batch(count: u64) -> RecordBatch {
    events_to_batch(&impressions(count), NOW_MS).unwrap()
}

#[tokio::test]
async fn what_is_appended_is_there_when_opened_again() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("a lake, with % and spaces");
    let lake = Lake::open(&root).await.unwrap();
    assert_eq!(append(&lake, batch(5)).await.unwrap(), 1);
    assert_eq!(append(&lake, batch(0)).await.unwrap(), 1);
    assert_eq!(count(&lake).await, 5);
    let again = Lake::open(&root).await.unwrap();
    assert_eq!(count(&again).await, 5);
    assert_eq!(again.versions().await.unwrap()["events"], 1);
}

#[tokio::test]
async fn two_handles_see_each_others_rows() {
    let directory = TempDir::new().unwrap();
    let (one, two) =
        (Lake::open(directory.path()).await.unwrap(), Lake::open(directory.path()).await.unwrap());
    append(&one, batch(2)).await.unwrap();
    append(&two, batch(3)).await.unwrap();
    append(&one, batch(4)).await.unwrap();
    assert_eq!((count(&one).await, count(&two).await), (9, 9));
}

#[tokio::test]
async fn a_transaction_is_applied_once_even_after_reopening() {
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path()).await.unwrap();
    let append_once = |lake: Lake, version| async move {
        lake.append_in_transaction(Table::Events, batch(2), "log", version).await.unwrap()
    };
    assert_eq!(append_once(lake.clone(), 10).await, Committed::Version(1));
    assert_eq!(append_once(lake.clone(), 10).await, Committed::Before);
    let again = Lake::open(directory.path()).await.unwrap();
    assert_eq!(append_once(again.clone(), 9).await, Committed::Before);
    assert_eq!(append_once(again.clone(), 11).await, Committed::Version(2));
    assert_eq!(count(&lake).await, 4);
    assert!(again.has_committed(Table::Events, "log", 11).await.unwrap());
    assert!(!again.has_committed(Table::Events, "log", 12).await.unwrap());
}

#[tokio::test]
async fn what_is_committed_has_names_that_stay_whoever_committed_it() {
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path()).await.unwrap();
    lake.append_in_transaction(Table::Events, batch(2), "log", 1).await.unwrap();
    let events = lake.table_path(Table::Events);
    let named = |lake: &Lake, path: &str| lake.inner.store.has_named(&events.join(path));
    assert!(named(&lake, "") && named(&lake, "_delta_log") && named(&lake, "event_date=2026-01-05"));
    // The next process cannot know whether the one before it came to syncing what it committed.
    let again = Lake::open(directory.path()).await.unwrap();
    assert!(!again.has_committed(Table::Events, "log", 2).await.unwrap());
    assert!(!named(&again, "_delta_log"));
    assert!(again.has_committed(Table::Events, "log", 1).await.unwrap());
    assert!(named(&again, "") && named(&again, "_delta_log"));
}

#[tokio::test]
async fn an_append_that_is_dropped_never_was() {
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path()).await.unwrap();
    let mut append = lake.begin(Table::Events).await.unwrap();
    append.write(batch(5)).await.unwrap();
    drop(append);
    assert_eq!(count(&lake).await, 0);
    assert_eq!(lake.version(Table::Events).await.unwrap(), 0);
}

#[tokio::test]
async fn a_directory_that_cannot_be_is_named_in_one_line() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("taken");
    fs::write(&file, "not a directory").unwrap();
    let error = Lake::open(file.join("lake")).await.unwrap_err().one_line();
    assert!(error.contains("taken/lake") && !error.contains('\n'), "{error}");
}

#[tokio::test]
async fn a_disk_that_refuses_is_named_in_one_line_and_loses_nothing() {
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path()).await.unwrap();
    // Where a day's directory should be made there is a file.
    let day = lake.table_path(Table::Events).join("event_date=2026-01-05");
    lake.version(Table::Events).await.unwrap();
    fs::write(&day, "in the way").unwrap();
    let error = append(&lake, batch(3)).await.unwrap_err();
    assert!(matches!(error, PipelineError::Io { .. }), "{error:?}");
    let line = error.one_line();
    assert!(line.starts_with("cannot write `") && line.contains("/events`: "), "{line}");
    assert!(!line.contains('\n'), "{line}");
    assert_eq!(count(&lake).await, 0);

    fs::remove_file(&day).unwrap();
    append(&lake, batch(3)).await.unwrap();
    assert_eq!(count(&lake).await, 3);
}

#[tokio::test]
async fn merging_small_files_keeps_every_row_and_the_transactions() {
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path()).await.unwrap();
    let events = impressions(36);
    for (number, event) in events.iter().enumerate() {
        let batch = events_to_batch(std::slice::from_ref(event), NOW_MS).unwrap();
        lake.append_in_transaction(Table::Events, batch, "log", number as i64).await.unwrap();
        if number == 10 {
            assert_eq!(lake.merge_small_files(Table::Events).await.unwrap(), 0, "too few to merge");
        }
    }
    let rows = async |lake: &Lake| {
        let events = lake.session().await.unwrap().table("events").await.unwrap();
        let by_id = events.sort(vec![datafusion::prelude::col("event_id").sort(true, false)]).unwrap();
        let batches = by_id.collect().await.unwrap();
        arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
    };
    let before = rows(&lake).await;
    assert_eq!(before.num_rows(), 36);
    assert_eq!(lake.merge_small_files(Table::Events).await.unwrap(), 36);
    let again = Lake::open(directory.path()).await.unwrap();
    assert_eq!(rows(&again).await, before);
    assert_eq!(again.merge_small_files(Table::Events).await.unwrap(), 0, "merged already");
    assert!(again.has_committed(Table::Events, "log", 35).await.unwrap());
    assert_eq!(append(&again, batch(2)).await.unwrap(), again.version(Table::Events).await.unwrap());
    assert_eq!(count(&lake).await, 38);
}
