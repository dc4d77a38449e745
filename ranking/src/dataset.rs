//! A training set on disk: a directory with a manifest enters, checked examples leave in order.
//!
//! INVARIANT: what is read is what was built. The manifest names this version's features and
//! tasks in their order, and each file has the bytes the manifest says.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use kinora_harness::publish::FileError;
use kinora_schema::ranking::{
    DENSE_FEATURES, DatasetManifest, RankingExample, SplitManifest, Task, examples_from_batch,
};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use sha2::{Digest, Sha256};

use crate::error::{RankingError, Result};

/// The manifest format that this version reads.
const FORMAT: u32 = 2;
/// Rows decoded at once.
const BATCH_ROWS: usize = 4096;

/// A training set that was opened and whose manifest fits this version.
#[derive(Clone, Debug)]
pub struct Dataset {
    directory: PathBuf,
    manifest: DatasetManifest,
}

impl Dataset {
    /// Opens the dataset in `directory`.
    pub fn open(directory: &Path) -> Result<Self> {
        let path = directory.join("manifest.json");
        if !path.is_file() {
            return Err(RankingError::NoDataset { path: directory.to_owned() });
        }
        let json = fs::read(&path).map_err(FileError::at("read", &path))?;
        let manifest: DatasetManifest =
            serde_json::from_slice(&json).map_err(|error| RankingError::dataset(&path, error.to_string()))?;
        if manifest.format != FORMAT {
            let reason = format!("its format is {}, this version reads {FORMAT}", manifest.format);
            return Err(RankingError::dataset(&path, reason));
        }
        if manifest.dense_features != DENSE_FEATURES {
            return Err(RankingError::dataset(
                &path,
                "its dense features are not this version's: build it again",
            ));
        }
        if manifest.tasks != Task::ALL {
            return Err(RankingError::dataset(&path, "its tasks are not this version's: build it again"));
        }
        Ok(Self { directory: directory.to_owned(), manifest })
    }

    /// The split called `name`.
    pub fn split(&self, name: &str) -> Result<&SplitManifest> {
        let splits = &self.manifest.splits;
        splits.iter().find(|split| split.name == name).ok_or_else(|| RankingError::NoSplit {
            path: self.directory.clone(),
            split: name.to_owned(),
            available: splits.iter().map(|split| format!("`{}`", split.name)).collect::<Vec<_>>().join(", "),
        })
    }

    /// Reads the split called `name`, in the order of its file, a batch at a time.
    pub fn examples(&self, name: &str) -> Result<Examples> {
        let split = self.split(name)?;
        let path = self.directory.join(&split.file);
        // The name comes from a file: it must not lead out of the dataset.
        if Path::new(&split.file).file_name() != Some(split.file.as_ref()) {
            return Err(RankingError::dataset(&path, "a split's file lies outside the dataset"));
        }
        if sha256(&path)? != split.sha256 {
            return Err(RankingError::Changed { path });
        }
        let file = File::open(&path).map_err(FileError::at("open", &path))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .and_then(|builder| builder.with_batch_size(BATCH_ROWS).build())
            .map_err(|source| RankingError::Parquet { path: path.clone(), source })?;
        Ok(Examples { path, reader })
    }
}

/// The examples of one split, a batch at a time.
pub struct Examples {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
}

impl std::fmt::Debug for Examples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Examples").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Iterator for Examples {
    type Item = Result<Vec<RankingExample>>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?;
        let examples = batch
            .map_err(|source| RankingError::Arrow { path: self.path.clone(), source })
            .and_then(|batch| {
                examples_from_batch(&batch)
                    .map_err(|source| RankingError::Examples { path: self.path.clone(), source })
            });
        Some(examples)
    }
}

fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(FileError::at("open", path))?;
    let mut digest = Sha256::new();
    let mut chunk = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut chunk).map_err(FileError::at("read", path))?;
        if read == 0 {
            return Ok(format!("{:x}", digest.finalize()));
        }
        digest.update(&chunk[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn examples_come_back_in_order() {
        let root = tempfile::tempdir().unwrap();
        let examples = fixture::examples(50, 1);
        fixture::write_dataset(root.path(), &[("train", &examples)]);
        let dataset = Dataset::open(root.path()).unwrap();
        let read: Vec<RankingExample> =
            dataset.examples("train").unwrap().flat_map(|batch| batch.unwrap()).collect();
        assert_eq!(read, examples);
    }

    #[test]
    fn each_fault_is_one_line_that_names_the_place() {
        let root = tempfile::tempdir().unwrap();
        let error = |dir: &Path| Dataset::open(dir).unwrap_err().to_string();
        assert!(error(root.path()).contains("kinora dataset ranking"));

        let examples = fixture::examples(20, 1);
        fixture::write_dataset(root.path(), &[("train", &examples)]);
        let dataset = Dataset::open(root.path()).unwrap();
        let missing = dataset.examples("test").unwrap_err().to_string();
        assert!(missing.contains("`test`") && missing.contains("`train`"), "{missing}");

        let file = root.path().join("train.parquet");
        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..whole.len() - 9]).unwrap();
        let cut = dataset.examples("train").unwrap_err();
        assert!(matches!(cut, RankingError::Changed { .. }), "{cut}");

        let manifest = root.path().join("manifest.json");
        let json = fs::read_to_string(&manifest).unwrap();
        fs::write(&manifest, json.replace("user_click_rate", "user_click_ratio")).unwrap();
        assert!(error(root.path()).contains("dense features"));
        fs::write(&manifest, json.replace("\"format\":2", "\"format\":9")).unwrap();
        assert!(error(root.path()).contains("format is 9"), "{}", error(root.path()));
        fs::write(&manifest, "{").unwrap();
        assert!(!error(root.path()).contains('\n'));
    }
}
