//! Withdrawing a likeness. One transaction bumps the epoch, ends the grants, cancels the jobs
//! that wait for it, takes down what was made of it, and destroys the key where the owner asked
//! for that; from its commit on, nothing under an older epoch can be finished or, unless the
//! owner limited the scope to the future, shown. What shows an erased likeness is erased too.

use kinora_schema::{UserId, VideoId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::likeness;
use crate::db::Conn;
use crate::error::ApiResult;
use crate::people::{self, Notice};
use crate::{credits, posts, safety};

/// How far a revocation reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Nothing new; what was made stays.
    Future,
    /// What was made, and what was made from that, is taken down too.
    #[default]
    Derivatives,
    /// And the likeness itself is destroyed, with all that shows it.
    Erase,
}

/// What a revocation did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Revoked {
    pub epoch: i64,
    pub cancelled_jobs: u64,
    pub withdrawn_videos: u64,
    pub erased: bool,
    /// Prefixes of the media that nothing refers to any more: the caller's to delete.
    #[serde(skip)]
    pub erased_objects: Vec<String>,
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
    let cancelled_jobs = cancel_jobs(conn, cameo_id, JobsOf::All, now_ms).await?;
    let erased = scope == Scope::Erase;
    let withdrawn = match scope {
        Scope::Future => Vec::new(),
        Scope::Derivatives | Scope::Erase => withdraw_videos(conn, cameo_id, erased).await?,
    };
    if erased {
        likeness::erase(conn, cameo_id).await?;
    }
    safety::audit(conn, "cameo_revoked", cameo_id, now_ms).await?;
    Ok(Revoked {
        epoch,
        cancelled_jobs,
        withdrawn_videos: withdrawn.len() as u64,
        erased,
        erased_objects: if erased { withdrawn } else { Vec::new() },
    })
}

/// Which of the jobs that use a cameo.
#[derive(Clone, Copy, Debug)]
pub(super) enum JobsOf<'a> {
    All,
    /// Those that rest on this grant.
    Grant(&'a str),
    /// Those of this person.
    Person(&'a str),
}

/// Cancels and refunds jobs that use a cameo.
pub(super) async fn cancel_jobs(
    conn: &mut Conn,
    cameo_id: &str,
    jobs_of: JobsOf<'_>,
    now_ms: i64,
) -> ApiResult<u64> {
    let (grant_id, user_id) = match jobs_of {
        JobsOf::All => (None, None),
        JobsOf::Grant(grant_id) => (Some(grant_id), None),
        JobsOf::Person(user_id) => (None, Some(user_id)),
    };
    let job_ids: Vec<String> = sqlx::query_scalar(
        "UPDATE jobs SET state = 'cancelled', completed_ms = ?1, lease_until_ms = NULL,
            error_code = 'consent_withdrawn', error_message = 'consent to a cameo in this video was withdrawn'
         WHERE state IN ('queued', 'running') AND (?4 IS NULL OR user_id = ?4)
           AND id IN (SELECT job_id FROM job_cameos WHERE cameo_id = ?2 AND (?3 IS NULL OR grant_id = ?3))
         RETURNING id",
    )
    .bind(now_ms)
    .bind(cameo_id)
    .bind(grant_id)
    .bind(user_id)
    .fetch_all(&mut *conn)
    .await?;
    for job_id in &job_ids {
        credits::refund(conn, job_id, now_ms).await?;
    }
    Ok(job_ids.len() as u64)
}

/// Takes down (or erases) every video that shows the cameo, directly or through what it was
/// remixed from, and answers the prefixes of their media. `asset_cameos` holds each video's whole
/// ancestry; the walk along the remix edges is a second net under it.
async fn withdraw_videos(conn: &mut Conn, cameo_id: &str, erase: bool) -> ApiResult<Vec<String>> {
    let videos: Vec<(String, String)> = sqlx::query_as(
        "WITH RECURSIVE shown(id) AS (
             SELECT asset_id FROM asset_cameos WHERE cameo_id = ?1
             UNION SELECT child_id FROM derivations JOIN shown ON parent_id = shown.id
         )
         UPDATE assets SET state = iif(?2, 'erased', 'tombstoned')
         WHERE id IN (SELECT id FROM shown) AND state <> 'erased' AND (?2 OR state <> 'tombstoned')
         RETURNING id, object",
    )
    .bind(cameo_id)
    .bind(erase)
    .fetch_all(&mut *conn)
    .await?;
    let mut objects = Vec::with_capacity(videos.len());
    for (video_id, object) in videos {
        withdraw_post(conn, &VideoId::new(video_id)).await?;
        objects.push(object);
    }
    Ok(objects)
}

/// Takes the post of a video off the feed.
async fn withdraw_post(conn: &mut Conn, video_id: &VideoId) -> ApiResult<()> {
    sqlx::query("UPDATE posts SET state = 'withdrawn' WHERE video_id = ? AND state = 'published'")
        .bind(video_id.as_str())
        .execute(&mut *conn)
        .await?;
    posts::retract(conn, video_id).await
}

/// Ends what two people let each other make, when one blocks the other: the grants between them
/// and the jobs that wait. Unblocking brings none of it back.
pub(crate) async fn sever(conn: &mut Conn, one: &str, other: &str, now_ms: i64) -> ApiResult<()> {
    for (owner_id, user_id) in [(one, other), (other, one)] {
        let grant_ids: Vec<String> = sqlx::query_scalar(
            "UPDATE cameo_grants SET state = 'revoked', decided_ms = ?
             WHERE user_id = ? AND state IN ('offered', 'active')
               AND cameo_id IN (SELECT cameo_id FROM cameos WHERE owner_id = ?)
             RETURNING grant_id",
        )
        .bind(now_ms)
        .bind(user_id)
        .bind(owner_id)
        .fetch_all(&mut *conn)
        .await?;
        for grant_id in grant_ids {
            safety::audit(conn, "cameo_grant_revoked", &grant_id, now_ms).await?;
        }
        for cameo_id in cameos_of(conn, owner_id).await? {
            cancel_jobs(conn, &cameo_id, JobsOf::Person(user_id), now_ms).await?;
        }
    }
    Ok(())
}

async fn cameos_of(conn: &mut Conn, owner_id: &str) -> ApiResult<Vec<String>> {
    Ok(sqlx::query_scalar("SELECT cameo_id FROM cameos WHERE owner_id = ?")
        .bind(owner_id)
        .fetch_all(conn)
        .await?)
}

/// A person turns out to be a teen: what a teen's cameo may not be, theirs is no longer.
pub(crate) async fn became_teen(conn: &mut Conn, teen_id: &UserId, now_ms: i64) -> ApiResult<()> {
    let narrowed: Vec<String> = sqlx::query_scalar(
        "UPDATE cameos SET audience = 'mutuals' WHERE owner_id = ? AND audience = 'everyone' RETURNING cameo_id",
    )
    .bind(teen_id.as_str())
    .fetch_all(&mut *conn)
    .await?;
    for cameo_id in narrowed {
        safety::audit(conn, "cameo_audience_set", &cameo_id, now_ms).await?;
    }
    suspend_unguarded(conn, teen_id, now_ms).await
}

/// Suspends a teen's cameos when the last guardian is gone.
pub(crate) async fn suspend_unguarded(conn: &mut Conn, teen_id: &UserId, now_ms: i64) -> ApiResult<()> {
    let suspended: Vec<String> = sqlx::query_scalar(
        "UPDATE cameos SET state = 'suspended', epoch = epoch + 1 WHERE owner_id = ?1 AND state = 'active'
            AND NOT EXISTS (SELECT 1 FROM guardian_links WHERE teen_id = ?1 AND state = 'active')
         RETURNING cameo_id",
    )
    .bind(teen_id.as_str())
    .fetch_all(&mut *conn)
    .await?;
    for cameo_id in suspended {
        cancel_jobs(conn, &cameo_id, JobsOf::All, now_ms).await?;
        safety::audit(conn, "cameo_suspended", &cameo_id, now_ms).await?;
    }
    Ok(())
}

/// Lifts the suspension: a guardian is there again, or the person turns out to be an adult.
pub(crate) async fn resume_guarded(conn: &mut Conn, teen_id: &UserId, now_ms: i64) -> ApiResult<()> {
    let resumed: Vec<String> = sqlx::query_scalar(
        "UPDATE cameos SET state = 'active' WHERE owner_id = ? AND state = 'suspended' RETURNING cameo_id",
    )
    .bind(teen_id.as_str())
    .fetch_all(&mut *conn)
    .await?;
    for cameo_id in resumed {
        safety::audit(conn, "cameo_resumed", &cameo_id, now_ms).await?;
    }
    Ok(())
}
