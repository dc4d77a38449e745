//! Events to and from Arrow: the columns of the `events` table.
//!
//! Reading takes columns by name and a null or unparsable field as that row's own defect, so that
//! one bad row never hides the others.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float32Array, Int32Array, Int64Array, RecordBatch, StringArray, StringBuilder,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float32Type, Int64Type};
use jiff::Timestamp;
use kinora_schema::event::{MAX_POSITION, SCHEMA_VERSION};
use kinora_schema::table::Table;
use kinora_schema::{CreatorId, Event, EventId, EventKind, Rejection, UserId, VideoId};
use uuid::Uuid;

use crate::error::{PipelineError, Result};

/// UTC day of a time, as the `event_date` partition names it.
pub fn event_date(time_ms: i64) -> String {
    Timestamp::from_millisecond(time_ms)
        .map_or_else(|_| "1970-01-01".to_owned(), |time| time.strftime("%Y-%m-%d").to_string())
}

/// Lays validated events out as one batch of the `events` table.
pub fn events_to_batch(events: &[Event], ingested_time_ms: i64) -> Result<RecordBatch> {
    let text = |get: fn(&Event) -> Option<&str>| -> ArrayRef {
        Arc::new(events.iter().map(get).collect::<StringArray>())
    };
    let int64 = |get: fn(&Event) -> Option<i64>| -> ArrayRef {
        Arc::new(events.iter().map(get).collect::<Int64Array>())
    };
    let mut event_ids = StringBuilder::with_capacity(events.len(), events.len() * 36);
    let mut impression_ids = StringBuilder::new();
    let mut features = StringBuilder::new();
    let mut buffer = Uuid::encode_buffer();
    for event in events {
        event_ids.append_value(&*event.event_id.0.hyphenated().encode_lower(&mut buffer));
        match event.impression_id {
            Some(id) => impression_ids.append_value(&*id.0.hyphenated().encode_lower(&mut buffer)),
            None => impression_ids.append_null(),
        }
        features.append_option(features_json(&event.features));
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(event_ids.finish()),
        Arc::new(events.iter().map(|event| Some(i32::from(event.schema_version))).collect::<Int32Array>()),
        text(|event| Some(event.kind.as_str())),
        int64(|event| Some(event.event_time_ms)),
        Arc::new(Int64Array::from_value(ingested_time_ms, events.len())),
        text(|event| Some(event.user_id.as_str())),
        text(|event| Some(event.video_id.as_str())),
        text(|event| event.creator_id.as_ref().map(CreatorId::as_str)),
        Arc::new(impression_ids.finish()),
        int64(|event| event.watch_ms),
        int64(|event| event.duration_ms),
        Arc::new(events.iter().map(|event| event.position).collect::<Int32Array>()),
        text(|event| event.surface.as_deref()),
        text(|event| event.policy.as_deref()),
        Arc::new(events.iter().map(|event| event.propensity).collect::<Float32Array>()),
        Arc::new(features.finish()),
        dates(events),
    ];
    RecordBatch::try_new(Table::Events.schema(), columns).map_err(PipelineError::Arrow)
}

fn features_json(features: &BTreeMap<String, f32>) -> Option<String> {
    if features.is_empty() { None } else { serde_json::to_string(features).ok() }
}

/// Neighbouring events mostly share a day, so that it is formatted once a run of them.
fn dates(events: &[Event]) -> ArrayRef {
    const DAY_MS: i64 = 86_400_000;
    let mut builder = StringBuilder::with_capacity(events.len(), events.len() * 10);
    let (mut day, mut date) = (i64::MIN, String::new());
    for event in events {
        let event_day = event.event_time_ms.div_euclid(DAY_MS);
        if event_day != day {
            (day, date) = (event_day, event_date(event.event_time_ms));
        }
        builder.append_value(&date);
    }
    Arc::new(builder.finish())
}

/// The columns of a batch that hold events, checked once; rows are read one at a time.
#[derive(Debug)]
pub(crate) struct EventColumns {
    event_id: StringArray,
    kind: StringArray,
    event_time_ms: Int64Array,
    user_id: StringArray,
    video_id: StringArray,
    schema_version: Option<Int64Array>,
    creator_id: Option<StringArray>,
    impression_id: Option<StringArray>,
    watch_ms: Option<Int64Array>,
    duration_ms: Option<Int64Array>,
    position: Option<Int64Array>,
    surface: Option<StringArray>,
    policy: Option<StringArray>,
    propensity: Option<Float32Array>,
    features: Option<StringArray>,
}

impl EventColumns {
    /// `path` is only for the message when the schema is wrong.
    pub(crate) fn of(batch: &RecordBatch, path: &Path) -> Result<Self> {
        let read = Reader { batch, path };
        Ok(Self {
            event_id: read.required("event_id", &DataType::Utf8)?.as_string().clone(),
            kind: read.required("kind", &DataType::Utf8)?.as_string().clone(),
            event_time_ms: read.required("event_time_ms", &DataType::Int64)?.as_primitive().clone(),
            user_id: read.required("user_id", &DataType::Utf8)?.as_string().clone(),
            video_id: read.required("video_id", &DataType::Utf8)?.as_string().clone(),
            schema_version: read.int64("schema_version")?,
            creator_id: read.text("creator_id")?,
            impression_id: read.text("impression_id")?,
            watch_ms: read.int64("watch_ms")?,
            duration_ms: read.int64("duration_ms")?,
            position: read.int64("position")?,
            surface: read.text("surface")?,
            policy: read.text("policy")?,
            propensity: read
                .optional("propensity", &DataType::Float32)?
                .map(|array| array.as_primitive::<Float32Type>().clone()),
            features: read.text("features")?,
        })
    }

    /// The event in `row`, not yet validated.
    pub(crate) fn event(&self, row: usize) -> Result<Event, Rejection> {
        Ok(Event {
            event_id: parse_id("event_id", needed("event_id", &self.event_id, row)?)?,
            schema_version: match value(self.schema_version.as_ref(), row) {
                None => SCHEMA_VERSION,
                Some(version) => u16::try_from(version).map_err(|_| {
                    Rejection::Malformed(format!(
                        "`schema_version` is {version}, expected a small positive number"
                    ))
                })?,
            },
            kind: parse_kind(needed("kind", &self.kind, row)?)?,
            event_time_ms: value(Some(&self.event_time_ms), row)
                .ok_or(Rejection::Empty { field: "event_time_ms" })?,
            user_id: UserId::new(needed("user_id", &self.user_id, row)?),
            video_id: VideoId::new(needed("video_id", &self.video_id, row)?),
            creator_id: text(self.creator_id.as_ref(), row).map(CreatorId::new),
            impression_id: text(self.impression_id.as_ref(), row)
                .map(|id| parse_id("impression_id", id))
                .transpose()?,
            watch_ms: value(self.watch_ms.as_ref(), row),
            // Where it is unknown, some write 0.
            duration_ms: value(self.duration_ms.as_ref(), row).filter(|&duration_ms| duration_ms != 0),
            position: value(self.position.as_ref(), row).map(parse_position).transpose()?,
            surface: text(self.surface.as_ref(), row).map(str::to_owned),
            policy: text(self.policy.as_ref(), row).map(str::to_owned),
            propensity: value(self.propensity.as_ref(), row),
            features: match text(self.features.as_ref(), row) {
                None => BTreeMap::new(),
                Some(json) => serde_json::from_str(json)
                    .map_err(|error| Rejection::Malformed(format!("`features`: {error}")))?,
            },
        })
    }
}

fn needed<'a>(field: &'static str, column: &'a StringArray, row: usize) -> Result<&'a str, Rejection> {
    text(Some(column), row).ok_or(Rejection::Empty { field })
}

fn parse_id(field: &str, id: &str) -> Result<EventId, Rejection> {
    Uuid::try_parse(id).map(EventId).map_err(|_| Rejection::Malformed(format!("`{field}` is not a UUID")))
}

fn parse_position(position: i64) -> Result<i32, Rejection> {
    let refused = |_| Rejection::OutOfRange {
        field: "position",
        value: position.to_string(),
        low: 0,
        high: MAX_POSITION,
    };
    i32::try_from(position).map_err(refused)
}

fn parse_kind(name: &str) -> Result<EventKind, Rejection> {
    EventKind::parse(name).ok_or_else(|| Rejection::Malformed(format!("`kind` is `{}`", name.escape_debug())))
}

pub(crate) fn text(column: Option<&StringArray>, row: usize) -> Option<&str> {
    column.filter(|column| column.is_valid(row)).map(|column| column.value(row))
}

pub(crate) fn value<T: arrow::datatypes::ArrowPrimitiveType>(
    column: Option<&arrow::array::PrimitiveArray<T>>,
    row: usize,
) -> Option<T::Native> {
    column.filter(|column| column.is_valid(row)).map(|column| column.value(row))
}

/// Takes columns by name, as the type asked for where that loses nothing.
pub(crate) struct Reader<'a> {
    pub(crate) batch: &'a RecordBatch,
    pub(crate) path: &'a Path,
}

impl Reader<'_> {
    pub(crate) fn required(&self, column: &str, expected: &DataType) -> Result<ArrayRef> {
        self.optional(column, expected)?.ok_or_else(|| PipelineError::MissingColumn {
            path: self.path.to_owned(),
            column: column.to_owned(),
        })
    }

    pub(crate) fn optional(&self, column: &str, expected: &DataType) -> Result<Option<ArrayRef>> {
        let Some(array) = self.batch.column_by_name(column) else { return Ok(None) };
        let found = array.data_type();
        if found == expected {
            return Ok(Some(Arc::clone(array)));
        }
        if !same_kind(found, expected) {
            return Err(PipelineError::ColumnType {
                path: self.path.to_owned(),
                column: column.to_owned(),
                found: found.to_string(),
                expected: expected.to_string(),
            });
        }
        // The other way of casting makes a null of what does not fit.
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(array, expected, &strict).map(Some).map_err(|source| PipelineError::ColumnValue {
            path: self.path.to_owned(),
            column: column.to_owned(),
            expected: expected.to_string(),
            source,
        })
    }

    pub(crate) fn text(&self, column: &str) -> Result<Option<StringArray>> {
        Ok(self.optional(column, &DataType::Utf8)?.map(|array| array.as_string().clone()))
    }

    pub(crate) fn int64(&self, column: &str) -> Result<Option<Int64Array>> {
        Ok(self.optional(column, &DataType::Int64)?.map(|array| array.as_primitive::<Int64Type>().clone()))
    }
}

/// Whether two types differ only in width or layout. A null column fits anything.
fn same_kind(found: &DataType, expected: &DataType) -> bool {
    let is_text = |data_type: &DataType| match data_type {
        DataType::Dictionary(_, value) => value.is_string(),
        other => other.is_string(),
    };
    found.is_null()
        || (is_text(found) && is_text(expected))
        || (found.is_integer() && expected.is_integer())
        || (found.is_floating() && expected.is_floating())
}
