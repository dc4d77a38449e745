//! Files of events: JSON lines (plain or gzip) and Parquet, told apart by their first bytes.
//!
//! A line or row that is not an event is that row's defect; a file that cannot be read to its end
//! is an error, and then nothing of it is applied.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

use arrow::array::RecordBatch;
use flate2::read::MultiGzDecoder;
use kinora_schema::{Event, Rejection};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rayon::prelude::*;

use super::{CHUNK_ROWS, IngestReport, Intake, Row};
use crate::error::{PipelineError, Result};
use crate::event_batch::EventColumns;
use crate::lake::Lake;
use crate::progress::{OnProgress, Progress};

/// Longest line read as one row, in bytes; a longer one is quarantined.
const MAX_LINE_BYTES: usize = 1 << 20;
/// Text taken at a time, which bounds the memory of an ingest of long lines, in bytes.
const CHUNK_BYTES: usize = 32 << 20;

/// Takes a file of events. Reads from the disk as it goes: run it where blocking is allowed.
pub async fn ingest_file(
    lake: &Lake,
    path: &Path,
    now_ms: i64,
    progress: OnProgress<'_>,
) -> Result<IngestReport> {
    let mut file = File::open(path).map_err(PipelineError::io("open", path))?;
    let mut magic = [0; 4];
    let read = read_up_to(&mut file, &mut magic).map_err(PipelineError::io("read", path))?;
    file.rewind().map_err(PipelineError::io("read", path))?;
    let mut intake = Intake::begin(lake, &path.to_string_lossy(), now_ms).await?;
    match &magic[..read] {
        b"PAR1" => take_parquet(&mut intake, file, path, progress).await?,
        [0x1f, 0x8b, ..] => {
            take_lines(&mut intake, BufReader::new(MultiGzDecoder::new(file)), path, progress).await?;
        }
        _ => take_lines(&mut intake, BufReader::new(file), path, progress).await?,
    }
    intake.finish().await
}

async fn take_parquet(
    intake: &mut Intake<'_>,
    file: File,
    path: &Path,
    progress: OnProgress<'_>,
) -> Result<()> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(PipelineError::parquet(path))?;
    let total = u64::try_from(builder.metadata().file_metadata().num_rows()).ok();
    let reader = builder.with_batch_size(CHUNK_ROWS).build().map_err(PipelineError::parquet(path))?;
    let mut done = 0;
    for batch in reader {
        let batch = batch.map_err(|error| PipelineError::parquet(path)(error.into()))?;
        let rows = rows_of(&batch, path, done)?;
        done += rows.len() as u64;
        intake.take(rows).await?;
        progress(Progress { stage: "taking events", done, total });
    }
    Ok(())
}

fn rows_of(batch: &RecordBatch, path: &Path, before: u64) -> Result<Vec<Row>> {
    let columns = EventColumns::of(batch, path)?;
    Ok((0..batch.num_rows())
        .map(|row| {
            let event = columns.event(row);
            let raw = event.is_err().then(|| row_as_json(&batch.slice(row, 1)));
            Row { number: before + row as u64 + 1, event, raw }
        })
        .collect())
}

pub(crate) fn row_as_json(row: &RecordBatch) -> String {
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    match writer.write(row).and_then(|()| writer.finish()) {
        Ok(()) => String::from_utf8_lossy(&writer.into_inner()).trim_end().to_owned(),
        Err(error) => format!("(the row cannot be shown: {error})"),
    }
}

async fn take_lines(
    intake: &mut Intake<'_>,
    mut reader: impl BufRead,
    path: &Path,
    progress: OnProgress<'_>,
) -> Result<()> {
    let mut number = 0;
    let now_ms = intake.now_ms;
    loop {
        let lines =
            next_lines(&mut reader, &mut number, CHUNK_ROWS).map_err(PipelineError::io("read", path))?;
        if lines.is_empty() {
            return Ok(());
        }
        let rows = lines.into_par_iter().map(|line| parse(&line, now_ms)).collect();
        intake.take(rows).await?;
        progress(Progress { stage: "taking events", done: number, total: None });
    }
}

/// A line of a text file, from one on.
pub(crate) struct Line {
    pub(crate) number: u64,
    pub(crate) text: String,
    defect: Option<&'static str>,
}

impl Line {
    /// The text, unless it was not read as it is.
    pub(crate) fn whole(&self) -> Result<&str, Rejection> {
        match self.defect {
            Some(defect) => Err(Rejection::Malformed(defect.to_owned())),
            None => Ok(self.text.trim()),
        }
    }
}

/// The next lines that are not blank, at most `max_lines` and about [`CHUNK_BYTES`]; none at the end.
/// `number` is that of the last line before.
pub(crate) fn next_lines(
    reader: &mut impl BufRead,
    number: &mut u64,
    max_lines: usize,
) -> io::Result<Vec<Line>> {
    let (mut lines, mut bytes) = (Vec::new(), 0);
    while lines.len() < max_lines && bytes < CHUNK_BYTES {
        let Some((text, defect)) = next_line(reader)? else { break };
        *number += 1;
        if !text.trim().is_empty() {
            bytes += text.len();
            lines.push(Line { number: *number, text, defect });
        }
    }
    Ok(lines)
}

fn next_line(reader: &mut impl BufRead) -> io::Result<Option<(String, Option<&'static str>)>> {
    let mut bytes = Vec::new();
    let limit = MAX_LINE_BYTES as u64 + 1;
    if reader.by_ref().take(limit).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    let too_long = bytes.len() > MAX_LINE_BYTES && bytes.last() != Some(&b'\n');
    if too_long {
        reader.skip_until(b'\n')?;
    }
    let defect = too_long.then_some("the line is longer than 1 MiB");
    Ok(Some(match String::from_utf8(bytes) {
        Ok(text) => (text, defect),
        Err(error) => {
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            (text, defect.or(Some("the line is not UTF-8")))
        }
    }))
}

fn parse(line: &Line, now_ms: i64) -> Row {
    let event = line.whole().and_then(|text| {
        let event: Event =
            serde_json::from_str(text).map_err(|error| Rejection::Malformed(error.to_string()))?;
        event.validate(now_ms)?;
        Ok(event)
    });
    let raw = event.is_err().then(|| line.text.trim().to_owned());
    Row { number: line.number, event, raw }
}

fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}
