//! What must hold of a model's rows: checks enter, how many rows fail each of them leaves.

use std::fmt::Write as _;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use serde::Serialize;

use super::Model;
use crate::catalog::for_each_batch;
use crate::error::Result;
use crate::lake::Lake;

/// What must hold of every row of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Check {
    /// None of these columns is null.
    NotNull(&'static [&'static str]),
    /// No two rows agree in all of these columns.
    Unique(&'static [&'static str]),
    /// The column lies between, where it is not null.
    Between { column: &'static str, low: f64, high: f64 },
    /// The column is one of these texts, where it is not null.
    OneOf { column: &'static str, values: &'static [&'static str] },
    /// The column, where it is not null, is found in a column of another model.
    Found { column: &'static str, model: &'static str, in_column: &'static str },
    /// A condition in SQL, of one row.
    Holds { what: &'static str, condition: &'static str },
}

/// A check and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    pub model: &'static str,
    pub check: String,
    /// Rows that fail it.
    pub failed_rows: i64,
}

/// What became of all checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    pub models: usize,
    pub checks: Vec<Checked>,
}

impl CheckReport {
    /// Checks that some row fails.
    pub fn failed(&self) -> impl Iterator<Item = &Checked> {
        self.checks.iter().filter(|checked| checked.failed_rows > 0)
    }
}

/// Checks the models of these names; all of them where there is no name.
///
/// # Errors
///
/// A name that is no model's, and tables that cannot be read.
pub async fn check(lake: &Lake, names: &[String]) -> Result<CheckReport> {
    let models = super::named(names)?;
    let context = lake.session().await?;
    let mut checks = Vec::new();
    for model in &models {
        for check in model.checks {
            let mut failed_rows = 0;
            for_each_batch(&context, &check.sql(model), |batch| {
                failed_rows += batch.column(0).as_primitive::<Int64Type>().iter().flatten().sum::<i64>();
                Ok(())
            })
            .await?;
            checks.push(Checked { model: model.name, check: check.said(), failed_rows });
        }
    }
    Ok(CheckReport { models: models.len(), checks })
}

impl Check {
    /// A question whose answer is the number of rows that fail.
    fn sql(&self, model: &Model) -> String {
        let name = model.name;
        match self {
            Self::NotNull(columns) => {
                let any: Vec<String> = columns.iter().map(|column| format!("{column} is null")).collect();
                format!("select count(*) from {name} where {}", any.join(" or "))
            }
            Self::Unique(columns) => {
                let columns = columns.join(", ");
                format!(
                    "select coalesce(sum(n - 1), 0) from (
                        select count(*) as n from {name} group by {columns} having count(*) > 1
                    )"
                )
            }
            Self::Between { column, low, high } => {
                // A comparison with what is not a number says neither.
                format!(
                    "select count(*) from {name} where {column} is not null and not ({column} >= {low} and {column} <= {high})"
                )
            }
            Self::OneOf { column, values } => {
                let values: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
                format!("select count(*) from {name} where {column} not in ({})", values.join(", "))
            }
            Self::Found { column, model, in_column } => format!(
                "select count(*) from {name} a left anti join {model} b on a.{column} = b.{in_column}
                where a.{column} is not null"
            ),
            Self::Holds { condition, .. } => {
                format!("select count(*) from {name} where not coalesce({condition}, false)")
            }
        }
    }

    /// The check in words.
    fn said(&self) -> String {
        match self {
            Self::NotNull(columns) => format!("not null: {}", columns.join(", ")),
            Self::Unique(columns) => format!("unique: {}", columns.join(", ")),
            Self::Between { column, low, high } if high.is_finite() && *high < 1e15 => {
                format!("{column} between {low} and {high}")
            }
            Self::Between { column, low, .. } => format!("{column} at least {low}"),
            Self::OneOf { column, values } => {
                let mut text = format!("{column} one of");
                for value in *values {
                    let _ = write!(text, " {value}");
                }
                text
            }
            Self::Found { column, model, in_column } => format!("{column} found in {model}.{in_column}"),
            Self::Holds { what, .. } => (*what).to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use kinora_schema::EventKind;
    use kinora_schema::table::Table;
    use tempfile::TempDir;

    use super::*;
    use crate::fixtures::{NOW_MS, START_MS, event, impressions, outcome};
    use crate::ingest::ingest_events;
    use crate::models::{MODELS, Source};
    use crate::simulate::{SimulationConfig, load_simulation, simulate};

    #[tokio::test]
    async fn a_simulated_lake_passes_every_check() {
        let directory = TempDir::new().unwrap();
        let lake = Lake::open(directory.path()).await.unwrap();
        let empty = check(&lake, &[]).await.unwrap();
        assert_eq!(empty.failed().count(), 0, "an empty lake: {:?}", empty.failed().collect::<Vec<_>>());
        let config =
            SimulationConfig { users: 20, videos: 30, days: 3, ..SimulationConfig::new(5, START_MS) };
        load_simulation(&lake, &simulate(&config).unwrap(), NOW_MS).await.unwrap();
        let report = check(&lake, &[]).await.unwrap();
        assert_eq!(report.failed().collect::<Vec<_>>(), Vec::<&Checked>::new());
        assert_eq!(report.models, MODELS.len());
        assert!(report.checks.len() > 60, "{}", report.checks.len());
    }

    #[tokio::test]
    async fn rows_that_should_not_be_are_counted() {
        let directory = TempDir::new().unwrap();
        let lake = Lake::open(directory.path()).await.unwrap();
        let shown = impressions(3);
        // Past the ingest's own checks, as another writer of the table could.
        let mut wrong = shown[0].clone();
        wrong.watch_ms = Some(-5);
        let strange = event(50, EventKind::Impression, START_MS, "", "v1");
        let orphan =
            outcome(51, EventKind::Click, 5, &event(99, EventKind::Impression, START_MS, "u1", "v1"));
        let batch = crate::event_batch::events_to_batch(&[wrong, strange, orphan], NOW_MS).unwrap();
        lake.append_in_transaction(Table::Events, batch, "test", 1).await.unwrap();
        ingest_events(&lake, "test", shown, NOW_MS).await.unwrap();
        let report = check(&lake, &["events".to_owned()]).await.unwrap();
        let failed: HashSet<(&str, i64)> =
            report.failed().map(|checked| (checked.check.as_str(), checked.failed_rows)).collect();
        for expected in [("watch_ms between 0 and 86400000", 1), ("ids are not empty", 1)] {
            assert!(failed.contains(&expected), "{failed:?}");
        }
        let error = check(&lake, &["evnts".to_owned()]).await.unwrap_err().to_string();
        assert!(error.contains("evnts") && error.contains("events") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn every_table_is_a_model_and_names_are_given_once() {
        let names: HashSet<&str> = MODELS.iter().map(|model| model.name).collect();
        assert_eq!(names.len(), MODELS.len());
        for table in Table::ALL {
            assert!(MODELS.iter().any(|model| model.source == Source::Table(table)), "{}", table.name());
        }
        assert!(MODELS.iter().all(|model| !model.checks.is_empty()));
    }
}
