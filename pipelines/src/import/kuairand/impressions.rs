//! Log rows to events: the impression, and each outcome at the time it can first have been known.
//!
//! A row that is not all numbers is quarantined; a log without a column is an error.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use arrow::array::{Int64Array, RecordBatch};
use flate2::read::MultiGzDecoder;
use kinora_schema::event::SCHEMA_VERSION;
use kinora_schema::{Event, EventId, EventKind, Rejection, UserId, VideoId};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::has_extension;
use crate::error::{PipelineError, Result};
use crate::event_batch::{Reader, value};
use crate::ingest::Row;
use crate::ingest::file::{Line, next_lines, row_as_json};

/// Log rows read at a time; each becomes about three events.
const BATCH_ROWS: usize = 16_384;

/// Columns that every log must have, all whole numbers; outcomes come last.
const COLUMNS: [&str; 13] = [
    "user_id",
    "video_id",
    "time_ms",
    "play_time_ms",
    "duration_ms",
    "tab",
    "is_click",
    "is_like",
    "is_follow",
    "is_comment",
    "is_forward",
    "is_hate",
    "is_profile_enter",
];

/// What the outcome columns become, in their order.
const OUTCOMES: [EventKind; 7] = [
    EventKind::Click,
    EventKind::Like,
    EventKind::Follow,
    EventKind::Comment,
    EventKind::Share,
    EventKind::NotInterested,
    EventKind::ProfileEnter,
];

/// How often each (person, clip, time) was seen: the log has rows that are alike, and each keeps
/// its own id, the same whichever file it comes in.
pub(super) type Repeats = HashMap<(i64, i64, i64), u32>;

/// One log file, read some rows at a time.
pub(super) struct Log {
    path: PathBuf,
    source: Source,
}

enum Source {
    Parquet(Box<ParquetRecordBatchReader>),
    /// Behind the header line.
    Csv {
        text: Box<dyn BufRead + Send>,
        header: Header,
    },
}

/// Events of some rows of a log.
pub(super) struct Taken {
    /// Rows of the log that they come from.
    pub(super) log_rows: u64,
    pub(super) rows: Vec<Row>,
}

impl Log {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(PipelineError::io("open", path))?;
        let source = if has_extension(path, "parquet") {
            let reader = ParquetRecordBatchReaderBuilder::try_new(file)
                .and_then(|builder| builder.with_batch_size(BATCH_ROWS).build())
                .map_err(PipelineError::parquet(path))?;
            Source::Parquet(Box::new(reader))
        } else {
            let is_gzip = has_extension(path, "gz");
            let text: Box<dyn Read + Send> =
                if is_gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
            let mut text = BufReader::new(text);
            let header = Header::read(&mut text, path)?;
            Source::Csv { text: Box::new(text), header }
        };
        Ok(Self { path: path.to_owned(), source })
    }

    /// The events of the next rows, numbered by row of the import; none at the end.
    pub(super) fn next(&mut self, before: u64, repeats: &mut Repeats) -> Result<Option<Taken>> {
        let path = &self.path;
        let mut rows = Vec::with_capacity(3 * BATCH_ROWS);
        let mut number = before;
        let mut take = |row: Result<LogRow, Rejection>, raw: &dyn Fn() -> String| {
            number += 1;
            match row {
                Ok(row) => {
                    let events = row.events(repeats).into_iter();
                    rows.extend(events.map(|event| Row { number, event: Ok(event), raw: None }));
                }
                Err(rejection) => rows.push(Row { number, event: Err(rejection), raw: Some(raw()) }),
            }
        };
        match &mut self.source {
            Source::Parquet(reader) => {
                let Some(batch) = reader.next() else { return Ok(None) };
                let batch = batch.map_err(|error| PipelineError::parquet(path)(error.into()))?;
                let columns = columns_of(&batch, path)?;
                for row in 0..batch.num_rows() {
                    let log_row = LogRow::read(|column| Ok(value(Some(&columns[column]), row)));
                    take(log_row, &|| row_as_json(&batch.slice(row, 1)));
                }
            }
            Source::Csv { text, header } => {
                let lines = next_lines(text, &mut 0, BATCH_ROWS).map_err(PipelineError::io("read", path))?;
                if lines.is_empty() {
                    return Ok(None);
                }
                for line in lines {
                    take(header.log_row(&line), &|| line.text.trim().to_owned());
                }
            }
        }
        Ok(Some(Taken { log_rows: number - before, rows }))
    }
}

fn columns_of(batch: &RecordBatch, path: &Path) -> Result<Vec<Int64Array>> {
    let reader = Reader { batch, path };
    let column = |name: &str| reader.int64(name)?.ok_or_else(|| missing(path, name));
    COLUMNS.into_iter().map(column).collect()
}

fn missing(path: &Path, column: &str) -> PipelineError {
    PipelineError::MissingColumn { path: path.to_owned(), column: column.to_owned() }
}

/// For each column of a CSV file, which of [`COLUMNS`] it is; a derived one is none of them.
struct Header(Vec<Option<usize>>);

impl Header {
    fn read(text: &mut impl BufRead, path: &Path) -> Result<Self> {
        let mut header = String::new();
        text.read_line(&mut header).map_err(PipelineError::io("read", path))?;
        let places: Vec<Option<usize>> =
            header.trim().split(',').map(|name| COLUMNS.iter().position(|column| *column == name)).collect();
        match (0..COLUMNS.len()).find(|column| !places.contains(&Some(*column))) {
            Some(column) => Err(missing(path, COLUMNS[column])),
            None => Ok(Self(places)),
        }
    }

    fn log_row(&self, line: &Line) -> Result<LogRow, Rejection> {
        let line = line.whole()?;
        let (found, expected) = (line.split(',').count(), self.0.len());
        if found != expected {
            let reason = format!("the line has {found} columns, the header has {expected}");
            return Err(Rejection::Malformed(reason));
        }
        let mut values = [""; COLUMNS.len()];
        for (value, place) in line.split(',').zip(&self.0) {
            if let Some(column) = place {
                values[*column] = value.trim();
            }
        }
        LogRow::read(|column| match values[column] {
            "" => Ok(None),
            value => value.parse().map(Some).map_err(|_| {
                let value = value.escape_debug();
                Rejection::Malformed(format!("`{}` is `{value}`, expected a whole number", COLUMNS[column]))
            }),
        })
    }
}

/// A row of a log.
struct LogRow {
    user: i64,
    video: i64,
    time_ms: i64,
    play_ms: i64,
    duration_ms: Option<i64>,
    tab: Option<i64>,
    outcomes: [bool; OUTCOMES.len()],
}

impl LogRow {
    /// Reads the [`COLUMNS`], by number.
    fn read(get: impl Fn(usize) -> Result<Option<i64>, Rejection>) -> Result<Self, Rejection> {
        let needed = |column: usize| get(column)?.ok_or(Rejection::Empty { field: COLUMNS[column] });
        let mut outcomes = [false; OUTCOMES.len()];
        for (column, outcome) in (COLUMNS.len() - OUTCOMES.len()..).zip(&mut outcomes) {
            *outcome = get(column)?.unwrap_or_default() != 0;
        }
        Ok(Self {
            user: needed(0)?,
            video: needed(1)?,
            time_ms: needed(2)?,
            play_ms: get(3)?.unwrap_or_default(),
            // The log has 0 where the length is unknown.
            duration_ms: get(4)?.filter(|&duration_ms| duration_ms != 0),
            tab: get(5)?,
            outcomes,
        })
    }

    fn events(&self, repeats: &mut Repeats) -> Vec<Event> {
        let &Self { user, video, time_ms, play_ms, .. } = self;
        let repeat = repeats.entry((user, video, time_ms)).and_modify(|count| *count += 1).or_insert(0);
        let repeat = u64::from(*repeat);
        let source = format!("kuairand:{user}:{video}:{time_ms}");
        let id = |kind: EventKind| EventId::derived(&source, repeat, kind.as_str());

        let impression = Event {
            event_id: id(EventKind::Impression),
            schema_version: SCHEMA_VERSION,
            kind: EventKind::Impression,
            event_time_ms: time_ms,
            user_id: UserId::new(user.to_string()),
            video_id: VideoId::new(video.to_string()),
            creator_id: None,
            impression_id: None,
            watch_ms: None,
            duration_ms: self.duration_ms,
            position: None,
            surface: self.tab.map(|tab| format!("tab={tab}")),
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
        let mut events: Vec<Event> = OUTCOMES
            .into_iter()
            .zip(self.outcomes)
            .filter(|(_, happened)| *happened)
            // The log has no times of outcomes: the earliest is just after the impression.
            .map(|(kind, _)| outcome(kind, time_ms.saturating_add(1), None))
            .collect();
        if play_ms != 0 {
            let left_ms = time_ms.saturating_add(play_ms.max(1));
            events.push(outcome(EventKind::Watch, left_ms, Some(play_ms)));
        }
        events.push(impression);
        events
    }
}
