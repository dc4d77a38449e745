//! Cells of a table, whatever file it lies in: Parquet, CSV or gzipped CSV enters, named columns of
//! text and lists leave, some rows at a time.
//!
//! A column that is missing, or of a type that no number or text can come from, is an error that
//! names it; a line that is not a row is counted and left out.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use flate2::read::MultiGzDecoder;
use kinora_harness::publish::FileError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::error::{RankingError, Result};

/// Rows read at once.
const BATCH_ROWS: usize = 32_768;

/// The columns that a reader asks for.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    pub required: &'a [&'a str],
    pub optional: &'a [&'a str],
}

/// Some rows of a table.
#[derive(Debug)]
pub struct Cells {
    columns: Vec<Option<Column>>,
    rows: usize,
}

#[derive(Debug)]
enum Column {
    Text(StringArray),
    /// Lists of whole numbers.
    Lists(Vec<Option<Vec<i64>>>),
}

/// A cell that does not hold what its column should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadCell;

impl Cells {
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The text of a cell, unless it is empty or missing. Columns count through the required ones,
    /// then the optional ones.
    pub fn text(&self, column: usize, row: usize) -> Option<&str> {
        match self.columns.get(column)?.as_ref()? {
            Column::Text(cells) if cells.is_valid(row) => {
                Some(cells.value(row).trim()).filter(|text| !text.is_empty())
            }
            _ => None,
        }
    }

    /// A number, if there is one and it is finite.
    pub fn number(&self, column: usize, row: usize) -> Option<f64> {
        self.text(column, row)?.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// A whole number; a cell that is there and holds anything else is bad.
    pub fn whole(&self, column: usize, row: usize) -> Result<Option<i64>, BadCell> {
        let Some(text) = self.text(column, row) else { return Ok(None) };
        if let Ok(whole) = text.parse() {
            return Ok(Some(whole));
        }
        // Tables that once had gaps hold whole numbers as `1.0`.
        let number: f64 = text.parse().map_err(|_| BadCell)?;
        let is_whole = number.fract() == 0.0 && number.abs() < 9e15;
        if is_whole { Ok(Some(number as i64)) } else { Err(BadCell) }
    }

    /// A list of whole numbers: a list, or text such as `[3 5 8]` with any marks between.
    pub fn list(&self, column: usize, row: usize) -> Vec<i64> {
        match self.columns.get(column).and_then(Option::as_ref) {
            Some(Column::Lists(lists)) => lists[row].clone().unwrap_or_default(),
            Some(Column::Text(_)) => {
                let text = self.text(column, row).unwrap_or_default();
                let numbers = text.split(|mark: char| !mark.is_ascii_digit() && mark != '-');
                numbers.filter_map(|number| number.parse().ok()).collect()
            }
            None => Vec::new(),
        }
    }
}

/// Hands the rows of `path` to `each`, some at a time; returns the lines that were no rows.
pub fn read(path: &Path, columns: Columns<'_>, mut each: impl FnMut(&Cells)) -> Result<usize> {
    let file = File::open(path).map_err(FileError::at("open", path))?;
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if extension == "parquet" {
        return read_parquet(path, file, columns, &mut each).map(|()| 0);
    }
    let text: Box<dyn Read> =
        if extension == "gz" { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    read_csv(path, BufReader::new(text), columns, &mut each)
}

/// Where each asked column lies among `names`.
fn places(path: &Path, names: &[String], columns: Columns<'_>) -> Result<Vec<Option<usize>>> {
    let place = |column: &&str| names.iter().position(|name| name == column);
    let missing: Vec<String> = columns
        .required
        .iter()
        .filter(|column| place(column).is_none())
        .map(|column| format!("`{column}`"))
        .collect();
    if !missing.is_empty() {
        return Err(RankingError::table(path, format!("it has no column {}", missing.join(", "))));
    }
    Ok(columns.required.iter().chain(columns.optional).map(place).collect())
}

fn read_parquet(path: &Path, file: File, columns: Columns<'_>, each: &mut impl FnMut(&Cells)) -> Result<()> {
    let parquet = |source| RankingError::Parquet { path: path.to_owned(), source };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(parquet)?;
    let names: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    let wanted: Vec<usize> = places(path, &names, columns)?.into_iter().flatten().collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(parquet)?;
    for batch in reader {
        let batch: RecordBatch =
            batch.map_err(|source| RankingError::Arrow { path: path.to_owned(), source })?;
        let column =
            |name: &&str| batch.column_by_name(name).map(|array| to_column(path, name, array)).transpose();
        let asked = columns.required.iter().chain(columns.optional);
        each(&Cells { columns: asked.map(column).collect::<Result<_>>()?, rows: batch.num_rows() });
    }
    Ok(())
}

fn to_column(path: &Path, name: &str, array: &ArrayRef) -> Result<Column> {
    let wrong = || RankingError::table(path, format!("its column `{name}` is of type {}", array.data_type()));
    let whole = |array: &ArrayRef| cast(array, &DataType::Int64).map_err(|_| wrong());
    let members = |array: Option<ArrayRef>| -> Result<Option<Vec<i64>>> {
        let Some(array) = array else { return Ok(None) };
        let numbers = whole(&array)?;
        let numbers: &Int64Array = numbers.as_primitive();
        Ok(Some(numbers.iter().flatten().collect()))
    };
    match array.data_type() {
        DataType::List(_) => {
            array.as_list::<i32>().iter().map(members).collect::<Result<_>>().map(Column::Lists)
        }
        DataType::LargeList(_) => {
            array.as_list::<i64>().iter().map(members).collect::<Result<_>>().map(Column::Lists)
        }
        kind if kind.is_nested() => Err(wrong()),
        // Booleans are 0 and 1 in every other file.
        DataType::Boolean => to_column(path, name, &whole(array)?),
        _ => {
            let text = cast(array, &DataType::Utf8).map_err(|_| wrong())?;
            Ok(Column::Text(text.as_string::<i32>().clone()))
        }
    }
}

fn read_csv(
    path: &Path,
    text: impl Read,
    columns: Columns<'_>,
    each: &mut impl FnMut(&Cells),
) -> Result<usize> {
    let unreadable = |error: csv::Error| RankingError::table(path, format!("it is no CSV text ({error})"));
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text);
    let header = reader.headers().map_err(unreadable)?.clone();
    let names: Vec<String> =
        header.iter().map(|name| name.trim().trim_start_matches('\u{feff}').to_owned()).collect();
    if names.iter().all(String::is_empty) {
        return Err(RankingError::table(path, "it is empty"));
    }
    let places = places(path, &names, columns)?;
    let mut torn = 0;
    let mut cells: Vec<Vec<Option<String>>> = vec![Vec::new(); places.len()];
    let mut flush = |cells: &mut Vec<Vec<Option<String>>>| {
        let rows = cells.first().map_or(0, Vec::len);
        let columns = cells
            .iter_mut()
            .zip(&places)
            .map(|(cells, place)| place.map(|_| Column::Text(std::mem::take(cells).into_iter().collect())))
            .collect();
        cells.iter_mut().for_each(Vec::clear);
        each(&Cells { columns, rows });
    };
    let mut record = csv::StringRecord::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(true) if record.len() == names.len() => {
                for (cells, place) in cells.iter_mut().zip(&places) {
                    cells.push(place.and_then(|place| record.get(place)).map(str::to_owned));
                }
            }
            Ok(true) => torn += 1,
            Ok(false) => break,
            Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => torn += 1,
            Err(error) => return Err(unreadable(error)),
        }
        if cells.first().is_some_and(|cells| cells.len() == BATCH_ROWS) {
            flush(&mut cells);
        }
    }
    flush(&mut cells);
    Ok(torn)
}
