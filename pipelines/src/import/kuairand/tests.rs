use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, ListArray, RecordBatch};
use arrow::datatypes::Int64Type;
use kinora_schema::ranking::Task;
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

use super::*;
use crate::catalog::{histories_of, read_videos};
use crate::fixtures::NOW_MS;
use crate::progress::silent;
use crate::query::{QueryLimits, query};

const HEADER: &str = "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab";

fn write(directory: &Path, name: &str, text: &str) {
    std::fs::write(directory.join(name), text).unwrap();
}

fn fixture(directory: &Path) {
    // Clicked, liked and watched; skipped; the first again, alike; a time in 1970.
    write(
        directory,
        "log_standard.csv",
        &format!(
            "{HEADER}\n\
             7,11,20220425,0,1650812741436,1,1,0,0,1,0,1,61802,49866,0,0,1,0,1\n\
             8,11,20220425,0,1650812741440,0,0,0,0,0,0,0,0,0,0,0,0,0,2\n\
             7,11,20220425,0,1650812741436,1,1,0,0,1,0,1,61802,49866,0,0,1,0,1\n\
             9,11,20220425,0,5,0,0,0,0,0,0,0,0,1000,0,0,0,0,2\n"
        ),
    );
    write(
        directory,
        "user_features_pure.csv",
        "user_id,user_active_degree,follow_user_num,follow_user_num_range,onehot_feat0\n\
         7,full_active,514,\"(250,500]\",3\n8,UNKNOWN,1,\"[1,5)\",\n",
    );
    let videos = "video_id,author_id,video_type,upload_dt,upload_type,video_duration,music_type,tag\n\
        11,99,NORMAL,2022-04-10,Web,49866.0,9.0,\"20,43\"\n12,98,AD,2022-04-11,Web,,4.0,\n";
    let mut gzip = flate2::write::GzEncoder::new(
        File::create(directory.join("video_features_basic_pure.csv.gz")).unwrap(),
        flate2::Compression::fast(),
    );
    gzip.write_all(videos.as_bytes()).unwrap();
    gzip.finish().unwrap();

    let list = |videos: Vec<i64>| -> ArrayRef {
        let row = videos.into_iter().map(Some).collect::<Vec<_>>();
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(row)]))
    };
    let batch = RecordBatch::try_from_iter([
        ("user_id", Arc::new(Int64Array::from(vec![7])) as ArrayRef),
        ("last_time_ms", Arc::new(Int64Array::from(vec![1_650_700_000_000])) as ArrayRef),
        ("watch_seq", list(vec![5, 6, 5])),
        ("like_seq", list(vec![6])),
        ("long_watch_seq", list(vec![5])),
    ])
    .unwrap();
    let file = File::create(directory.join("user_sequences.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[tokio::test]
async fn a_directory_becomes_records_histories_and_joined_outcomes() {
    let directory = TempDir::new().unwrap();
    fixture(directory.path());
    let lake = Lake::open(directory.path().join("lake")).await.unwrap();
    let report = import_kuairand(&lake, directory.path(), NOW_MS, &mut silent()).await.unwrap();
    assert_eq!((report.users, report.videos, report.history_items, report.rows), (2, 2, 3, 4));
    // Impression, click, like, share, profile entry and watch, twice; one impression alone.
    assert_eq!((report.events.accepted, report.events.duplicates, report.events.quarantined), (13, 0, 1));

    let context = lake.session().await.unwrap();
    let sql = "select user_id, surface, click, liked, shared, followed, profile_entered, long_view, watch_ms,
        duration_ms from impression_outcomes order by user_id";
    let rows = query(&context, sql, QueryLimits::default()).await.unwrap().to_json_rows().unwrap();
    let watched = serde_json::json!({
        "user_id": "7", "surface": "tab=1", "click": true, "liked": true, "shared": true, "followed": false,
        "profile_entered": true, "long_view": true, "watch_ms": 61_802, "duration_ms": 49_866
    });
    assert_eq!(rows[..2], [watched.clone(), watched]);
    // The log does not know how long it is: the clip's record does.
    assert_eq!((&rows[2]["click"], &rows[2]["duration_ms"]), (&false.into(), &49_866.into()));

    let again = import_kuairand(&lake, directory.path(), NOW_MS, &mut silent()).await.unwrap();
    assert_eq!((again.users, again.videos, again.history_items), (0, 0, 0));
    assert_eq!((again.events.accepted, again.events.duplicates), (0, 13));
}

#[tokio::test]
async fn a_row_that_is_not_numbers_is_quarantined_with_its_line_and_the_others_enter() {
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path().join("lake")).await.unwrap();
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let good = "7,11,20220425,0,1650812741436,1,0,0,0,0,0,0,0,0,0,0,0,0,1";
    let bad = [
        good.replace("7,11", "7,eleven"),
        good.replace("7,11", ",11"),
        good.replace(",1650812741436", ""),
        good.replace("7,11", "7,99999999999999999999"),
    ];
    write(&data, "log_standard.csv", &format!("{HEADER}\n{}\n{good}\n", bad.join("\n")));
    let report = import_kuairand(&lake, &data, NOW_MS, &mut silent()).await.unwrap();
    assert_eq!((report.rows, report.events.accepted, report.events.quarantined), (5, 2, 4));
    let context = lake.session().await.unwrap();
    let sql = "select reason, raw from quarantine order by row";
    let rows = query(&context, sql, QueryLimits::default()).await.unwrap().to_json_rows().unwrap();
    let reasons = [
        "not a valid event: `video_id` is `eleven`, expected a whole number",
        "`user_id` is empty",
        "not a valid event: the line has 18 columns, the header has 19",
        "not a valid event: `video_id` is `99999999999999999999`, expected a whole number",
    ];
    for ((row, reason), raw) in rows.iter().zip(reasons).zip(&bad) {
        assert_eq!(*row, serde_json::json!({ "reason": reason, "raw": raw }));
    }
}

#[tokio::test]
async fn attributes_and_histories_keep_their_meaning() {
    let directory = TempDir::new().unwrap();
    fixture(directory.path());
    let users = attributes::read_users(&directory.path().join("user_features_pure.csv")).unwrap();
    assert_eq!(
        users[0].attributes,
        ["user_active_degree=full_active", "follow_user_num_range=(250,500]", "onehot_feat0=3"]
    );
    let lake = Lake::open(directory.path().join("lake")).await.unwrap();
    import_kuairand(&lake, directory.path(), NOW_MS, &mut silent()).await.unwrap();
    let videos = read_videos(&lake).await.unwrap();
    assert_eq!(videos[0].topic.as_deref(), Some("tag20"));
    assert_eq!(videos[0].attributes[..2], ["tag=20", "tag=43"]);
    // 10 April 2022 begins in China at 16:00 UTC of the 9th.
    assert_eq!(videos[0].created_time_ms, Some(1_649_520_000_000));
    assert_eq!((videos[1].duration_ms, &videos[1].topic), (None, &None));

    let context = lake.session().await.unwrap();
    let histories = histories_of(&lake, &context).await.unwrap();
    let outcomes: Vec<(&str, u16)> =
        histories.iter().map(|item| (item.video_id.as_str(), item.outcomes)).collect();
    let (long, like) = (1 << Task::LongView.index(), 1 << Task::Like.index());
    assert_eq!(outcomes, [("5", 0), ("6", like), ("5", long)]);
    assert!(histories.iter().all(|item| item.before_ms == 1_650_700_000_001));
}

#[tokio::test]
async fn a_directory_without_logs_and_a_log_without_a_column_are_told_apart() {
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path().join("lake")).await.unwrap();
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let error = import_kuairand(&lake, &data, NOW_MS, &mut silent()).await.unwrap_err().one_line();
    assert!(error.contains("has none of KuaiRand's logs"), "{error}");
    write(&data, "log_standard.csv", "user_id,video_id\n1,2\n");
    let error = import_kuairand(&lake, &data, NOW_MS, &mut silent()).await.unwrap_err().one_line();
    assert!(error.ends_with("has no column `time_ms`; it is required"), "{error}");
}
