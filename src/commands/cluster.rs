//! `kinora cluster`: a Ballista cluster of this program's own.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use kinora_pipelines::cluster::{Executor, execute, schedule};
use serde_json::json;
use tokio::net::TcpListener;

use crate::Context;

/// A cluster knows no authentication: keep its ports on a private network.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Give work to executors.
    Scheduler(SchedulerArgs),
    /// Work for a scheduler. The lake must lie under the same path as where questions are asked.
    Executor(ExecutorArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct SchedulerArgs {
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50050")]
    bind: SocketAddr,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExecutorArgs {
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50050")]
    scheduler: SocketAddr,
    /// Where results are fetched from; the port above is used too.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    bind: SocketAddr,
    /// Tasks at the same time [default: the cores of this machine].
    #[arg(long)]
    cores: Option<usize>,
    /// Where results of a part of the work lie [default: a directory for temporary files].
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
}

pub(crate) async fn run(action: Action, context: &Context) -> anyhow::Result<()> {
    let told = |what: &str, address: SocketAddr| {
        context
            .output
            .result(&json!({ "listening": address }), || format!("{what} on {address}; Ctrl-C stops"))
    };
    match action {
        Action::Scheduler(SchedulerArgs { bind }) => {
            let listener =
                TcpListener::bind(bind).await.with_context(|| format!("cannot listen on {bind}"))?;
            told("scheduler", listener.local_addr()?)?;
            stopped_by_ctrl_c(schedule(listener)).await
        }
        Action::Executor(ExecutorArgs { scheduler, bind, cores, work_dir }) => {
            let cores = cores.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
            let name = format!("kinora-executor-{}", std::process::id());
            let work_directory = work_dir.unwrap_or_else(|| std::env::temp_dir().join(name));
            std::fs::create_dir_all(&work_directory)
                .with_context(|| format!("cannot create {}", work_directory.display()))?;
            told("executor", bind)?;
            stopped_by_ctrl_c(execute(Executor { scheduler, bind, cores, work_directory })).await
        }
    }
}

async fn stopped_by_ctrl_c(work: impl Future<Output = kinora_pipelines::Result<()>>) -> anyhow::Result<()> {
    tokio::select! {
        done = work => Ok(done?),
        stopped = tokio::signal::ctrl_c() => Ok(stopped?),
    }
}
