//! How a generation looks to a client: OpenAI's video object.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::db::Conn;
use crate::error::ApiResult;
use crate::generations::assets::{self, AssetState};
use crate::generations::draft::MODEL;
use crate::generations::queue::{Job, JobState};
use crate::generations::status_of;

/// A video, in the shape of OpenAI's API.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Video {
    pub id: String,
    /// Always `video`.
    pub object: String,
    pub model: String,
    /// `queued`, `in_progress`, `completed` or `failed`.
    pub status: String,
    /// 0 to 100.
    pub progress: u8,
    /// Seconds since the epoch.
    pub created_at: i64,
    pub completed_at: Option<i64>,
    /// Always null: videos are kept until they are deleted.
    pub expires_at: Option<i64>,
    pub prompt: Option<String>,
    pub remixed_from_video_id: Option<String>,
    pub seconds: String,
    pub size: String,
    pub seed: u64,
    pub error: Option<VideoError>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VideoError {
    pub code: String,
    pub message: String,
}

/// A page of videos.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct VideoList {
    /// Always `list`.
    pub object: String,
    pub data: Vec<Video>,
    pub first_id: Option<String>,
    pub last_id: Option<String>,
    pub has_more: bool,
}

/// The answer to a deletion.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeletedVideo {
    pub id: String,
    /// Always `video.deleted`.
    pub object: String,
    pub deleted: bool,
}

impl Video {
    /// The job as it stands now. A finished video that may no longer be had says so.
    pub(super) async fn of(conn: &mut Conn, job: Job) -> ApiResult<Self> {
        let withheld = if job.state == JobState::Done { withheld(conn, &job).await? } else { None };
        let status = if withheld.is_some() { "failed" } else { status_of(job.state) };
        let error = withheld.or_else(|| job.error.map(|(code, message)| VideoError { code, message }));
        Ok(Self {
            id: job.video_id.into_string(),
            object: "video".to_owned(),
            model: MODEL.to_owned(),
            status: status.to_owned(),
            progress: job.progress,
            created_at: job.created_ms.div_euclid(1000),
            completed_at: job.completed_ms.map(|ms| ms.div_euclid(1000)),
            expires_at: None,
            prompt: Some(job.prompt),
            remixed_from_video_id: job.remixed_from.map(kinora_schema::VideoId::into_string),
            seconds: job.seconds.to_string(),
            size: job.size.to_string(),
            seed: job.seed,
            error,
        })
    }
}

async fn withheld(conn: &mut Conn, job: &Job) -> ApiResult<Option<VideoError>> {
    let error = |code: &str, message: &str| VideoError { code: code.to_owned(), message: message.to_owned() };
    let Some(asset) = assets::load(conn, &job.video_id).await? else {
        return Ok(Some(error("removed", "this video was removed")));
    };
    if !assets::permitted(conn, &asset).await? {
        return Ok(Some(error("consent_revoked", "consent to a cameo in this video was withdrawn")));
    }
    Ok(match asset.state {
        AssetState::Draft | AssetState::Published => None,
        AssetState::Quarantined => Some(error("quarantined", "this video is withheld while a report is looked at")),
        AssetState::Tombstoned | AssetState::Erased => Some(error("removed", "this video was removed")),
    })
}
