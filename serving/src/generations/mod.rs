//! Generations: admission, the queue, the workers and the journey that each clip makes, and the
//! stream of a job's progress. The videos that come of them are served by [`crate::videos`].

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use kinora_schema::VideoId;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::{Role, Viewer};
use crate::error::{ApiError, ApiResult, Path};
use queue::{Job, JobState};

pub mod admission;
pub mod assets;
pub mod draft;
pub mod engine;
pub mod journey;
pub mod queue;
mod watch;
pub mod worker;

#[cfg(test)]
mod tests;

pub use watch::Watch;

/// How often a progress stream looks at the job.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(progress))
}

/// One message of the progress stream.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Progress {
    /// `queued`, `in_progress`, `completed` or `failed`.
    pub status: &'static str,
    /// 0 to 100.
    pub progress: u8,
    /// Generations that wait before this one.
    pub ahead: u64,
    /// What went wrong, in words for the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The job of a viewer who may see it: its owner, or a moderator.
pub async fn job_for(app: &App, video_id: &VideoId, viewer: &Viewer) -> ApiResult<Job> {
    let mut conn = app.db.read().acquire().await?;
    let job = queue::load(&mut conn, video_id).await?;
    job.filter(|job| !job.deleted && (job.user_id == viewer.user_id || viewer.has(Role::Moderator)))
        .ok_or(ApiError::NotFound("video"))
}

/// OpenAI's name for a job's state.
pub fn status_of(state: JobState) -> &'static str {
    match state {
        JobState::Queued => "queued",
        JobState::Running => "in_progress",
        JobState::Done => "completed",
        JobState::Failed | JobState::Cancelled => "failed",
    }
}

/// Follow a generation as server-sent events, one whenever something changed, until it is over.
#[utoipa::path(
    get, path = "/v1/generations/{video_id}/events", tag = "generations",
    params(("video_id" = String, Path)),
    responses(
        (status = 200, content_type = "text/event-stream", body = Progress),
        (status = 404, body = crate::error::Problem)
    ),
    security(("bearer" = []))
)]
async fn progress(
    State(app): State<App>,
    viewer: Viewer,
    Path(video_id): Path<String>,
) -> ApiResult<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let video_id = VideoId::new(video_id);
    job_for(&app, &video_id, &viewer).await?;
    let follow = Follow { app, viewer, video_id, last: None, over: false };
    Ok(Sse::new(futures::stream::unfold(follow, Follow::next)).keep_alive(KeepAlive::default()))
}

struct Follow {
    app: App,
    viewer: Viewer,
    video_id: VideoId,
    last: Option<Progress>,
    over: bool,
}

impl Follow {
    /// The next change. Ends with the job, when it cannot be seen any more, or when the server stops.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        while !self.over && !self.app.shutdown.is_cancelled() {
            let now = self.look().await.ok()?;
            if self.last.as_ref() != Some(&now) {
                let event = Event::default().event("progress").json_data(&now).ok()?;
                self.last = Some(now);
                return Some((Ok(event), self));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.app.shutdown.cancelled() => {}
            }
        }
        None
    }

    async fn look(&mut self) -> ApiResult<Progress> {
        let job = job_for(&self.app, &self.video_id, &self.viewer).await?;
        self.over = job.state.is_final();
        let mut conn = self.app.db.read().acquire().await?;
        let ahead = if job.state == JobState::Queued { queue::ahead_of(&mut conn, &job).await? } else { 0 };
        Ok(Progress {
            status: status_of(job.state),
            progress: job.progress,
            ahead,
            error: job.error.map(|(_, message)| message),
        })
    }
}
