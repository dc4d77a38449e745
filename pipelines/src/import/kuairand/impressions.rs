//! Log rows to events: the impression, and each outcome at the time it can first have been known.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::csv::ReaderBuilder;
use arrow::datatypes::{DataType, Field, Schema};
use flate2::read::MultiGzDecoder;
use kinora_schema::event::SCHEMA_VERSION;
use kinora_schema::{Event, EventId, EventKind, UserId, VideoId};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::has_extension;
use crate::error::{PipelineError, Result};
use crate::event_batch::{Reader, value};
use crate::ingest::Row;

/// Log rows read at a time; each becomes about three events.
const BATCH_ROWS: usize = 16_384;

/// Number columns that every log must have, besides the outcomes.
const RAW: [&str; 6] = ["user_id", "video_id", "time_ms", "play_time_ms", "duration_ms", "tab"];

/// Outcome columns and what they become.
const OUTCOMES: [(&str, EventKind); 7] = [
    ("is_click", EventKind::Click),
    ("is_like", EventKind::Like),
    ("is_follow", EventKind::Follow),
    ("is_comment", EventKind::Comment),
    ("is_forward", EventKind::Share),
    ("is_hate", EventKind::NotInterested),
    ("is_profile_enter", EventKind::ProfileEnter),
];

type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// How often each (person, clip, time) was seen: the log has rows that are alike, and each keeps
/// its own id, the same whichever file it comes in.
pub(super) type Repeats = HashMap<(i64, i64, i64), u32>;

/// The rows of one log file.
pub(super) fn batches(path: &Path) -> Result<Batches> {
    let file = File::open(path).map_err(PipelineError::io("open", path))?;
    let from = path.to_owned();
    if has_extension(path, "parquet") {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .map_err(PipelineError::parquet(path))?
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(PipelineError::parquet(path))?;
        return Ok(Box::new(
            reader.map(move |batch| batch.map_err(|error| PipelineError::parquet(&from)(error.into()))),
        ));
    }
    let text: Box<dyn Read + Send> =
        if has_extension(path, "gz") { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut text = BufReader::new(text);
    let schema = csv_schema(&mut text, path)?;
    let reader = ReaderBuilder::new(schema)
        .with_batch_size(BATCH_ROWS)
        .build_buffered(text)
        .map_err(|source| PipelineError::Csv { path: path.to_owned(), source })?;
    Ok(Box::new(
        reader.map(move |batch| batch.map_err(|source| PipelineError::Csv { path: from.clone(), source })),
    ))
}

/// Reads the header line: raw columns are integers, and a derived one is left as text.
fn csv_schema(text: &mut impl BufRead, path: &Path) -> Result<Arc<Schema>> {
    let mut header = String::new();
    text.read_line(&mut header).map_err(PipelineError::io("read", path))?;
    let fields: Vec<Field> = header
        .trim()
        .split(',')
        .map(|name| {
            let is_number = RAW.contains(&name) || OUTCOMES.iter().any(|(column, _)| *column == name);
            Field::new(name, if is_number { DataType::Int64 } else { DataType::Utf8 }, true)
        })
        .collect();
    Ok(Arc::new(Schema::new(fields)))
}

/// The events of a batch's rows, numbered by row of the import.
pub(super) fn rows(batch: &RecordBatch, path: &Path, before: u64, repeats: &mut Repeats) -> Result<Vec<Row>> {
    let columns = Columns::of(batch, path)?;
    let mut rows = Vec::with_capacity(batch.num_rows() * 3);
    for row in 0..batch.num_rows() {
        let number = before + row as u64 + 1;
        let events = columns.events(row, repeats);
        rows.extend(events.into_iter().map(|event| Row { number, event: Ok(event), raw: None }));
    }
    Ok(rows)
}

struct Columns {
    user_id: Int64Array,
    video_id: Int64Array,
    time_ms: Int64Array,
    play_time_ms: Int64Array,
    duration_ms: Int64Array,
    tab: Int64Array,
    outcomes: Vec<(Int64Array, EventKind)>,
}

impl Columns {
    fn of(batch: &RecordBatch, path: &Path) -> Result<Self> {
        let reader = Reader { batch, path };
        let column = |name: &str| {
            reader.int64(name)?.ok_or_else(|| PipelineError::MissingColumn {
                path: path.to_owned(),
                column: name.to_owned(),
            })
        };
        Ok(Self {
            user_id: column("user_id")?,
            video_id: column("video_id")?,
            time_ms: column("time_ms")?,
            play_time_ms: column("play_time_ms")?,
            duration_ms: column("duration_ms")?,
            tab: column("tab")?,
            outcomes: OUTCOMES
                .iter()
                .map(|&(name, kind)| Ok((column(name)?, kind)))
                .collect::<Result<_>>()?,
        })
    }

    /// A missing id or time becomes one that validation refuses, so that the row is quarantined.
    fn events(&self, row: usize, repeats: &mut Repeats) -> Vec<Event> {
        let get = |column: &Int64Array| value(Some(column), row);
        let (user, video) = (get(&self.user_id), get(&self.video_id));
        let time_ms = get(&self.time_ms).unwrap_or_default();
        let play_ms = get(&self.play_time_ms).unwrap_or_default();
        let repeat = repeats
            .entry((user.unwrap_or(-1), video.unwrap_or(-1), time_ms))
            .and_modify(|count| *count += 1)
            .or_insert(0);
        let text = |id: Option<i64>| id.map(|id| id.to_string()).unwrap_or_default();
        let (user, video) = (text(user), text(video));
        let source = format!("kuairand:{user}:{video}:{time_ms}");
        let id = |kind: EventKind| EventId::derived(&source, u64::from(*repeat), kind.as_str());

        let impression = Event {
            event_id: id(EventKind::Impression),
            schema_version: SCHEMA_VERSION,
            kind: EventKind::Impression,
            event_time_ms: time_ms,
            user_id: UserId::new(user),
            video_id: VideoId::new(video),
            creator_id: None,
            impression_id: None,
            watch_ms: None,
            // The log has 0 where the length is unknown.
            duration_ms: get(&self.duration_ms).filter(|&duration_ms| duration_ms != 0),
            position: None,
            surface: get(&self.tab).map(|tab| format!("tab={tab}")),
            policy: Some("kuairand".to_owned()),
            propensity: None,
            features: BTreeMap::new(),
        };
        let outcome = |kind: EventKind, event_time_ms: i64, watch_ms: Option<i64>| Event {
            event_id: id(kind),
            kind,
            event_time_ms,
            impression_id: Some(impression.event_id),
            policy: None,
            watch_ms,
            ..impression.clone()
        };
        let mut events: Vec<Event> = self
            .outcomes
            .iter()
            .filter(|(column, _)| get(column).unwrap_or_default() != 0)
            // The log has no times of outcomes: the earliest is just after the impression.
            .map(|&(_, kind)| outcome(kind, time_ms.saturating_add(1), None))
            .collect();
        if play_ms != 0 {
            let left_ms = time_ms.saturating_add(play_ms.max(1));
            events.push(outcome(EventKind::Watch, left_ms, Some(play_ms)));
        }
        events.push(impression);
        events
    }
}
