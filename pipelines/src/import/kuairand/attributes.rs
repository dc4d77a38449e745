//! Attribute tables and histories to records.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, ListArray, StringArray};
use arrow::compute::cast;
use arrow::csv::ReaderBuilder;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use flate2::read::MultiGzDecoder;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use kinora_schema::ranking::Task;
use kinora_schema::{CreatorId, UserId, VideoId};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::has_extension;
use crate::catalog::{HistoryRecord, UserRecord, VideoRecord};
use crate::error::{PipelineError, Result};
use crate::event_batch::{Reader, value};

/// Raw counts whose ranges are columns too: the ranges are the better categories.
const COUNTS_WITH_RANGES: [&str; 4] =
    ["follow_user_num", "fans_user_num", "friend_user_num", "register_days"];
/// Categories of a clip worth a token each.
const VIDEO_CATEGORIES: [&str; 3] = ["video_type", "upload_type", "music_type"];

pub(super) fn read_users(path: &Path) -> Result<Vec<UserRecord>> {
    let mut users = Vec::new();
    for_each_row(path, &["user_id"], |row| {
        let attributes = row
            .columns
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| *name != "user_id" && !COUNTS_WITH_RANGES.contains(name))
            .filter_map(|name| row.get(name).map(|value| format!("{name}={value}")))
            .collect();
        if let Some(user) = row.get("user_id") {
            users.push(UserRecord { user_id: UserId::new(user), attributes });
        }
    })?;
    Ok(users)
}

pub(super) fn read_videos(path: &Path) -> Result<Vec<VideoRecord>> {
    let mut videos = Vec::new();
    for_each_row(path, &["video_id", "author_id", "upload_dt", "video_duration", "tag"], |row| {
        let Some(video) = row.get("video_id") else { return };
        let tags: Vec<&str> =
            row.get("tag").into_iter().flat_map(|tags| tags.split(',')).map(str::trim).collect();
        let categories =
            VIDEO_CATEGORIES.iter().filter_map(|&name| row.get(name).map(|value| format!("{name}={value}")));
        videos.push(VideoRecord {
            video_id: VideoId::new(video),
            creator_id: row.get("author_id").map(CreatorId::new),
            duration_ms: row
                .get("video_duration")
                .and_then(|ms| ms.parse::<f64>().ok())
                .map(|ms| ms as i64)
                .filter(|&ms| ms > 0),
            created_time_ms: row.get("upload_dt").and_then(start_of_day_ms),
            topic: tags.first().map(|tag| format!("tag{tag}")),
            caption: None,
            attributes: tags.iter().map(|tag| format!("tag={tag}")).chain(categories).collect(),
        });
    })?;
    Ok(videos)
}

/// Kuaishou's days are China's.
fn start_of_day_ms(date: &str) -> Option<i64> {
    let date: Date = date.parse().ok()?;
    let zone = TimeZone::fixed(Offset::constant(8));
    Some(date.to_zoned(zone).ok()?.timestamp().as_millisecond())
}

/// Each person's last videos, oldest first; which of them were watched long or liked is given as
/// lists too, in the same order.
pub(super) fn read_histories(path: &Path) -> Result<Vec<HistoryRecord>> {
    let file = File::open(path).map_err(PipelineError::io("open", path))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(PipelineError::parquet(path))?;
    let mut histories = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| PipelineError::parquet(path)(error.into()))?;
        let reader = Reader { batch: &batch, path };
        let users = reader.required("user_id", &DataType::Int64)?;
        let lasts = reader.required("last_time_ms", &DataType::Int64)?;
        let sequence = |name| list(&reader, name);
        let (watched, long, liked) =
            (sequence("watch_seq")?, sequence("long_watch_seq")?, sequence("like_seq")?);
        for row in 0..batch.num_rows() {
            let user = value(Some(users.as_primitive::<Int64Type>()), row);
            let last_ms = value(Some(lasts.as_primitive::<Int64Type>()), row);
            let (Some(user), Some(last_ms)) = (user, last_ms) else { continue };
            let (mut long, mut liked) = (counts(&ids(&long, row)), counts(&ids(&liked, row)));
            let user_id = UserId::new(user.to_string());
            // Matched from the most recent back: each list is cut to its own most recent 50.
            let mut items: Vec<HistoryRecord> = ids(&watched, row)
                .into_iter()
                .enumerate()
                .rev()
                .map(|(ordinal, video)| HistoryRecord {
                    user_id: user_id.clone(),
                    ordinal: ordinal as i32,
                    video_id: VideoId::new(video.to_string()),
                    outcomes: take(&mut long, video, Task::LongView) | take(&mut liked, video, Task::Like),
                    before_ms: last_ms.saturating_add(1),
                })
                .collect();
            items.reverse();
            histories.extend(items);
        }
    }
    Ok(histories)
}

fn list(reader: &Reader<'_>, name: &str) -> Result<ListArray> {
    let array = reader.batch.column_by_name(name).ok_or_else(|| PipelineError::MissingColumn {
        path: reader.path.to_owned(),
        column: name.to_owned(),
    })?;
    let expected = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
    let wrong = || PipelineError::ColumnType {
        path: reader.path.to_owned(),
        column: name.to_owned(),
        found: array.data_type().to_string(),
        expected: "a list of integers".to_owned(),
    };
    let list = cast(array, &expected).map_err(|_| wrong())?;
    list.as_list_opt::<i32>().cloned().ok_or_else(wrong)
}

fn ids(list: &ListArray, row: usize) -> Vec<i64> {
    if list.is_null(row) {
        return Vec::new();
    }
    list.value(row).as_primitive::<Int64Type>().iter().flatten().collect()
}

fn counts(videos: &[i64]) -> HashMap<i64, u32> {
    let mut counts = HashMap::new();
    for &video in videos {
        *counts.entry(video).or_default() += 1;
    }
    counts
}

fn take(counts: &mut HashMap<i64, u32>, video: i64, task: Task) -> u16 {
    match counts.get_mut(&video) {
        Some(count) if *count > 0 => {
            *count -= 1;
            1 << task.index()
        }
        _ => 0,
    }
}

/// A row of a CSV file, all text.
struct CsvRow<'a> {
    columns: &'a [(String, StringArray)],
    row: usize,
}

impl CsvRow<'_> {
    /// The value, unless it is missing or marked as unknown.
    fn get(&self, name: &str) -> Option<&str> {
        let (_, column) = self.columns.iter().find(|(column, _)| column == name)?;
        let value = column.is_valid(self.row).then(|| column.value(self.row).trim())?;
        (!value.is_empty() && !value.eq_ignore_ascii_case("unknown")).then_some(value)
    }
}

fn for_each_row(path: &Path, required: &[&str], mut each: impl FnMut(&CsvRow<'_>)) -> Result<()> {
    let file = File::open(path).map_err(PipelineError::io("open", path))?;
    let text: Box<dyn Read> =
        if has_extension(path, "gz") { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut text = BufReader::new(text);
    let mut header = String::new();
    text.read_line(&mut header).map_err(PipelineError::io("read", path))?;
    let names: Vec<&str> = header.trim().split(',').collect();
    if let Some(column) = required.iter().find(|column| !names.contains(column)) {
        return Err(PipelineError::MissingColumn { path: path.to_owned(), column: (*column).to_owned() });
    }
    let fields: Vec<Field> = names.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect();
    let csv = |source| PipelineError::Csv { path: path.to_owned(), source };
    let reader = ReaderBuilder::new(Arc::new(Schema::new(fields))).build_buffered(text).map_err(csv)?;
    for batch in reader {
        let batch = batch.map_err(csv)?;
        let columns: Vec<(String, StringArray)> = names
            .iter()
            .zip(batch.columns())
            .map(|(&name, column)| (name.to_owned(), column.as_string::<i32>().clone()))
            .collect();
        (0..batch.num_rows()).for_each(|row| each(&CsvRow { columns: &columns, row }));
    }
    Ok(())
}
