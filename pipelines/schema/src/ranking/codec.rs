//! Ranking examples to and from Arrow: the columns of a training set's Parquet files.
//!
//! One row an example. Dense features and labels are columns under their own names, so that a
//! notebook reads the file without this code. Reading is by column name and checks types: a file
//! of another shape is refused with the column's name, never misread.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Array, Int32Array, Int32Builder, Int64Array, ListArray,
    ListBuilder, RecordBatch, StringArray, StringBuilder,
};
use arrow::datatypes::{DataType, Field, Float32Type, Int32Type, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use thiserror::Error;

use super::{DENSE, DENSE_FEATURES, HistoryItem, Person, RankingExample, RankingInput, TASKS, Task};
use crate::id::VideoId;

/// Why a batch is not a batch of ranking examples.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CodecError {
    #[error("the ranking dataset has no column `{column}`")]
    MissingColumn { column: String },
    #[error("column `{column}` of the ranking dataset is {found}, expected {expected}")]
    WrongType { column: String, found: String, expected: String },
    #[error("column `{column}` of the ranking dataset has an empty value at row {row}")]
    Null { column: String, row: usize },
    #[error("row {row} of the ranking dataset has {videos} history clips but {outcomes} outcomes")]
    HistoryLength { row: usize, videos: usize, outcomes: usize },
    #[error("row {row} of the ranking dataset has a history outcome of {value}, outside 0..=65535")]
    Outcome { row: usize, value: i32 },
    #[error("the ranking examples do not form a batch")]
    Arrow(#[from] ArrowError),
}

/// The Arrow schema of a ranking dataset.
pub fn example_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let mut fields = vec![
            Field::new("impression_id", DataType::Utf8, false),
            Field::new("user_id", DataType::Utf8, false),
            Field::new("video_id", DataType::Utf8, false),
            Field::new("event_time_ms", DataType::Int64, false),
            Field::new("watch_ms", DataType::Int64, false),
            Field::new("duration_ms", DataType::Int64, false),
            // -1 where it is not known.
            Field::new("position", DataType::Int32, false),
        ];
        fields.extend(DENSE_FEATURES.iter().map(|name| Field::new(*name, DataType::Float32, false)));
        fields.extend(Task::ALL.iter().map(|task| Field::new(task.as_str(), DataType::Boolean, false)));
        for name in ["user_tokens", "video_tokens", "context_tokens", "history_videos"] {
            fields.push(Field::new(name, list_of(DataType::Utf8), false));
        }
        fields.push(Field::new("history_outcomes", list_of(DataType::Int32), false));
        Arc::new(Schema::new(fields))
    });
    Arc::clone(&SCHEMA)
}

fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, false)))
}

/// Lays examples out as one batch, in their order.
pub fn examples_to_batch(examples: &[RankingExample]) -> Result<RecordBatch, CodecError> {
    let inputs = || examples.iter().map(|example| &example.input);
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(examples.iter().map(|example| &example.impression_id))),
        Arc::new(StringArray::from_iter_values(examples.iter().map(|example| &example.user_id))),
        Arc::new(StringArray::from_iter_values(inputs().map(|input| input.video_id.as_str()))),
        Arc::new(Int64Array::from_iter_values(examples.iter().map(|example| example.event_time_ms))),
        Arc::new(Int64Array::from_iter_values(examples.iter().map(|example| example.watch_ms))),
        Arc::new(Int64Array::from_iter_values(examples.iter().map(|example| example.duration_ms))),
        Arc::new(Int32Array::from_iter_values(
            examples.iter().map(|example| example.position.map_or(-1, i32::from)),
        )),
    ];
    for feature in 0..DENSE {
        columns.push(Arc::new(Float32Array::from_iter_values(inputs().map(|input| input.dense[feature]))));
    }
    for task in 0..TASKS {
        let labels: Vec<bool> = examples.iter().map(|example| example.labels[task]).collect();
        columns.push(Arc::new(BooleanArray::from(labels)));
    }
    columns.push(strings(inputs().map(|input| input.person.tokens.iter().map(String::as_str))));
    columns.push(strings(inputs().map(|input| input.video_tokens.iter().map(String::as_str))));
    columns.push(strings(inputs().map(|input| input.context_tokens.iter().map(String::as_str))));
    columns
        .push(strings(inputs().map(|input| input.person.history.iter().map(|item| item.video_id.as_str()))));
    columns.push(outcomes(inputs()));
    Ok(RecordBatch::try_new(example_schema(), columns)?)
}

fn strings<'a>(rows: impl Iterator<Item = impl Iterator<Item = &'a str>>) -> ArrayRef {
    let item = Field::new("item", DataType::Utf8, false);
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(item);
    for row in rows {
        row.for_each(|value| builder.values().append_value(value));
        builder.append(true);
    }
    Arc::new(builder.finish())
}

fn outcomes<'a>(inputs: impl Iterator<Item = &'a RankingInput>) -> ArrayRef {
    let item = Field::new("item", DataType::Int32, false);
    let mut builder = ListBuilder::new(Int32Builder::new()).with_field(item);
    for input in inputs {
        input.person.history.iter().for_each(|item| builder.values().append_value(i32::from(item.outcomes)));
        builder.append(true);
    }
    Arc::new(builder.finish())
}

/// Reads the examples of a batch, by column name; further columns are ignored.
pub fn examples_from_batch(batch: &RecordBatch) -> Result<Vec<RankingExample>, CodecError> {
    let columns = Columns::of(batch)?;
    (0..batch.num_rows()).map(|row| columns.example(row)).collect()
}

struct Columns<'a> {
    impression_id: &'a StringArray,
    user_id: &'a StringArray,
    video_id: &'a StringArray,
    event_time_ms: &'a Int64Array,
    watch_ms: &'a Int64Array,
    duration_ms: &'a Int64Array,
    position: &'a Int32Array,
    dense: Vec<&'a Float32Array>,
    labels: Vec<&'a BooleanArray>,
    user_tokens: &'a ListArray,
    video_tokens: &'a ListArray,
    context_tokens: &'a ListArray,
    history_videos: &'a ListArray,
    history_outcomes: &'a ListArray,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, CodecError> {
        Ok(Self {
            impression_id: column(batch, "impression_id", &DataType::Utf8)?.as_string(),
            user_id: column(batch, "user_id", &DataType::Utf8)?.as_string(),
            video_id: column(batch, "video_id", &DataType::Utf8)?.as_string(),
            event_time_ms: column(batch, "event_time_ms", &DataType::Int64)?.as_primitive::<Int64Type>(),
            watch_ms: column(batch, "watch_ms", &DataType::Int64)?.as_primitive::<Int64Type>(),
            duration_ms: column(batch, "duration_ms", &DataType::Int64)?.as_primitive::<Int64Type>(),
            position: column(batch, "position", &DataType::Int32)?.as_primitive::<Int32Type>(),
            dense: DENSE_FEATURES
                .iter()
                .map(|name| Ok(column(batch, name, &DataType::Float32)?.as_primitive::<Float32Type>()))
                .collect::<Result<_, CodecError>>()?,
            labels: Task::ALL
                .iter()
                .map(|task| Ok(column(batch, task.as_str(), &DataType::Boolean)?.as_boolean()))
                .collect::<Result<_, CodecError>>()?,
            user_tokens: list_column(batch, "user_tokens", &DataType::Utf8)?,
            video_tokens: list_column(batch, "video_tokens", &DataType::Utf8)?,
            context_tokens: list_column(batch, "context_tokens", &DataType::Utf8)?,
            history_videos: list_column(batch, "history_videos", &DataType::Utf8)?,
            history_outcomes: list_column(batch, "history_outcomes", &DataType::Int32)?,
        })
    }

    fn example(&self, row: usize) -> Result<RankingExample, CodecError> {
        let mut dense = [0.0; DENSE];
        for (value, column) in dense.iter_mut().zip(&self.dense) {
            *value = column.value(row);
        }
        let mut labels = [false; TASKS];
        for (value, column) in labels.iter_mut().zip(&self.labels) {
            *value = column.value(row);
        }
        Ok(RankingExample {
            impression_id: self.impression_id.value(row).to_owned(),
            user_id: self.user_id.value(row).to_owned(),
            event_time_ms: self.event_time_ms.value(row),
            position: u16::try_from(self.position.value(row)).ok(),
            input: RankingInput {
                video_id: VideoId::new(self.video_id.value(row)),
                dense,
                person: Arc::new(Person {
                    tokens: texts(self.user_tokens, row),
                    history: self.history(row)?,
                }),
                video_tokens: texts(self.video_tokens, row).into(),
                context_tokens: texts(self.context_tokens, row).into(),
            },
            labels,
            watch_ms: self.watch_ms.value(row),
            duration_ms: self.duration_ms.value(row),
        })
    }

    fn history(&self, row: usize) -> Result<Vec<HistoryItem>, CodecError> {
        let videos = self.history_videos.value(row);
        let outcomes = self.history_outcomes.value(row);
        if videos.len() != outcomes.len() {
            return Err(CodecError::HistoryLength { row, videos: videos.len(), outcomes: outcomes.len() });
        }
        let videos = videos.as_string::<i32>();
        let outcomes = outcomes.as_primitive::<Int32Type>();
        videos
            .iter()
            .zip(outcomes.values())
            .map(|(video, &value)| {
                let outcomes = u16::try_from(value).map_err(|_| CodecError::Outcome { row, value })?;
                Ok(HistoryItem { video_id: VideoId::new(video.unwrap_or_default()), outcomes })
            })
            .collect()
    }
}

fn texts(column: &ListArray, row: usize) -> Vec<String> {
    column.value(row).as_string::<i32>().iter().map(|text| text.unwrap_or_default().to_owned()).collect()
}

fn column<'a>(batch: &'a RecordBatch, name: &str, expected: &DataType) -> Result<&'a ArrayRef, CodecError> {
    let array = present(batch, name)?;
    if array.data_type() != expected {
        return Err(wrong_type(name, array, &expected.to_string()));
    }
    Ok(array)
}

/// The list's item field is not compared: other writers name it `element`, or allow nulls.
fn list_column<'a>(
    batch: &'a RecordBatch,
    name: &str,
    expected: &DataType,
) -> Result<&'a ListArray, CodecError> {
    let array = present(batch, name)?;
    match array.as_list_opt::<i32>() {
        Some(list) if list.value_type() == *expected => match list.values().logical_nulls() {
            Some(nulls) if nulls.null_count() > 0 => {
                Err(CodecError::Null { column: name.to_owned(), row: first_null(&nulls) })
            }
            _ => Ok(list),
        },
        _ => Err(wrong_type(name, array, &format!("a list of {expected}"))),
    }
}

fn present<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, CodecError> {
    let array =
        batch.column_by_name(name).ok_or_else(|| CodecError::MissingColumn { column: name.to_owned() })?;
    match array.logical_nulls() {
        Some(nulls) if nulls.null_count() > 0 => {
            Err(CodecError::Null { column: name.to_owned(), row: first_null(&nulls) })
        }
        _ => Ok(array),
    }
}

fn first_null(nulls: &arrow::buffer::NullBuffer) -> usize {
    (0..nulls.len()).find(|&row| nulls.is_null(row)).unwrap_or_default()
}

fn wrong_type(column: &str, array: &ArrayRef, expected: &str) -> CodecError {
    CodecError::WrongType {
        column: column.to_owned(),
        found: array.data_type().to_string(),
        expected: expected.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example() -> impl Strategy<Value = RankingExample> {
        let tokens = || proptest::collection::vec("[a-z_]{1,8}=[^\\x00]{0,6}", 0..4);
        let history = proptest::collection::vec(("[a-z0-9]{1,6}", any::<u16>()), 0..40);
        let input = (
            "[a-z0-9]{1,8}",
            proptest::array::uniform32(-1e6f32..1e6),
            (tokens(), tokens(), tokens()),
            history,
        );
        let label = proptest::array::uniform9(any::<bool>());
        let position = proptest::option::of(any::<u16>());
        let times = (any::<i64>(), any::<i64>(), any::<i64>());
        (input, ".{0,12}", ".{0,12}", label, times, position).prop_map(
            |((video, dense, tokens, history), impression_id, user_id, labels, times, position)| {
                RankingExample {
                    position,
                    impression_id,
                    user_id,
                    event_time_ms: times.0,
                    input: RankingInput {
                        video_id: VideoId::new(video),
                        dense,
                        person: Arc::new(Person {
                            tokens: tokens.0,
                            history: history
                                .into_iter()
                                .map(|(video, outcomes)| HistoryItem {
                                    video_id: VideoId::new(video),
                                    outcomes,
                                })
                                .collect(),
                        }),
                        video_tokens: tokens.1.into(),
                        context_tokens: tokens.2.into(),
                    },
                    labels,
                    watch_ms: times.1,
                    duration_ms: times.2,
                }
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_example_survives_the_round_trip(
            examples in proptest::collection::vec(example(), 0..6),
            offset in 0usize..3,
        ) {
            let batch = examples_to_batch(&examples).unwrap();
            prop_assert_eq!(examples_from_batch(&batch).unwrap(), examples.clone());
            // A slice of a batch shares buffers with it: offsets must be honoured.
            let offset = offset.min(examples.len());
            let slice = batch.slice(offset, examples.len() - offset);
            prop_assert_eq!(examples_from_batch(&slice).unwrap(), examples[offset..].to_vec());
        }
    }

    #[test]
    fn another_shape_is_refused_by_column_name() {
        let batch = examples_to_batch(&[]).unwrap();
        let without = batch.project(&[0, 1, 2]).unwrap();
        let message = examples_from_batch(&without).unwrap_err().to_string();
        assert_eq!(message, "the ranking dataset has no column `event_time_ms`");

        let mut fields: Vec<Field> =
            batch.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        fields[0] = Field::new("impression_id", DataType::Int64, false);
        let mut columns = batch.columns().to_vec();
        columns[0] = Arc::new(Int64Array::from(Vec::<i64>::new()));
        let wrong = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let message = examples_from_batch(&wrong).unwrap_err().to_string();
        assert_eq!(message, "column `impression_id` of the ranking dataset is Int64, expected Utf8");
    }
}
