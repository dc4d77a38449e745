//! What one person declares towards another: following and blocking.

use axum::extract::State;
use axum::http::StatusCode;

use super::{blocked, resolve};
use crate::app::App;
use crate::auth::Viewer;
use crate::cameos;
use crate::db::Conn;
use crate::error::{ApiError, ApiResult, Path, Problem};

/// Follow a person. Following again changes nothing.
#[utoipa::path(
    put, path = "/v1/people/{person}/follow", tag = "people", params(("person" = String, Path)),
    responses((status = 204), (status = 403, body = Problem)), security(("bearer" = []))
)]
pub(super) async fn follow(
    State(app): State<App>,
    viewer: Viewer,
    Path(name): Path<String>,
) -> ApiResult<StatusCode> {
    let mut tx = app.db.write().await?;
    let other = someone_else(&mut tx, &viewer, &name).await?;
    if blocked(&mut tx, viewer.user_id.as_str(), &other).await? {
        return Err(ApiError::forbidden("one of you blocks the other"));
    }
    let insert =
        "INSERT INTO follows (follower_id, followed_id, created_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
    tie(&mut tx, &viewer, &other, insert, app.clock.now_ms()).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Unfollow a person. What rested on following each other ends at once.
#[utoipa::path(
    delete, path = "/v1/people/{person}/follow", tag = "people", params(("person" = String, Path)),
    responses((status = 204)), security(("bearer" = []))
)]
pub(super) async fn unfollow(
    State(app): State<App>,
    viewer: Viewer,
    Path(name): Path<String>,
) -> ApiResult<StatusCode> {
    cut(&app, &viewer, &name, "DELETE FROM follows WHERE follower_id = ? AND followed_id = ?").await
}

/// Block a person: neither follows, messages, shows in the feed of the other or may use the
/// other's cameos any more.
#[utoipa::path(
    put, path = "/v1/people/{person}/block", tag = "people", params(("person" = String, Path)),
    responses((status = 204)), security(("bearer" = []))
)]
pub(super) async fn block(
    State(app): State<App>,
    viewer: Viewer,
    Path(name): Path<String>,
) -> ApiResult<StatusCode> {
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.write().await?;
    let other = someone_else(&mut tx, &viewer, &name).await?;
    let insert =
        "INSERT INTO blocks (blocker_id, blocked_id, created_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
    tie(&mut tx, &viewer, &other, insert, now_ms).await?;
    sqlx::query(
        "DELETE FROM follows
         WHERE (follower_id = ?1 AND followed_id = ?2) OR (follower_id = ?2 AND followed_id = ?1)",
    )
    .bind(viewer.user_id.as_str())
    .bind(&other)
    .execute(&mut *tx)
    .await?;
    cameos::sever(&mut tx, viewer.user_id.as_str(), &other, now_ms).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Unblock a person. Nothing that the block ended comes back by itself.
#[utoipa::path(
    delete, path = "/v1/people/{person}/block", tag = "people", params(("person" = String, Path)),
    responses((status = 204)), security(("bearer" = []))
)]
pub(super) async fn unblock(
    State(app): State<App>,
    viewer: Viewer,
    Path(name): Path<String>,
) -> ApiResult<StatusCode> {
    cut(&app, &viewer, &name, "DELETE FROM blocks WHERE blocker_id = ? AND blocked_id = ?").await
}

async fn tie(
    conn: &mut Conn,
    viewer: &Viewer,
    other: &str,
    insert: &'static str,
    now_ms: i64,
) -> ApiResult<()> {
    sqlx::query(insert).bind(viewer.user_id.as_str()).bind(other).bind(now_ms).execute(conn).await?;
    Ok(())
}

async fn cut(app: &App, viewer: &Viewer, name: &str, delete: &'static str) -> ApiResult<StatusCode> {
    let mut tx = app.db.write().await?;
    let other = someone_else(&mut tx, viewer, name).await?;
    sqlx::query(delete).bind(viewer.user_id.as_str()).bind(other).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn someone_else(conn: &mut Conn, viewer: &Viewer, name: &str) -> ApiResult<String> {
    let other = resolve(conn, name).await?.user_id;
    if other == viewer.user_id.as_str() {
        return Err(ApiError::bad_request("person", "that is yourself"));
    }
    Ok(other)
}
