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
async fn a_line_of_another_shape_stops_the_import_before_anything_enters() {
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path().join("lake")).await.unwrap();
    let path = directory.path().join("clicks.txt");
    fs::write(&path, "1 30\n1 ten\n").unwrap();
    let error = import_movielens(&lake, &path, NOW_MS, &mut silent()).await.unwrap_err().one_line();
    assert!(error.starts_with("line 2 of") && error.ends_with("is not `user item`"), "{error}");
    let state = crate::features::FeatureState::from_lake(&lake).await.unwrap();
    assert_eq!(state.users_len(), 0);
}
