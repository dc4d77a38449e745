//! Withdrawing a likeness. One transaction bumps the epoch, ends the grants, cancels the jobs
//! that wait for it, takes down what was made of it, and destroys the key where the owner asked
//! for that; from its commit on, nothing under an older epoch can be finished or, unless the
//! owner limited the scope to the future, shown.

use kinora_schema::VideoId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::likeness;
use crate::db::Conn;
use crate::error::ApiResult;
use crate::people::{self, Notice};
use crate::{credits, safety};

/// How far a revocation reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Nothing new; what was made stays.
    Future,
    /// What was made, and what was made from that, is taken down too.
    #[default]
    Derivatives,
    /// And the likeness itself is destroyed.
    Erase,
}

/// What a revocation did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Revoked {
    pub epoch: i64,
    pub cancelled_jobs: u64,
    pub withdrawn_videos: u64,
    pub erased: bool,
}

/// Revokes a cameo. Doing so again, with a wider scope, does the rest; the epoch moves each time.
pub(super) async fn revoke(
    conn: &mut Conn,
    cameo_id: &str,
    name: &str,
    scope: Scope,
    now_ms: i64,
) -> ApiResult<Revoked> {
    let state = if scope == Scope::Erase { "purged" } else { "revoked" };
    let epoch: i64 = sqlx::query_scalar(
        "UPDATE cameos SET epoch = epoch + 1,
            visible_from_epoch = iif(?1, epoch + 1, visible_from_epoch),
            state = iif(state = 'purged', 'purged', ?2), revoked_ms = coalesce(revoked_ms, ?3)
         WHERE cameo_id = ?4 RETURNING epoch",
    )
    .bind(scope != Scope::Future)
    .bind(state)
    .bind(now_ms)
    .bind(cameo_id)
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query("UPDATE consent_receipts SET withdrawn_ms = coalesce(withdrawn_ms, ?) WHERE cameo_id = ?")
        .bind(now_ms)
        .bind(cameo_id)
        .execute(&mut *conn)
        .await?;
    let holders: Vec<String> = if scope == Scope::Future {
        // The grants stay readable as what permitted the videos that stay.
        Vec::new()
    } else {
        sqlx::query_scalar(
            "UPDATE cameo_grants SET state = 'revoked', decided_ms = ?
             WHERE cameo_id = ? AND state IN ('offered', 'active') RETURNING user_id",
        )
        .bind(now_ms)
        .bind(cameo_id)
        .fetch_all(&mut *conn)
        .await?
    };
    for holder in holders {
        let text = format!("the cameo `{name}` was revoked");
        people::notify(conn, &holder, Notice::CameoRevoked, &text, now_ms).await?;
    }
    let cancelled_jobs = cancel_jobs(conn, cameo_id, None, now_ms).await?;
    let withdrawn_videos = if scope == Scope::Future { 0 } else { withdraw_videos(conn, cameo_id).await? };
    if scope == Scope::Erase {
        likeness::erase(conn, cameo_id).await?;
    }
    safety::audit(conn, "cameo_revoked", cameo_id, now_ms).await?;
    Ok(Revoked { epoch, cancelled_jobs, withdrawn_videos, erased: scope == Scope::Erase })
}

/// Cancels and refunds the jobs that use a cameo, of everyone or under one grant.
pub(super) async fn cancel_jobs(
    conn: &mut Conn,
    cameo_id: &str,
    grant_id: Option<&str>,
    now_ms: i64,
) -> ApiResult<u64> {
    let job_ids: Vec<String> = sqlx::query_scalar(
        "UPDATE jobs SET state = 'cancelled', completed_ms = ?1, lease_until_ms = NULL,
            error_code = 'consent_withdrawn', error_message = 'consent to a cameo in this video was withdrawn'
         WHERE state IN ('queued', 'running')
           AND id IN (SELECT job_id FROM job_cameos WHERE cameo_id = ?2 AND (?3 IS NULL OR grant_id = ?3))
         RETURNING id",
    )
    .bind(now_ms)
    .bind(cameo_id)
    .bind(grant_id)
    .fetch_all(&mut *conn)
    .await?;
    for job_id in &job_ids {
        credits::refund(conn, job_id, now_ms).await?;
    }
    Ok(job_ids.len() as u64)
}

/// Takes down every video that shows the cameo, directly or through what it was remixed from.
/// `asset_cameos` holds each video's whole ancestry; the walk along the remix edges is a second
/// net under it.
async fn withdraw_videos(conn: &mut Conn, cameo_id: &str) -> ApiResult<u64> {
    let video_ids: Vec<String> = sqlx::query_scalar(
        "WITH RECURSIVE shown(id) AS (
             SELECT asset_id FROM asset_cameos WHERE cameo_id = ?
             UNION SELECT child_id FROM derivations JOIN shown ON parent_id = shown.id
         )
         UPDATE assets SET state = 'tombstoned'
         WHERE id IN (SELECT id FROM shown) AND state NOT IN ('tombstoned', 'erased') RETURNING id",
    )
    .bind(cameo_id)
    .fetch_all(&mut *conn)
    .await?;
    for video_id in &video_ids {
        withdraw_post(conn, &VideoId::new(video_id.as_str())).await?;
    }
    Ok(video_ids.len() as u64)
}

/// Takes the post of a video off the feed.
async fn withdraw_post(conn: &mut Conn, video_id: &VideoId) -> ApiResult<()> {
    sqlx::query("UPDATE posts SET state = 'withdrawn' WHERE video_id = ? AND state = 'published'")
        .bind(video_id.as_str())
        .execute(conn)
        .await?;
    Ok(())
}
