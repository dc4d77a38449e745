//! `kinora lake`: what is in the lake and whether it is sound; and what the data commands share: opening the
//! lake, showing progress, saying what was refused.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use jiff::Timestamp;
use kinora_harness::progress::{Mode, Progress as Bar};
use kinora_pipelines::lake::{Retained, Version};
use kinora_pipelines::models::{Layer, MODELS, Source};
use kinora_pipelines::{AsOf, IngestReport, Lake, OnProgress, Retention};
use kinora_schema::UserId;
use kinora_schema::table::Table;
use serde::Serialize;
use serde_json::json;

use super::engine::EngineArgs;
use crate::Context;

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// List the lake's tables and views with what their rows are.
    Models,
    /// Check what must hold of every table and view: nulls, uniqueness, ranges, references.
    ///
    /// Ends with 1 where a row fails a check.
    Check(CheckArgs),
    /// Write views as Parquet files, all unless named: what is asked again and again is worked out once.
    Build(BuildArgs),
    /// List the versions of a table that can still be read.
    History(HistoryArgs),
    /// Let go of what has been kept for long enough: old events, refused rows, earlier versions.
    ///
    /// The server does it once a day; `[lake]` in the configuration says how long what is kept.
    Retain,
    /// Take a person out of every table.
    ///
    /// What others did stays and no longer names them. Earlier versions of the tables go with `kinora lake retain`, or
    /// at once with `--now`.
    Erase(EraseArgs),
    /// Find what is left of a person: every file of the lake is read. Ends with 1 where there is something.
    Traces(PersonArgs),
    /// Write what the lake holds of a person into a new directory, as Parquet and as JSON lines.
    Export(ExportArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct BuildArgs {
    #[arg(value_name = "MODEL")]
    models: Vec<String>,
    /// The directory of the files.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArgs {
    /// The table: events, users, videos, histories or quarantine.
    #[arg(default_value = "events")]
    table: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PersonArgs {
    /// The person's id.
    #[arg(long, value_name = "ID")]
    user: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct EraseArgs {
    #[command(flatten)]
    person: PersonArgs,
    /// Let go of all earlier versions too: nothing can be read as it was any more, and who is reading an earlier
    /// version fails.
    #[arg(long)]
    now: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    person: PersonArgs,
    /// A new directory.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
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
        Action::Build(args) => build(&args, context).await,
        Action::History(args) => history(&args.table, context).await,
        Action::Retain => retain(context).await,
        Action::Erase(args) => erase(&args, context).await,
        Action::Traces(args) => traces(&args.user, context).await,
        Action::Export(args) => export(&args, context).await,
    }
}

async fn build(args: &BuildArgs, context: &Context) -> anyhow::Result<()> {
    let lake = open_lake(context).await?.on(args.engine.chosen()?);
    let built = kinora_pipelines::models::build(&lake, &args.models, &args.out, &AsOf::default()).await?;
    Ok(context.output.result(&built, || {
        let line = |(model, rows): (&String, &u64)| format!("{model:<24}{rows:>12} rows");
        built.rows.iter().map(line).collect::<Vec<_>>().join("\n")
    })?)
}

async fn history(name: &str, context: &Context) -> anyhow::Result<()> {
    let Some(table) = Table::ALL.into_iter().find(|table| table.name() == name) else {
        let names = Table::ALL.map(Table::name).join(", ");
        anyhow::bail!("there is no table `{}`: there are {names}", name.escape_debug());
    };
    let versions = open_lake(context).await?.history(table).await?;
    let line = |it: &Version| {
        let time = Timestamp::from_millisecond(it.time_ms).map(|time| time.to_string()).unwrap_or_default();
        format!("{:>8}  {time:<26}{}", it.version, it.operation)
    };
    Ok(context.output.result(&versions, || versions.iter().map(line).collect::<Vec<_>>().join("\n"))?)
}

async fn retain(context: &Context) -> anyhow::Result<()> {
    let lake = open_lake(context).await?;
    let retained = lake.retain(&context.config.lake.retention(), Timestamp::now().as_millisecond()).await?;
    Ok(context.output.result(&retained, || told(&retained))?)
}

fn told(retained: &Retained) -> String {
    let Retained { dropped_days, dropped_quarantine_rows, deleted_files, deleted_log_entries } = retained;
    format!(
        "dropped {} days of events and {dropped_quarantine_rows} refused rows; deleted {deleted_files} files and \
         {deleted_log_entries} entries of histories",
        dropped_days.len()
    )
}

async fn erase(args: &EraseArgs, context: &Context) -> anyhow::Result<()> {
    let (lake, user) = (open_lake(context).await?, person(&args.person)?);
    // What waits in the log would come in afterwards.
    super::compact::move_log(&lake, context).await?;
    let erased = lake.erase(&user).await?;
    let retained = if args.now {
        let history = Retention { history: Duration::ZERO, ..context.config.lake.retention() };
        Some(lake.retain(&history, Timestamp::now().as_millisecond()).await?)
    } else {
        None
    };
    let days = context.config.lake.history_days;
    context.output.result(&json!({ "erased": erased, "retained": retained }), || {
        let rows: u64 = erased.removed_rows.values().sum();
        let after = match &retained {
            Some(retained) => told(retained),
            None => format!(
                "earlier versions hold them for {days} days more, and one until the next `lake retain`"
            ),
        };
        format!("removed {rows} rows, and the name from {} of others; {after}", erased.anonymised_rows)
    })?;
    Ok(())
}

async fn traces(user: &str, context: &Context) -> anyhow::Result<()> {
    let user = person(&PersonArgs { user: user.to_owned() })?;
    let traces = open_lake(context).await?.traces(&user).await?;
    context.output.result(&traces, || {
        let mut text = format!("read {} files, {} bytes", traces.files, traces.bytes);
        for trace in &traces.found {
            let place = if trace.is_history { "history" } else { "now" };
            text += &format!("\n{:>8} values  {place:<8}{}", trace.values, trace.file.display());
        }
        text
    })?;
    match traces.found.len() {
        0 => Ok(()),
        1 => anyhow::bail!("one file names the person"),
        more => anyhow::bail!("{more} files name the person"),
    }
}

async fn export(args: &ExportArgs, context: &Context) -> anyhow::Result<()> {
    let (lake, user) = (open_lake(context).await?, person(&args.person)?);
    super::compact::move_log(&lake, context).await?;
    let exported = lake.export(&user, &args.out).await?;
    Ok(context.output.result(&exported, || {
        let rows = exported.rows.iter().map(|(table, rows)| format!("{rows} {table}"));
        format!("wrote {} to {}", rows.collect::<Vec<_>>().join(", "), args.out.display())
    })?)
}

fn person(args: &PersonArgs) -> anyhow::Result<UserId> {
    anyhow::ensure!(!args.user.trim().is_empty(), "`--user` is empty: give a person's id");
    Ok(UserId::new(args.user.clone()))
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
