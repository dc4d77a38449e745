//! Posts: a finished video enters the feed with a caption, leaves it again, and is watched.
//!
//! INVARIANT: a post is visible only while it and its video are published and everyone in the
//! video's ancestry permits it; publishing and the `create` event that tells the lake of it are
//! one transaction (the event waits in the outbox).

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use kinora_schema::{CreatorId, EventId, EventKind, UserId, VideoId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Viewer;
use crate::db::{Conn, Tx};
use crate::error::{ApiError, ApiResult, Json, Path, Problem, Query};
use crate::events::outbox::{self, VideoRow};
use crate::events::server_event;
use crate::generations::assets::{self, AssetState};
use crate::media::Variant;
use crate::people;
use crate::safety::{self, Verdict};
use topic::{attributes_of, topic_of};

mod topic;

#[cfg(test)]
mod tests;

const CAPTION_MAX_CHARS: usize = 300;
const PAGE_SIZE: u32 = 20;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(publish, list))
        .routes(routes!(retrieve, remove))
        .routes(routes!(unpublish))
        .routes(routes!(video))
        .routes(routes!(thumbnail))
}

/// A video in the feed.
#[derive(Clone, Debug, Serialize, Deserialize, sqlx::FromRow, ToSchema)]
pub struct Post {
    pub id: String,
    pub video_id: String,
    pub creator_id: String,
    pub creator_handle: String,
    pub caption: String,
    pub topic: String,
    /// `published`, `withdrawn` or `deleted`.
    pub state: String,
    pub published_ms: i64,
    pub duration_ms: i64,
    pub width: i64,
    pub height: i64,
    pub remixed_from_video_id: Option<String>,
    /// Where its content is, for a request with the viewer's token.
    pub video_url: String,
    pub thumbnail_url: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPost {
    video_id: String,
    /// At most 300 characters; the prompt, where it is left out.
    #[serde(default)]
    caption: Option<String>,
}

/// Publish a finished video of yours to the feed. Publishing it again changes the caption.
#[utoipa::path(
    post, path = "/v1/posts", tag = "posts", request_body = NewPost,
    responses((status = 201, body = Post), (status = 403, body = Problem), (status = 404, body = Problem)),
    security(("bearer" = []))
)]
async fn publish(
    State(app): State<App>,
    viewer: Viewer,
    Json(new): Json<NewPost>,
) -> ApiResult<(StatusCode, Json<Post>)> {
    let post = publish_video(&app, &viewer.user_id, &VideoId::new(new.video_id), new.caption).await?;
    Ok((StatusCode::CREATED, Json(post)))
}

/// Publishes a finished video of `user_id`.
pub async fn publish_video(
    app: &App,
    user_id: &UserId,
    video_id: &VideoId,
    caption: Option<String>,
) -> ApiResult<Post> {
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.write().await?;
    let asset = assets::load(&mut tx, video_id).await?.filter(|asset| asset.owner_id == *user_id);
    let asset = asset.ok_or(ApiError::NotFound("video of yours that is finished"))?;
    match asset.state {
        AssetState::Draft | AssetState::Published => {}
        AssetState::Quarantined => {
            return Err(ApiError::forbidden("this video is withheld while a report is looked at"));
        }
        AssetState::Tombstoned | AssetState::Erased => return Err(ApiError::NotFound("video")),
    }
    if !assets::permitted(&mut tx, &asset).await? {
        return Err(ApiError::forbidden("consent to a cameo in this video was withdrawn"));
    }
    let prompt: String = sqlx::query_scalar("SELECT prompt FROM jobs WHERE id = ?")
        .bind(video_id.as_str())
        .fetch_one(&mut *tx)
        .await?;
    let caption = check_caption(caption.as_deref().unwrap_or(&prompt))?;
    let post_id: String = sqlx::query_scalar(
        "INSERT INTO posts (id, video_id, creator_id, caption, topic, state, published_ms)
         VALUES (?, ?, ?, ?, ?, 'published', ?)
         ON CONFLICT (video_id) DO UPDATE SET caption = excluded.caption, state = 'published' RETURNING id",
    )
    .bind(format!("post_{}", uuid::Uuid::now_v7().simple()))
    .bind(video_id.as_str())
    .bind(user_id.as_str())
    .bind(&caption)
    .bind(topic_of(&prompt))
    .bind(now_ms)
    .fetch_one(&mut *tx)
    .await?;
    assets::set_state(&mut tx, video_id, AssetState::Published).await?;
    let post = load(&mut tx, &post_id).await?;
    announce(&mut tx, &post, attributes_of(&prompt)).await?;
    tx.commit().await?;
    app.interactions.outbox_wake.notify_one();
    Ok(post)
}

/// Tells the lake of a published clip. The event's id comes from the post's, so that telling it
/// twice stores it once.
async fn announce(tx: &mut Tx, post: &Post, attributes: Vec<String>) -> ApiResult<()> {
    let mut event = server_event(
        EventId::derived(&post.id, 0, EventKind::Create.as_str()),
        EventKind::Create,
        post.published_ms,
        &UserId::from(post.creator_id.as_str()),
        &VideoId::from(post.video_id.as_str()),
    );
    event.creator_id = Some(CreatorId::from(post.creator_id.as_str()));
    event.duration_ms = Some(post.duration_ms);
    outbox::event(tx, &event).await?;
    outbox::video(tx, &VideoRow::of(post, attributes)).await
}

/// Tells the lake that the post of a video was taken down: what the clip is about stays, for the
/// events that there are of it; its words do not. Nothing is told of a video without a post.
pub(crate) async fn retract(conn: &mut Conn, video_id: &VideoId) -> ApiResult<()> {
    #[derive(sqlx::FromRow)]
    struct Prompted {
        #[sqlx(flatten)]
        post: Post,
        prompt: String,
    }
    let prompted: Option<Prompted> = sqlx::query_as("SELECT * FROM post_details WHERE video_id = ?")
        .bind(video_id.as_str())
        .fetch_optional(&mut *conn)
        .await?;
    match prompted {
        Some(Prompted { post, prompt }) => {
            let row = VideoRow { caption: None, ..VideoRow::of(&post, attributes_of(&prompt)) };
            outbox::video(conn, &row).await
        }
        None => Ok(()),
    }
}

fn check_caption(caption: &str) -> ApiResult<String> {
    let caption = caption.trim();
    if caption.chars().count() > CAPTION_MAX_CHARS {
        let detail = format!("`caption` is longer than {CAPTION_MAX_CHARS} characters");
        return Err(ApiError::bad_request("caption", detail));
    }
    match safety::screen(caption) {
        Verdict::Allowed => Ok(caption.to_owned()),
        Verdict::Refused { category } => Err(ApiError::Moderated { param: "caption", category }),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Whose posts: `@handle` or a user id; yours, where it is left out.
    creator: Option<String>,
    /// The id of the post after which the page begins.
    after: Option<String>,
    /// Posts in the page, 20 unless told.
    limit: Option<u32>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
struct PostList {
    posts: Vec<Post>,
    has_more: bool,
}

/// A creator's posts, newest first.
#[utoipa::path(
    get, path = "/v1/posts", tag = "posts", params(ListQuery),
    responses((status = 200, body = PostList), (status = 404, body = Problem)), security(("bearer" = []))
)]
async fn list(
    State(app): State<App>,
    viewer: Viewer,
    Query(query): Query<ListQuery>,
) -> ApiResult<Json<PostList>> {
    let limit = query.limit.unwrap_or(PAGE_SIZE).clamp(1, app.config.limits.page_size_max);
    let mut conn = app.db.read().acquire().await?;
    let creator_id = match &query.creator {
        Some(name) => people::resolve(&mut conn, name).await?.user_id,
        None => viewer.user_id.as_str().to_owned(),
    };
    if people::blocked(&mut conn, viewer.user_id.as_str(), &creator_id).await? {
        return Err(ApiError::NotFound("person"));
    }
    let rows: Vec<Post> = sqlx::query_as(
        "SELECT * FROM post_details
         WHERE creator_id = ?1 AND state = 'published' AND asset_state = 'published'
             AND (?2 IS NULL OR (published_ms, id) < (SELECT published_ms, id FROM posts WHERE id = ?2))
         ORDER BY published_ms DESC, id DESC LIMIT ?3",
    )
    .bind(&creator_id)
    .bind(query.after)
    .bind(i64::from(limit) + 1)
    .fetch_all(&mut *conn)
    .await?;
    let has_more = rows.len() > limit as usize;
    let mut posts = Vec::with_capacity(rows.len());
    for post in rows.into_iter().take(limit as usize) {
        if assets::viewable(&mut conn, &VideoId::from(post.video_id.as_str()), &viewer).await.is_ok() {
            posts.push(post);
        }
    }
    Ok(Json(PostList { posts, has_more }))
}

/// One post.
#[utoipa::path(
    get, path = "/v1/posts/{post_id}", tag = "posts", params(("post_id" = String, Path)),
    responses((status = 200, body = Post), (status = 403, body = Problem), (status = 404, body = Problem)),
    security(("bearer" = []))
)]
async fn retrieve(
    State(app): State<App>,
    viewer: Viewer,
    Path(post_id): Path<String>,
) -> ApiResult<Json<Post>> {
    let mut conn = app.db.read().acquire().await?;
    Ok(Json(visible(&mut conn, &post_id, &viewer).await?.0))
}

/// The post and its video, if this viewer may watch it now.
async fn visible(conn: &mut Conn, post_id: &str, viewer: &Viewer) -> ApiResult<(Post, assets::Asset)> {
    let post = load(conn, post_id).await?;
    let own = post.creator_id == viewer.user_id.as_str();
    if post.state == "deleted" || (post.state != "published" && !own) {
        return Err(ApiError::NotFound("post"));
    }
    let asset = assets::viewable(conn, &VideoId::from(post.video_id.as_str()), viewer).await?;
    Ok((post, asset))
}

async fn load(conn: &mut Conn, post_id: &str) -> ApiResult<Post> {
    sqlx::query_as("SELECT * FROM post_details WHERE id = ?")
        .bind(post_id)
        .fetch_optional(conn)
        .await?
        .ok_or(ApiError::NotFound("post"))
}

/// The published post of a video, where there is one.
pub async fn of_video(conn: &mut Conn, video_id: &VideoId) -> ApiResult<Option<Post>> {
    Ok(sqlx::query_as("SELECT * FROM post_details WHERE video_id = ? AND state = 'published'")
        .bind(video_id.as_str())
        .fetch_optional(conn)
        .await?)
}

/// Take a post out of the feed. The video stays yours, as a draft.
#[utoipa::path(
    post, path = "/v1/posts/{post_id}/unpublish", tag = "posts", params(("post_id" = String, Path)),
    responses((status = 200, body = Post), (status = 404, body = Problem)), security(("bearer" = []))
)]
async fn unpublish(
    State(app): State<App>,
    viewer: Viewer,
    Path(post_id): Path<String>,
) -> ApiResult<Json<Post>> {
    Ok(Json(take_down(&app, &viewer, &post_id, "withdrawn").await?))
}

/// Delete a post. The video stays yours, as a draft.
#[utoipa::path(
    delete, path = "/v1/posts/{post_id}", tag = "posts", params(("post_id" = String, Path)),
    responses((status = 204), (status = 404, body = Problem)), security(("bearer" = []))
)]
async fn remove(
    State(app): State<App>,
    viewer: Viewer,
    Path(post_id): Path<String>,
) -> ApiResult<StatusCode> {
    take_down(&app, &viewer, &post_id, "deleted").await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn take_down(app: &App, viewer: &Viewer, post_id: &str, state: &str) -> ApiResult<Post> {
    let mut tx = app.db.write().await?;
    let post = load(&mut tx, post_id).await?;
    if post.creator_id != viewer.user_id.as_str() || post.state == "deleted" {
        return Err(ApiError::NotFound("post of yours"));
    }
    sqlx::query("UPDATE posts SET state = ? WHERE id = ?")
        .bind(state)
        .bind(post_id)
        .execute(&mut *tx)
        .await?;
    let video_id = VideoId::from(post.video_id.as_str());
    assets::set_state(&mut tx, &video_id, AssetState::Draft).await?;
    retract(&mut tx, &video_id).await?;
    let post = load(&mut tx, post_id).await?;
    tx.commit().await?;
    app.interactions.outbox_wake.notify_one();
    Ok(post)
}

/// Watch a post. Consent is asked again at each request; byte ranges are honoured.
#[utoipa::path(
    get, path = "/v1/posts/{post_id}/video", tag = "posts", params(("post_id" = String, Path)),
    responses(
        (status = 200, content_type = "video/mp4", body = Vec<u8>),
        (status = 206, content_type = "video/mp4", body = Vec<u8>),
        (status = 403, body = Problem), (status = 404, body = Problem)
    ),
    security(("bearer" = []))
)]
async fn video(
    State(app): State<App>,
    viewer: Viewer,
    Path(post_id): Path<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    watch(&app, &viewer, &post_id, Variant::Video, &headers).await
}

/// A still picture of a post.
#[utoipa::path(
    get, path = "/v1/posts/{post_id}/thumbnail", tag = "posts", params(("post_id" = String, Path)),
    responses(
        (status = 200, content_type = "image/png", body = Vec<u8>),
        (status = 403, body = Problem), (status = 404, body = Problem)
    ),
    security(("bearer" = []))
)]
async fn thumbnail(
    State(app): State<App>,
    viewer: Viewer,
    Path(post_id): Path<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    watch(&app, &viewer, &post_id, Variant::Thumbnail, &headers).await
}

async fn watch(
    app: &App,
    viewer: &Viewer,
    post_id: &str,
    variant: Variant,
    headers: &HeaderMap,
) -> ApiResult<Response> {
    let mut conn = app.db.read().acquire().await?;
    let (_, asset) = visible(&mut conn, post_id, viewer).await?;
    drop(conn);
    app.media.respond(&asset.object, variant, headers).await.map_err(ApiError::internal)
}
