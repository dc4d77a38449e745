//! `kinora config`: what is in force, from defaults, `kinora.toml` and the environment.

use anyhow::Context as _;

use crate::Context;

/// Print the configuration in force, as TOML (or JSON with `--json`).
///
/// Every key can be set in `kinora.toml` or by the environment: `[server] bind` is
/// `KINORA_SERVER__BIND`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: Args, context: &Context) -> anyhow::Result<()> {
    let text = toml::to_string_pretty(&context.config).context("cannot print the configuration")?;
    context.output.result(&context.config, || text)?;
    Ok(())
}
