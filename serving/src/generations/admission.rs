//! Admission: a person's request in, a queued job out, or the reason why not. Screening, consent,
//! the place in the queue, the price and the idempotency key are one transaction, so that a
//! request that is answered is in the queue exactly once and paid exactly once.

use kinora_schema::{Event, UserId, VideoId};
use sha2::{Digest, Sha256};

use super::draft::RawDraft;
use super::journey::Submitted;
use super::queue::{self, Job};
use crate::app::App;
use crate::credits::{self, Charge, Demand, QuoteId};
use crate::db::Conn;
use crate::error::{ApiError, ApiResult};
use crate::events::outbox;

/// Seconds that one waiting job is reckoned to take when a client is told when to come back.
const SECONDS_PER_JOB: u64 = 5;
const RETRY_AFTER_MAX_S: u64 = 120;

/// A request for a generation.
#[derive(Clone, Debug)]
pub struct Request {
    pub user_id: UserId,
    pub raw: RawDraft,
    /// An accepted price.
    pub quote_id: Option<QuoteId>,
    /// The client's name for this request: a retry with the same key is the same job.
    pub idempotency_key: Option<String>,
    /// The video's id, where the program itself chooses it: asking again with the same id answers
    /// the job that there is.
    pub video_id: Option<VideoId>,
    /// What the lake is told once the request is admitted.
    pub event: Option<Event>,
}

/// Admits a request to the queue.
pub async fn admit(app: &App, request: Request) -> ApiResult<Job> {
    let now_ms = app.clock.now_ms();
    let digest = digest(&request.raw);
    let video_id = request.video_id.clone().unwrap_or_else(new_video_id);
    let draft = request.raw.parse(video_id.clone(), request.user_id.clone())?;

    let mut tx = app.db.write().await?;
    if let Some(key) = &request.idempotency_key
        && let Some(job) = earlier(&mut tx, &request.user_id, key, &digest).await?
    {
        return Ok(job);
    }
    if request.video_id.is_some()
        && let Some(job) = queue::load(&mut tx, &video_id).await?
    {
        return Ok(job);
    }
    let screened = Submitted::new(draft).screen()?;
    let consented = screened.consent(&mut tx, now_ms).await?;
    let demand = Demand::now(&mut tx).await?;
    let depth = demand.queue_depth;
    if depth >= app.config.generation.queue_max {
        let retry_after_s = (depth * SECONDS_PER_JOB).min(RETRY_AFTER_MAX_S);
        let detail = format!("{depth} generations wait already; try again in {retry_after_s} seconds");
        return Err(ApiError::TooManyRequests { detail, retry_after_s });
    }
    queue::insert(&mut tx, &consented, now_ms).await?;
    let charge = Charge {
        user_id: &request.user_id,
        job_id: video_id.as_str(),
        quote_id: request.quote_id.as_ref(),
        demand,
        tariff: &app.config.generation,
        now_ms,
    };
    credits::reserve(&mut tx, &charge).await?;
    if let Some(key) = &request.idempotency_key {
        sqlx::query(
            "INSERT INTO idempotency (user_id, key, digest, job_id, created_ms) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(request.user_id.as_str())
        .bind(key)
        .bind(&digest)
        .bind(video_id.as_str())
        .bind(now_ms)
        .execute(&mut *tx)
        .await?;
    }
    if let Some(event) = &request.event {
        outbox::event(&mut tx, event).await?;
    }
    let job = queue::load(&mut tx, &video_id).await?.ok_or(ApiError::NotFound("video"))?;
    tx.commit().await?;
    app.queue_wake.notify_one();
    if request.event.is_some() {
        app.interactions.outbox_wake.notify_one();
    }
    Ok(job)
}

pub fn new_video_id() -> VideoId {
    VideoId::new(format!("video_{}", uuid::Uuid::now_v7().simple()))
}

async fn earlier(conn: &mut Conn, user_id: &UserId, key: &str, digest: &str) -> ApiResult<Option<Job>> {
    let row: Option<(String, String)> =
        sqlx::query_as("SELECT job_id, digest FROM idempotency WHERE user_id = ? AND key = ?")
            .bind(user_id.as_str())
            .bind(key)
            .fetch_optional(&mut *conn)
            .await?;
    match row {
        None => Ok(None),
        Some((job_id, known)) if known == digest => queue::load(conn, &job_id.into()).await,
        Some(_) => Err(ApiError::bad_request(
            "Idempotency-Key",
            "this Idempotency-Key was used for a different request; choose a new one",
        )),
    }
}

/// Tells a retry from another request: SHA-256 over the fields, each after its length.
fn digest(raw: &RawDraft) -> String {
    let seed = raw.seed.map(|seed| seed.to_string());
    let cameos = raw.cameos.join("\n");
    let fields = [
        raw.prompt.as_deref(),
        raw.model.as_deref(),
        raw.seconds.as_deref(),
        raw.size.as_deref(),
        seed.as_deref(),
        Some(cameos.as_str()),
        raw.origin.as_ref().map(|origin| origin.parent.as_str()),
        raw.origin.as_ref().map(|origin| origin.derivation.name()),
    ];
    let mut hasher = Sha256::new();
    for field in fields {
        let text = field.unwrap_or_default();
        hasher.update([u8::from(field.is_some())]);
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    }
    crate::media::hex(&hasher.finalize())
}
