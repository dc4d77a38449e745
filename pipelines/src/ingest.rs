//! The one path by which interactions enter the lake.
//!
//! Rows enter from JSON lines, Parquet, importers, the simulator and the event log; what is valid
//! and new leaves as one commit of the `events` table, and what is not is kept in `quarantine` with
//! its reason. INVARIANT: an event id is stored once, and a source is applied whole or not at all:
//! an error leaves the events as they were, and the same source again adds nothing twice.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use datafusion::prelude::{SessionContext, col, lit};
use futures::StreamExt;
use kinora_schema::table::Table;
use kinora_schema::{Event, Rejection};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{PipelineError, Result};
use crate::event_batch::{Reader, event_date, events_to_batch, text, value};
use crate::lake::{Append, Committed, IngestLock, Lake};

pub mod file;

/// Rows taken at a time, which bounds the memory of an ingest.
pub(crate) const CHUNK_ROWS: usize = 50_000;
/// Longest raw text kept with a quarantined row, in bytes.
const MAX_RAW_BYTES: usize = 4096;

/// What became of the rows of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestReport {
    /// Events now in the lake that were not before.
    pub accepted: u64,
    /// Events that the lake, or the source itself, held already.
    pub duplicates: u64,
    /// Rows refused and kept in the `quarantine` table.
    pub quarantined: u64,
    /// Refused rows by kind of reason.
    pub reasons: BTreeMap<String, u64>,
    /// The first refused row, as an example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_refused: Option<RefusedRow>,
}

/// A row that did not enter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRow {
    /// One-based row or line of the source.
    pub row: u64,
    pub reason: String,
}

impl IngestReport {
    /// Adds the counts of another source.
    pub fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.quarantined += other.quarantined;
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        self.first_refused = self.first_refused.take().or(other.first_refused);
    }
}

/// Takes events from code: the simulator, a test, a service without an event log.
pub async fn ingest_events(
    lake: &Lake,
    source: &str,
    events: Vec<Event>,
    now_ms: i64,
) -> Result<IngestReport> {
    let mut intake = Intake::begin(lake, source, now_ms).await?;
    let mut events = events.into_iter();
    let mut number = 0;
    loop {
        let rows: Vec<Row> = events
            .by_ref()
            .take(CHUNK_ROWS)
            .map(|event| {
                number += 1;
                Row { number, event: Ok(event), raw: None }
            })
            .collect();
        if rows.is_empty() {
            return intake.finish().await;
        }
        intake.take(rows).await?;
    }
}

/// A row of a source, parsed or not.
#[derive(Debug)]
pub(crate) struct Row {
    /// One-based row or line, or the offset in a log.
    pub(crate) number: u64,
    pub(crate) event: Result<Event, Rejection>,
    /// The text it was parsed from; without it, a refused event is kept as JSON.
    pub(crate) raw: Option<String>,
}

/// An ingest in progress; nothing of it is visible before [`Intake::finish`].
#[derive(Debug)]
pub(crate) struct Intake<'a> {
    lake: &'a Lake,
    source: String,
    now_ms: i64,
    stored: Stored,
    /// Quarantined rows of this source that the lake holds; loaded at the first refusal.
    refused_before: Option<HashSet<(i64, u64)>>,
    events: Append,
    quarantine: Append,
    report: IngestReport,
    _lock: IngestLock<'a>,
}

impl<'a> Intake<'a> {
    pub(crate) async fn begin(lake: &'a Lake, source: &str, now_ms: i64) -> Result<Self> {
        let lock = lake.lock_for_ingest().await?;
        let context = lake.session().await?;
        Ok(Self {
            lake,
            source: source.to_owned(),
            now_ms,
            stored: Stored { context, days: HashSet::new(), ids: HashSet::new() },
            refused_before: None,
            events: lake.begin(Table::Events).await?,
            quarantine: lake.begin(Table::Quarantine).await?,
            report: IngestReport::default(),
            _lock: lock,
        })
    }

    pub(crate) async fn take(&mut self, rows: Vec<Row>) -> Result<()> {
        let (mut valid, mut refused) = (Vec::with_capacity(rows.len()), Vec::new());
        for Row { number, event, raw } in rows {
            match event {
                Ok(event) => match event.validate(self.now_ms) {
                    Ok(()) => valid.push(event),
                    Err(rejection) => {
                        let raw = raw.or_else(|| serde_json::to_string(&event).ok()).unwrap_or_default();
                        refused.push(Refused { number, rejection, raw });
                    }
                },
                Err(rejection) => refused.push(Refused { number, rejection, raw: raw.unwrap_or_default() }),
            }
        }
        let rows = valid.len();
        self.stored.load_days_of(self.lake, &valid).await?;
        valid.retain(|event| self.stored.ids.insert(event.event_id.0));
        self.report.accepted += valid.len() as u64;
        self.report.duplicates += (rows - valid.len()) as u64;
        if !valid.is_empty() {
            self.events.write(events_to_batch(&valid, self.now_ms)?).await?;
        }
        self.refuse(refused).await
    }

    async fn refuse(&mut self, mut refused: Vec<Refused>) -> Result<()> {
        if refused.is_empty() {
            return Ok(());
        }
        for row in &mut refused {
            truncate(&mut row.raw, MAX_RAW_BYTES);
            self.report.quarantined += 1;
            *self.report.reasons.entry(kind_of(&row.rejection)).or_default() += 1;
            self.report
                .first_refused
                .get_or_insert_with(|| RefusedRow { row: row.number, reason: row.rejection.to_string() });
        }
        let before = match &mut self.refused_before {
            Some(before) => before,
            none => none.insert(self.stored.refused_of(self.lake, &self.source).await?),
        };
        refused.retain(|row| before.insert((row.number as i64, hash(&row.raw))));
        self.quarantine.write(refused_to_batch(&refused, &self.source, self.now_ms)?).await
    }

    /// Makes the source visible. Quarantine goes first: were this stopped between the two, the same
    /// source again would find its refused rows kept and its events still to add.
    pub(crate) async fn finish(self) -> Result<IngestReport> {
        self.quarantine.commit().await?;
        self.events.commit().await?;
        Ok(self.report)
    }

    /// [`Intake::finish`], unless `app_id` committed `version` or a later one before.
    pub(crate) async fn finish_once(self, app_id: &str, version: i64) -> Result<(IngestReport, Committed)> {
        self.quarantine.commit().await?;
        let committed = self.events.commit_once(app_id, version).await?;
        Ok((self.report, committed))
    }
}

struct Refused {
    number: u64,
    rejection: Rejection,
    raw: String,
}

/// What the lake holds already, read a day at a time and only for days that the source touches.
struct Stored {
    context: SessionContext,
    days: HashSet<String>,
    ids: HashSet<Uuid>,
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored")
            .field("days", &self.days)
            .field("ids", &self.ids.len())
            .finish_non_exhaustive()
    }
}

impl Stored {
    /// A retried event carries its first time, so its duplicate is in the same day's partition.
    async fn load_days_of(&mut self, lake: &Lake, events: &[Event]) -> Result<()> {
        const DAY_MS: i64 = 86_400_000;
        let days: HashSet<i64> = events.iter().map(|event| event.event_time_ms.div_euclid(DAY_MS)).collect();
        let new_days: Vec<_> = days
            .into_iter()
            .map(|day| event_date(day * DAY_MS))
            .filter(|date| self.days.insert(date.clone()))
            .map(lit)
            .collect();
        if new_days.is_empty() {
            return Ok(());
        }
        let path = lake.table_path(Table::Events);
        let mut batches = async {
            let rows =
                self.context.table("events").await?.filter(col("event_date").in_list(new_days, false))?;
            rows.select_columns(&["event_id"])?.execute_stream().await
        }
        .await
        .map_err(PipelineError::Read)?;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(PipelineError::Read)?;
            let ids = Reader { batch: &batch, path: &path }.required("event_id", &DataType::Utf8)?;
            self.ids
                .extend(ids.as_string::<i32>().iter().flatten().filter_map(|id| Uuid::try_parse(id).ok()));
        }
        Ok(())
    }

    async fn refused_of(&self, lake: &Lake, source: &str) -> Result<HashSet<(i64, u64)>> {
        let path = lake.table_path(Table::Quarantine);
        let batches = async {
            let rows = self.context.table("quarantine").await?.filter(col("source").eq(lit(source)))?;
            rows.select_columns(&["row", "raw"])?.collect().await
        }
        .await
        .map_err(PipelineError::Read)?;
        let mut refused = HashSet::new();
        for batch in &batches {
            let reader = Reader { batch, path: &path };
            let (rows, raws) = (reader.int64("row")?, reader.text("raw")?);
            refused.extend(
                (0..batch.num_rows())
                    .filter_map(|row| Some((value(rows.as_ref(), row)?, hash(text(raws.as_ref(), row)?)))),
            );
        }
        Ok(refused)
    }
}

fn refused_to_batch(refused: &[Refused], source: &str, now_ms: i64) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(refused.iter().map(|_| source))),
        Arc::new(Int64Array::from_iter_values(refused.iter().map(|row| row.number as i64))),
        Arc::new(StringArray::from_iter_values(refused.iter().map(|row| row.rejection.to_string()))),
        Arc::new(StringArray::from_iter_values(refused.iter().map(|row| &row.raw))),
        Arc::new(Int64Array::from_value(now_ms, refused.len())),
    ];
    RecordBatch::try_new(Table::Quarantine.schema(), columns).map_err(PipelineError::Arrow)
}

/// Groups reasons: the full one, with its values, is in the quarantine table.
fn kind_of(rejection: &Rejection) -> String {
    match rejection {
        Rejection::Malformed(_) => "malformed".to_owned(),
        Rejection::OutOfRange { field, .. } => format!("`{field}` out of range"),
        Rejection::NonFiniteFeature(_) => "feature not finite".to_owned(),
        Rejection::FutureSchema(_) => "newer `schema_version`".to_owned(),
        other => other.to_string(),
    }
}

fn truncate(raw: &mut String, max_bytes: usize) {
    if raw.len() > max_bytes {
        let end = (0..=max_bytes).rev().find(|&end| raw.is_char_boundary(end)).unwrap_or_default();
        raw.truncate(end);
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
