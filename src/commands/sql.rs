//! `kinora sql`: a question to the lake.

use std::time::Duration;

use kinora_pipelines::query::{QueryLimits, query};
use serde_json::json;

use super::engine::EngineArgs;
use super::lake::open_lake;
use crate::Context;
use crate::output::Output;

/// Ask the lake a question in SQL. Reading only; `SHOW TABLES` lists what there is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For example: SELECT kind, count(*) FROM events GROUP BY kind
    query: String,
    /// Rows printed at most.
    #[arg(long, default_value_t = 1000)]
    max_rows: usize,
    /// Seconds that the query may take.
    #[arg(long, default_value_t = 300)]
    timeout_s: u64,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let lake = open_lake(context).await?.on(args.engine.chosen()?);
    let session = lake.session().await?;
    let deadline = Duration::from_secs(args.timeout_s);
    let limits = QueryLimits { max_rows: args.max_rows, deadline, ..QueryLimits::default() };
    let result = query(&session, &args.query, limits).await?;
    if context.output.is_json() {
        let rows = json!({ "rows": result.to_json_rows()?, "truncated": result.truncated });
        context.output.result(&rows, String::new)?;
    } else {
        Output::line(&result.to_table()?)?;
        if result.truncated {
            context.output.note(&format!("the first {} rows; `--max-rows` shows more", args.max_rows));
        }
    }
    Ok(())
}
