//! The outbox: what the lake has to be told of a change of state waits in the database, written in
//! the transaction of that change, until it is told. Telling twice stores once.

use kinora_pipelines::catalog::{VideoRecord, upsert_videos};
use kinora_schema::Event;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::db::Tx;
use crate::error::{ApiError, ApiResult};
use crate::posts::Post;

/// Entries taken at a time.
const BATCH: i64 = 500;

/// What the lake's `videos` table says of a published clip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoRow {
    pub video_id: String,
    pub creator_id: String,
    pub duration_ms: i64,
    pub created_time_ms: i64,
    pub topic: String,
    pub caption: String,
    /// `name=value` strings.
    pub attributes: Vec<String>,
}

impl VideoRow {
    pub fn of(post: &Post, attributes: Vec<String>) -> Self {
        Self {
            video_id: post.video_id.clone(),
            creator_id: post.creator_id.clone(),
            duration_ms: post.duration_ms,
            created_time_ms: post.published_ms,
            topic: post.topic.clone(),
            caption: post.caption.clone(),
            attributes,
        }
    }

    fn record(self) -> VideoRecord {
        VideoRecord {
            video_id: self.video_id.into(),
            creator_id: Some(self.creator_id.into()),
            duration_ms: Some(self.duration_ms),
            created_time_ms: Some(self.created_time_ms),
            topic: Some(self.topic),
            caption: Some(self.caption),
            attributes: self.attributes,
        }
    }
}

pub async fn event(tx: &mut Tx, event: &Event) -> ApiResult<()> {
    put(tx, "event", serde_json::to_string(event)).await
}

pub async fn video(tx: &mut Tx, row: &VideoRow) -> ApiResult<()> {
    put(tx, "video", serde_json::to_string(row)).await
}

async fn put(tx: &mut Tx, kind: &str, payload: serde_json::Result<String>) -> ApiResult<()> {
    sqlx::query("INSERT INTO outbox (kind, payload) VALUES (?, ?)")
        .bind(kind)
        .bind(payload.map_err(ApiError::internal)?)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Tells the lake what waits, oldest first, and forgets it only then.
pub async fn drain(app: &App) -> ApiResult<()> {
    loop {
        let entries: Vec<(i64, String, String)> =
            sqlx::query_as("SELECT seq, kind, payload FROM outbox ORDER BY seq LIMIT ?")
                .bind(BATCH)
                .fetch_all(app.db.read())
                .await?;
        let Some((last, _, _)) = entries.last() else { return Ok(()) };
        let last = *last;
        let mut events: Vec<Event> = Vec::new();
        let mut videos: Vec<VideoRecord> = Vec::new();
        for (_, kind, payload) in &entries {
            if kind == "event" {
                events.push(serde_json::from_str(payload).map_err(ApiError::internal)?);
            } else {
                let row: VideoRow = serde_json::from_str(payload).map_err(ApiError::internal)?;
                videos.push(row.record());
            }
        }
        if !videos.is_empty() {
            upsert_videos(&app.lake, &videos, app.clock.now_ms()).await.map_err(ApiError::internal)?;
        }
        for video in videos {
            app.interactions.learn_video(video);
        }
        app.interactions.append(events).await?;
        let mut tx = app.db.write().await?;
        sqlx::query("DELETE FROM outbox WHERE seq <= ?").bind(last).execute(&mut *tx).await?;
        tx.commit().await?;
    }
}
