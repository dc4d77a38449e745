//! The event log and the features that follow it. An event is first made durable, then observed:
//! the feed may be behind the log for a moment, never ahead of it.

use std::collections::{HashSet, VecDeque};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use kinora_pipelines::Lake;
use kinora_pipelines::features::FeatureState;
use kinora_pipelines::log::{CompactError, EventLog, LogError, compact};
use kinora_schema::{Event, EventId};
use thiserror::Error;
use tokio::sync::Notify;

use crate::error::{ApiError, ApiResult};

/// Events whose ids are remembered, so that a retry is answered as a duplicate. An older one is
/// found by the lake.
const RECENT_IDS: usize = 100_000;
/// When a client should try again after the log was full: compaction runs more often than that.
const RETRY_AFTER_S: u64 = 10;
/// Rows that were refused wait here to be taken to the lake's quarantine.
const REFUSED_FILE: &str = "refused.jsonl";

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
    refused: Mutex<PathBuf>,
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
            refused: Mutex::new(log_dir.join(REFUSED_FILE)),
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

    /// Keeps refused rows for the lake's quarantine. They are written before the answer, and lost
    /// only with the page cache: nobody was promised that they are stored.
    pub async fn quarantine(self: &Arc<Self>, rows: Vec<String>) -> ApiResult<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let this = self.clone();
        let written = tokio::task::spawn_blocking(move || {
            let path = this.refused.lock().unwrap_or_else(PoisonError::into_inner);
            let mut file = OpenOptions::new().create(true).append(true).open(&*path)?;
            // A row is one line of the file, whatever it holds.
            let lines: String = rows.iter().map(|row| row.replace(['\n', '\r'], " ") + "\n").collect();
            file.write_all(lines.as_bytes())
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
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
        if let Some(taken) = self.take_refused()? {
            kinora_pipelines::ingest_file(lake, &taken, now_ms, &mut kinora_pipelines::progress::silent())
                .await?;
            std::fs::remove_file(&taken)
                .map_err(|source| InteractionsError::Refused { path: taken, source })?;
        }
        Ok(())
    }

    /// Sets the file of refused rows aside, so that new ones go to a new one. One that an
    /// interrupted compaction left is taken first.
    fn take_refused(&self) -> Result<Option<PathBuf>, InteractionsError> {
        let path = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = path.with_extension("taken.jsonl");
        if taken.exists() {
            return Ok(Some(taken));
        }
        match std::fs::rename(&*path, &taken) {
            Ok(()) => Ok(Some(taken)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(InteractionsError::Refused { path: path.clone(), source }),
        }
    }
}

fn refusal(error: LogError) -> ApiError {
    match error {
        LogError::Full { .. } => ApiError::TooManyRequests {
            detail: format!("the event log is full; send the events again in {RETRY_AFTER_S} seconds"),
            retry_after_s: RETRY_AFTER_S,
        },
        LogError::TooLarge { .. } => ApiError::TooLarge(error.to_string()),
        other => {
            tracing::error!(error = %other, "cannot append to the event log");
            ApiError::Unavailable("events cannot be stored now; try again".to_owned())
        }
    }
}
