//! The outbox: what the lake has to be told of a change of state waits in the database, written in
//! the transaction of that change, until it is told. Telling twice stores once.

use kinora_pipelines::catalog::{VideoRecord, upsert_videos};
use kinora_schema::Event;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::db::Conn;
use crate::error::{ApiError, ApiResult};
use crate::posts::Post;

/// Entries taken at a time.
const BATCH: i64 = 500;

/// What the lake's `videos` table says of a clip that is or was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoRow {
    pub video_id: String,
    pub creator_id: String,
    pub duration_ms: i64,
    pub created_time_ms: i64,
    pub topic: String,
    /// None once the clip was taken down.
    pub caption: Option<String>,
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
            caption: Some(post.caption.clone()),
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
            caption: self.caption,
            attributes: self.attributes,
        }
    }
}

pub async fn event(conn: &mut Conn, event: &Event) -> ApiResult<()> {
    put(conn, "event", serde_json::to_string(event)).await
}

pub async fn video(conn: &mut Conn, row: &VideoRow) -> ApiResult<()> {
    put(conn, "video", serde_json::to_string(row)).await
}

async fn put(conn: &mut Conn, kind: &str, payload: serde_json::Result<String>) -> ApiResult<()> {
    sqlx::query("INSERT INTO outbox (kind, payload) VALUES (?, ?)")
        .bind(kind)
        .bind(payload.map_err(ApiError::internal)?)
        .execute(conn)
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
                let video = row.record();
                // Stored at one time, two rows of a clip could not be told apart: the later counts.
                videos.retain(|earlier| earlier.video_id != video.video_id);
                videos.push(video);
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
