use std::fs;

use tempfile::TempDir;

use super::*;
use crate::fixtures::NOW_MS;
use crate::progress::silent;
use crate::query::{QueryLimits, query};

#[tokio::test]
async fn each_persons_order_is_kept_and_importing_twice_adds_nothing() {
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path().join("lake")).await.unwrap();
    let path = directory.path().join("clicks.txt");
    fs::write(&path, "1 30\n1 10\n2 30\n1 20\n").unwrap();
    let report = import_movielens(&lake, &path, NOW_MS, &mut silent()).await.unwrap();
    assert_eq!((report.events.accepted, report.users, report.items), (4, 2, 3));
    assert!(!report.is_published_ml_1m);
    let context = lake.session().await.unwrap();
    let sql = "select video_id from events where user_id = 'ml-1' order by event_time_ms";
    let rows = query(&context, sql, QueryLimits::default()).await.unwrap().to_json_rows().unwrap();
    let items: Vec<&str> = rows.iter().filter_map(|row| row["video_id"].as_str()).collect();
    assert_eq!(items, ["ml-30", "ml-10", "ml-20"]);
    let again = import_movielens(&lake, &path, NOW_MS, &mut silent()).await.unwrap();
    assert_eq!((again.events.accepted, again.events.duplicates), (0, 4));
}

#[test]
fn blobs_are_named_as_git_names_them() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("hello.txt");
    fs::write(&path, "hello\n").unwrap();
    // `git hash-object` of the same file.
    assert_eq!(blob_sha1(&path).unwrap(), "ce013625030ba8dba906f756967f9e9ca394464a");
}

#[tokio::test]
async fn a_line_of_another_shape_is_quarantined_and_the_others_enter() {
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path().join("lake")).await.unwrap();
    let path = directory.path().join("clicks.txt");
    fs::write(&path, b"1 30\n1 ten\n\xff\n\n1 20 5\n1 10\n").unwrap();
    let report = import_movielens(&lake, &path, NOW_MS, &mut silent()).await.unwrap();
    assert_eq!((report.events.accepted, report.events.quarantined, report.items), (2, 3, 2));
    let context = lake.session().await.unwrap();
    let sql = "select row, reason, raw from quarantine order by row limit 1";
    let rows = query(&context, sql, QueryLimits::default()).await.unwrap().to_json_rows().unwrap();
    let reason = "not a valid event: the line is not `user item`";
    assert_eq!(rows, [serde_json::json!({ "row": 2, "reason": reason, "raw": "1 ten" })]);
}
