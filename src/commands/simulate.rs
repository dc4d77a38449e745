//! `kinora simulate`: a platform's worth of events from people whose tastes are known.

use std::path::PathBuf;

use anyhow::Context as _;
use kinora_pipelines::simulate::{SimulationConfig, load_simulation, simulate};
use kinora_serving::clock::Clock;
use serde_json::json;

use super::dataset::{DAY_MS, parse_day};
use super::lake::{open_lake, refused};
use crate::Context;

/// Fill the lake with a seeded platform simulation whose truth is known.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long, default_value_t = 300)]
    users: usize,
    #[arg(long, default_value_t = 240)]
    videos: usize,
    #[arg(long, default_value_t = 24)]
    creators: usize,
    #[arg(long, default_value_t = 7)]
    days: u32,
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// First day, `YYYY-MM-DD` in UTC [default: so that the last day is yesterday].
    #[arg(long, value_parser = parse_day)]
    start: Option<i64>,
    /// Write each person's taste and each clip's traits to this JSON file.
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let now_ms = Clock::system().now_ms();
    let start_ms = args.start.unwrap_or_else(|| (now_ms.div_euclid(DAY_MS) - i64::from(args.days)) * DAY_MS);
    let config = SimulationConfig {
        users: args.users,
        videos: args.videos,
        creators: args.creators,
        days: args.days,
        ..SimulationConfig::new(args.seed, start_ms)
    };
    let lake = open_lake(context).await?;
    let simulation = simulate(&config)?;
    if let Some(path) = &args.truth {
        let truth = serde_json::to_vec(&simulation.truth)?;
        std::fs::write(path, truth).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let report = load_simulation(&lake, &simulation, now_ms).await?;
    let result = json!({
        "users": simulation.users.len(),
        "videos": simulation.videos.len(),
        "events": report,
    });
    context.output.result(&result, || {
        format!(
            "{} people and {} clips over {} days: {} events accepted{}",
            args.users,
            args.videos,
            args.days,
            report.accepted,
            refused(&report)
        )
    })?;
    Ok(())
}
