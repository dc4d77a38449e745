//! `MovieLens` as the sequential-recommendation papers use it: `user item` a line, each person's lines
//! in time order, no times.
//!
//! Each line becomes a click; one of another shape is quarantined. INVARIANT: its time is a pseudo-time: 1 January 2003 (UTC) plus one
//! minute for each earlier line of the same person. It holds the order and nothing else: neither the
//! hour nor the distance between two events means anything.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use kinora_schema::event::SCHEMA_VERSION;
use kinora_schema::{Event, EventId, EventKind, Rejection, UserId, VideoId};
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::error::{PipelineError, Result};
use crate::ingest::file::next_lines;
use crate::ingest::{CHUNK_ROWS, IngestReport, Intake, Row};
use crate::lake::Lake;
use crate::progress::{OnProgress, Progress};

/// 2003-01-01, the data set's year, in UTC milliseconds.
pub const BASE_TIME_MS: i64 = 1_041_379_200_000;
const STEP_MS: i64 = 60_000;
/// Git's blob id of the decompressed `ml-1m.txt` that `SASRec` and its successors use.
pub const ML_1M_BLOB_SHA1: &str = "9ab8e3edb8742f8d8cc4911e3dee25e82a6fcc24";

/// What an import brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovieLensReport {
    pub events: IngestReport,
    pub users: u64,
    pub items: u64,
    /// Git's blob id of the decompressed file.
    pub blob_sha1: String,
    /// Whether that is the file that published results use.
    pub is_published_ml_1m: bool,
}

/// Imports a file, plain or gzip. Ids are prefixed `ml-`, so that they cannot be taken for another
/// platform's. Reads from the disk as it goes: run it where blocking is allowed.
pub async fn import_movielens(
    lake: &Lake,
    path: &Path,
    now_ms: i64,
    progress: OnProgress<'_>,
) -> Result<MovieLensReport> {
    let blob_sha1 = blob_sha1(path).map_err(PipelineError::io("read", path))?;
    let mut intake = Intake::begin(lake, "movielens", now_ms).await?;
    let mut file = open(path).map_err(PipelineError::io("open", path))?;
    let (mut ordinals, mut items) = (HashMap::new(), HashSet::new());
    let mut number = 0;
    loop {
        let lines =
            next_lines(&mut file, &mut number, CHUNK_ROWS).map_err(PipelineError::io("read", path))?;
        let mut rows = Vec::with_capacity(lines.len());
        for line in lines {
            match line.whole().and_then(user_and_item) {
                Ok((user, item)) => {
                    let ordinal = ordinals.entry(user).or_insert(0_i64);
                    rows.push(Row { number: line.number, event: Ok(click(user, item, *ordinal)), raw: None });
                    *ordinal += 1;
                    items.insert(item);
                }
                Err(rejection) => {
                    let raw = Some(line.text.trim().to_owned());
                    rows.push(Row { number: line.number, event: Err(rejection), raw });
                }
            }
        }
        if rows.is_empty() {
            break;
        }
        intake.take(rows).await?;
        progress(Progress { stage: "importing clicks", done: number, total: None });
    }
    Ok(MovieLensReport {
        events: intake.finish().await?,
        users: ordinals.len() as u64,
        items: items.len() as u64,
        is_published_ml_1m: blob_sha1 == ML_1M_BLOB_SHA1,
        blob_sha1,
    })
}

fn click(user: u64, item: u64, ordinal: i64) -> Event {
    Event {
        event_id: EventId::derived(&format!("movielens:{user}:{item}"), ordinal as u64, "click"),
        schema_version: SCHEMA_VERSION,
        kind: EventKind::Click,
        event_time_ms: BASE_TIME_MS + ordinal * STEP_MS,
        user_id: UserId::new(format!("ml-{user}")),
        video_id: VideoId::new(format!("ml-{item}")),
        creator_id: None,
        impression_id: None,
        watch_ms: None,
        duration_ms: None,
        position: None,
        surface: Some("movielens".to_owned()),
        policy: None,
        propensity: None,
        features: BTreeMap::new(),
    }
}

fn user_and_item(line: &str) -> Result<(u64, u64), Rejection> {
    let mut words = line.split_ascii_whitespace().map(|word| word.parse().ok());
    match (words.next().flatten(), words.next().flatten(), words.next()) {
        (Some(user), Some(item), None) => Ok((user, item)),
        _ => Err(Rejection::Malformed("the line is not `user item`".to_owned())),
    }
}

fn open(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    let mut file = BufReader::new(File::open(path)?);
    let is_gzip = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if is_gzip { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) })
}

/// SHA-1 of `blob <length>\0` and the contents, as git names them.
fn blob_sha1(path: &Path) -> io::Result<String> {
    let length = io::copy(&mut open(path)?, &mut io::sink())?;
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {length}\0"));
    let mut reader = open(path)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            return Ok(format!("{:x}", hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests;
