//! Finished videos and who may have them now. Every read of a video's content goes through
//! [`viewable`], which asks for consent again: an allow is never remembered.

use std::collections::HashSet;

use kinora_schema::{UserId, VideoId};

use crate::auth::{Role, Viewer};
use crate::cameos::{self, Pinned};
use crate::db::{Conn, Db, Tx};
use crate::error::{ApiError, ApiResult};
use crate::media::MediaStore;
use crate::{people, posts};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssetState {
    /// Only its owner sees it.
    Draft,
    Published,
    /// Withheld by a moderator, for now.
    Quarantined,
    /// Withheld for good; the bytes may still be held.
    Tombstoned,
    Erased,
}

impl AssetState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Published => "published",
            Self::Quarantined => "quarantined",
            Self::Tombstoned => "tombstoned",
            Self::Erased => "erased",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        match name {
            "draft" => Some(Self::Draft),
            "published" => Some(Self::Published),
            "quarantined" => Some(Self::Quarantined),
            "tombstoned" => Some(Self::Tombstoned),
            "erased" => Some(Self::Erased),
            _ => None,
        }
    }
}

/// A finished video.
#[derive(Clone, Debug)]
pub struct Asset {
    pub video_id: VideoId,
    pub owner_id: UserId,
    pub state: AssetState,
    /// Prefix of its objects in the media store.
    pub object: String,
    pub duration_ms: i64,
    pub width: u32,
    pub height: u32,
}

#[derive(sqlx::FromRow)]
struct AssetRow {
    owner_id: String,
    state: String,
    object: String,
    duration_ms: i64,
    width: i64,
    height: i64,
}

pub async fn load(conn: &mut Conn, video_id: &VideoId) -> ApiResult<Option<Asset>> {
    let row: Option<AssetRow> =
        sqlx::query_as("SELECT owner_id, state, object, duration_ms, width, height FROM assets WHERE id = ?")
            .bind(video_id.as_str())
            .fetch_optional(conn)
            .await?;
    let Some(row) = row else { return Ok(None) };
    let state = AssetState::parse(&row.state).ok_or_else(|| {
        ApiError::internal(anyhow::anyhow!("asset {video_id} is in unknown state {}", row.state))
    })?;
    Ok(Some(Asset {
        video_id: video_id.clone(),
        owner_id: row.owner_id.into(),
        state,
        object: row.object,
        duration_ms: row.duration_ms,
        width: row.width as u32,
        height: row.height as u32,
    }))
}

/// The video whose MP4 has this SHA-256.
pub async fn of_file(conn: &mut Conn, sha256: &str) -> ApiResult<Option<VideoId>> {
    let id: Option<String> = sqlx::query_scalar("SELECT id FROM assets WHERE sha256 = ?")
        .bind(sha256)
        .fetch_optional(conn)
        .await?;
    Ok(id.map(VideoId::from))
}

/// Every cameo in the video's ancestry.
pub async fn cameos_of(conn: &mut Conn, video_id: &VideoId) -> ApiResult<Vec<String>> {
    Ok(sqlx::query_scalar("SELECT cameo_id FROM asset_cameos WHERE asset_id = ? ORDER BY cameo_id")
        .bind(video_id.as_str())
        .fetch_all(conn)
        .await?)
}

/// Whether everyone in the video's ancestry permits it now. What cannot be decided is denied.
pub async fn permitted(conn: &mut Conn, asset: &Asset) -> ApiResult<bool> {
    let rows: Vec<(String, i64, Option<String>)> =
        sqlx::query_as("SELECT cameo_id, epoch, grant_id FROM asset_cameos WHERE asset_id = ?")
            .bind(asset.video_id.as_str())
            .fetch_all(&mut *conn)
            .await?;
    for (cameo_id, epoch, grant_id) in rows {
        let pin = Pinned { cameo_id, epoch, grant_id, user_id: asset.owner_id.clone() };
        if !cameos::still_visible(conn, &pin).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The video, if this viewer may have its content now: a draft is for its owner, for moderators
/// and for the owners of its cameos; a published one for everyone whom its owner does not block,
/// and who does not block its owner.
pub async fn viewable(conn: &mut Conn, video_id: &VideoId, viewer: &Viewer) -> ApiResult<Asset> {
    let asset = load(conn, video_id).await?.ok_or(ApiError::NotFound("video"))?;
    let owner = asset.owner_id == viewer.user_id;
    let moderator = viewer.has(Role::Moderator);
    if !(owner || moderator)
        && people::blocked(conn, viewer.user_id.as_str(), asset.owner_id.as_str()).await?
    {
        return Err(ApiError::NotFound("video"));
    }
    match asset.state {
        AssetState::Tombstoned | AssetState::Erased => return Err(ApiError::NotFound("video")),
        AssetState::Quarantined if !moderator => {
            return Err(ApiError::forbidden("this video is withheld while a report is looked at"));
        }
        _ => {}
    }
    let hidden = asset.state == AssetState::Draft && !(owner || moderator);
    if hidden && !shows(conn, video_id, viewer).await? {
        return Err(ApiError::NotFound("video"));
    }
    if !permitted(conn, &asset).await? {
        return Err(ApiError::forbidden("consent to a cameo in this video was withdrawn"));
    }
    Ok(asset)
}

/// Whether the viewer's own likeness is in the video.
async fn shows(conn: &mut Conn, video_id: &VideoId, viewer: &Viewer) -> ApiResult<bool> {
    for cameo_id in cameos_of(conn, video_id).await? {
        if cameos::owner_of(conn, &cameo_id).await?.as_ref() == Some(&viewer.user_id) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Moves a video between a draft and the feed; one that was withheld or removed stays so.
pub async fn set_state(tx: &mut Tx, video_id: &VideoId, state: AssetState) -> ApiResult<()> {
    sqlx::query("UPDATE assets SET state = ? WHERE id = ? AND state IN ('draft', 'published')")
        .bind(state.as_str())
        .bind(video_id.as_str())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Deletes clips that no row refers to: a crash between the write and the commit leaves such.
/// For the start of the installation, before any worker runs.
pub async fn sweep(db: &Db, media: &MediaStore) -> ApiResult<()> {
    let known: Vec<String> =
        sqlx::query_scalar("SELECT object FROM assets WHERE state <> 'erased'").fetch_all(db.read()).await?;
    let known: HashSet<String> = known.into_iter().collect();
    let swept = media.sweep(|object| known.contains(object)).await.map_err(ApiError::internal)?;
    if swept > 0 {
        tracing::info!(swept, "deleted clips that nothing refers to");
    }
    Ok(())
}

/// Marks the video erased and takes its post down; its bytes are the caller's to delete. Answers
/// the asset as it was, where there was one.
pub async fn erase(tx: &mut Tx, video_id: &VideoId) -> ApiResult<Option<Asset>> {
    let asset = load(tx, video_id).await?;
    for statement in [
        "UPDATE assets SET state = 'erased' WHERE id = ?",
        "UPDATE posts SET state = 'deleted' WHERE video_id = ?",
    ] {
        sqlx::query(statement).bind(video_id.as_str()).execute(&mut **tx).await?;
    }
    posts::retract(tx, video_id).await?;
    Ok(asset)
}
