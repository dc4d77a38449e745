//! Whether anything of a person is left: every file of the lake is read, whatever version it belongs to.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray, make_array};
use arrow::datatypes::DataType;
use kinora_schema::UserId;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::{Deserialize, Serialize};

use super::Lake;
use crate::error::{PipelineError, Result};

/// A place that names a person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Trace {
    /// Below the lake's directory.
    pub file: PathBuf,
    /// Values of it that name the person.
    pub values: u64,
    /// The latest version of the table does not hold the file: it goes with the history.
    pub is_history: bool,
}

/// What was read to find traces, and the traces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traces {
    pub files: u64,
    pub bytes: u64,
    pub found: Vec<Trace>,
}

impl Lake {
    /// Every file of the lake that names a person: in a column, in a refused row, or in the statistics that the
    /// tables' histories keep of files (which hold the least and the greatest value, up to 32 characters of it).
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or is none of the lake's: nothing is taken for clean that was not looked at.
    pub async fn traces(&self, user: &UserId) -> Result<Traces> {
        let mut current = Vec::new();
        for table in kinora_schema::table::Table::ALL {
            let directory = self.table_path(table);
            let opened = self.current(table).await?.get(&table).cloned();
            let Some(opened) = opened else { continue };
            let files = super::files::files_of(&opened, table, false).await;
            let files = files.map_err(PipelineError::delta("read", &directory))?;
            current.extend(files.into_iter().map(|file| directory.join(file.path)));
        }
        let (root, user) = (self.root().to_owned(), user.clone());
        let search = move || {
            let mut traces = Traces::default();
            for path in files_below(&root)? {
                let values = values_in(&path, user.as_str())?;
                traces.files += 1;
                traces.bytes += fs::metadata(&path).map_err(PipelineError::io("read", &path))?.len();
                if values > 0 {
                    let file = path.strip_prefix(&root).unwrap_or(&path).to_owned();
                    traces.found.push(Trace { file, values, is_history: !current.contains(&path) });
                }
            }
            Ok(traces)
        };
        tokio::task::spawn_blocking(search).await.map_err(PipelineError::Stopped)?
    }
}

fn files_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let (mut directories, mut files) = (vec![directory.to_owned()], Vec::new());
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).map_err(PipelineError::io("read", &directory))? {
            let entry = entry.map_err(PipelineError::io("read", &directory))?;
            let kind = entry.file_type().map_err(PipelineError::io("read", entry.path()))?;
            if kind.is_dir() { &mut directories } else { &mut files }.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn values_in(path: &Path, user: &str) -> Result<u64> {
    if path.extension().is_none_or(|extension| extension != "parquet") {
        let bytes = fs::read(path).map_err(PipelineError::io("read", path))?;
        let text = String::from_utf8_lossy(&bytes);
        return Ok(text.lines().map(|line| in_text(line, user)).sum());
    }
    let unreadable = |error: parquet::errors::ParquetError| PipelineError::parquet(path)(error);
    let file = File::open(path).map_err(PipelineError::io("open", path))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(unreadable)?;
    let mut values = 0;
    for batch in reader {
        let batch = batch.map_err(|error| unreadable(error.into()))?;
        for column in batch.columns() {
            values += in_array(column, user)?;
        }
    }
    Ok(values)
}

/// Texts of a column, however deep.
fn in_array(array: &ArrayRef, user: &str) -> Result<u64> {
    Ok(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().iter().flatten().map(|text| in_text(text, user)).sum(),
        DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(_, _) => {
            let cast = arrow::compute::cast(array, &DataType::Utf8).map_err(PipelineError::Arrow)?;
            in_array(&cast, user)?
        }
        _ => {
            let mut values = 0;
            for child in array.to_data().child_data() {
                values += in_array(&make_array(child.clone()), user)?;
            }
            values
        }
    })
}

/// Whether a text is the person's id, the beginning of it that statistics keep, or JSON with such a value in it.
fn in_text(text: &str, user: &str) -> u64 {
    if text == user || is_shortened(text, user) {
        return 1;
    }
    if text.starts_with(['{', '['])
        && let Ok(value) = serde_json::from_str::<serde_json::Value>(text)
    {
        return in_json(&value, user);
    }
    u64::from(mentions(text, user))
}

fn in_json(value: &serde_json::Value, user: &str) -> u64 {
    match value {
        serde_json::Value::String(text) => in_text(text, user),
        serde_json::Value::Array(values) => values.iter().map(|value| in_json(value, user)).sum(),
        serde_json::Value::Object(fields) => {
            fields.iter().map(|(name, value)| u64::from(name == user) + in_json(value, user)).sum()
        }
        _ => 0,
    }
}

/// Statistics keep 32 characters of a long value, the last of them raised where it is a greatest.
fn is_shortened(text: &str, user: &str) -> bool {
    const KEPT: usize = 32;
    user.chars().count() > KEPT
        && text.chars().count() == KEPT
        && text.chars().take(KEPT - 1).eq(user.chars().take(KEPT - 1))
}

/// Whether a text names somebody: their id, not as part of a longer word.
pub(super) fn mentions(text: &str, user: &str) -> bool {
    let is_word = |char: char| char.is_alphanumeric() || char == '_' || char == '-';
    text.match_indices(user).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + user.len()..].chars().next();
        !user.is_empty() && !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}
