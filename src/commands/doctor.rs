//! `kinora doctor`: is this installation able to work, and what is wrong where it is not.

use std::path::Path;

use kinora_harness::device::{DeviceChoice, resolve};
use kinora_pipelines::Lake;
use kinora_serving::config::StorageConfig;
use kinora_serving::db::Db;
use kinora_training::generate::Generator;
use serde::Serialize;

use crate::Context;

/// Check this installation and say what is wrong with it. Changes nothing but what it creates to
/// see that it can.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// One thing looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    detail: String,
}

pub(crate) async fn run(_: Args, context: &Context) -> anyhow::Result<()> {
    let storage = &context.config.storage;
    let mut checks = vec![
        check("data directory", writable(storage)),
        check("state", Db::open(&storage.state()).await.map(|_| storage.state().display().to_string())),
        check("lake", tables(&storage.lake()).await),
        check(
            "weights",
            Generator::shipped(DeviceChoice::Auto).map(|_| "the shipped video+audio weights load".to_owned()),
        ),
        check("device", resolve(DeviceChoice::Auto).map(|device| format!("{device:?}"))),
        check(
            "port",
            tokio::net::TcpListener::bind(context.config.server.bind)
                .await
                .map(|_| format!("{} is free", context.config.server.bind)),
        ),
    ];
    let rankers = context.rankers();
    checks.push(check(
        "ranker",
        rankers.aliases().and_then(|aliases| {
            let Some(champion) = aliases.champion else {
                return Ok(
                    "none yet: the feed falls back to popularity until `kinora train ranker`".to_owned()
                );
            };
            rankers.load(&champion).map(|_| format!("{champion} is the champion"))
        }),
    ));
    let broken = checks.iter().filter(|check| !check.ok).count();
    context.output.result(&checks, || {
        let line = |check: &Check| {
            format!("{:<4} {:<16} {}\n", if check.ok { "ok" } else { "FAIL" }, check.name, check.detail)
        };
        checks.iter().map(line).collect()
    })?;
    anyhow::ensure!(broken == 0, "{broken} of {} checks failed", checks.len());
    Ok(())
}

fn check<E: Into<anyhow::Error>>(name: &'static str, outcome: Result<String, E>) -> Check {
    match outcome {
        Ok(detail) => Check { name, ok: true, detail },
        Err(error) => Check { name, ok: false, detail: format!("{:#}", error.into()) },
    }
}

fn writable(storage: &StorageConfig) -> anyhow::Result<String> {
    storage.create_data_dir()?;
    let dir = &storage.data_dir;
    let probe = dir.join(".doctor");
    std::fs::write(&probe, b"probe")?;
    std::fs::remove_file(&probe)?;
    Ok(dir.display().to_string())
}

async fn tables(dir: &Path) -> anyhow::Result<String> {
    let versions = Lake::open(dir).await?.versions().await?;
    Ok(versions.iter().map(|(table, version)| format!("{table}@{version}")).collect::<Vec<_>>().join(" "))
}
