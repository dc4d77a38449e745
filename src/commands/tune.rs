//! `kinora tune`: hyperparameters for a data set. Interrupted, the same command goes on.

use std::path::PathBuf;

use clap::Subcommand;
use kinora_harness::device::DeviceChoice;
use kinora_ranking::{SearchOptions, SearchReport, search};

use crate::{Context, interrupt};

#[derive(Debug, Subcommand)]
pub(crate) enum Model {
    /// Search the ranker's hyperparameters by successive halving.
    ///
    /// Sets are drawn and compared on the latest rows of the training split, which calibrate the ranker and
    /// which it does not learn from; no other split is read. `kinora train ranker --hyperparameters FILE` then
    /// trains with what was found.
    Ranker(Ranker),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Ranker {
    /// A training set made by `kinora dataset ranking`.
    #[arg(long, value_name = "DIR")]
    dataset: PathBuf,
    /// Where the hyperparameters go; all that was tried goes beside it, with the ending `.trials.json`.
    #[arg(long, value_name = "FILE.json")]
    out: PathBuf,
    /// Sets that are tried, the defaults among them.
    #[arg(long, default_value_t = 16)]
    trials: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

pub(crate) fn run(model: Model, context: &Context) -> anyhow::Result<()> {
    let Model::Ranker(args) = model;
    let options = SearchOptions {
        dataset: args.dataset,
        out: args.out,
        trials: args.trials,
        seed: args.seed,
        device: args.device,
        interrupt: interrupt::flag(),
        progress: context.output.progress(),
    };
    let Some(report) = tokio::task::block_in_place(|| search(&options))? else {
        return Err(interrupt::Interrupted::Resumable.into());
    };
    context.output.result(&report, || text(&report))?;
    Ok(())
}

fn text(report: &SearchReport) -> String {
    let defaults = report.default_loss.map_or_else(|| "-".to_owned(), |loss| format!("{loss:.4}"));
    let found = &report.found;
    format!(
        "{}: loss {:.4} on {} held-out examples (the defaults: {defaults}), {} sets tried on {} examples, {:.0} s\n\
         learning rate {:.2e}, weight decay {:.1e}, batch {}, epochs {}, forgotten clips {:.2}, tokens {:.2}\n\
         embedding {}, bins {}, experts {} of {} and {}, towers {}\n\
         all that was tried: {}",
        report.hyperparameters.display(),
        report.loss,
        report.held_out_rows,
        report.tried,
        report.rows,
        report.seconds,
        found.learning_rate,
        found.weight_decay,
        found.batch,
        found.epochs,
        found.forget_videos,
        found.forget_tokens,
        found.model.embedding,
        found.model.bins,
        found.model.experts,
        found.model.hidden,
        found.model.expert,
        found.model.tower,
        report.trials.display()
    )
}
