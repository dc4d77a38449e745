//! A worker: leases a job, walks it through the journey, commits it. Many may run, in this
//! process or in others on the same state; they meet only in the queue.
//!
//! A running job's lease is renewed twice a second with its progress, and consent asked again each
//! time. When the lease is lost, consent withdrawn or the server stopping, the engine stops
//! between two steps.

use std::sync::Arc;
use std::time::Duration;

use kinora_training::generate::GenerateError;

use super::admission::{Request, admit};
use super::assets::AssetState;
use super::engine::EngineError;
use super::journey::{JourneyError, Signed, Submitted};
use super::queue::{self, Commit, Job, Lease, Renewal};
use super::{Watch, assets};
use crate::app::App;
use crate::error::{ApiError, ApiResult};

/// How long an idle worker waits before it looks again; enqueueing wakes it at once.
const IDLE: Duration = Duration::from_millis(500);
const RENEW_EVERY: Duration = Duration::from_millis(500);

/// Why a worker let go of a running job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LetGo {
    ShuttingDown,
    Lost,
    Revoked,
}

/// Runs until the server is stopped. A failing state store is retried: jobs wait in it.
pub async fn run(app: App, name: String) {
    while !app.shutdown.is_cancelled() {
        match claim(&app, &name).await {
            Ok(Some(lease)) => {
                if let Err(error) = work(&app, &lease).await {
                    tracing::error!(video_id = %lease.job.video_id, error = %error_chain(&error), "could not record how a job ended; its lease will run out");
                }
            }
            Ok(None) => {
                tokio::select! {
                    () = app.queue_wake.notified() => {}
                    () = tokio::time::sleep(IDLE) => {}
                    () = app.shutdown.cancelled() => {}
                }
            }
            Err(error) => {
                tracing::error!(error = %error_chain(&error), "cannot claim a job");
                tokio::time::sleep(IDLE).await;
            }
        }
    }
}

/// Admits a request and works through the queue until it is over, without a running server.
pub async fn produce(app: &App, request: Request) -> ApiResult<Job> {
    let video_id = admit(app, request).await?.video_id;
    loop {
        let mut conn = app.db.read().acquire().await?;
        let job = queue::load(&mut conn, &video_id).await?.ok_or(ApiError::NotFound("video"))?;
        drop(conn);
        if job.state.is_final() {
            return Ok(job);
        }
        match claim(app, "produce").await? {
            Some(lease) => work(app, &lease).await?,
            None => tokio::time::sleep(IDLE).await,
        }
    }
}

pub(crate) async fn claim(app: &App, name: &str) -> ApiResult<Option<Lease>> {
    let mut tx = app.db.write().await?;
    let lease = queue::claim(&mut tx, name, app.clock.now_ms()).await?;
    tx.commit().await?;
    Ok(lease)
}

/// Takes one leased job to its end, whichever it is, and records it.
pub async fn work(app: &App, lease: &Lease) -> ApiResult<()> {
    let watch = Arc::new(Watch::default());
    let mut journey = std::pin::pin!(journey(app, lease, &watch));
    let ended = tokio::select! {
        signed = &mut journey => Ok(signed),
        let_go = hold(app, lease, &watch) => {
            watch.stop();
            // The engine is let to its next step, so that no two renderings share a worker.
            let _ = journey.await;
            Err(let_go)
        }
    };
    match ended {
        Ok(Ok(signed)) => finish(app, lease, &signed).await,
        Ok(Err(error)) => fail(app, lease, error).await,
        Err(LetGo::Revoked) => fail(app, lease, JourneyError::Refused(withdrawn())).await,
        Err(LetGo::Lost) => Ok(()),
        Err(LetGo::ShuttingDown) => {
            let mut tx = app.db.write().await?;
            queue::release(&mut tx, lease).await?;
            Ok(tx.commit().await?)
        }
    }
}

/// The journey of design, from the stored request: nothing that happened at admission is taken
/// on trust.
async fn journey(app: &App, lease: &Lease, watch: &Arc<Watch>) -> Result<Signed, JourneyError> {
    let refused = JourneyError::Refused;
    let submitted = Submitted::new(lease.job.draft());
    let screened = submitted.screen().map_err(refused)?;
    let mut conn = app.db.read().acquire().await.map_err(|source| refused(source.into()))?;
    let consented = screened.consent_again(&mut conn, lease.pins.clone()).await.map_err(refused)?;
    let parent = match &lease.job.origin {
        Some(origin) => {
            let asset = assets::load(&mut conn, &origin.parent).await.map_err(refused)?;
            let there =
                asset.filter(|asset| matches!(asset.state, AssetState::Draft | AssetState::Published));
            Some(there.ok_or(JourneyError::ParentRemoved)?)
        }
        None => None,
    };
    drop(conn);
    let parent = match parent {
        Some(asset) => {
            Some(app.media.mp4(&asset.object).await.map_err(|source| refused(ApiError::internal(source)))?)
        }
        None => None,
    };
    let rendered = app.engine.render(&app.db, consented, parent.clone(), watch.clone()).await?;
    let cleared = rendered.clear().map_err(refused)?;
    cleared.sign(app.signer.clone(), app.clock.now_ms(), parent).await
}

/// Returns only when the job has to be let go.
async fn hold(app: &App, lease: &Lease, watch: &Watch) -> LetGo {
    let mut ticks = tokio::time::interval(RENEW_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = app.shutdown.cancelled() => return LetGo::ShuttingDown,
        }
        match renew(app, lease, watch.percent()).await {
            Ok(Renewal::Held) => {}
            Ok(Renewal::Lost) => return LetGo::Lost,
            Ok(Renewal::Revoked) => return LetGo::Revoked,
            // The lease outlives a few failed renewals; the commit decides.
            Err(error) => {
                tracing::warn!(video_id = %lease.job.video_id, error = %error_chain(&error), "cannot renew a lease");
            }
        }
    }
}

async fn renew(app: &App, lease: &Lease, percent: u8) -> ApiResult<Renewal> {
    let mut tx = app.db.write().await?;
    let renewal = queue::renew(&mut tx, lease, percent, app.clock.now_ms()).await?;
    if renewal == Renewal::Held {
        tx.commit().await?;
    }
    Ok(renewal)
}

pub(crate) async fn finish(app: &App, lease: &Lease, signed: &Signed) -> ApiResult<()> {
    let stored = match app.media.put(signed, lease.fence).await {
        Ok(stored) => stored,
        Err(source) => return fail(app, lease, JourneyError::Refused(ApiError::internal(source))).await,
    };
    let mut tx = app.db.write().await?;
    let commit = queue::commit(&mut tx, lease, signed, &stored, app.clock.now_ms()).await?;
    if commit == Commit::Committed {
        tx.commit().await?;
        metrics::counter!("kinora_generations_total", "outcome" => "done").increment(1);
        return Ok(());
    }
    tx.rollback().await?;
    if let Err(error) = app.media.delete(&stored.object).await {
        tracing::warn!(object = stored.object, error = %error, "an unused clip is left for the next start to sweep");
    }
    match commit {
        Commit::Revoked => fail(app, lease, JourneyError::Refused(withdrawn())).await,
        Commit::Committed | Commit::Fenced => Ok(()),
    }
}

/// Records a failure in words for the person who asked; what went wrong inside is only logged.
async fn fail(app: &App, lease: &Lease, error: JourneyError) -> ApiResult<()> {
    let (code, message) = match &error {
        JourneyError::Refused(refusal @ ApiError::Forbidden(_)) => ("consent_withdrawn", refusal.to_string()),
        JourneyError::Refused(refusal @ ApiError::Moderated { .. }) => {
            ("moderation_blocked", refusal.to_string())
        }
        JourneyError::ParentRemoved => ("parent_removed", error.to_string()),
        JourneyError::Engine(EngineError::Generate(foreign @ GenerateError::Foreign)) => {
            ("video_not_understood", foreign.to_string())
        }
        _ => ("generation_failed", "the clip could not be made; try again".to_owned()),
    };
    tracing::warn!(video_id = %lease.job.video_id, code, error = %error_chain(&error), "a generation failed");
    metrics::counter!("kinora_generations_total", "outcome" => code).increment(1);
    let mut tx = app.db.write().await?;
    queue::fail(&mut tx, lease, code, &message, app.clock.now_ms()).await?;
    Ok(tx.commit().await?)
}

fn withdrawn() -> ApiError {
    ApiError::forbidden("consent to a cameo in this video was withdrawn")
}

fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
