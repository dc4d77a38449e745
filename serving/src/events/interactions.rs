//! The event log and the features that follow it. An event is first made durable, then observed:
//! the feed may be behind the log for a moment, never ahead of it.

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use kinora_pipelines::features::FeatureState;
use kinora_pipelines::log::{CompactError, EventLog, LogError, compact};
use kinora_pipelines::{Lake, QuarantinedRow};
use kinora_schema::{Event, EventId};
use thiserror::Error;
use tokio::sync::Notify;

use super::refused::RefusedRows;
use crate::error::{ApiError, ApiResult};

/// Events whose ids are remembered, so that a retry is answered as a duplicate. An older one is
/// found by the lake.
const RECENT_IDS: usize = 100_000;
/// When a client should try again after the log was full: compaction runs more often than that.
const RETRY_AFTER_S: u64 = 10;

#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InteractionsError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Compact(#[from] CompactError),
    #[error(transparent)]
    Lake(#[from] kinora_pipelines::PipelineError),
    #[error("cannot use the file of refused rows {}", path.display())]
    Refused { path: PathBuf, source: std::io::Error },
}

/// Where events go, and what the feed knows from them.
#[derive(Debug)]
pub struct Interactions {
    log: EventLog,
    features: RwLock<FeatureState>,
    recent: Mutex<RecentIds>,
    refused: RefusedRows,
    /// Woken when the outbox has something for the lake.
    pub outbox_wake: Notify,
}

#[derive(Debug, Default)]
struct RecentIds {
    known: HashSet<EventId>,
    order: VecDeque<EventId>,
}

impl RecentIds {
    /// For each event whether its id is neither known nor that of an earlier one among them.
    fn unknown(&self, events: &[Event]) -> Vec<bool> {
        let mut among = HashSet::new();
        events
            .iter()
            .map(|event| !self.known.contains(&event.event_id) && among.insert(event.event_id))
            .collect()
    }

    fn remember(&mut self, events: &[Event]) {
        for event in events {
            if self.known.insert(event.event_id) {
                self.order.push_back(event.event_id);
            }
        }
        while self.order.len() > RECENT_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

impl Interactions {
    /// Opens the log, moves what an earlier run left in it to the lake, and computes the features
    /// from there.
    pub async fn open(
        lake: &Lake,
        log_dir: &Path,
        max_bytes: u64,
        now_ms: i64,
    ) -> Result<Self, InteractionsError> {
        let log = EventLog::open(log_dir, max_bytes)?;
        compact(&log, lake, now_ms).await?;
        let features = FeatureState::from_lake(lake).await?;
        Ok(Self {
            log,
            features: RwLock::new(features),
            recent: Mutex::default(),
            refused: RefusedRows::open(log_dir, max_bytes),
            outbox_wake: Notify::new(),
        })
    }

    /// Makes events durable and counts them. Answers for each whether it was new.
    pub async fn append(self: &Arc<Self>, events: Vec<Event>) -> ApiResult<Vec<bool>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.append_blocking(events)).await.map_err(ApiError::internal)?
    }

    fn append_blocking(&self, events: Vec<Event>) -> ApiResult<Vec<bool>> {
        let fresh = self.recent.lock().unwrap_or_else(PoisonError::into_inner).unknown(&events);
        let new: Vec<Event> =
            events.into_iter().zip(&fresh).filter(|(_, fresh)| **fresh).map(|(event, _)| event).collect();
        if new.is_empty() {
            return Ok(fresh);
        }
        self.log.append(&new).map_err(refusal)?;
        // Known only now: the same event on another connection meanwhile must not be answered as
        // a duplicate of one that was not stored. The lake keeps one of the two.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).remember(&new);
        let mut features = self.features.write().unwrap_or_else(PoisonError::into_inner);
        for event in &new {
            features.observe(event);
        }
        Ok(fresh)
    }

    /// The features as of now. Held briefly: appending waits for it.
    pub fn features(&self) -> RwLockReadGuard<'_, FeatureState> {
        self.features.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the features of a clip's attributes.
    pub fn learn_video(&self, video: kinora_pipelines::catalog::VideoRecord) {
        self.features.write().unwrap_or_else(PoisonError::into_inner).set_video(video);
    }

    /// Keeps refused rows for the lake's quarantine.
    pub async fn quarantine(self: &Arc<Self>, rows: Vec<QuarantinedRow>) -> ApiResult<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let this = self.clone();
        match tokio::task::spawn_blocking(move || this.refused.keep(&rows)).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(full()),
            Ok(Err(error)) => {
                tracing::error!(error = %error, "cannot keep refused rows");
                Err(ApiError::Unavailable("events cannot be stored now; try again".to_owned()))
            }
            Err(error) => Err(ApiError::internal(error)),
        }
    }

    /// Moves what the log holds, and the refused rows, to the lake.
    pub async fn compact(&self, lake: &Lake, now_ms: i64) -> Result<(), InteractionsError> {
        if self.log.bytes() > 0 {
            let report = compact(&self.log, lake, now_ms).await?;
            tracing::debug!(
                accepted = report.ingest.accepted,
                duplicates = report.ingest.duplicates,
                "compacted the event log"
            );
        }
        self.refused.settle(lake, now_ms).await
    }
}

fn refusal(error: LogError) -> ApiError {
    match error {
        LogError::Full { .. } => full(),
        LogError::TooLarge { .. } => ApiError::TooLarge(error.to_string()),
        other => {
            tracing::error!(error = %other, "cannot append to the event log");
            ApiError::Unavailable("events cannot be stored now; try again".to_owned())
        }
    }
}

fn full() -> ApiError {
    ApiError::TooManyRequests {
        detail: format!("the event log is full; send the events again in {RETRY_AFTER_S} seconds"),
        retry_after_s: RETRY_AFTER_S,
    }
}
