//! The state of the installation in one SQLite file: many readers and one writer, every write a
//! `BEGIN IMMEDIATE` transaction, synced to disk before it is acknowledged.
//!
//! INVARIANT: a transaction that was committed survives a power cut; one that was not leaves no
//! trace.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool, Transaction};
use thiserror::Error;

use crate::private;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// One connection of either pool.
pub type Conn = sqlx::SqliteConnection;
/// A write transaction; dropping it uncommitted rolls it back.
pub type Tx = Transaction<'static, Sqlite>;

/// How long a statement waits for another process (the command line) to release the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 8;
/// Each waits [`BUSY_TIMEOUT`] for readers of an earlier state.
const CHECKPOINT_ATTEMPTS: usize = 2;
/// Tests ask what the rows say, not whether they survive a power cut.
const SYNCHRONOUS: SqliteSynchronous =
    if cfg!(test) { SqliteSynchronous::Off } else { SqliteSynchronous::Full };

#[derive(Clone, Debug)]
pub struct Db {
    readers: SqlitePool,
    writer: SqlitePool,
}

#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DbError {
    #[error("cannot create directory {}", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("cannot open the state at {}", path.display())]
    Open { path: PathBuf, source: sqlx::Error },
    #[error("cannot bring the state at {} to this version", path.display())]
    Migrate { path: PathBuf, source: MigrateError },
    #[error("cannot read the state at {}", path.display())]
    Read { path: PathBuf, source: sqlx::Error },
}

impl Db {
    /// Opens the file, creating it where absent, and applies the migrations it lacks.
    pub async fn open(path: &Path) -> Result<Self, DbError> {
        if let Some(parent) = path.parent() {
            private::create_dir(parent)
                .map_err(|source| DbError::Directory { path: parent.to_owned(), source })?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SYNCHRONOUS)
            .foreign_keys(true)
            // Erased rows (keys of cameos above all) are overwritten, not just unlinked.
            .pragma("secure_delete", "ON")
            .busy_timeout(BUSY_TIMEOUT);
        let opened = |source| DbError::Open { path: path.to_owned(), source };
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options.clone())
            .await
            .map_err(opened)?;
        MIGRATIONS.run(&writer).await.map_err(|source| DbError::Migrate { path: path.to_owned(), source })?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.pragma("query_only", "ON"))
            .await
            .map_err(opened)?;
        Ok(Self { readers, writer })
    }

    /// The pool for reading; its connections refuse to write.
    pub fn read(&self) -> &SqlitePool {
        &self.readers
    }

    /// The one write transaction; others wait for it.
    pub async fn write(&self) -> Result<Tx, sqlx::Error> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// Folds the write-ahead log into the file and empties it, so that what was deleted is gone
    /// from both.
    pub async fn checkpoint(&self) -> Result<(), sqlx::Error> {
        for _ in 0..CHECKPOINT_ATTEMPTS {
            if self.try_checkpoint().await? {
                return Ok(());
            }
        }
        tracing::error!(
            "the write-ahead log is in use: what was erased stays in it until it is emptied, at the latest at the next stop"
        );
        Ok(())
    }

    /// Whether the log is empty now; while readers hold on to an earlier state it cannot be.
    async fn try_checkpoint(&self) -> Result<bool, sqlx::Error> {
        let (busy, _frames, _folded): (i64, i64, i64) =
            sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&self.writer).await?;
        Ok(busy == 0)
    }

    /// Folds the write-ahead log into the file and closes it.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_transaction_leaves_no_trace_and_a_committed_one_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&dir.path().join("state.sqlite")).await.unwrap();
        let insert = "INSERT INTO people (user_id, handle, created_ms) VALUES (?, ?, 0)";
        let mut tx = db.write().await.unwrap();
        sqlx::query(insert).bind("dropped").bind("dropped").execute(&mut *tx).await.unwrap();
        drop(tx);
        let mut tx = db.write().await.unwrap();
        sqlx::query(insert).bind("kept").bind("kept").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        let ids: Vec<String> =
            sqlx::query_scalar("SELECT user_id FROM people").fetch_all(db.read()).await.unwrap();
        assert_eq!(ids, ["kept"]);
    }

    #[tokio::test]
    async fn readers_cannot_write() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&dir.path().join("state.sqlite")).await.unwrap();
        assert!(sqlx::query("DELETE FROM people").execute(db.read()).await.is_err());
    }

    #[tokio::test]
    async fn a_log_that_a_reader_holds_on_to_is_not_taken_for_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&dir.path().join("state.sqlite")).await.unwrap();
        sqlx::query("PRAGMA busy_timeout = 0").execute(&db.writer).await.unwrap();
        let mut reader = db.read().begin().await.unwrap();
        sqlx::query("SELECT count(*) FROM people").execute(&mut *reader).await.unwrap();
        let mut tx = db.write().await.unwrap();
        sqlx::query("INSERT INTO people (user_id, handle, created_ms) VALUES ('u', 'u', 0)")
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert!(!db.try_checkpoint().await.unwrap());
        reader.rollback().await.unwrap();
        assert!(db.try_checkpoint().await.unwrap());
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn nobody_else_looks_into_the_directory() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        Db::open(&data_dir.join("state.sqlite")).await.unwrap();
        assert_eq!(std::fs::metadata(data_dir).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[tokio::test]
    async fn a_directory_in_the_way_is_one_clear_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.sqlite");
        std::fs::create_dir(&path).unwrap();
        let message = Db::open(&path).await.unwrap_err().to_string();
        assert!(message.starts_with("cannot open the state at "), "{message}");
    }
}
