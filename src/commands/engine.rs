//! `--engine`: where the lake's questions are worked on.

use clap::ValueEnum;
use kinora_pipelines::Engine;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// In this process.
    #[default]
    Local,
    /// On a Ballista cluster that sees the lake under the same path.
    Ballista,
}

#[derive(Debug, clap::Args)]
pub(crate) struct EngineArgs {
    /// Where the work is done.
    #[arg(long, value_enum, default_value_t)]
    engine: Kind,
    /// The scheduler of the Ballista cluster, for example `df://10.0.0.1:50050`.
    #[arg(long, value_name = "URL", required_if_eq("engine", "ballista"))]
    scheduler: Option<String>,
}

impl EngineArgs {
    pub(crate) fn chosen(&self) -> anyhow::Result<Engine> {
        match (self.engine, &self.scheduler) {
            (Kind::Local, None) => Ok(Engine::Local),
            (Kind::Local, Some(_)) => anyhow::bail!("`--scheduler` goes with `--engine ballista`"),
            (Kind::Ballista, scheduler) => {
                Ok(Engine::Ballista { scheduler: scheduler.clone().unwrap_or_default() })
            }
        }
    }
}
