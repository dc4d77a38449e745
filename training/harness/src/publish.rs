//! Files and directories that are there whole or not at all: bytes enter, a durable name leaves.
//!
//! INVARIANT: a name is only ever given to content that has been flushed to the disk, so a crash
//! or a full disk leaves the previous content, never half of the new.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

/// A file or directory that could not be read or written.
#[derive(Debug, Error)]
#[error("cannot {action} `{}`", path.display())]
pub struct FileError {
    pub action: &'static str,
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

impl FileError {
    /// For `map_err`: the action and the path around the system's own error.
    pub fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self { action, path: path.to_owned(), source }
    }
}

/// Writes `bytes` to `path`, replacing what was there.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let scratch = scratch_beside(path);
    let written = File::create(&scratch)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&scratch, path))
        .and_then(|()| sync_directory(parent(path)));
    written.map_err(|source| {
        // The scratch file may not exist; the error that matters is the one being returned.
        let _ = fs::remove_file(&scratch);
        FileError { action: "write", path: path.to_owned(), source }
    })
}

/// Makes the directory `path` out of what `write` puts into the scratch directory that it is
/// given, replacing what was there.
pub fn write_directory<E: From<FileError>>(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    fs::create_dir_all(parent(path)).map_err(FileError::at("create", parent(path)))?;
    let scratch = scratch_beside(path);
    fs::create_dir(&scratch).map_err(FileError::at("create", &scratch))?;
    let published = write(&scratch).and_then(|()| publish(&scratch, path).map_err(E::from));
    if published.is_err() {
        let _ = fs::remove_dir_all(&scratch);
    }
    published
}

fn publish(scratch: &Path, path: &Path) -> Result<(), FileError> {
    sync_tree(scratch).map_err(FileError::at("flush", scratch))?;
    // A directory cannot be renamed over a full one: the old one steps aside first.
    let replaced = path.exists().then(|| scratch_beside(path));
    if let Some(aside) = &replaced {
        fs::rename(path, aside).map_err(FileError::at("replace", path))?;
    }
    fs::rename(scratch, path).map_err(FileError::at("write", path))?;
    sync_directory(parent(path)).map_err(FileError::at("flush", path))?;
    if let Some(aside) = &replaced {
        fs::remove_dir_all(aside).map_err(FileError::at("remove", aside))?;
    }
    Ok(())
}

/// Whether `name` is one of this module's scratch names, left behind by a crash.
pub(crate) fn is_scratch(name: &str) -> bool {
    name.starts_with(".tmp-")
}

fn scratch_beside(path: &Path) -> PathBuf {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    parent(path).join(format!(".tmp-{}-{serial}-{name}", std::process::id()))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn sync_tree(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { sync_tree(&path)? } else { File::open(&path)?.sync_all()? }
    }
    sync_directory(directory)
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state.json");
        write_file(&path, b"one").unwrap();
        write_file(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(root.path()), ["state.json"]);
    }

    #[test]
    fn a_directory_that_fails_to_fill_leaves_the_old_one() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("model");
        write_directory(&path, |dir| write_file(&dir.join("a"), b"old")).unwrap();
        let failed: Result<(), FileError> = write_directory(&path, |dir| {
            write_file(&dir.join("a"), b"new")?;
            write_file(&dir.join("missing/b"), b"new")
        });
        assert!(failed.unwrap_err().to_string().contains("missing/b"));
        assert_eq!(fs::read(path.join("a")).unwrap(), b"old");
        assert_eq!(names(root.path()), ["model"]);
    }

    #[test]
    fn a_directory_is_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("model");
        write_directory(&path, |dir| write_file(&dir.join("old"), b"1")).unwrap();
        write_directory(&path, |dir| write_file(&dir.join("new"), b"2")).unwrap();
        assert_eq!(names(&path), ["new"]);
        assert_eq!(names(root.path()), ["model"]);
    }
}
