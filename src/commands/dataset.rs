//! `kinora dataset`: what the trainers read, from the lake.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use kinora_pipelines::dataset::splits_by_time;
use kinora_pipelines::sequences::write_sequences;
use kinora_pipelines::{AsOf, DatasetOptions, Split, build_ranking};
use kinora_schema::UserId;
use kinora_schema::ranking::{DatasetManifest, SplitManifest};

use super::engine::EngineArgs;
use super::lake::{open_lake, shown};
use crate::Context;

pub(crate) const DAY_MS: i64 = 86_400_000;

#[derive(Debug, Subcommand)]
pub(crate) enum Kind {
    /// Examples for the ranker: each impression with features that saw only what came before it.
    Ranking(Ranking),
    /// Histories for retrieval: lines of `user item`, each person's in the order in which they wanted them.
    Sequences(Sequences),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Sequences {
    /// File that receives the lines, compressed where its name ends in `.gz`.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Ranking {
    /// Directory that receives the Parquet files and `manifest.json`.
    #[arg(long)]
    out: PathBuf,
    /// A split as `NAME=FIRST..LAST`, days inclusive, for example `train=2022-04-25..2022-04-28`; repeat
    /// for more [default: `train`, and `eval` with the last fifth of the days].
    #[arg(long = "split", value_name = "NAME=DAY..DAY")]
    splits: Vec<String>,
    /// Where the splits' days begin and end, as an offset from UTC such as `+08:00`.
    #[arg(long, default_value = "+00:00", allow_hyphen_values = true, value_parser = parse_offset)]
    utc_offset: Offset,
    /// Leaves out what was ingested after this time, such as 2026-04-28T06:00:00Z: late events change nothing.
    #[arg(long, value_name = "TIME")]
    ingested_until: Option<Timestamp>,
    /// Build the training set of this manifest again: the same versions of the tables, cutoff and splits. Its
    /// files have the same bytes, unless people have since been erased or have turned personalisation off.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["splits", "utc_offset", "ingested_until"])]
    again: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(crate) async fn run(kind: Kind, context: &Context) -> anyhow::Result<()> {
    let lake = open_lake(context).await?;
    // Those who turned personalisation off are left out of training, not only of scoring.
    let opted_out =
        kinora_serving::people::opted_out_of_personalisation(&context.config.storage.state()).await?;
    let ranking = match kind {
        Kind::Ranking(ranking) => ranking,
        Kind::Sequences(Sequences { out }) => {
            let report = write_sequences(&lake, &out, &opted_out).await?;
            context.output.result(&report, || {
                format!("histories of {} people in {}: {} lines", report.people, out.display(), report.lines)
            })?;
            return Ok(());
        }
    };
    let lake = lake.on(ranking.engine.chosen()?);
    let options = match &ranking.again {
        Some(path) => again(path, opted_out)?,
        None => {
            let splits = if ranking.splits.is_empty() {
                splits_by_time(&lake, 0.2).await?
            } else {
                let parse = |text: &String| parse_split(text, ranking.utc_offset);
                ranking.splits.iter().map(parse).collect::<anyhow::Result<_>>()?
            };
            let ingested_until_ms = ranking.ingested_until.map(Timestamp::as_millisecond);
            DatasetOptions { splits, opted_out, as_of: AsOf { ingested_until_ms, ..AsOf::default() } }
        }
    };
    let manifest = shown("dataset", context.output.progress(), async |progress| {
        build_ranking(&lake, &ranking.out, &options, progress).await
    })
    .await?;
    context.output.result(&manifest, || {
        let mut text = format!("training set in {}", ranking.out.display());
        for split in &manifest.splits {
            text += &format!("\n  {:<8} {:>9} examples  {}", split.name, split.rows, split.file);
            if split.logged_rows > 0 {
                text += &format!(" ({} with the features they were shown by)", split.logged_rows);
            }
        }
        text
    })?;
    Ok(())
}

/// What a manifest says of the training set beside it.
fn again(path: &Path, opted_out: HashSet<UserId>) -> anyhow::Result<DatasetOptions> {
    let json = fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let manifest: DatasetManifest = serde_json::from_slice(&json)
        .with_context(|| format!("`{}` is not the manifest of a training set", path.display()))?;
    let DatasetManifest { splits, table_versions: versions, ingested_until_ms, .. } = manifest;
    let splits = splits
        .into_iter()
        .map(|SplitManifest { name, from_ms, until_ms, .. }| Split { name, from_ms, until_ms })
        .collect();
    Ok(DatasetOptions { splits, opted_out, as_of: AsOf { versions, ingested_until_ms } })
}

/// `YYYY-MM-DD` to the UTC milliseconds of its beginning.
pub(crate) fn parse_day(text: &str) -> Result<i64, String> {
    day_start_ms(text, Offset::UTC).map_err(|error| format!("`{text}` is not a day as YYYY-MM-DD: {error}"))
}

fn day_start_ms(text: &str, offset: Offset) -> Result<i64, jiff::Error> {
    let day: Date = text.parse()?;
    Ok(day.to_zoned(TimeZone::fixed(offset))?.timestamp().as_millisecond())
}

fn parse_offset(text: &str) -> Result<Offset, String> {
    let wrong = || format!("`{text}` is not an offset such as +08:00");
    let (sign, rest) = match text.split_at_checked(1) {
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        _ => return Err(wrong()),
    };
    let (hours, minutes) = rest.split_once(':').ok_or_else(wrong)?;
    let hours: i32 = hours.parse().map_err(|_| wrong())?;
    let minutes: i32 = minutes.parse().map_err(|_| wrong())?;
    if !(0..=14).contains(&hours) || !(0..60).contains(&minutes) {
        return Err(wrong());
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).map_err(|_| wrong())
}

fn parse_split(text: &str, offset: Offset) -> anyhow::Result<Split> {
    let wrong =
        || anyhow::anyhow!("`--split {text}` is not NAME=FIRST..LAST, such as train=2022-04-25..2022-04-28");
    let (name, days) = text.split_once('=').ok_or_else(wrong)?;
    let (first, last) = days.split_once("..").ok_or_else(wrong)?;
    let from_ms = day_start_ms(first, offset).map_err(|_| wrong())?;
    let until_ms = day_start_ms(last, offset).map_err(|_| wrong())? + DAY_MS;
    anyhow::ensure!(from_ms < until_ms, "`--split {text}` ends before it begins");
    Ok(Split { name: name.to_owned(), from_ms, until_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_whole_days_where_the_offset_says() {
        let split = parse_split("train=2022-04-25..2022-04-28", parse_offset("+08:00").unwrap()).unwrap();
        assert_eq!(split.until_ms - split.from_ms, 4 * DAY_MS);
        assert_eq!(split.from_ms, parse_day("2022-04-25").unwrap() - 8 * 3_600_000);
    }

    #[test]
    fn malformed_splits_and_offsets_are_refused() {
        for text in ["train", "train=", "train=2022-04-25", "t=2022-04-28..2022-04-25", "t=a..b"] {
            assert!(parse_split(text, Offset::UTC).is_err(), "{text}");
        }
        for text in ["", "8", "+8", "+99:00", "+08:99", "+-8:00"] {
            assert!(parse_offset(text).is_err(), "{text}");
        }
    }
}
