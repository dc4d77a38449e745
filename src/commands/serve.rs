//! `kinora serve`: the APIs, the web app and the generation engine, until told to stop.

use std::net::SocketAddr;

use kinora_serving::{App, Clock, listen, serve};
use serde_json::json;

use crate::output::Output;
use crate::{Context, interrupt};

/// Serve the APIs, the web app and the generation engine.
///
/// Logs go to standard error, as JSON where that is not a terminal; `RUST_LOG` chooses how much.
/// Ctrl-C or SIGTERM ends it after the requests in flight.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address and port; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    bind: Option<SocketAddr>,
}

pub(crate) async fn run(args: Args, mut context: Context) -> anyhow::Result<()> {
    if let Some(bind) = args.bind {
        context.config.server.bind = bind;
    }
    log_to_stderr();
    // The port is the cheapest thing to find taken, so it is asked for before anything is opened.
    let listener = listen(context.config.server.bind).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let app = App::open(context.config, Clock::system()).await?;
    if context.output.is_json() {
        Output::line(&json!({ "listening": url }).to_string())?;
    } else {
        Output::line(&format!("listening on {url}; Ctrl-C stops"))?;
    }
    let output = context.output;
    let stop = async move {
        interrupt::signal().await;
        interrupt::leave_at_the_next(output);
    };
    serve(app, listener, stop).await?;
    Ok(())
}

/// Structured logs: JSON for machines, short lines on a terminal. They hold no personal data.
pub(crate) fn log_to_stderr() {
    use std::io::IsTerminal as _;
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new(
            "warn,buoyant_kernel=off,c2pa=error,kinora=info,kinora_serving=info,kinora_pipelines=info",
        )
    });
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber (a command that serves as part of more) is not an error.
    let _ = if std::io::stderr().is_terminal() {
        builder.compact().try_init()
    } else {
        builder.json().with_span_list(false).try_init()
    };
}
