//! Files and directories that are there whole or not at all: bytes enter, a durable name leaves.
//!
//! INVARIANT: a name is only ever given to content that has been flushed to the disk, so a crash
//! or a full disk leaves the previous content, never half of the new. Replacing a directory takes
//! two renames: between them the previous one lies aside, and [`recover`] puts it back.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

/// Marks a directory that is being replaced.
const ASIDE: &str = ".old-";

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
    recover(path)?;
    let scratch = scratch_beside(path);
    fs::create_dir(&scratch).map_err(FileError::at("create", &scratch))?;
    let published = write(&scratch).and_then(|()| publish(&scratch, path).map_err(E::from));
    if published.is_err() {
        let _ = fs::remove_dir_all(&scratch);
    }
    published
}

/// Puts back a directory that a crash left aside while it was being replaced. To be called before
/// `path` is read.
pub fn recover(path: &Path) -> Result<(), FileError> {
    let aside = aside_of(path);
    if path.exists() || !aside.exists() {
        return Ok(());
    }
    fs::rename(&aside, path)
        .and_then(|()| sync_directory(parent(path)))
        .map_err(FileError::at("recover", path))
}

fn publish(scratch: &Path, path: &Path) -> Result<(), FileError> {
    sync_tree(scratch).map_err(FileError::at("flush", scratch))?;
    replace(scratch, path)
}

fn replace(scratch: &Path, path: &Path) -> Result<(), FileError> {
    let aside = aside_of(path);
    // Left by a crash after the replacement was complete.
    remove_directory(&aside).map_err(FileError::at("remove", &aside))?;
    let replaces = path.exists();
    if replaces {
        // A directory cannot be renamed over a full one: the old one steps aside first.
        fs::rename(path, &aside).map_err(FileError::at("replace", path))?;
    }
    // Putting back may fail too; the error that matters is the one being returned.
    let put_back = |_: &io::Error| {
        if replaces {
            let _ = fs::rename(&aside, path);
        }
    };
    fs::rename(scratch, path).inspect_err(put_back).map_err(FileError::at("write", path))?;
    sync_directory(parent(path))
        .inspect_err(|error| {
            let _ = fs::rename(path, scratch);
            put_back(error);
        })
        .map_err(FileError::at("flush", path))?;
    remove_directory(&aside).map_err(FileError::at("remove", &aside))
}

fn remove_directory(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Where `path` lies while it is being replaced: a name that the next process can find.
fn aside_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    parent(path).join(format!("{ASIDE}{name}"))
}

/// The name that lies aside as `name`.
pub(crate) fn set_aside(name: &str) -> Option<&str> {
    name.strip_prefix(ASIDE)
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
    fn a_crash_at_any_point_of_a_replacement_leaves_the_old_or_the_new() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("model");
        let fill = |name: &str, content: &str| {
            fs::create_dir(root.path().join(name)).unwrap();
            fs::write(root.path().join(name).join("a"), content).unwrap();
        };
        let fails = |path: &Path| write_directory(path, |dir| write_file(&dir.join("missing/b"), b"next"));
        let (old, new) = (Some("old"), Some("new"));
        // What lies at the name, aside and in the scratch directory; what is read after it.
        let states = [
            (None, None, new, None),
            (old, None, new, old),
            (None, old, new, old),
            (new, old, None, new),
            (new, None, None, new),
        ];
        // A reader recovers, and so does a writer that then fails.
        for (reads, (current, aside, scratch, found)) in
            [true, false].into_iter().flat_map(|reads| states.map(|state| (reads, state)))
        {
            for (name, content) in [("model", current), (".old-model", aside), (".tmp-1-1-model", scratch)] {
                if let Some(content) = content {
                    fill(name, content);
                }
            }
            let recovered: Result<(), FileError> = if reads { recover(&path) } else { fails(&path) };
            assert_eq!(recovered.is_ok(), reads);
            assert_eq!(fs::read_to_string(path.join("a")).ok().as_deref(), found);
            write_directory(&path, |dir| write_file(&dir.join("a"), b"next")).unwrap();
            assert_eq!(fs::read(path.join("a")).unwrap(), b"next");
            let left: Vec<String> = names(root.path()).into_iter().filter(|name| !is_scratch(name)).collect();
            assert_eq!(left, ["model"]);
            for name in names(root.path()) {
                fs::remove_dir_all(root.path().join(name)).unwrap();
            }
        }
    }

    #[test]
    fn a_replacement_that_cannot_take_the_name_puts_the_old_one_back() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("model");
        write_directory(&path, |dir| write_file(&dir.join("a"), b"old")).unwrap();
        let missing = root.path().join("missing");
        assert!(replace(&missing, &path).unwrap_err().to_string().contains("model"));
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
