//! Rows that were refused, on their way to the lake's quarantine. They wait in a file, each with
//! its reason, and are never read as events again: what was refused once must not become valid
//! with time, or by being read another way.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kinora_pipelines::{Lake, QuarantinedRow, quarantine};
use kinora_schema::table::Table;

use super::InteractionsError;

/// Their source in the lake.
const SOURCE: &str = "POST /v1/events";
/// Bytes that may wait, however much the event log may hold: they are read at once.
const MAX_BYTES: u64 = 64 << 20;

#[derive(Debug)]
pub(super) struct RefusedRows {
    directory: PathBuf,
    max_bytes: u64,
    /// Whether any may wait. Held while the file is written or set aside.
    waiting: Mutex<bool>,
}

impl RefusedRows {
    pub(super) fn open(directory: &Path, max_bytes: u64) -> Self {
        let max_bytes = max_bytes.min(MAX_BYTES);
        Self { directory: directory.to_owned(), max_bytes, waiting: Mutex::new(true) }
    }

    /// Keeps rows, all or none; answers whether there was room. They are lost only with the page
    /// cache: nobody was promised that they are stored.
    pub(super) fn keep(&self, rows: &[QuarantinedRow]) -> io::Result<bool> {
        let mut lines = Vec::new();
        for row in rows {
            serde_json::to_writer(&mut lines, row)?;
            lines.push(b'\n');
        }
        let mut waiting = self.waiting();
        let mut file = OpenOptions::new().create(true).append(true).open(self.file())?;
        if file.metadata()?.len() >= self.max_bytes {
            return Ok(false);
        }
        *waiting = true;
        file.write_all(&lines)?;
        Ok(true)
    }

    /// Moves what waits to the lake, once: the number of a file that was set aside is that of the
    /// lake's transaction.
    pub(super) async fn settle(&self, lake: &Lake, now_ms: i64) -> Result<(), InteractionsError> {
        if !*self.waiting() {
            return Ok(());
        }
        let kept = lake.last_transaction(Table::Quarantine, SOURCE).await?.unwrap_or(0);
        let failed = |source| InteractionsError::Refused { path: self.file(), source };
        let Some(taken) = self.take(kept).map_err(failed)? else { return Ok(()) };
        let text = fs::read(&taken).map_err(failed)?;
        let rows = String::from_utf8_lossy(&text).lines().map(parse).collect();
        quarantine(lake, SOURCE, kept + 1, rows, now_ms).await?;
        fs::remove_file(&taken).map_err(failed)
    }

    /// Sets the file aside under the number after `kept`, so that new rows go to a new one. One
    /// that an earlier attempt left is taken first, or deleted where the lake has it.
    fn take(&self, kept: i64) -> io::Result<Option<PathBuf>> {
        let mut waiting = self.waiting();
        let (before, taken) = (self.set_aside(kept), self.set_aside(kept + 1));
        if before.exists() {
            fs::remove_file(before)?;
        }
        if taken.exists() {
            return Ok(Some(taken));
        }
        match fs::rename(self.file(), &taken) {
            Ok(()) => Ok(Some(taken)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                *waiting = false;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn file(&self) -> PathBuf {
        self.directory.join("refused.jsonl")
    }

    fn set_aside(&self, number: i64) -> PathBuf {
        self.directory.join(format!("refused.{number}.jsonl"))
    }

    fn waiting(&self) -> MutexGuard<'_, bool> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(line: &str) -> QuarantinedRow {
    serde_json::from_str(line).unwrap_or_else(|_| {
        QuarantinedRow::new("refused; the reason was lost in a crash".to_owned(), line.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn kept(lake: &Lake) -> usize {
        let session = lake.session().await.unwrap();
        session.table("quarantine").await.unwrap().count().await.unwrap()
    }

    #[tokio::test]
    async fn each_row_is_kept_once_wherever_a_crash_came() {
        let dir = tempfile::tempdir().unwrap();
        let lake = Lake::open(dir.path().join("lake")).await.unwrap();
        let rows = RefusedRows::open(dir.path(), u64::MAX);
        let row = QuarantinedRow::new("why".to_owned(), "{\n}".to_owned());
        assert!(rows.keep(std::slice::from_ref(&row)).unwrap());
        let written = fs::read(rows.file()).unwrap();
        rows.settle(&lake, 0).await.unwrap();
        assert_eq!(kept(&lake).await, 1);

        // Stopped between the lake's commit and the deletion, with a new row there already.
        fs::write(rows.set_aside(1), &written).unwrap();
        assert!(rows.keep(&[row.clone(), row.clone()]).unwrap());
        let rows = RefusedRows::open(dir.path(), u64::MAX);
        rows.settle(&lake, 0).await.unwrap();
        assert_eq!(kept(&lake).await, 3);
        // Stopped before the commit.
        fs::write(rows.set_aside(3), [&written[..], b"{\"reason\":\"to"].concat()).unwrap();
        let rows = RefusedRows::open(dir.path(), u64::MAX);
        rows.settle(&lake, 0).await.unwrap();
        assert_eq!(kept(&lake).await, 5);
        assert!(!rows.set_aside(1).exists() && !rows.set_aside(3).exists());
    }

    #[test]
    fn what_waits_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let rows = RefusedRows::open(dir.path(), 100);
        let row = QuarantinedRow::new("why".to_owned(), "x".repeat(100));
        assert!(rows.keep(std::slice::from_ref(&row)).unwrap());
        assert!(!rows.keep(&[row]).unwrap());
    }
}
