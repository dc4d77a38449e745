//! The lake's files on the local disk, as `deltalake` reads and writes them.
//!
//! INVARIANT: a name is only given to content that is on stable storage, and when a call returns so
//! is the name. `LocalFileSystem` syncs nothing, so each file is written beside its place, synced,
//! and only then put there: whoever sees a commit, this process or the next, sees one that a power
//! cut does not empty.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    RenameTargetMode, Result, UploadPart,
};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::durable::sync;

/// A local file system that syncs what it writes; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct SyncedStore {
    files: LocalFileSystem,
    /// The lake's directory, whose own name is on stable storage.
    root: Arc<FilePath>,
    /// Directories below the root whose names are known to be on stable storage.
    named: Arc<Mutex<HashSet<PathBuf>>>,
}

impl SyncedStore {
    pub(super) fn new(root: &FilePath) -> Self {
        Self { files: LocalFileSystem::new(), root: root.into(), named: Arc::default() }
    }

    /// Puts the names in a directory below the root on stable storage, and its own.
    pub(super) async fn sync_directory(&self, directory: PathBuf) -> Result<()> {
        let this = self.clone();
        blocking(move || this.sync_names(&directory)).await
    }

    fn sync_names(&self, directory: &FilePath) -> io::Result<()> {
        sync(directory)?;
        let known = || self.named.lock().unwrap_or_else(PoisonError::into_inner);
        // The name of a directory lies in the one above, and is given once.
        if directory != &*self.root && !known().contains(directory) {
            if let Some(above) = directory.parent() {
                self.sync_names(above)?;
            }
            known().insert(directory.to_owned());
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn has_named(&self, directory: &FilePath) -> bool {
        self.named.lock().unwrap_or_else(PoisonError::into_inner).contains(directory)
    }

    async fn sync_name(&self, location: &Path) -> Result<()> {
        match self.files.path_to_filesystem(location)?.parent() {
            Some(directory) => self.sync_directory(directory.to_owned()).await,
            None => Ok(()),
        }
    }

    /// Gives what was written to `staged` its name.
    async fn publish(&self, staged: &Path, location: &Path, target_mode: RenameTargetMode) -> Result<()> {
        let path = self.files.path_to_filesystem(staged)?;
        let options = RenameOptions::new().with_target_mode(target_mode);
        let published = match blocking(move || sync(&path)).await {
            Ok(()) => self.files.rename_opts(staged, location, options).await,
            Err(error) => Err(error),
        };
        match published {
            Ok(()) => self.sync_name(location).await,
            Err(error) => {
                // The error that matters is the one being returned.
                let _ = self.files.delete(staged).await;
                Err(error)
            }
        }
    }
}

impl fmt::Display for SyncedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.files, f)
    }
}

#[async_trait]
impl ObjectStore for SyncedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let target_mode = match options.mode {
            PutMode::Overwrite => RenameTargetMode::Overwrite,
            PutMode::Create => RenameTargetMode::Create,
            // Refused: a local disk cannot compare and swap.
            PutMode::Update(_) => return self.files.put_opts(location, payload, options).await,
        };
        let staged = beside(location);
        let options = PutOptions { mode: PutMode::Overwrite, ..options };
        let written = self.files.put_opts(&staged, payload, options).await?;
        self.publish(&staged, location, target_mode).await?;
        Ok(written)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let staged = beside(location);
        let upload = self.files.put_multipart_opts(&staged, options).await?;
        Ok(Box::new(StagedUpload { upload, store: self.clone(), staged, location: location.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.files.get_ranges(location, ranges).await
    }

    /// Not synced: a file that is back after a power cut is one that nothing refers to.
    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await?;
        self.sync_name(to).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.files.rename_opts(from, to, options).await?;
        self.sync_name(to).await
    }
}

/// An upload that takes its name at its end.
#[derive(Debug)]
struct StagedUpload {
    upload: Box<dyn MultipartUpload>,
    store: SyncedStore,
    staged: Path,
    location: Path,
}

#[async_trait]
impl MultipartUpload for StagedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let written = self.upload.complete().await?;
        self.store.publish(&self.staged, &self.location, RenameTargetMode::Overwrite).await?;
        Ok(written)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

/// A name in the same directory that nobody looks for: Delta passes over names with a dot in front.
fn beside(location: &Path) -> Path {
    let name = format!(".staged-{}", Uuid::new_v4().simple());
    location.parent().unwrap_or_default().join(name)
}

async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> Result<()> {
    let done = match Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await?,
        Err(_) => work(),
    };
    done.map_err(|source| Error::Generic { store: "the lake's disk", source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn store(directory: &TempDir) -> (SyncedStore, Path) {
        let root = directory.path().canonicalize().unwrap();
        let location = Path::from_absolute_path(&root).unwrap().join("a").join("b").join("file");
        (SyncedStore::new(&root), location)
    }

    fn names(directory: &TempDir) -> Vec<String> {
        let entries = std::fs::read_dir(directory.path().join("a/b")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    async fn content(store: &SyncedStore, location: &Path) -> Bytes {
        store.get(location).await.unwrap().bytes().await.unwrap()
    }

    #[tokio::test]
    async fn a_name_is_taken_once_and_replaced_only_on_request() {
        let directory = TempDir::new().unwrap();
        let (store, location) = store(&directory);
        let create = || PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        store.put_opts(&location, "one".into(), create()).await.unwrap();
        let taken = store.put_opts(&location, "two".into(), create()).await.unwrap_err();
        assert!(matches!(taken, Error::AlreadyExists { .. }), "{taken}");
        assert_eq!(content(&store, &location).await, "one");
        store.put(&location, "three".into()).await.unwrap();
        assert_eq!(content(&store, &location).await, "three");
        assert_eq!(names(&directory), ["file"], "something was left behind");
    }

    #[tokio::test]
    async fn an_upload_has_no_name_before_it_is_complete() {
        let directory = TempDir::new().unwrap();
        let (store, location) = store(&directory);
        let mut upload = store.put_multipart(&location).await.unwrap();
        upload.put_part("part".into()).await.unwrap();
        assert!(store.head(&location).await.is_err());
        upload.complete().await.unwrap();
        assert_eq!(content(&store, &location).await, "part");
        let mut aborted = store.put_multipart(&location).await.unwrap();
        aborted.put_part("other".into()).await.unwrap();
        aborted.abort().await.unwrap();
        assert_eq!(content(&store, &location).await, "part");
        assert_eq!(names(&directory), ["file"], "something was left behind");
    }

    #[tokio::test]
    async fn the_names_of_new_directories_are_synced_up_to_the_root() {
        let directory = TempDir::new().unwrap();
        let (store, location) = store(&directory);
        store.put(&location, "one".into()).await.unwrap();
        for above in ["a", "a/b"] {
            assert!(store.has_named(&store.root.join(above)), "{above}");
        }
    }
}
