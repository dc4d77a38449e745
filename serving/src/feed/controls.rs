//! What a person asks of their feed: in words ("calm clips of pets, nothing about sport"), and by clips
//! that they want to see less like. Both hold from the next page on, and both can be taken back.

use axum::extract::State;
use axum::http::StatusCode;
use kinora_ranking::feed::Less;
use kinora_ranking::feed::steering::{self, Steering, Wish};
use kinora_schema::{CreatorId, EventId, EventKind, UserId, VideoId};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::auth::Viewer;
use crate::db::Conn;
use crate::error::{ApiError, ApiResult, Json, Path, Problem};
use crate::events::{outbox, server_event};

const MAX_CHARS: usize = 300;
/// Clips that are remembered to show less like: the latest count.
const LESS_MAX: i64 = 50;

/// What to steer by.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SteeringUpdate {
    /// In your own words, at most 300 characters: "calm clips of pets, nothing about sport".
    text: String,
}

/// What the feed is steered by, and how it was understood.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(super) struct SteeringAnswer {
    text: String,
    /// Wanted: such clips come first.
    more: Vec<String>,
    /// Such clips come last.
    less: Vec<String>,
    /// Such clips are not shown.
    never: Vec<String>,
}

impl SteeringAnswer {
    fn of(text: String) -> Self {
        let words = |wishes: Vec<Wish>| wishes.into_iter().map(|wish| wish.words).collect();
        let Steering { more, less, never } = Steering::of(&text);
        Self { text, more: words(more), less: words(less), never: words(never) }
    }
}

/// What your feed is steered by.
#[utoipa::path(
    get, path = "/v1/feed/steering", tag = "feed",
    responses((status = 200, body = SteeringAnswer)), security(("bearer" = []))
)]
pub(super) async fn steered(State(app): State<App>, viewer: Viewer) -> ApiResult<Json<SteeringAnswer>> {
    let mut conn = app.db.read().acquire().await?;
    Ok(Json(SteeringAnswer::of(words(&mut conn, &viewer.user_id).await?)))
}

/// Steer your feed in words. The answer says how they were understood.
#[utoipa::path(
    put, path = "/v1/feed/steering", tag = "feed", request_body = SteeringUpdate,
    responses((status = 200, body = SteeringAnswer), (status = 400, body = Problem)), security(("bearer" = []))
)]
pub(super) async fn steer(
    State(app): State<App>,
    viewer: Viewer,
    Json(update): Json<SteeringUpdate>,
) -> ApiResult<Json<SteeringAnswer>> {
    let text = update.text.trim().to_owned();
    if text.chars().count() > MAX_CHARS {
        return Err(ApiError::bad_request("text", "`text` must be at most 300 characters"));
    }
    let mut tx = app.db.write().await?;
    sqlx::query(
        "INSERT INTO steering (user_id, text, updated_ms) VALUES (?, ?, ?)
         ON CONFLICT (user_id) DO UPDATE SET text = excluded.text, updated_ms = excluded.updated_ms",
    )
    .bind(viewer.user_id.as_str())
    .bind(&text)
    .bind(app.clock.now_ms())
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Json(SteeringAnswer::of(text)))
}

/// Stop steering your feed.
#[utoipa::path(
    delete, path = "/v1/feed/steering", tag = "feed", responses((status = 204)), security(("bearer" = []))
)]
pub(super) async fn unsteer(State(app): State<App>, viewer: Viewer) -> ApiResult<StatusCode> {
    let mut tx = app.db.write().await?;
    sqlx::query("DELETE FROM steering WHERE user_id = ?")
        .bind(viewer.user_id.as_str())
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the person steers by, as it was typed; empty where they do not.
pub(super) async fn words(conn: &mut Conn, user_id: &UserId) -> ApiResult<String> {
    let text = sqlx::query_scalar("SELECT text FROM steering WHERE user_id = ?")
        .bind(user_id.as_str())
        .fetch_optional(conn)
        .await?;
    Ok(text.unwrap_or_default())
}

/// A clip that you want to see less like.
#[derive(Clone, Debug, Serialize, FromRow, ToSchema)]
pub(super) struct LessLike {
    video_id: String,
    caption: String,
    creator_id: String,
    #[serde(skip)]
    topic: String,
    asked_ms: i64,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct LessList {
    clips: Vec<LessLike>,
}

/// Clips that you want to see less like, the latest first.
#[utoipa::path(
    get, path = "/v1/feed/less", tag = "feed",
    responses((status = 200, body = LessList)), security(("bearer" = []))
)]
pub(super) async fn less_list(State(app): State<App>, viewer: Viewer) -> ApiResult<Json<LessList>> {
    let mut conn = app.db.read().acquire().await?;
    Ok(Json(LessList { clips: asked_less(&mut conn, &viewer.user_id).await? }))
}

/// See less like this clip.
#[utoipa::path(
    put, path = "/v1/feed/less/{video_id}", tag = "feed", params(("video_id" = String, Path)),
    responses((status = 204), (status = 404, body = Problem)), security(("bearer" = []))
)]
pub(super) async fn less(
    State(app): State<App>,
    viewer: Viewer,
    Path(video_id): Path<String>,
) -> ApiResult<StatusCode> {
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.write().await?;
    let creator_id: Option<String> =
        sqlx::query_scalar("SELECT creator_id FROM posts WHERE video_id = ? AND state = 'published'")
            .bind(&video_id)
            .fetch_optional(&mut *tx)
            .await?;
    let creator_id = creator_id.ok_or(ApiError::NotFound("published video"))?;
    let video_id = VideoId::new(video_id);
    if see_less(&mut tx, &viewer.user_id, &video_id, now_ms).await? {
        let id = EventId(Uuid::now_v7());
        let mut event = server_event(id, EventKind::NotInterested, now_ms, &viewer.user_id, &video_id);
        event.creator_id = Some(CreatorId::new(creator_id));
        outbox::event(&mut tx, &event).await?;
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take back that you want to see less like a clip.
#[utoipa::path(
    delete, path = "/v1/feed/less/{video_id}", tag = "feed", params(("video_id" = String, Path)),
    responses((status = 204)), security(("bearer" = []))
)]
pub(super) async fn unless(
    State(app): State<App>,
    viewer: Viewer,
    Path(video_id): Path<String>,
) -> ApiResult<StatusCode> {
    let mut tx = app.db.write().await?;
    sqlx::query("UPDATE less_like SET taken_back_ms = ? WHERE user_id = ? AND video_id = ?")
        .bind(app.clock.now_ms())
        .bind(viewer.user_id.as_str())
        .bind(&video_id)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Remembers that the person wanted, at a time, to see less like a clip, and tells whether that is new.
pub(crate) async fn see_less(
    conn: &mut Conn,
    user_id: &UserId,
    video_id: &VideoId,
    asked_ms: i64,
) -> ApiResult<bool> {
    let statement = "INSERT INTO less_like (user_id, video_id, asked_ms) VALUES (?, ?, ?)
         ON CONFLICT (user_id, video_id) DO UPDATE SET asked_ms = excluded.asked_ms, taken_back_ms = NULL
         WHERE excluded.asked_ms > less_like.taken_back_ms";
    let done = sqlx::query(statement)
        .bind(user_id.as_str())
        .bind(video_id.as_str())
        .bind(asked_ms)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}

async fn asked_less(conn: &mut Conn, user_id: &UserId) -> ApiResult<Vec<LessLike>> {
    Ok(sqlx::query_as(
        "SELECT l.video_id, p.caption, p.creator_id, p.topic, l.asked_ms
         FROM less_like l JOIN posts p ON p.video_id = l.video_id
         WHERE l.user_id = ? AND l.taken_back_ms IS NULL ORDER BY l.asked_ms DESC, l.video_id LIMIT ?",
    )
    .bind(user_id.as_str())
    .bind(LESS_MAX)
    .fetch_all(conn)
    .await?)
}

/// Clips to show less like, as the recipe compares them.
pub(super) async fn unwanted(conn: &mut Conn, user_id: &UserId) -> ApiResult<Vec<Less>> {
    let clips = asked_less(conn, user_id).await?.into_iter();
    Ok(clips
        .map(|clip| Less {
            said: steering::stems(&format!("{} {}", clip.caption, clip.topic)),
            video_id: VideoId::new(clip.video_id),
            creator_id: CreatorId::new(clip.creator_id),
            topic: Some(clip.topic),
        })
        .collect())
}
