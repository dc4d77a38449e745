//! `kinora eval`: how good a model is, on data it has not seen.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use kinora_harness::device::DeviceChoice;
use kinora_harness::page;
use kinora_ranking::interval::Interval as Range;
use kinora_ranking::logs::{LogReport, evaluate_log};
use kinora_ranking::{EvalReport, RankerFigures};
use kinora_training::evaluate::{
    Beside, CaptionFigures, EvaluateError, EvaluateOptions, EvaluateReport, FamilyReport, Figures, Interval,
    LikenessFigures, MotionReport, PhyWorldReport, evaluate,
};
use kinora_training::generate::{Generator, TAKES};
use kinora_training::grid;
use kinora_training::judge::Judges;
use kinora_training::phyworld::{self, Protocol};
use kinora_training::weights::{Space, space_of};

use crate::{Context, interrupt};

#[derive(Debug, Subcommand)]
pub(crate) enum Model {
    /// AUC per task, calibration and watch-time errors of a ranker on one split of a training set, with intervals.
    Ranker(Ranker),
    /// Hit rate, NDCG and what is listed of a retrieval model, beside simple baselines, with intervals.
    Retrieval(super::eval_retrieval::Retrieval),
    /// What the feed does for people and for new creators whose tastes and clips are simulated, beside simpler
    /// feeds.
    Feed(super::eval_feed::Feed),
    /// How well clips show, move and sound what was asked for, beside the corpus itself.
    Video(Video),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Ranker {
    #[arg(long)]
    model: PathBuf,
    /// A training set made by `kinora dataset ranking`.
    #[arg(long, value_name = "DIR", required_unless_present = "impressions")]
    dataset: Option<PathBuf>,
    /// Impressions with `KuaiRand`'s columns (.parquet, .csv or .csv.gz), for a ranker that was trained on
    /// such files.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["dataset", "split"])]
    impressions: Vec<PathBuf>,
    #[arg(long, default_value = "eval")]
    split: String,
    /// Of the draws that the intervals come from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write a page with figures and plots, which needs nothing beside it.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

/// Judge a video+audio model: whether its clips keep to their captions, to their references and to the laws of
/// motion, on scenes that its training has not seen, and by `PhyWorld`'s protocol.
///
/// Every figure is measured from pixels and samples, by the same code, on the world itself, on the world
/// through the model's latents and on the model's clips: the first two bound the third. A model of pixels
/// (`kinora train clips`) knows other worlds, or none: it is judged by `PhyWorld`'s protocol alone.
#[derive(Debug, clap::Args)]
pub(crate) struct Video {
    /// A model made by `kinora train video` or `kinora train clips` [default: the shipped nano weights].
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Scenes of each of the eight families.
    #[arg(long, default_value_t = 32)]
    clips: u64,
    /// People, and balls, whom only a portrait or a recording names; 0 leaves them out.
    #[arg(long, default_value_t = 100)]
    cameos: usize,
    /// Captions of each family that ask for what the world hardly or never shows.
    #[arg(long, default_value_t = 32)]
    unusual_clips: u64,
    /// Episodes of each task and domain of `PhyWorld`; 0 leaves it out.
    #[arg(long, default_value_t = 100)]
    phyworld_episodes: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Steps of the sampler [default: the model's].
    #[arg(long)]
    steps: Option<usize>,
    /// Takes that each clip is chosen from.
    #[arg(long, default_value_t = TAKES)]
    takes: usize,
    /// How strongly the prompt is followed [default: the model's].
    #[arg(long)]
    guidance: Option<f32>,
    /// Write a page with figures, plots and clips, which needs nothing beside it.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

pub(crate) fn run(model: Model, context: &Context) -> anyhow::Result<()> {
    match model {
        Model::Ranker(args) => ranker(&args, context),
        Model::Retrieval(args) => super::eval_retrieval::run(&args, context),
        Model::Feed(args) => super::eval_feed::run(&args, context),
        Model::Video(args) => video(args, context),
    }
}

fn ranker(args: &Ranker, context: &Context) -> anyhow::Result<()> {
    let model = ("Model".to_owned(), args.model.display().to_string());
    let Some(dataset) = &args.dataset else {
        let report = tokio::task::block_in_place(|| evaluate_log(&args.model, &args.impressions, args.seed))?;
        let LogReport { skipped_rows, unknown_users, unknown_videos, figures } = &report;
        let lead = format!(
            "{} impressions of {} people, {skipped_rows} rows skipped; unknown to the model: {unknown_users} \
             impressions by person, {unknown_videos} by clip",
            figures.rows, figures.users
        );
        write_page(args, &lead, vec![model], figures)?;
        context.output.result(&report, || ranker_table(&lead, figures))?;
        return Ok(());
    };
    let report = tokio::task::block_in_place(|| {
        kinora_ranking::evaluate(&args.model, dataset, &args.split, args.seed)
    })?;
    let EvalReport { split, figures } = &report;
    let lead = format!("split {split}: {} impressions of {} people", figures.rows, figures.users);
    let data = ("Training set".to_owned(), dataset.display().to_string());
    write_page(args, &lead, vec![model, data], figures)?;
    context.output.result(&report, || ranker_table(&lead, figures))?;
    Ok(())
}

fn write_page(
    args: &Ranker,
    lead: &str,
    facts: Vec<(String, String)>,
    figures: &RankerFigures,
) -> anyhow::Result<()> {
    if let Some(path) = &args.report {
        page::write(&kinora_ranking::evaluate::page(lead, facts, figures), path)?;
    }
    Ok(())
}

fn video(args: Video, context: &Context) -> anyhow::Result<()> {
    if let Some(directory) = &args.model
        && space_of(directory)? == Space::Grid
    {
        return pixels(directory, &args, context);
    }
    let generator = match &args.model {
        Some(directory) => Generator::load(directory, args.device)?,
        None => Generator::shipped(args.device)?,
    };
    let judges = Judges::shipped()?;
    let defaults = EvaluateOptions::default();
    let options = EvaluateOptions {
        clips: args.clips,
        unusual_clips: args.unusual_clips,
        cameos: args.cameos,
        phyworld_episodes: args.phyworld_episodes,
        seed: args.seed,
        takes: args.takes,
        steps: args.steps,
        guidance: args.guidance,
        report: args.report,
        model_name: args.model.map_or(defaults.model_name, |directory| directory.display().to_string()),
        progress: context.output.progress(),
        interrupt: interrupt::flag(),
    };
    let report = match tokio::task::block_in_place(|| evaluate(&generator, &judges, &options)) {
        Err(EvaluateError::Interrupted) => return Err(interrupt::Interrupted::Abandoned.into()),
        report => report?,
    };
    context.output.result(&report, || video_table(&report))?;
    Ok(())
}

/// A pixel model by `PhyWorld`'s protocol.
fn pixels(directory: &Path, args: &Video, context: &Context) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.phyworld_episodes > 0,
        "a model of pixels is judged by PhyWorld's protocol alone: give --phyworld-episodes at least 1"
    );
    let generator = grid::generate::GridGenerator::load(directory, args.device)?;
    let protocol = Protocol { episodes: args.phyworld_episodes, ..Protocol::default() };
    let usual = grid::phyworld::PhyWorldSampling::default();
    let sampling = grid::phyworld::PhyWorldSampling {
        seed: args.seed,
        steps: args.steps.unwrap_or(usual.steps),
        guidance: args.guidance.unwrap_or(usual.guidance),
    };
    let report = tokio::task::block_in_place(|| {
        anyhow::Ok(PhyWorldReport {
            reconstruction: grid::phyworld::evaluate_autoencoder(&generator, &protocol)?,
            ground_truth: phyworld::evaluate_codec(&protocol, |frames| frames)?,
            model: grid::phyworld::evaluate_model(&generator, &protocol, sampling)?,
        })
    })?;
    context.output.result(&report, || phyworld_rows(&report).trim_start().to_owned())?;
    Ok(())
}

fn ranker_table(head: &str, figures: &RankerFigures) -> String {
    let cell = |value: Option<f64>, interval: Option<Range>| match (value, interval) {
        (Some(value), Some(Range { low, high })) => format!("{value:.4} ({low:.4} to {high:.4})"),
        (Some(value), None) => format!("{value:.4}"),
        (None, _) => "-".to_owned(),
    };
    let mut text = format!("{head}\n");
    text += &format!(
        "{:<16}{:>10}{:>29}{:>29}{:>29}{:>29}\n",
        "task", "positives", "AUC", "gAUC", "log loss", "ECE"
    );
    for (name, head) in &figures.tasks {
        let (figures, intervals) = (&head.figures, &head.intervals);
        text += &format!(
            "{name:<16}{:>10}{:>29}{:>29}{:>29}{:>29}\n",
            head.positives,
            cell(figures.auc, intervals.auc),
            cell(figures.grouped_auc, intervals.grouped_auc),
            cell(figures.log_loss, intervals.log_loss),
            cell(figures.calibration_error, intervals.calibration_error)
        );
    }
    let watch = &figures.watch;
    text += &format!(
        "watch time: XAUC {}, mean absolute error {} s\n",
        cell(watch.xauc, watch.intervals.xauc),
        cell(watch.mae_s, watch.intervals.mae_s)
    );
    text += &format!("{:<20}{:>8}{:>29}{:>31}\n", "duration, s", "rows", "XAUC", "error, s");
    for bucket in &figures.watch_by_duration {
        let range = format!("{:.1} to {:.1}", bucket.from_s, bucket.until_s);
        let watch = &bucket.watch;
        text += &format!(
            "{range:<20}{:>8}{:>29}{:>31}\n",
            watch.rows,
            cell(watch.xauc, watch.intervals.xauc),
            cell(watch.mae_s, watch.intervals.mae_s)
        );
    }
    text += &format!(
        "{:<20}{:>8}{:>12}{:>12}{:>12}{:>14}\n",
        "creator shown, times", "rows", "clicked", "predicted", "AUC", "of top halves"
    );
    for group in &figures.creator_groups {
        let range = format!("{} to {}", group.impressions_from, group.impressions_until);
        text += &format!(
            "{range:<20}{:>8}{:>12}{:>12}{:>12}{:>14}\n",
            group.rows,
            cell(group.click_rate, None),
            cell(group.predicted_click_rate, None),
            cell(group.click_auc, None),
            cell(group.share_of_top_half, None)
        );
    }
    text.trim_end().to_owned()
}

fn video_table(report: &EvaluateReport) -> String {
    let mut text = format!(
        "{} scenes of each family, seed {}, the best of {} takes, {} steps, guidance {}, {:.2} million parameters\n",
        report.clips,
        report.seed,
        report.takes,
        report.steps,
        report.guidance,
        report.parameters as f64 / 1e6,
    );
    text += &heading("Captions", None);
    text += &caption_rows(&report.captions);
    if let Some(likeness) = &report.likeness {
        text += &heading("Likeness", None);
        text += &likeness_rows(likeness);
    }
    text += &heading("Variety", None);
    text += &row("Frechet distance", &report.distance, 1.0, "");
    for family in &report.families {
        text += &family_rows(family);
    }
    if let Some(phyworld) = &report.phyworld {
        text += &phyworld_rows(phyworld);
    }
    text
}

/// The columns that every part has.
fn heading(title: &str, last: Option<&str>) -> String {
    let text = format!("\n{title:<33}{:>9}{:>16}{:>27}", "world", "reconstruction", "generated");
    last.map_or_else(|| format!("{text}\n"), |last| format!("{text}{last:>12}\n"))
}

/// A figure of the three kinds of clip; the interval is the third's.
fn row(name: &str, values: &Beside<Option<Interval>>, scale: f64, unit: &str) -> String {
    format!("{}\n", cells(name, values, scale, unit))
}

fn cells(name: &str, values: &Beside<Option<Interval>>, scale: f64, unit: &str) -> String {
    let number = |value: f64| format!("{:.*}{unit}", digits(unit), scale * value);
    let cell =
        |interval: Option<Interval>| interval.map_or_else(|| "-".to_owned(), |figure| number(figure.value));
    let generated = values.generated.map_or_else(
        || "-".to_owned(),
        |figure| {
            let digits = digits(unit);
            let (low, high) = (scale * figure.low, scale * figure.high);
            format!("{} ({low:.digits$} to {high:.digits$})", number(figure.value))
        },
    );
    format!("{name:<33}{:>9}{:>16}{generated:>27}", cell(values.ground_truth), cell(values.reconstruction))
}

fn digits(unit: &str) -> usize {
    if unit.is_empty() { 3 } else { 1 }
}

fn caption_rows(captions: &Beside<CaptionFigures>) -> String {
    type Figure = (&'static str, fn(&CaptionFigures) -> Option<Interval>);
    let rows: [Figure; 4] = [
        ("first actor's colour", |figures| figures.colour),
        ("event", |figures| figures.event),
        ("count, by places", |figures| figures.count_seen),
        ("count, by sound", |figures| figures.count_heard),
    ];
    let asked = rows.into_iter().filter(|(_, read)| read(&captions.ground_truth).is_some());
    asked.map(|(name, read)| row(name, &captions.read(read), 100.0, "%")).collect()
}

fn likeness_rows(likeness: &Beside<LikenessFigures>) -> String {
    type Figure = (&'static str, fn(&LikenessFigures) -> Option<Interval>);
    let rows: [Figure; 6] = [
        ("person, first of a hundred", |figures| figures.people.top1),
        ("person, right before wrong", |figures| figures.people.swap),
        ("ball, first of a hundred", |figures| figures.balls.top1),
        ("ball, right before wrong", |figures| figures.balls.swap),
        ("voice, first of a hundred", |figures| figures.voices.top1),
        ("voice, right before wrong", |figures| figures.voices.swap),
    ];
    rows.into_iter().map(|(name, read)| row(name, &likeness.read(read), 100.0, "%")).collect()
}

fn family_rows(family: &FamilyReport) -> String {
    let title = format!("{:?}", family.family);
    match &family.motion {
        Some(motion) => {
            let title = format!("{title}, {} left out", motion.left_out);
            let last = motion.out_of_distribution.as_ref().map(|_| "unusual");
            heading(&title, last) + &caption_rows(&family.captions) + &motion_rows(motion)
        }
        None => heading(&title, None) + &caption_rows(&family.captions),
    }
}

fn motion_rows(motion: &MotionReport) -> String {
    type Figure = (&'static str, fn(&Figures) -> Option<Interval>, f64, &'static str);
    let rows: [Figure; 14] = [
        ("frames with a teleport", |figures| figures.teleport_frames, 100.0, "%"),
        ("clips with a teleport", |figures| figures.teleport_clips, 100.0, "%"),
        ("frames without a ball", |figures| figures.vanished_frames, 100.0, "%"),
        ("frames with a ball twice", |figures| figures.duplicated_frames, 100.0, "%"),
        ("error of gravity", |figures| figures.gravity_error, 100.0, "%"),
        ("R^2 of the flights", |figures| figures.gravity_r_squared, 1.0, ""),
        ("restitution against the scene", |figures| figures.restitution_error, 1.0, ""),
        ("restitution within a clip", |figures| figures.restitution_spread, 1.0, ""),
        ("restitution against the heights", |figures| figures.restitution_against_height, 1.0, ""),
        ("energy from nowhere, a frame", |figures| figures.energy_violation, 100.0, "%"),
        ("momentum lost in a collision", |figures| figures.momentum_error, 100.0, "%"),
        ("sound from its contact", |figures| figures.onset_offset_ms, 1.0, " ms"),
        ("sounds within a frame, F1", |figures| figures.onset_f1, 1.0, ""),
        ("loudness follows impulse", |figures| figures.loudness_correlation, 1.0, ""),
    ];
    let measured = rows.into_iter().filter(|(_, read, ..)| {
        read(&motion.figures.ground_truth).is_some() || read(&motion.figures.generated).is_some()
    });
    let lines = measured.map(|(name, read, scale, unit)| {
        let line = cells(name, &motion.figures.read(read), scale, unit);
        let unusual = motion.out_of_distribution.as_ref().map(|figures| {
            read(figures).map_or_else(
                || "-".to_owned(),
                |figure| format!("{:.*}{unit}", digits(unit), scale * figure.value),
            )
        });
        unusual.map_or_else(|| format!("{line}\n"), |unusual| format!("{line}{unusual:>12}\n"))
    });
    lines.collect()
}

fn phyworld_rows(phyworld: &PhyWorldReport) -> String {
    let mut text = heading("PhyWorld, velocity error", None);
    for row in &phyworld.model.rows {
        let bound = |report: &kinora_training::phyworld::Report| {
            report
                .row(row.task, row.domain)
                .map_or_else(|| "-".to_owned(), |row| format!("{:.4}", row.error.mean))
        };
        let error = row.error;
        text += &format!(
            "{:<33}{:>9}{:>16}{:>27}\n",
            format!("{} {}", row.task, row.domain),
            bound(&phyworld.ground_truth),
            bound(&phyworld.reconstruction),
            format!("{:.4} ({:.4} to {:.4})", error.mean, error.low, error.high)
        );
    }
    text
}
