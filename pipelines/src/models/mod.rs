//! The models of the lake: its tables and what is made of them in SQL, each declared once with the checks that its
//! rows must pass.
//!
//! From raw to refined: tables, the latest records of people and clips, sessions, impressions joined to what came
//! of them, features of people, clips and creators, and the marts that questions are answered from. A view reads
//! tables and the views declared above it. A row of `impression_outcomes` is an impression with what the same
//! person did with it, so that rates are plain averages.

mod build;
mod check;
mod declared;

use datafusion::prelude::SessionContext;
use kinora_schema::table::Table;

pub use self::build::{Built, build};
pub use self::check::{Check, CheckReport, Checked, check};
pub use self::declared::MODELS;
use crate::error::{PipelineError, Result};

/// How refined the rows of a model are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    Raw,
    Joined,
    Features,
    Mart,
}

/// Where rows come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A table of the lake.
    Table(Table),
    /// A question to the models above.
    View(&'static str),
}

/// Rows of one kind, by a name that questions use.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    pub name: &'static str,
    pub layer: Layer,
    /// What a row is, in a sentence.
    pub about: &'static str,
    pub source: Source,
    pub checks: &'static [Check],
}

/// The models of these names; all of them where there is no name.
fn named(names: &[String]) -> Result<Vec<&'static Model>> {
    if names.is_empty() {
        return Ok(MODELS.iter().collect());
    }
    let find = |name: &String| MODELS.iter().find(|model| model.name == *name);
    names.iter().map(|name| find(name).ok_or_else(|| PipelineError::NoModel { name: name.clone() })).collect()
}

/// Registers every view in a session that has the tables.
pub(crate) async fn register(context: &SessionContext) -> Result<()> {
    for model in MODELS {
        if let Source::View(sql) = model.source {
            let plan = context.sql(sql).await.map_err(PipelineError::Read)?.into_view();
            context.register_table(model.name, plan).map_err(PipelineError::Read)?;
        }
    }
    Ok(())
}
