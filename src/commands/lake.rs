//! `kinora lake`: what is in the lake and whether it is sound; and what the data commands share: opening the
//! lake, showing progress, saying what was refused.

use anyhow::Context as _;
use clap::Subcommand;
use kinora_harness::progress::{Mode, Progress as Bar};
use kinora_pipelines::models::{Layer, MODELS, Source};
use kinora_pipelines::{IngestReport, Lake, OnProgress};
use serde::Serialize;

use crate::Context;

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// List the lake's tables and views with what their rows are.
    Models,
    /// Check what must hold of every table and view: nulls, uniqueness, ranges, references.
    ///
    /// Ends with 1 where a row fails a check.
    Check(CheckArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// Check these models only.
    #[arg(value_name = "MODEL")]
    models: Vec<String>,
}

pub(crate) async fn run(action: Action, context: &Context) -> anyhow::Result<()> {
    match action {
        Action::Models => Ok(context.output.result(&listed(), list)?),
        Action::Check(args) => check(&args.models, context).await,
    }
}

#[derive(Serialize)]
struct Listed {
    name: &'static str,
    layer: Layer,
    kind: &'static str,
    about: &'static str,
    checks: usize,
}

fn listed() -> Vec<Listed> {
    MODELS
        .iter()
        .map(|model| Listed {
            name: model.name,
            layer: model.layer,
            kind: if matches!(model.source, Source::Table(_)) { "table" } else { "view" },
            about: model.about,
            checks: model.checks.len(),
        })
        .collect()
}

fn list() -> String {
    let line = |it: &Listed| {
        let layer = format!("{:?}", it.layer).to_lowercase();
        format!("{:<24}{:<8}{layer:<10}{:>6} checks  {}", it.name, it.kind, it.checks, it.about)
    };
    listed().iter().map(line).collect::<Vec<_>>().join("\n")
}

async fn check(models: &[String], context: &Context) -> anyhow::Result<()> {
    let lake = open_lake(context).await?;
    let report = kinora_pipelines::models::check(&lake, models).await?;
    let failed: Vec<_> = report.failed().collect();
    context.output.result(&report, || {
        let mut text = format!("{} checks of {} models", report.checks.len(), report.models);
        for checked in &failed {
            text +=
                &format!("\n{:<24}{:>10} rows fail  {}", checked.model, checked.failed_rows, checked.check);
        }
        text
    })?;
    match failed.len() {
        0 => Ok(()),
        1 => anyhow::bail!("one check fails"),
        more => anyhow::bail!("{more} checks fail"),
    }
}

pub(crate) async fn open_lake(context: &Context) -> anyhow::Result<Lake> {
    let storage = &context.config.storage;
    let dir = storage.lake();
    storage.create_data_dir().with_context(|| format!("cannot create {}", storage.data_dir.display()))?;
    Lake::open(&dir).await.with_context(|| format!("cannot open the lake in {}", dir.display()))
}

/// Runs `work` with its progress shown, one bar a stage.
pub(crate) async fn shown<T, E>(
    label: &str,
    mode: Mode,
    work: impl AsyncFnOnce(OnProgress<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let mut bar: Option<(&'static str, Bar)> = None;
    let mut report = |progress: kinora_pipelines::Progress| {
        if bar.as_ref().is_none_or(|(stage, _)| *stage != progress.stage) {
            let total = progress.total.unwrap_or(0);
            bar = Some((progress.stage, Bar::new(format!("{label}: {}", progress.stage), total, mode)));
        }
        if let Some((_, bar)) = &mut bar {
            bar.set(progress.done, "");
        }
    };
    work(&mut report).await
}

/// What did not enter, and the first example of why, for the end of a sentence.
pub(crate) fn refused(report: &IngestReport) -> String {
    let mut text = String::new();
    if report.duplicates > 0 {
        text += &format!("; {} were there already", report.duplicates);
    }
    if report.quarantined > 0 {
        text += &format!("; {} rows quarantined", report.quarantined);
        if let Some(first) = &report.first_refused {
            text += &format!(" (row {}: {})", first.row, first.reason);
        }
    }
    text
}
