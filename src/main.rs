//! `kinora`: parse the command line, run one command, end with a stable exit code.

mod commands;
mod interrupt;
mod output;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kinora_ranking::rollout::Rankers;
use kinora_serving::Config;

use crate::output::Output;

/// An open, self-hosted toolkit for an AI short-video platform.
///
/// `kinora demo` runs the whole of it from nothing; `kinora serve` runs it for real.
#[derive(Debug, Parser)]
#[command(name = "kinora", version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags that every command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// Where the lake, the state, the media and the models live [default: `kinora-data`].
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    data_dir: Option<PathBuf>,
    /// The configuration file; without it `kinora.toml` is read where there is one.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    config: Option<PathBuf>,
    /// Print one JSON document on standard output, and no progress.
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole platform on this machine, from an empty directory to a feed in the browser.
    Demo(commands::demo::Args),
    /// Serve the APIs, the web app and the generation engine.
    Serve(commands::serve::Args),
    /// Import a public data set into the lake.
    #[command(subcommand)]
    Import(commands::import::Source),
    /// Ingest a file of events: JSON lines, or Parquet of the event schema.
    Ingest(commands::ingest::Args),
    /// Fill the lake with a seeded platform simulation whose truth is known.
    Simulate(commands::simulate::Args),
    /// Move acknowledged events from the event log into the lake.
    Compact(commands::compact::Args),
    /// Build a training set from the lake.
    #[command(subcommand)]
    Dataset(commands::dataset::Kind),
    /// See what is in the lake, and check that it is sound.
    #[command(subcommand)]
    Lake(commands::lake::Action),
    /// Run a Ballista cluster's scheduler or an executor.
    #[cfg(feature = "ballista")]
    #[command(subcommand)]
    Cluster(commands::cluster::Action),
    /// Ask the lake a question in SQL.
    Sql(commands::sql::Args),
    /// Work with the physics-world corpus.
    #[command(subcommand)]
    Corpus(commands::corpus::Action),
    /// Train a model.
    #[command(subcommand)]
    Train(commands::train::Model),
    /// Search a model's hyperparameters.
    #[command(subcommand)]
    Tune(commands::tune::Model),
    /// Make a model quicker.
    #[command(subcommand)]
    Distill(commands::distill::Model),
    /// Evaluate a model.
    #[command(subcommand)]
    Eval(commands::eval::Model),
    /// Time a model on this machine.
    #[command(subcommand)]
    Bench(commands::bench::Model),
    /// See the versions of the feed's ranker, and say which is in force.
    #[command(subcommand)]
    Ranker(commands::ranker::Action),
    /// Generate a clip with sound from a prompt.
    Generate(commands::generate::Args),
    /// Manage access tokens.
    #[command(subcommand)]
    Token(commands::token::Action),
    /// Print the configuration in force.
    Config(commands::config::Args),
    /// Check this installation and say what is wrong with it.
    Doctor(commands::doctor::Args),
}

/// What every command is handed: the configuration in force and where to print.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) output: Output,
}

impl Context {
    pub(crate) fn data_dir(&self) -> &std::path::Path {
        &self.config.storage.data_dir
    }

    pub(crate) fn runs_dir(&self) -> PathBuf {
        self.data_dir().join("runs")
    }

    /// The versions of the feed's ranker.
    pub(crate) fn rankers(&self) -> Rankers {
        Rankers::at(self.models_dir().join("rankers"))
    }

    pub(crate) fn models_dir(&self) -> PathBuf {
        self.data_dir().join("models")
    }
}

/// Stable exit codes, for scripts.
#[derive(Clone, Copy, Debug)]
enum Exit {
    Done = 0,
    Failed = 1,
    /// The command line or the configuration is wrong. `clap` uses the same code.
    Usage = 2,
    /// Stopped by a signal after saving what can be resumed.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A panic is a bug: it is said in one line, for a report. Left out are the one that `deltalake` raises
/// and catches itself where an upload fails, and those of the reader of a stranger's columns, caught where they come
/// in; what is made of them is reported as an error.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, |place| format!(" at {place}"));
        let is_upload = place.contains("object_store") && place.contains("buffered.rs");
        if is_upload || kinora_serving::events::columns::is_reading() {
            return;
        }
        let message = panic.payload_as_str().unwrap_or("panic");
        let _ = writeln!(
            io::stderr().lock(),
            "error: this is a bug in kinora, please report it: {message}{place}"
        );
    }));
}

fn main() -> ExitCode {
    report_panics();
    let cli = Cli::parse();
    let output = Output::new(cli.global.json);
    let exit = match load_config(&cli.global) {
        Ok(config) => match run(cli.command, Context { config, output }) {
            Ok(()) => Exit::Done,
            Err(error) if error.is::<interrupt::Interrupted>() => {
                output.error(&error);
                Exit::Interrupted
            }
            Err(error) => {
                output.error(&error);
                Exit::Failed
            }
        },
        Err(error) => {
            output.error(&error);
            Exit::Usage
        }
    };
    exit.into()
}

fn load_config(global: &Global) -> anyhow::Result<Config> {
    let mut config = Config::load(global.config.as_deref())?;
    if let Some(data_dir) = &global.data_dir {
        config.storage.data_dir.clone_from(data_dir);
    }
    Ok(config)
}

fn run(command: Command, context: Context) -> anyhow::Result<()> {
    // Plans are walked by recursion: those of nested views that come over the wire need more than the usual 2 MiB.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().thread_stack_size(16 << 20).enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Demo(args) => Box::pin(commands::demo::run(args, context)).await,
            Command::Serve(args) => Box::pin(commands::serve::run(args, context)).await,
            Command::Import(source) => commands::import::run(source, &context).await,
            Command::Ingest(args) => commands::ingest::run(args, &context).await,
            Command::Simulate(args) => commands::simulate::run(args, &context).await,
            Command::Compact(args) => commands::compact::run(args, &context).await,
            Command::Dataset(kind) => commands::dataset::run(kind, &context).await,
            #[cfg(feature = "ballista")]
            Command::Cluster(action) => commands::cluster::run(action, &context).await,
            Command::Lake(action) => commands::lake::run(action, &context).await,
            Command::Sql(args) => commands::sql::run(args, &context).await,
            Command::Corpus(action) => commands::corpus::run(action, &context),
            Command::Distill(model) => commands::distill::run(model, &context),
            Command::Tune(model) => commands::tune::run(model, &context),
            Command::Train(model) => commands::train::run(model, &context),
            Command::Ranker(action) => commands::ranker::run(action, &context),
            Command::Bench(model) => commands::bench::run(model, &context),
            Command::Eval(model) => commands::eval::run(model, &context),
            Command::Generate(args) => commands::generate::run(&args, &context),
            Command::Token(action) => commands::token::run(action, &context).await,
            Command::Config(args) => commands::config::run(args, &context),
            Command::Doctor(args) => commands::doctor::run(args, &context).await,
        }
    })
}
