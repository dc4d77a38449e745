//! `kinora train retrieval`: the model that finds what a person may want next, from histories to weights.

use std::path::PathBuf;
use std::time::Duration;

use kinora_harness::device::DeviceChoice;
use kinora_ranking::retrieval::hyperparameters::{Hyperparameters, LossKind};
use kinora_ranking::retrieval::model::RetrieverConfig;
use kinora_ranking::retrieval::train::{TrainOptions, TrainOutcome, train};

use crate::{Context, interrupt};

/// Train the model that retrieves what a person may want next, on histories.
///
/// The model and its training are those of `SASRec` with a softmax over the catalogue; the defaults follow
/// what is published for it on MovieLens-1M.
#[derive(Debug, clap::Args)]
pub(crate) struct Retrieval {
    /// Lines of `user item` (plain or .gz), each person's in the order in which they happened. The last two items
    /// of everyone are kept back: one to choose the best epoch by, one for `kinora eval retrieval`.
    #[arg(long, value_name = "FILE")]
    sequences: PathBuf,
    /// Where the model goes [default: in the data directory, `models/retrieval`].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Passes over the histories, at most.
    #[arg(long)]
    epochs: Option<u64>,
    /// Epochs without a better validation after which training ends.
    #[arg(long)]
    patience: Option<u64>,
    /// full: against all items; sampled: against items drawn for each step, with the logQ correction.
    #[arg(long)]
    loss: Option<LossKind>,
    /// Items drawn for a step of the sampled loss.
    #[arg(long)]
    negatives: Option<usize>,
    /// Width of an item's vector.
    #[arg(long)]
    width: Option<usize>,
    #[arg(long)]
    blocks: Option<usize>,
    #[arg(long)]
    heads: Option<usize>,
    /// Items of a history that are read, the latest.
    #[arg(long)]
    length: Option<usize>,
    /// Positions a step, about.
    #[arg(long)]
    positions: Option<usize>,
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Share of the numbers that are forgotten in training, in [0, 1).
    #[arg(long)]
    dropout: Option<f64>,
    /// Minutes after which training ends with the best weights so far.
    #[arg(long)]
    minutes: Option<u64>,
    /// Begin anew even where a checkpoint of the same training is there.
    #[arg(long)]
    restart: bool,
    /// auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

pub(crate) fn run(args: Retrieval, context: &Context) -> anyhow::Result<()> {
    let usual = Hyperparameters::default();
    let width = args.width.unwrap_or(usual.model.width);
    let model = RetrieverConfig {
        width,
        blocks: args.blocks.unwrap_or(usual.model.blocks),
        heads: args.heads.unwrap_or(usual.model.heads),
        hidden: 4 * width,
        length: args.length.unwrap_or(usual.model.length),
    };
    let options = TrainOptions {
        sequences: args.sequences,
        out: args.out.unwrap_or_else(|| context.models_dir().join("retrieval")),
        runs: context.runs_dir(),
        hyperparameters: Hyperparameters {
            model,
            loss: args.loss.unwrap_or(usual.loss),
            negatives: args.negatives.unwrap_or(usual.negatives),
            epochs: args.epochs.unwrap_or(usual.epochs),
            patience: args.patience.unwrap_or(usual.patience),
            positions: args.positions.unwrap_or(usual.positions),
            learning_rate: args.learning_rate.unwrap_or(usual.learning_rate),
            dropout: args.dropout.unwrap_or(usual.dropout),
            ..usual
        },
        seed: args.seed,
        device: args.device,
        time_limit: args.minutes.map(|minutes| Duration::from_secs(60 * minutes)),
        resume: !args.restart,
        interrupt: interrupt::flag(),
        progress: context.output.progress(),
    };
    match tokio::task::block_in_place(|| train(&options))? {
        TrainOutcome::Interrupted { .. } => Err(interrupt::Interrupted::Resumable.into()),
        TrainOutcome::Finished(report) => {
            context.output.result(&report, || {
                format!(
                    "retrieval model in {}: {} people, {} items, {} parameters, {} epochs of which the {}th is kept, \
                     validation NDCG@10 {:.4}, {:.0} s; run {}",
                    report.model.display(),
                    report.users,
                    report.items,
                    report.parameters,
                    report.epochs,
                    report.best_epoch,
                    report.validation_ndcg,
                    report.seconds,
                    report.run_id
                )
            })?;
            Ok(())
        }
    }
}
