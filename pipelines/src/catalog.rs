//! What is known of people and clips, and imported histories: the tables beside the events.
//!
//! Records enter with attributes as `name=value` strings. The latest record of an id counts
//! (`users_latest`, `videos_latest`). INVARIANT: a record equal to the one that counts is not stored
//! again, so that importing twice leaves the lake as it was.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use kinora_schema::table::Table;
use kinora_schema::{CreatorId, UserId, VideoId};

use crate::error::{PipelineError, Result};
use crate::event_batch::{Reader, text, value};
use crate::lake::Lake;

/// Records written at a time.
const CHUNK_ROWS: usize = 100_000;

/// What is known of a person.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserRecord {
    pub user_id: UserId,
    /// `name=value` strings.
    pub attributes: Vec<String>,
}

/// What is known of a clip.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VideoRecord {
    pub video_id: VideoId,
    pub creator_id: Option<CreatorId>,
    pub duration_ms: Option<i64>,
    pub created_time_ms: Option<i64>,
    pub topic: Option<String>,
    pub caption: Option<String>,
    /// `name=value` strings.
    pub attributes: Vec<String>,
}

/// One clip of an imported history whose times are unknown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HistoryRecord {
    pub user_id: UserId,
    /// Zero is the oldest.
    pub ordinal: i32,
    pub video_id: VideoId,
    /// Bits as in `kinora_schema::ranking::HistoryItem`.
    pub outcomes: u16,
    /// It happened before this time.
    pub before_ms: i64,
}

/// Stores people whose record is new or changed; returns how many.
pub async fn upsert_users(lake: &Lake, users: &[UserRecord], now_ms: i64) -> Result<u64> {
    let lock = lake.lock_for_ingest().await?;
    let stored = hashes(&read_users(lake).await?, |user: &UserRecord| user.user_id.clone());
    let changed: Vec<&UserRecord> =
        users.iter().filter(|user| stored.get(&user.user_id) != Some(&hash(user))).collect();
    let mut append = lake.begin(Table::Users).await?;
    for chunk in changed.chunks(CHUNK_ROWS) {
        let columns: Vec<ArrayRef> = vec![
            strings(chunk.iter().map(|user| Some(user.user_id.as_str()))),
            strings(chunk.iter().map(|user| Some(json(&user.attributes)))),
            Arc::new(Int64Array::from_value(now_ms, chunk.len())),
        ];
        append.write(batch(Table::Users, columns)?).await?;
    }
    append.commit().await?;
    drop(lock);
    Ok(changed.len() as u64)
}

/// Stores clips whose record is new or changed; returns how many.
pub async fn upsert_videos(lake: &Lake, videos: &[VideoRecord], now_ms: i64) -> Result<u64> {
    let lock = lake.lock_for_ingest().await?;
    let stored = hashes(&read_videos(lake).await?, |video: &VideoRecord| video.video_id.clone());
    let changed: Vec<&VideoRecord> =
        videos.iter().filter(|video| stored.get(&video.video_id) != Some(&hash(video))).collect();
    let mut append = lake.begin(Table::Videos).await?;
    for chunk in changed.chunks(CHUNK_ROWS) {
        let columns: Vec<ArrayRef> = vec![
            strings(chunk.iter().map(|video| Some(video.video_id.as_str()))),
            strings(chunk.iter().map(|video| video.creator_id.as_ref().map(CreatorId::as_str))),
            Arc::new(chunk.iter().map(|video| video.duration_ms).collect::<Int64Array>()),
            Arc::new(chunk.iter().map(|video| video.created_time_ms).collect::<Int64Array>()),
            strings(chunk.iter().map(|video| video.topic.as_deref())),
            strings(chunk.iter().map(|video| video.caption.as_deref())),
            strings(chunk.iter().map(|video| Some(json(&video.attributes)))),
            Arc::new(Int64Array::from_value(now_ms, chunk.len())),
        ];
        append.write(batch(Table::Videos, columns)?).await?;
    }
    append.commit().await?;
    drop(lock);
    Ok(changed.len() as u64)
}

/// Stores histories that the lake does not have; returns how many rows.
pub async fn add_histories(lake: &Lake, histories: &[HistoryRecord]) -> Result<u64> {
    let lock = lake.lock_for_ingest().await?;
    let context = lake.session().await?;
    let mut stored = HashSet::new();
    for_each_history(lake, &context, |record| {
        stored.insert(hash(&record));
    })
    .await?;
    let added: Vec<&HistoryRecord> =
        histories.iter().filter(|record| stored.is_empty() || !stored.contains(&hash(record))).collect();
    let mut append = lake.begin(Table::Histories).await?;
    for chunk in added.chunks(CHUNK_ROWS) {
        let columns: Vec<ArrayRef> = vec![
            strings(chunk.iter().map(|record| Some(record.user_id.as_str()))),
            Arc::new(Int32Array::from_iter_values(chunk.iter().map(|record| record.ordinal))),
            strings(chunk.iter().map(|record| Some(record.video_id.as_str()))),
            Arc::new(Int32Array::from_iter_values(chunk.iter().map(|record| i32::from(record.outcomes)))),
            Arc::new(Int64Array::from_iter_values(chunk.iter().map(|record| record.before_ms))),
        ];
        append.write(batch(Table::Histories, columns)?).await?;
    }
    append.commit().await?;
    drop(lock);
    Ok(added.len() as u64)
}

/// The record that counts of every person, ordered by id.
pub async fn read_users(lake: &Lake) -> Result<Vec<UserRecord>> {
    let sql = "select user_id, attributes, ingested_time_ms from users_latest order by user_id";
    let users = users_by(lake, &lake.session().await?, sql).await?;
    Ok(users.into_iter().map(|(_, user)| user).collect())
}

/// Every record of every person with the time it came in, in the order in which one takes the place of another.
pub(crate) async fn user_records_of(lake: &Lake, context: &SessionContext) -> Result<Vec<(i64, UserRecord)>> {
    // Of records that came in together the one that `users_latest` takes is last.
    let sql = "select user_id, attributes, ingested_time_ms from users
        order by ingested_time_ms, user_id, attributes desc";
    users_by(lake, context, sql).await
}

async fn users_by(lake: &Lake, context: &SessionContext, sql: &str) -> Result<Vec<(i64, UserRecord)>> {
    let path = lake.table_path(Table::Users);
    let mut users = Vec::new();
    for_each_batch(context, sql, |batch| {
        let reader = Reader { batch, path: &path };
        let (ids, attributes) = (reader.text("user_id")?, reader.text("attributes")?);
        let ingested = reader.int64("ingested_time_ms")?;
        users.extend((0..batch.num_rows()).filter_map(|row| {
            let user = UserRecord {
                user_id: UserId::new(text(ids.as_ref(), row)?),
                attributes: from_json(text(attributes.as_ref(), row)),
            };
            Some((value(ingested.as_ref(), row)?, user))
        }));
        Ok(())
    })
    .await?;
    Ok(users)
}

/// The record that counts of every clip, ordered by id.
pub async fn read_videos(lake: &Lake) -> Result<Vec<VideoRecord>> {
    let sql = "select * from videos_latest order by video_id";
    let videos = videos_by(lake, &lake.session().await?, sql).await?;
    Ok(videos.into_iter().map(|(_, video)| video).collect())
}

/// Every record of every clip with the time it came in, in the order in which one takes the place of another.
pub(crate) async fn video_records_of(
    lake: &Lake,
    context: &SessionContext,
) -> Result<Vec<(i64, VideoRecord)>> {
    // Of records that came in together the one that `videos_latest` takes is last.
    let sql = "select * from videos order by ingested_time_ms, video_id, attributes desc, caption desc,
        topic desc, creator_id desc, duration_ms desc, created_time_ms desc";
    videos_by(lake, context, sql).await
}

async fn videos_by(lake: &Lake, context: &SessionContext, sql: &str) -> Result<Vec<(i64, VideoRecord)>> {
    let path = lake.table_path(Table::Videos);
    let mut videos = Vec::new();
    for_each_batch(context, sql, |batch| {
        let reader = Reader { batch, path: &path };
        let (ids, creators) = (reader.text("video_id")?, reader.text("creator_id")?);
        let (durations, created) = (reader.int64("duration_ms")?, reader.int64("created_time_ms")?);
        let (topics, captions) = (reader.text("topic")?, reader.text("caption")?);
        let (attributes, ingested) = (reader.text("attributes")?, reader.int64("ingested_time_ms")?);
        videos.extend((0..batch.num_rows()).filter_map(|row| {
            let video = VideoRecord {
                video_id: VideoId::new(text(ids.as_ref(), row)?),
                creator_id: text(creators.as_ref(), row).map(CreatorId::new),
                duration_ms: value(durations.as_ref(), row),
                created_time_ms: value(created.as_ref(), row),
                topic: text(topics.as_ref(), row).map(str::to_owned),
                caption: text(captions.as_ref(), row).map(str::to_owned),
                attributes: from_json(text(attributes.as_ref(), row)),
            };
            Some((value(ingested.as_ref(), row)?, video))
        }));
        Ok(())
    })
    .await?;
    Ok(videos)
}

/// Imported histories, a person after another, oldest first.
pub(crate) async fn histories_of(lake: &Lake, context: &SessionContext) -> Result<Vec<HistoryRecord>> {
    let mut histories = Vec::new();
    for_each_history(lake, context, |record| histories.push(record)).await?;
    histories.sort_unstable_by(|a, b| {
        (&a.user_id, a.before_ms, a.ordinal, &a.video_id).cmp(&(
            &b.user_id,
            b.before_ms,
            b.ordinal,
            &b.video_id,
        ))
    });
    Ok(histories)
}

async fn for_each_history(
    lake: &Lake,
    context: &SessionContext,
    mut each: impl FnMut(HistoryRecord),
) -> Result<()> {
    let path = lake.table_path(Table::Histories);
    let sql = "select user_id, ordinal, video_id, outcomes, before_ms from histories";
    for_each_batch(context, sql, |batch| {
        let reader = Reader { batch, path: &path };
        let (users, ordinals) = (reader.text("user_id")?, reader.int64("ordinal")?);
        let (videos, outcomes) = (reader.text("video_id")?, reader.int64("outcomes")?);
        let before = reader.int64("before_ms")?;
        for row in 0..batch.num_rows() {
            let record = || {
                Some(HistoryRecord {
                    user_id: UserId::new(text(users.as_ref(), row)?),
                    ordinal: i32::try_from(value(ordinals.as_ref(), row)?).ok()?,
                    video_id: VideoId::new(text(videos.as_ref(), row)?),
                    outcomes: u16::try_from(value(outcomes.as_ref(), row)?).ok()?,
                    before_ms: value(before.as_ref(), row)?,
                })
            };
            record().into_iter().for_each(&mut each);
        }
        Ok(())
    })
    .await
}

pub(crate) async fn for_each_batch(
    context: &SessionContext,
    sql: &str,
    mut each: impl FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    let frame = context.sql(sql).await.map_err(PipelineError::Read)?;
    let mut batches = frame.execute_stream().await.map_err(PipelineError::Read)?;
    while let Some(batch) = batches.next().await {
        each(&batch.map_err(PipelineError::Read)?)?;
    }
    Ok(())
}

fn hashes<R: Hash, I: Hash + Eq>(records: &[R], id: fn(&R) -> I) -> HashMap<I, u64> {
    records.iter().map(|record| (id(record), hash(record))).collect()
}

fn hash(record: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    record.hash(&mut hasher);
    hasher.finish()
}

fn batch(table: Table, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(table.schema(), columns).map_err(PipelineError::Arrow)
}

fn strings(values: impl Iterator<Item = Option<impl AsRef<str>>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn json(attributes: &[String]) -> String {
    serde_json::Value::from(attributes).to_string()
}

fn from_json(attributes: Option<&str>) -> Vec<String> {
    attributes.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}
