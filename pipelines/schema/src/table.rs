//! Arrow schemas of the lake's tables. Each table is declared once, here.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

/// A table of the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Every accepted event, once, partitioned by UTC day.
    Events,
    /// Rows that did not enter, with the reason.
    Quarantine,
    /// What is known of each person: `name=value` attributes.
    Users,
    /// What is known of each clip.
    Videos,
    /// Imported histories whose times are unknown: order only.
    Histories,
}

impl Table {
    pub const ALL: [Self; 5] = [Self::Events, Self::Quarantine, Self::Users, Self::Videos, Self::Histories];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Quarantine => "quarantine",
            Self::Users => "users",
            Self::Videos => "videos",
            Self::Histories => "histories",
        }
    }

    /// Columns that the table is partitioned by.
    pub const fn partitions(self) -> &'static [&'static str] {
        match self {
            Self::Events => &["event_date"],
            Self::Quarantine | Self::Users | Self::Videos | Self::Histories => &[],
        }
    }

    /// Whether its rows say when they came in.
    pub const fn has_ingested_time(self) -> bool {
        !matches!(self, Self::Histories)
    }

    pub fn schema(self) -> SchemaRef {
        let fields = match self {
            Self::Events => vec![
                required("event_id", DataType::Utf8),
                required("schema_version", DataType::Int32),
                required("kind", DataType::Utf8),
                required("event_time_ms", DataType::Int64),
                required("ingested_time_ms", DataType::Int64),
                required("user_id", DataType::Utf8),
                required("video_id", DataType::Utf8),
                optional("creator_id", DataType::Utf8),
                optional("impression_id", DataType::Utf8),
                optional("watch_ms", DataType::Int64),
                optional("duration_ms", DataType::Int64),
                optional("position", DataType::Int32),
                optional("surface", DataType::Utf8),
                optional("policy", DataType::Utf8),
                optional("propensity", DataType::Float32),
                // A JSON object of name to number.
                optional("features", DataType::Utf8),
                // `YYYY-MM-DD` in UTC of `event_time_ms`.
                required("event_date", DataType::Utf8),
            ],
            Self::Quarantine => vec![
                required("source", DataType::Utf8),
                required("row", DataType::Int64),
                required("reason", DataType::Utf8),
                required("raw", DataType::Utf8),
                required("ingested_time_ms", DataType::Int64),
            ],
            Self::Users => vec![
                required("user_id", DataType::Utf8),
                // `name=value` strings, as a JSON array.
                required("attributes", DataType::Utf8),
                required("ingested_time_ms", DataType::Int64),
            ],
            Self::Videos => vec![
                required("video_id", DataType::Utf8),
                optional("creator_id", DataType::Utf8),
                optional("duration_ms", DataType::Int64),
                optional("created_time_ms", DataType::Int64),
                optional("topic", DataType::Utf8),
                optional("caption", DataType::Utf8),
                // `name=value` strings, as a JSON array.
                required("attributes", DataType::Utf8),
                required("ingested_time_ms", DataType::Int64),
            ],
            Self::Histories => vec![
                required("user_id", DataType::Utf8),
                // Zero is the oldest.
                required("ordinal", DataType::Int32),
                required("video_id", DataType::Utf8),
                required("outcomes", DataType::Int32),
                // Everything in the row happened before this time.
                required("before_ms", DataType::Int64),
            ],
        };
        Arc::new(Schema::new(fields))
    }
}

fn required(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

fn optional(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}
