//! The lake: one Delta table for each [`Table`], on the local disk.
//!
//! Batches enter in the table's own schema and become visible all at once, at commit.
//! INVARIANT: when an append returns, its files and its commit are on stable storage: every table
//! reads and writes through a store that syncs.

mod erase;
mod export;
mod files;
mod listed;
mod merge;
mod retain;
mod store;
mod trace;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::prelude::{SessionContext, col, lit};
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::kernel::{Action, StructType, Transaction, engine::arrow_conversion::TryIntoKernel};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::writer::{DeltaWriter, RecordBatchWriter};
use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError, ensure_table_uri};
use kinora_schema::table::Table;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tokio::sync::{Mutex, MutexGuard};

use crate::durable::create_directory;
use crate::engine::Engine;
use crate::error::{PipelineError, Result};
use crate::ingest::StoredIds;
use crate::query::{LakeRuntime, Policy};
pub use erase::Erased;
pub use export::Exported;
pub use retain::{Retained, Retention, Version};
use store::SyncedStore;
pub use trace::{Trace, Traces};

/// Handle to the lake; cheap to clone, shared between tasks.
#[derive(Clone, Debug)]
pub struct Lake {
    inner: Arc<Inner>,
    engine: Engine,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    store: SyncedStore,
    tables: Mutex<HashMap<Table, DeltaTable>>,
    /// Held by whoever checks what is stored before appending; see [`Lake::lock_for_ingest`].
    ingest: Mutex<StoredIds>,
    runtime: LakeRuntime,
}

/// The lake at an earlier time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AsOf {
    /// Versions of tables by name; the latest of those that are not named.
    pub versions: BTreeMap<String, u64>,
    /// Leaves out what was ingested later than this, UTC milliseconds.
    pub ingested_until_ms: Option<i64>,
}

/// Outcome of [`Lake::append_in_transaction`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The rows are in, as this table version.
    Version(u64),
    /// This transaction, or a later one of the application, was committed before; nothing was done.
    Before,
}

impl Lake {
    /// Opens the lake at `root`, creating the directory; each table is created at first use.
    #[expect(clippy::unused_async, reason = "an object store's lake will have to ask it")]
    pub async fn open(root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref();
        create_directory(root).map_err(PipelineError::io("create", root))?;
        let root = fs::canonicalize(root).map_err(PipelineError::io("open", root))?;
        if root.to_str().is_none() {
            return Err(PipelineError::LakePath { path: root });
        }
        let runtime = LakeRuntime::new()?;
        let store = SyncedStore::new(&root);
        let (tables, ingest) = (Mutex::default(), Mutex::default());
        Ok(Self { inner: Arc::new(Inner { root, store, tables, ingest, runtime }), engine: Engine::Local })
    }

    /// The same lake, whose questions are worked on by an engine.
    #[must_use]
    pub fn on(&self, engine: Engine) -> Self {
        Self { inner: Arc::clone(&self.inner), engine }
    }

    /// Directory of the lake.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Directory of one table.
    pub fn table_path(&self, table: Table) -> PathBuf {
        self.inner.root.join(table.name())
    }

    /// Appends a batch once: the commit carries `(app_id, version)`, and a second call with the
    /// same or an earlier `version` does nothing.
    pub async fn append_in_transaction(
        &self,
        table: Table,
        batch: RecordBatch,
        app_id: &str,
        version: i64,
    ) -> Result<Committed> {
        let mut append = self.begin(table).await?;
        append.write(batch).await?;
        append.commit_once(app_id, version).await
    }

    /// Starts an append of any number of batches that becomes visible only at its commit.
    pub async fn begin(&self, table: Table) -> Result<Append> {
        let tables = self.opened(table).await?;
        let writer = RecordBatchWriter::for_table(&tables[&table])
            .map_err(PipelineError::delta("write", self.table_path(table)))?
            .with_writer_properties(writer_properties());
        Ok(Append { lake: self.clone(), table, writer, rows: 0 })
    }

    /// Latest version of a table.
    pub async fn version(&self, table: Table) -> Result<u64> {
        let tables = self.current(table).await?;
        Ok(tables[&table].version().unwrap_or_default())
    }

    /// Latest version of every table, by name.
    pub async fn versions(&self) -> Result<BTreeMap<String, u64>> {
        let mut versions = BTreeMap::new();
        for table in Table::ALL {
            versions.insert(table.name().to_owned(), self.version(table).await?);
        }
        Ok(versions)
    }

    /// The last version that `app_id` committed to a table.
    pub async fn last_transaction(&self, table: Table, app_id: &str) -> Result<Option<i64>> {
        let tables = self.current(table).await?;
        transaction_version(&tables[&table], app_id)
            .await
            .map_err(PipelineError::delta("read", self.table_path(table)))
    }

    /// Whether `app_id` committed `version`, or a later one, to a table. Then that is on stable
    /// storage: a commit can be seen before the process that made it had synced its name.
    pub(crate) async fn has_committed(&self, table: Table, app_id: &str, version: i64) -> Result<bool> {
        let path = self.table_path(table);
        let last = self.last_transaction(table, app_id).await?;
        let committed = last.is_some_and(|last| last >= version);
        if committed {
            let synced = self.inner.store.sync_directory(path.join("_delta_log")).await;
            synced.map_err(|error| PipelineError::delta("sync", &path)(error.into()))?;
        }
        Ok(committed)
    }

    /// A session over the latest version of every table, with the analysts' views. All sessions of
    /// a lake share one memory budget.
    pub async fn session(&self) -> Result<SessionContext> {
        Ok(self.session_as_of(&AsOf::default()).await?.0)
    }

    /// A session over what a role may see of the latest version of every table.
    pub async fn session_for(&self, policy: &Policy) -> Result<SessionContext> {
        let context = self.empty_session()?;
        self.fill(&context, policy).await?;
        Ok(context)
    }

    /// A session over the tables as they were, with the analysts' views over that, and the versions that it
    /// reads.
    ///
    /// # Errors
    ///
    /// Versions that the lake does not hold, or no longer.
    pub async fn session_as_of(&self, as_of: &AsOf) -> Result<(SessionContext, BTreeMap<String, u64>)> {
        let context = self.empty_session()?;
        let versions = self.fill_as_of(&context, as_of, &Policy::default()).await?;
        Ok((context, versions))
    }

    /// A session without tables, to be filled.
    pub fn empty_session(&self) -> Result<SessionContext> {
        self.engine.session(&self.inner.runtime)
    }

    /// Puts what a role may see of the latest version of every table into a session, and the views, in place of
    /// what it had; the versions that it reads then.
    pub async fn fill(&self, context: &SessionContext, policy: &Policy) -> Result<BTreeMap<String, u64>> {
        self.fill_as_of(context, &AsOf::default(), policy).await
    }

    async fn fill_as_of(
        &self,
        context: &SessionContext,
        as_of: &AsOf,
        policy: &Policy,
    ) -> Result<BTreeMap<String, u64>> {
        for model in crate::models::MODELS {
            context.deregister_table(model.name).map_err(PipelineError::Read)?;
        }
        let mut versions = BTreeMap::new();
        for table in Table::ALL {
            let path = self.table_path(table);
            let mut opened = self.current(table).await?[&table].clone();
            if let Some(&version) = as_of.versions.get(table.name())
                && opened.version() != Some(version)
            {
                opened.load_version(version).await.map_err(|source| PipelineError::Version {
                    table: table.name(),
                    version,
                    source: Box::new(source),
                })?;
            }
            versions.insert(table.name().to_owned(), opened.version().unwrap_or_default());
            let provider = if self.engine.is_remote() {
                self.listed(context, table, &opened).await.map_err(PipelineError::Read)?
            } else {
                opened
                    .update_datafusion_session(&context.state())
                    .map_err(PipelineError::delta("read", path))?;
                opened.table_provider().await.map_err(PipelineError::Read)?
            };
            let provider = match as_of.ingested_until_ms {
                Some(until_ms) if table.has_ingested_time() => context
                    .read_table(provider)
                    .and_then(|rows| rows.filter(col("ingested_time_ms").lt_eq(lit(until_ms))))
                    .map_err(PipelineError::Read)?
                    .into_view(),
                _ => provider,
            };
            let provider = policy.apply(context, table, provider).map_err(PipelineError::Read)?;
            context.register_table(table.name(), provider).map_err(PipelineError::Read)?;
        }
        crate::models::register(context).await?;
        Ok(versions)
    }

    /// Held across "what is stored already?" and the append that depends on the answer, by tasks of
    /// this process through a mutex and by other processes through a lock on a file.
    pub(crate) async fn lock_for_ingest(&self) -> Result<IngestLock<'_>> {
        let stored = self.inner.ingest.lock().await;
        let path = self.inner.root.join("ingest.lock");
        let file = tokio::task::spawn_blocking(move || {
            let file = File::create(&path).map_err(PipelineError::io("write", &path))?;
            file.lock().map_err(PipelineError::io("lock", &path))?;
            Ok(file)
        })
        .await
        .map_err(PipelineError::Stopped)??;
        Ok(IngestLock { _file: file, stored })
    }

    /// The tables, with `table` opened (or created) but possibly not at its latest version.
    async fn opened(&self, table: Table) -> Result<MutexGuard<'_, HashMap<Table, DeltaTable>>> {
        let mut tables = self.inner.tables.lock().await;
        if let Entry::Vacant(place) = tables.entry(table) {
            let path = self.table_path(table);
            fs::create_dir_all(&path).map_err(PipelineError::io("create", &path))?;
            let store = Arc::new(self.inner.store.clone());
            let opened = open_or_create(table, &path, store).await;
            place.insert(opened.map_err(PipelineError::delta("open", &path))?);
        }
        Ok(tables)
    }

    /// The tables, with `table` at its latest version: other processes append too.
    async fn current(&self, table: Table) -> Result<MutexGuard<'_, HashMap<Table, DeltaTable>>> {
        let mut tables = self.opened(table).await?;
        if let Some(opened) = tables.get_mut(&table) {
            opened.update_state().await.map_err(PipelineError::delta("read", self.table_path(table)))?;
        }
        Ok(tables)
    }
}

/// Released on drop.
#[derive(Debug)]
pub(crate) struct IngestLock<'a> {
    _file: File,
    /// What the last ingest of this process left to know.
    pub(crate) stored: MutexGuard<'a, StoredIds>,
}

/// An append in progress. Dropping it leaves the table as it was.
#[derive(Debug)]
pub struct Append {
    lake: Lake,
    table: Table,
    writer: RecordBatchWriter,
    rows: u64,
}

impl Append {
    /// Adds a batch of the table's schema. An error discards the whole append.
    pub async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        let rows = batch.num_rows() as u64;
        if rows > 0 {
            let path = self.lake.table_path(self.table);
            self.writer.write(batch).await.map_err(PipelineError::delta("write", path))?;
            self.rows += rows;
        }
        Ok(())
    }

    /// Makes the rows visible, durably. Without rows there is no new version.
    pub async fn commit(self) -> Result<u64> {
        if self.rows == 0 {
            return self.lake.version(self.table).await;
        }
        self.commit_with(CommitProperties::default()).await
    }

    /// Makes the rows visible unless `app_id` committed `version` or a later one before.
    pub async fn commit_once(self, app_id: &str, version: i64) -> Result<Committed> {
        if self.lake.has_committed(self.table, app_id, version).await? {
            return Ok(Committed::Before);
        }
        let transaction = Transaction::new(app_id, version);
        let properties = CommitProperties::default().with_application_transaction(transaction);
        self.commit_with(properties).await.map(Committed::Version)
    }

    async fn commit_with(mut self, properties: CommitProperties) -> Result<u64> {
        let path = self.lake.table_path(self.table);
        let failed = |error| PipelineError::delta("write", &path)(error);
        let adds = self.writer.flush().await.map_err(failed)?;

        let mut tables = self.lake.current(self.table).await?;
        let Some(table) = tables.get_mut(&self.table) else {
            return Err(failed(DeltaTableError::NotInitialized));
        };
        let partitions = self.table.partitions();
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: (!partitions.is_empty())
                .then(|| partitions.iter().map(|&column| column.to_owned()).collect()),
            predicate: None,
        };
        let version = CommitBuilder::from(properties)
            .with_actions(adds.into_iter().map(Action::Add).collect())
            .build(Some(table.snapshot().map_err(failed)?), table.log_store(), operation)
            .await
            .map_err(failed)?
            .version();
        table.update_state().await.map_err(failed)?;
        Ok(version)
    }
}

async fn open_or_create(
    table: Table,
    path: &Path,
    store: Arc<SyncedStore>,
) -> Result<DeltaTable, DeltaTableError> {
    let url = ensure_table_uri(path.to_string_lossy())?;
    let mut opened = DeltaTableBuilder::from_url(url.clone())?.with_storage_backend(store, url).build()?;
    match opened.load().await {
        Ok(()) => evolved(table, opened).await,
        Err(DeltaTableError::NotATable(_)) => {
            let schema: StructType = table.schema().as_ref().try_into_kernel()?;
            opened
                .create()
                .with_table_name(table.name())
                .with_columns(schema.fields().cloned())
                .with_partition_columns(table.partitions().iter().copied())
                // Another process may be creating it too: its table is as good.
                .with_save_mode(SaveMode::Ignore)
                .await
        }
        Err(error) => Err(error),
    }
}

/// The table with the columns that it has got since it was made: null in the rows of before.
async fn evolved(table: Table, opened: DeltaTable) -> Result<DeltaTable, DeltaTableError> {
    let known: StructType = opened.snapshot()?.schema().as_ref().clone();
    let schema: StructType = table.schema().as_ref().try_into_kernel()?;
    let added: Vec<_> =
        schema.fields().filter(|field| known.field(field.name()).is_none()).cloned().collect();
    if added.is_empty() { Ok(opened) } else { opened.add_columns().with_fields(added).await }
}

async fn transaction_version(table: &DeltaTable, app_id: &str) -> Result<Option<i64>, DeltaTableError> {
    table.snapshot()?.transaction_version(table.log_store().as_ref(), app_id).await
}

pub(crate) fn writer_properties() -> WriterProperties {
    WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build()
}

#[cfg(test)]
mod erase_tests;
#[cfg(test)]
mod tests;
