//! Checkpoints of a run: what a trainer writes enters, the newest whole one leaves.
//!
//! INVARIANT: a directory named `step-NNNNNNNN` is whole. It was written under another name,
//! flushed, then renamed, so a kill at any moment leaves the one before. One trainer writes to
//! a directory at a time.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::publish::{self, FileError};
use crate::weights::WeightsError;

/// Checkpoints kept when nothing else is asked for.
const DEFAULT_KEEP: usize = 2;

#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error("`{}` does not hold the expected state: {source}", path.display())]
    State { path: PathBuf, source: serde_json::Error },
}

/// A directory of checkpoints.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    directory: PathBuf,
    keep: usize,
}

impl Checkpoints {
    /// Opens `directory`, making it where it is missing, clears what a killed run left half written
    /// and puts back what it was replacing.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, CheckpointError> {
        let directory = directory.into();
        fs::create_dir_all(&directory).map_err(FileError::at("create", &directory))?;
        for name in names(&directory)? {
            if publish::is_scratch(&name) {
                let path = directory.join(name);
                fs::remove_dir_all(&path).map_err(FileError::at("remove", &path))?;
            } else if let Some(replaced) = publish::set_aside(&name) {
                publish::recover(&directory.join(replaced))?;
            }
        }
        Ok(Self { directory, keep: DEFAULT_KEEP })
    }

    /// Keeps the newest `keep` checkpoints (at least one) instead of two.
    #[must_use]
    pub fn keep(mut self, keep: usize) -> Self {
        self.keep = keep.max(1);
        self
    }

    /// Writes the checkpoint of `step`: `write` puts its files into the directory that it is
    /// given. Returns where the checkpoint lies.
    pub fn save(
        &self,
        step: u64,
        write: impl FnOnce(&Path) -> Result<(), CheckpointError>,
    ) -> Result<PathBuf, CheckpointError> {
        let path = self.directory.join(format!("step-{step:08}"));
        publish::write_directory(&path, write)?;
        self.prune()?;
        Ok(path)
    }

    /// The newest whole checkpoint.
    pub fn latest(&self) -> Result<Option<(u64, PathBuf)>, CheckpointError> {
        Ok(self.steps()?.pop())
    }

    /// Removes every checkpoint: the run that they belong to is finished, or starts anew.
    pub fn clear(&self) -> Result<(), CheckpointError> {
        self.remove(self.steps()?)
    }

    fn prune(&self) -> Result<(), CheckpointError> {
        let mut steps = self.steps()?;
        steps.truncate(steps.len().saturating_sub(self.keep));
        self.remove(steps)
    }

    fn remove(&self, steps: Vec<(u64, PathBuf)>) -> Result<(), CheckpointError> {
        for (_, path) in steps {
            // Out of its whole name first: a kill half-way through the removal must not leave
            // part of a checkpoint under it.
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let aside = self.directory.join(format!(".tmp-removed-{name}"));
            fs::rename(&path, &aside).map_err(FileError::at("remove", &path))?;
            fs::remove_dir_all(&aside).map_err(FileError::at("remove", &aside))?;
        }
        Ok(())
    }

    /// Whole checkpoints, oldest first.
    fn steps(&self) -> Result<Vec<(u64, PathBuf)>, CheckpointError> {
        let mut steps: Vec<(u64, PathBuf)> = names(&self.directory)?
            .into_iter()
            .filter_map(|name| {
                let step = name.strip_prefix("step-")?.parse().ok()?;
                Some((step, self.directory.join(name)))
            })
            .collect();
        steps.sort_unstable();
        Ok(steps)
    }
}

fn names(directory: &Path) -> Result<Vec<String>, FileError> {
    let entries = fs::read_dir(directory).map_err(FileError::at("read", directory))?;
    entries
        .map(|entry| Ok(entry.map_err(FileError::at("read", directory))?.file_name()))
        .map(|name| name.map(|name: std::ffi::OsString| name.to_string_lossy().into_owned()))
        .collect()
}

/// Writes `state` as JSON, for the part of a checkpoint that is not tensors.
pub fn write_state<T: Serialize>(path: &Path, state: &T) -> Result<(), CheckpointError> {
    let json = serde_json::to_vec_pretty(state)
        .map_err(|source| CheckpointError::State { path: path.to_owned(), source })?;
    Ok(publish::write_file(path, &json)?)
}

/// Reads what [`write_state`] wrote.
pub fn read_state<T: DeserializeOwned>(path: &Path) -> Result<T, CheckpointError> {
    let json = fs::read(path).map_err(FileError::at("read", path))?;
    serde_json::from_slice(&json).map_err(|source| CheckpointError::State { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn save(checkpoints: &Checkpoints, step: u64) {
        checkpoints.save(step, |dir| write_state(&dir.join("state.json"), &step)).unwrap();
    }

    #[test]
    fn the_latest_is_found_and_the_oldest_pruned() {
        let root = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(root.path().join("run")).unwrap().keep(2);
        assert!(checkpoints.latest().unwrap().is_none());
        for step in [1, 9, 10, 100_000_000] {
            save(&checkpoints, step);
        }
        let (step, path) = checkpoints.latest().unwrap().unwrap();
        assert_eq!(step, 100_000_000);
        assert_eq!(read_state::<u64>(&path.join("state.json")).unwrap(), step);
        let kept: Vec<u64> = checkpoints.steps().unwrap().into_iter().map(|(step, _)| step).collect();
        assert_eq!(kept, [10, 100_000_000]);
    }

    #[test]
    fn a_half_written_checkpoint_is_ignored_then_cleared() {
        let root = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(root.path()).unwrap();
        save(&checkpoints, 5);
        let torn = root.path().join(".tmp-1-1-step-00000009");
        fs::create_dir(&torn).unwrap();
        fs::write(torn.join("state.json"), b"{").unwrap();
        fs::create_dir(root.path().join("step-later")).unwrap();
        assert_eq!(checkpoints.latest().unwrap().unwrap().0, 5);
        let reopened = Checkpoints::open(root.path()).unwrap();
        assert_eq!(reopened.latest().unwrap().unwrap().0, 5);
        assert!(!torn.exists());
    }

    #[test]
    fn a_checkpoint_that_was_being_replaced_is_put_back() {
        let root = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(root.path()).unwrap();
        save(&checkpoints, 5);
        fs::rename(root.path().join("step-00000005"), root.path().join(".old-step-00000005")).unwrap();
        let reopened = Checkpoints::open(root.path()).unwrap();
        let (_, path) = reopened.latest().unwrap().unwrap();
        assert_eq!(read_state::<u64>(&path.join("state.json")).unwrap(), 5);
    }

    #[test]
    fn a_failed_write_leaves_the_one_before() {
        let root = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(root.path()).unwrap();
        save(&checkpoints, 5);
        let failed = checkpoints.save(5, |dir| write_state(&dir.join("absent/state.json"), &6));
        assert!(failed.is_err());
        let (_, path) = checkpoints.latest().unwrap().unwrap();
        assert_eq!(read_state::<u64>(&path.join("state.json")).unwrap(), 5);
    }

    #[test]
    fn foreign_state_is_an_error_that_names_the_file() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state.json");
        write_state(&path, &"text").unwrap();
        let error = read_state::<u64>(&path).unwrap_err();
        assert!(error.to_string().contains("state.json"), "{error}");
    }
}
