//! The one path by which interactions enter the lake.
//!
//! Rows enter from JSON lines, Parquet, importers, the simulator and the event log; what is valid
//! and new leaves as one commit of the `events` table, and what is not is kept in `quarantine` with
//! its reason. INVARIANT: an event id is stored once, though a client may date a retry up to a week
//! anew, and a source is applied whole or not at all: an error leaves the events as they were, and
//! the same source again adds nothing twice.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::prelude::{SessionContext, col, lit};
use kinora_schema::table::Table;
use kinora_schema::{Event, Rejection};
use serde::{Deserialize, Serialize};

use crate::error::{PipelineError, Result};
use crate::event_batch::{Reader, events_to_batch, text, value};
use crate::lake::{Append, Committed, IngestLock, Lake};
pub(crate) use stored::StoredIds;

pub mod file;
mod stored;

/// Rows taken at a time, which bounds the memory of an ingest.
pub(crate) const CHUNK_ROWS: usize = 50_000;
/// Longest text kept of a quarantined row, and of the reason, in bytes.
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

/// What is kept of a row that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantinedRow {
    pub reason: String,
    /// As it came.
    pub raw: String,
}

impl QuarantinedRow {
    /// Cuts both texts to what is kept of them.
    pub fn new(mut reason: String, mut raw: String) -> Self {
        truncate(&mut reason, MAX_RAW_BYTES);
        truncate(&mut raw, MAX_RAW_BYTES);
        Self { reason, raw }
    }
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

    fn refuse(&mut self, row: u64, rejection: &Rejection) {
        self.quarantined += 1;
        *self.reasons.entry(kind_of(rejection)).or_default() += 1;
        self.first_refused.get_or_insert_with(|| RefusedRow { row, reason: rejection.to_string() });
    }
}

/// Keeps rows that a service refused, in its own words. `batch` counts up for each `source`, which
/// is the transaction's application too: one that was kept, or an earlier one, is not kept again.
pub async fn quarantine(
    lake: &Lake,
    source: &str,
    batch: i64,
    rows: Vec<QuarantinedRow>,
    now_ms: i64,
) -> Result<()> {
    let rows: Vec<(u64, QuarantinedRow)> = (1..).zip(rows).collect();
    let _lock = lake.lock_for_ingest().await?;
    let rows = quarantine_batch(&rows, source, now_ms)?;
    lake.append_in_transaction(Table::Quarantine, rows, source, batch).await?;
    Ok(())
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
pub(crate) struct Intake<'a> {
    lake: &'a Lake,
    source: String,
    now_ms: i64,
    stored: StoredIds,
    /// Opened when something is asked of the lake that is not known.
    context: Option<SessionContext>,
    /// Quarantined rows of this source that the lake holds; loaded at the first refusal.
    refused_before: Option<HashSet<(i64, u64)>>,
    events: Append,
    quarantine: Append,
    report: IngestReport,
    lock: IngestLock<'a>,
}

impl<'a> Intake<'a> {
    pub(crate) async fn begin(lake: &'a Lake, source: &str, now_ms: i64) -> Result<Self> {
        let mut lock = lake.lock_for_ingest().await?;
        let stored = lock.stored.take(lake.version(Table::Events).await?);
        Ok(Self {
            lake,
            source: source.to_owned(),
            now_ms,
            stored,
            context: None,
            refused_before: None,
            events: lake.begin(Table::Events).await?,
            quarantine: lake.begin(Table::Quarantine).await?,
            report: IngestReport::default(),
            lock,
        })
    }

    /// The lake as it was when the ingest began: nobody else ingests meanwhile.
    async fn context(&mut self) -> Result<SessionContext> {
        if let Some(context) = &self.context {
            return Ok(context.clone());
        }
        Ok(self.context.insert(self.lake.session().await?).clone())
    }

    pub(crate) async fn take(&mut self, rows: Vec<Row>) -> Result<()> {
        let (mut valid, mut refused) = (Vec::with_capacity(rows.len()), Vec::new());
        for Row { number, event, raw } in rows {
            let (rejection, raw) = match event {
                Ok(event) => match event.validate(self.now_ms) {
                    Ok(()) => {
                        valid.push(event);
                        continue;
                    }
                    Err(rejection) => (rejection, raw.or_else(|| serde_json::to_string(&event).ok())),
                },
                Err(rejection) => (rejection, raw),
            };
            self.report.refuse(number, &rejection);
            refused.push((number, QuarantinedRow::new(rejection.to_string(), raw.unwrap_or_default())));
        }
        let rows = valid.len();
        let missing = self.stored.missing_days(&valid);
        if !missing.is_empty() {
            let context = self.context().await?;
            self.stored.load(&context, &self.lake.table_path(Table::Events), missing).await?;
        }
        valid.retain(|event| self.stored.insert(event));
        self.report.accepted += valid.len() as u64;
        self.report.duplicates += (rows - valid.len()) as u64;
        if !valid.is_empty() {
            self.events.write(events_to_batch(&valid, self.now_ms)?).await?;
        }
        self.refuse(refused).await
    }

    async fn refuse(&mut self, mut refused: Vec<(u64, QuarantinedRow)>) -> Result<()> {
        if refused.is_empty() {
            return Ok(());
        }
        if self.refused_before.is_none() {
            let context = self.context().await?;
            self.refused_before = Some(refused_of(&context, self.lake, &self.source).await?);
        }
        let before = self.refused_before.get_or_insert_default();
        refused.retain(|(number, row)| before.insert((*number as i64, hash(&row.raw))));
        self.quarantine.write(quarantine_batch(&refused, &self.source, self.now_ms)?).await
    }

    /// Makes the source visible. Quarantine goes first: were this stopped between the two, the same
    /// source again would find its refused rows kept and its events still to add.
    pub(crate) async fn finish(mut self) -> Result<IngestReport> {
        self.quarantine.commit().await?;
        let version = self.events.commit().await?;
        self.lock.stored.keep(self.stored, version);
        Ok(self.report)
    }

    /// [`Intake::finish`], unless `app_id` committed `version` or a later one before: then nothing was
    /// left to do.
    pub(crate) async fn finish_once(mut self, app_id: &str, version: i64) -> Result<IngestReport> {
        self.quarantine.commit().await?;
        match self.events.commit_once(app_id, version).await? {
            Committed::Version(version) => {
                self.lock.stored.keep(self.stored, version);
                Ok(self.report)
            }
            Committed::Before => Ok(IngestReport::default()),
        }
    }
}

/// Row and text of what was refused of a source before.
async fn refused_of(context: &SessionContext, lake: &Lake, source: &str) -> Result<HashSet<(i64, u64)>> {
    let path = lake.table_path(Table::Quarantine);
    let batches = async {
        let rows = context.table("quarantine").await?.filter(col("source").eq(lit(source)))?;
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

fn quarantine_batch(rows: &[(u64, QuarantinedRow)], source: &str, now_ms: i64) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|_| source))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(number, _)| *number as i64))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, row)| &row.reason))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, row)| &row.raw))),
        Arc::new(Int64Array::from_value(now_ms, rows.len())),
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
