//! The local record of a training run: parameters and metrics enter, a directory leaves.
//!
//! `RUNS/<id>/run.json` says what ran and how it ended; `metrics.jsonl` holds one line a metric.
//! Metrics are buffered, so that recording one costs a step nothing; a run dropped without
//! [`Run::finish`] is recorded as failed.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::CODE_VERSION;
use crate::publish::{self, FileError};

/// Metrics between two flushes to the disk.
const FLUSH_EVERY: usize = 200;

#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("run record `{}` cannot be read: {source}", path.display())]
    Record { path: PathBuf, source: serde_json::Error },
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Running,
    Finished,
    /// Stopped on request, at a checkpoint.
    Interrupted,
    Failed,
}

/// What `run.json` holds. Times are UTC milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    pub id: String,
    /// What ran: `ranker`, `video`.
    pub kind: String,
    pub status: Status,
    pub started_ms: i64,
    pub ended_ms: Option<i64>,
    pub code_version: String,
    pub params: serde_json::Value,
}

/// One line of `metrics.jsonl`. A value that is not finite is written as `null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    pub step: u64,
    pub name: String,
    pub value: Option<f64>,
}

/// A run being recorded.
#[derive(Debug)]
pub struct Run {
    directory: PathBuf,
    record: RunRecord,
    metrics: BufWriter<File>,
    unflushed: usize,
}

impl Run {
    /// Starts a record under `runs`, with the parameters that would repeat the run.
    pub fn start(runs: &Path, kind: &str, params: &serde_json::Value) -> Result<Self, RunError> {
        let started = Timestamp::now();
        let directory = claim(runs, kind, started, params)?;
        let record = RunRecord {
            id: directory.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            kind: kind.to_owned(),
            status: Status::Running,
            started_ms: started.as_millisecond(),
            ended_ms: None,
            code_version: CODE_VERSION.to_owned(),
            params: params.clone(),
        };
        let path = directory.join("metrics.jsonl");
        let metrics = File::create(&path).map_err(FileError::at("create", &path))?;
        let run = Self { directory, record, metrics: BufWriter::new(metrics), unflushed: 0 };
        run.write_record()?;
        Ok(run)
    }

    pub fn id(&self) -> &str {
        &self.record.id
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Appends a metric.
    pub fn metric(&mut self, step: u64, name: &str, value: f64) -> Result<(), RunError> {
        let metric = Metric { step, name: name.to_owned(), value: value.is_finite().then_some(value) };
        let path = self.directory.join("metrics.jsonl");
        let written = serde_json::to_writer(&mut self.metrics, &metric)
            .map_err(std::io::Error::from)
            .and_then(|()| self.metrics.write_all(b"\n"));
        written.map_err(FileError::at("write", &path))?;
        self.unflushed += 1;
        if self.unflushed >= FLUSH_EVERY {
            self.metrics.flush().map_err(FileError::at("write", &path))?;
            self.unflushed = 0;
        }
        Ok(())
    }

    /// Ends the record.
    pub fn finish(mut self, status: Status) -> Result<RunRecord, RunError> {
        self.end(status)?;
        Ok(self.record.clone())
    }

    fn end(&mut self, status: Status) -> Result<(), RunError> {
        let path = self.directory.join("metrics.jsonl");
        self.metrics.flush().map_err(FileError::at("write", &path))?;
        self.record.status = status;
        self.record.ended_ms = Some(Timestamp::now().as_millisecond());
        self.write_record()
    }

    fn write_record(&self) -> Result<(), RunError> {
        let path = self.directory.join("run.json");
        let json = serde_json::to_vec_pretty(&self.record)
            .map_err(|source| RunError::Record { path: path.clone(), source })?;
        Ok(publish::write_file(&path, &json)?)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.record.status == Status::Running
            && let Err(error) = self.end(Status::Failed)
        {
            tracing::warn!(run = self.record.id, %error, "the end of the run was not recorded");
        }
    }
}

/// Reads `run.json` of a run's directory.
pub fn read(directory: &Path) -> Result<RunRecord, RunError> {
    let path = directory.join("run.json");
    let json = fs::read(&path).map_err(FileError::at("read", &path))?;
    serde_json::from_slice(&json).map_err(|source| RunError::Record { path, source })
}

/// Makes a directory that no other run has: kind, time, and a few digits of the parameters.
fn claim(
    runs: &Path,
    kind: &str,
    started: Timestamp,
    params: &serde_json::Value,
) -> Result<PathBuf, FileError> {
    fs::create_dir_all(runs).map_err(FileError::at("create", runs))?;
    let digest = format!("{:x}", Sha256::digest(params.to_string()));
    let digits = &digest[..6];
    let time = started.strftime("%Y%m%d-%H%M%S");
    let mut serial = 0_u32;
    loop {
        let suffix = if serial == 0 { String::new() } else { format!("-{serial}") };
        let directory = runs.join(format!("{kind}-{time}-{digits}{suffix}"));
        match fs::create_dir(&directory) {
            Ok(()) => return Ok(directory),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => serial += 1,
            Err(source) => return Err(FileError { action: "create", path: directory, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_records_what_happened() {
        let root = tempfile::tempdir().unwrap();
        let mut run = Run::start(root.path(), "ranker", &json!({"seed": 7})).unwrap();
        let directory = run.directory().to_owned();
        assert_eq!(read(&directory).unwrap().status, Status::Running);
        run.metric(1, "loss", 0.5).unwrap();
        run.metric(2, "loss", f64::NAN).unwrap();
        let record = run.finish(Status::Finished).unwrap();

        assert_eq!(read(&directory).unwrap(), record);
        assert_eq!(record.params, json!({"seed": 7}));
        assert!(record.ended_ms.unwrap() >= record.started_ms);
        let lines = fs::read_to_string(directory.join("metrics.jsonl")).unwrap();
        let metrics: Vec<Metric> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(metrics[0], Metric { step: 1, name: "loss".into(), value: Some(0.5) });
        assert_eq!(metrics[1].value, None);
    }

    #[test]
    fn a_dropped_run_failed_and_keeps_its_metrics() {
        let root = tempfile::tempdir().unwrap();
        let mut run = Run::start(root.path(), "ranker", &json!({})).unwrap();
        let directory = run.directory().to_owned();
        run.metric(1, "loss", 0.5).unwrap();
        drop(run);
        assert_eq!(read(&directory).unwrap().status, Status::Failed);
        assert!(fs::read_to_string(directory.join("metrics.jsonl")).unwrap().contains("loss"));
    }

    #[test]
    fn runs_started_at_once_do_not_share_a_directory() {
        let root = tempfile::tempdir().unwrap();
        let runs: Vec<Run> = (0..4).map(|_| Run::start(root.path(), "ranker", &json!({})).unwrap()).collect();
        for (i, run) in runs.iter().enumerate() {
            assert!(runs[i + 1..].iter().all(|other| other.id() != run.id()));
        }
    }
}
