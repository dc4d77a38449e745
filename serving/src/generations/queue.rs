//! The queue of generations in the database: each function is one step of a job's life, run in a
//! transaction of the caller. `Queued -> Running (lease) -> Done | Failed | Cancelled`.
//!
//! INVARIANT: a job is executed at least once and committed at most once. Each claim takes the
//! next fencing token, and only the holder of the latest may renew, commit or fail.

use kinora_schema::{UserId, VideoId};

use super::draft::{Derivation, Draft, FrameSize, MODEL, Origin, seconds_before};
use super::journey::{Consented, Signed};
use crate::cameos::{self, Pinned};
use crate::credits;
use crate::db::{Conn, Tx};
use crate::error::{ApiError, ApiResult};
use crate::media::Stored;

/// How long a claim holds without being renewed.
pub const LEASE_MS: i64 = 30_000;
/// Times that a job is taken up before it is given up.
pub const ATTEMPTS_MAX: i64 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    Queued,
    Running,
    Done,
    Failed,
    Cancelled,
}

impl JobState {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "queued" => Some(Self::Queued),
            "running" => Some(Self::Running),
            "done" => Some(Self::Done),
            "failed" => Some(Self::Failed),
            "cancelled" => Some(Self::Cancelled),
            _ => None,
        }
    }

    /// Whether nothing more will happen to the job.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// A generation as the database knows it.
#[derive(Clone, Debug)]
pub struct Job {
    pub video_id: VideoId,
    pub user_id: UserId,
    pub prompt: String,
    /// Seconds to be made.
    pub seconds: u32,
    pub size: FrameSize,
    pub seed: u64,
    pub origin: Option<Origin>,
    pub state: JobState,
    /// 0 to 100.
    pub progress: u8,
    /// Code and message, once failed or cancelled.
    pub error: Option<(String, String)>,
    pub created_ms: i64,
    pub completed_ms: Option<i64>,
    pub deleted: bool,
}

impl Job {
    /// The request as it was made, for taking it up again.
    pub fn draft(&self) -> Draft {
        Draft {
            video_id: self.video_id.clone(),
            user_id: self.user_id.clone(),
            prompt: self.prompt.clone(),
            seconds: self.seconds,
            size: self.size,
            seed: self.seed,
            cameos: Vec::new(),
            origin: self.origin.clone(),
        }
    }

    /// Seconds of the whole clip, with those that an extension goes on from.
    pub fn total_seconds(&self) -> u32 {
        seconds_before(self.origin.as_ref()) + self.seconds
    }
}

/// The right to work on a job, for as long as it is renewed.
#[derive(Clone, Debug)]
pub struct Lease {
    pub job: Job,
    pub fence: i64,
    pub pins: Vec<Pinned>,
}

/// What a renewal found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    Held,
    /// Cancelled, deleted, or taken over by another worker.
    Lost,
    /// A cameo it uses is no longer permitted.
    Revoked,
}

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    Committed,
    /// Another claim came later, or the job was cancelled: nothing was written.
    Fenced,
    /// Consent was withdrawn: nothing was written.
    Revoked,
}

#[derive(sqlx::FromRow)]
struct JobRow {
    id: String,
    user_id: String,
    prompt: String,
    seconds: i64,
    width: i64,
    height: i64,
    seed: i64,
    remixed_from: Option<String>,
    derivation: String,
    seconds_before: i64,
    state: String,
    progress: i64,
    error_code: Option<String>,
    error_message: Option<String>,
    fence: i64,
    created_ms: i64,
    completed_ms: Option<i64>,
    deleted_ms: Option<i64>,
}

impl TryFrom<JobRow> for Job {
    type Error = ApiError;

    fn try_from(row: JobRow) -> ApiResult<Self> {
        let state = JobState::parse(&row.state).ok_or_else(|| {
            ApiError::internal(anyhow::anyhow!("job {} is in unknown state {}", row.id, row.state))
        })?;
        let derivation = Derivation::parse(&row.derivation, row.seconds_before as u32).ok_or_else(|| {
            ApiError::internal(anyhow::anyhow!("job {} is derived by {}", row.id, row.derivation))
        })?;
        Ok(Self {
            video_id: row.id.into(),
            user_id: row.user_id.into(),
            prompt: row.prompt,
            seconds: row.seconds as u32,
            size: FrameSize { width: row.width as u32, height: row.height as u32 },
            seed: row.seed as u64,
            origin: row.remixed_from.map(|parent| Origin { parent: parent.into(), derivation }),
            state,
            progress: row.progress.clamp(0, 100) as u8,
            error: row.error_code.map(|code| (code, row.error_message.unwrap_or_default())),
            created_ms: row.created_ms,
            completed_ms: row.completed_ms,
            deleted: row.deleted_ms.is_some(),
        })
    }
}

/// Stores a job that may run. The price is reserved by the caller in the same transaction.
pub async fn insert(tx: &mut Tx, consented: &Consented, now_ms: i64) -> ApiResult<()> {
    let draft = consented.draft();
    let derivation = draft.origin.as_ref().map_or(Derivation::Remix, |origin| origin.derivation);
    sqlx::query(
        "INSERT INTO jobs (id, user_id, model, prompt, seconds, width, height, seed,
             remixed_from, derivation, seconds_before, state, created_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?)",
    )
    .bind(draft.video_id.as_str())
    .bind(draft.user_id.as_str())
    .bind(MODEL)
    .bind(&draft.prompt)
    .bind(draft.seconds)
    .bind(draft.size.width)
    .bind(draft.size.height)
    .bind(draft.seed as i64)
    .bind(draft.origin.as_ref().map(|origin| origin.parent.as_str()))
    .bind(derivation.name())
    .bind(derivation.seconds_before())
    .bind(now_ms)
    .execute(&mut **tx)
    .await?;
    for pin in consented.pins() {
        sqlx::query("INSERT INTO job_cameos (job_id, cameo_id, epoch, grant_id) VALUES (?, ?, ?, ?)")
            .bind(draft.video_id.as_str())
            .bind(&pin.cameo_id)
            .bind(pin.epoch)
            .bind(&pin.grant_id)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

/// Jobs that will be taken up before this one.
pub async fn ahead_of(conn: &mut Conn, job: &Job) -> ApiResult<u64> {
    let ahead: i64 =
        sqlx::query_scalar("SELECT count(*) FROM jobs WHERE state = 'queued' AND (created_ms, id) < (?, ?)")
            .bind(job.created_ms)
            .bind(job.video_id.as_str())
            .fetch_one(conn)
            .await?;
    Ok(ahead as u64)
}

pub async fn load(conn: &mut Conn, video_id: &VideoId) -> ApiResult<Option<Job>> {
    let row: Option<JobRow> = sqlx::query_as("SELECT * FROM jobs WHERE id = ?")
        .bind(video_id.as_str())
        .fetch_optional(conn)
        .await?;
    row.map(Job::try_from).transpose()
}

/// A page of a person's jobs.
#[derive(Clone, Debug)]
pub struct Page {
    pub after: Option<VideoId>,
    pub limit: u32,
    pub ascending: bool,
}

/// The person's jobs that they did not delete, by time; one more than `limit` where there are more.
pub async fn list(conn: &mut Conn, user_id: &UserId, page: &Page) -> ApiResult<Vec<Job>> {
    // The ids are UUIDv7 by creation, and break ties of the clock.
    const NEWEST_FIRST: &str = "SELECT * FROM jobs WHERE user_id = ?1 AND deleted_ms IS NULL
         AND (?2 IS NULL OR (created_ms, id) < (SELECT created_ms, id FROM jobs WHERE id = ?2))
         ORDER BY created_ms DESC, id DESC LIMIT ?3";
    const OLDEST_FIRST: &str = "SELECT * FROM jobs WHERE user_id = ?1 AND deleted_ms IS NULL
         AND (?2 IS NULL OR (created_ms, id) > (SELECT created_ms, id FROM jobs WHERE id = ?2))
         ORDER BY created_ms, id LIMIT ?3";
    let rows: Vec<JobRow> = sqlx::query_as(if page.ascending { OLDEST_FIRST } else { NEWEST_FIRST })
        .bind(user_id.as_str())
        .bind(page.after.as_ref().map(VideoId::as_str))
        .bind(i64::from(page.limit) + 1)
        .fetch_all(conn)
        .await?;
    rows.into_iter().map(Job::try_from).collect()
}

/// Takes the job that waited longest, or one whose worker fell silent. Jobs taken up too often
/// are failed and refunded on the way.
pub async fn claim(tx: &mut Tx, worker: &str, now_ms: i64) -> ApiResult<Option<Lease>> {
    let worn_out: Vec<String> = sqlx::query_scalar(
        "UPDATE jobs SET state = 'failed', error_code = 'attempts_exhausted', completed_ms = ?1,
             error_message = 'the generation was interrupted too often'
         WHERE state = 'running' AND lease_until_ms < ?1 AND attempts >= ?2 RETURNING id",
    )
    .bind(now_ms)
    .bind(ATTEMPTS_MAX)
    .fetch_all(&mut **tx)
    .await?;
    for job_id in worn_out {
        credits::refund(tx, &job_id, now_ms).await?;
    }
    let row: Option<JobRow> = sqlx::query_as(
        "UPDATE jobs SET state = 'running', lease_owner = ?1, lease_until_ms = ?2 + ?3,
             fence = fence + 1, attempts = attempts + 1, progress = 0
         WHERE id = (SELECT id FROM jobs
             WHERE state = 'queued' OR (state = 'running' AND lease_until_ms < ?2)
             ORDER BY created_ms, id LIMIT 1)
         RETURNING *",
    )
    .bind(worker)
    .bind(now_ms)
    .bind(LEASE_MS)
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let fence = row.fence;
    let job = Job::try_from(row)?;
    let pins = pins(tx, &job).await?;
    Ok(Some(Lease { job, fence, pins }))
}

async fn pins(conn: &mut Conn, job: &Job) -> ApiResult<Vec<Pinned>> {
    let rows: Vec<(String, i64, Option<String>)> =
        sqlx::query_as("SELECT cameo_id, epoch, grant_id FROM job_cameos WHERE job_id = ? ORDER BY cameo_id")
            .bind(job.video_id.as_str())
            .fetch_all(conn)
            .await?;
    let pin =
        |(cameo_id, epoch, grant_id)| Pinned { cameo_id, epoch, grant_id, user_id: job.user_id.clone() };
    Ok(rows.into_iter().map(pin).collect())
}

/// Keeps the lease, writes progress, and asks again for consent.
pub async fn renew(tx: &mut Tx, lease: &Lease, progress: u8, now_ms: i64) -> ApiResult<Renewal> {
    let held = sqlx::query(
        "UPDATE jobs SET lease_until_ms = ?, progress = ? WHERE id = ? AND fence = ? AND state = 'running'",
    )
    .bind(now_ms + LEASE_MS)
    .bind(i64::from(progress))
    .bind(lease.job.video_id.as_str())
    .bind(lease.fence)
    .execute(&mut **tx)
    .await?
    .rows_affected();
    if held == 0 {
        return Ok(Renewal::Lost);
    }
    if permitted(tx, &lease.pins).await? { Ok(Renewal::Held) } else { Ok(Renewal::Revoked) }
}

/// Makes the clip exist: compares the fencing token and every cameo's epoch, and writes the asset
/// with its whole ancestry, in the one transaction. Unless it answers [`Commit::Committed`] the
/// caller must roll back.
pub async fn commit(
    tx: &mut Tx,
    lease: &Lease,
    signed: &Signed,
    stored: &Stored,
    now_ms: i64,
) -> ApiResult<Commit> {
    let video_id = signed.video_id().as_str();
    let held = sqlx::query(
        "UPDATE jobs SET state = 'done', progress = 100, completed_ms = ?, lease_until_ms = NULL
         WHERE id = ? AND fence = ? AND state = 'running'",
    )
    .bind(now_ms)
    .bind(video_id)
    .bind(lease.fence)
    .execute(&mut **tx)
    .await?
    .rows_affected();
    if held == 0 {
        return Ok(Commit::Fenced);
    }
    if !permitted(tx, &lease.pins).await? {
        return Ok(Commit::Revoked);
    }
    let draft = signed.draft();
    sqlx::query(
        "INSERT INTO assets
             (id, owner_id, state, object, bytes, sha256, duration_ms, width, height, fence, created_ms)
         VALUES (?, ?, 'draft', ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(video_id)
    .bind(draft.user_id.as_str())
    .bind(&stored.object)
    .bind(stored.bytes as i64)
    .bind(&stored.sha256)
    .bind(signed.duration_ms())
    .bind(draft.size.width)
    .bind(draft.size.height)
    .bind(lease.fence)
    .bind(now_ms)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "INSERT INTO asset_cameos (asset_id, cameo_id, epoch, grant_id)
         SELECT job_id, cameo_id, epoch, grant_id FROM job_cameos WHERE job_id = ?",
    )
    .bind(video_id)
    .execute(&mut **tx)
    .await?;
    if let Some(Origin { parent, .. }) = &draft.origin {
        sqlx::query("INSERT INTO derivations (child_id, parent_id) VALUES (?, ?)")
            .bind(video_id)
            .bind(parent.as_str())
            .execute(&mut **tx)
            .await?;
    }
    cameos::tell_owners(tx, video_id, &draft.user_id, now_ms).await?;
    Ok(Commit::Committed)
}

async fn permitted(conn: &mut Conn, pins: &[Pinned]) -> ApiResult<bool> {
    for pin in pins {
        if !cameos::still_permitted(conn, pin).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Ends a job without a clip and gives back what it cost. Does nothing without the lease.
pub async fn fail(tx: &mut Tx, lease: &Lease, code: &str, message: &str, now_ms: i64) -> ApiResult<()> {
    let held = sqlx::query(
        "UPDATE jobs SET state = 'failed', error_code = ?, error_message = ?, completed_ms = ?, lease_until_ms = NULL
         WHERE id = ? AND fence = ? AND state = 'running'",
    )
    .bind(code)
    .bind(message)
    .bind(now_ms)
    .bind(lease.job.video_id.as_str())
    .bind(lease.fence)
    .execute(&mut **tx)
    .await?
    .rows_affected();
    if held > 0 {
        credits::refund(tx, lease.job.video_id.as_str(), now_ms).await?;
    }
    Ok(())
}

/// Gives a job back untouched, for a worker that has to stop.
pub async fn release(tx: &mut Tx, lease: &Lease) -> ApiResult<()> {
    sqlx::query(
        "UPDATE jobs SET state = 'queued', lease_owner = NULL, lease_until_ms = NULL,
             attempts = attempts - 1, progress = 0
         WHERE id = ? AND fence = ? AND state = 'running'",
    )
    .bind(lease.job.video_id.as_str())
    .bind(lease.fence)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Ends a job at its owner's wish, before or while it runs, and gives back what it cost. A worker
/// notices at its next renewal. A job that is over stays as it ended.
pub async fn cancel(tx: &mut Tx, video_id: &VideoId, now_ms: i64) -> ApiResult<()> {
    let cancelled = sqlx::query(
        "UPDATE jobs SET state = 'cancelled', error_code = 'cancelled', completed_ms = ?,
             error_message = 'the generation was cancelled', lease_until_ms = NULL
         WHERE id = ? AND state IN ('queued', 'running')",
    )
    .bind(now_ms)
    .bind(video_id.as_str())
    .execute(&mut **tx)
    .await?
    .rows_affected();
    if cancelled > 0 {
        credits::refund(tx, video_id.as_str(), now_ms).await?;
    }
    Ok(())
}

/// Takes a job off its owner's list; its record stays for those whose likeness it used.
pub async fn forget(tx: &mut Tx, video_id: &VideoId, now_ms: i64) -> ApiResult<()> {
    sqlx::query("UPDATE jobs SET deleted_ms = coalesce(deleted_ms, ?) WHERE id = ?")
        .bind(now_ms)
        .bind(video_id.as_str())
        .execute(&mut **tx)
        .await?;
    Ok(())
}
