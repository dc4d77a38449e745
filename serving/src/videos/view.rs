//! How a generation looks to a client: OpenAI's video object.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::db::Conn;
use crate::error::ApiResult;
use crate::generations::assets::{self, AssetState};
use crate::generations::draft::MODEL;
use crate::generations::engine::Engine;
use crate::generations::queue::{Job, JobState};
use crate::generations::status_of;

/// A video, in the shape of OpenAI's API.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Video {
    pub(super) id: String,
    /// Always `video`.
    pub(super) object: String,
    pub(super) model: String,
    /// `queued`, `in_progress`, `completed` or `failed`.
    pub(super) status: String,
    /// 0 to 100.
    pub(super) progress: u8,
    /// Seconds since the epoch.
    pub(super) created_at: i64,
    pub(super) completed_at: Option<i64>,
    /// Always null: videos are kept until they are deleted.
    pub(super) expires_at: Option<i64>,
    pub(super) prompt: Option<String>,
    /// The video that this one is a remix, an edit or an extension of.
    pub(super) remixed_from_video_id: Option<String>,
    /// Of the whole video, an extension's beginning included.
    pub(super) seconds: String,
    pub(super) size: String,
    pub(super) seed: u64,
    pub(super) error: Option<VideoError>,
    /// What of the request the model does not follow: words of the prompt that it does not know.
    pub(super) warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct VideoError {
    pub(super) code: String,
    pub(super) message: String,
}

/// A page of videos.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct VideoList {
    /// Always `list`.
    pub(super) object: String,
    pub(super) data: Vec<Video>,
    pub(super) first_id: Option<String>,
    pub(super) last_id: Option<String>,
    pub(super) has_more: bool,
}

/// The answer to a deletion.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct DeletedVideo {
    pub(super) id: String,
    /// Always `video.deleted`.
    pub(super) object: String,
    pub(super) deleted: bool,
}

impl Video {
    /// The job as it stands now. A finished video that may no longer be had says so.
    pub(super) async fn of(conn: &mut Conn, engine: &Engine, job: Job) -> ApiResult<Self> {
        let unknown = engine.unknown_words(&job.prompt);
        let warnings =
            unknown.iter().map(|word| format!("the model does not know the word `{word}`")).collect();
        let withheld = if job.state == JobState::Done { withheld(conn, &job).await? } else { None };
        let status = if withheld.is_some() { "failed" } else { status_of(job.state) };
        let seconds = job.total_seconds().to_string();
        let error = withheld.or_else(|| job.error.map(|(code, message)| VideoError { code, message }));
        Ok(Self {
            seconds,
            id: job.video_id.into_string(),
            object: "video".to_owned(),
            model: MODEL.to_owned(),
            status: status.to_owned(),
            progress: job.progress,
            created_at: job.created_ms.div_euclid(1000),
            completed_at: job.completed_ms.map(|ms| ms.div_euclid(1000)),
            expires_at: None,
            prompt: Some(job.prompt),
            remixed_from_video_id: job.origin.map(|origin| origin.parent.into_string()),
            size: job.size.to_string(),
            seed: job.seed,
            error,
            warnings,
        })
    }
}

async fn withheld(conn: &mut Conn, job: &Job) -> ApiResult<Option<VideoError>> {
    let error = |code: &str, message: &str| VideoError { code: code.to_owned(), message: message.to_owned() };
    let Some(asset) = assets::load(conn, &job.video_id).await? else {
        return Ok(Some(error("removed", "this video was removed")));
    };
    if !assets::permitted(conn, &asset).await? {
        return Ok(Some(error("consent_withdrawn", "consent to a cameo in this video was withdrawn")));
    }
    Ok(match asset.state {
        AssetState::Draft | AssetState::Published => None,
        AssetState::Quarantined => {
            Some(error("quarantined", "this video is withheld while a report is looked at"))
        }
        AssetState::Tombstoned | AssetState::Erased => Some(error("removed", "this video was removed")),
    })
}
