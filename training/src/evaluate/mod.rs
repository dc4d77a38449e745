//! Evaluation: a model enters; how its clips move, sound and keep to their captions leaves.
//!
//! Every figure is measured from pixels and samples, by the same code, on three kinds of clip: the world's own
//! (what could be reached), the world through the model's latents (what these keep), and the model's, from the
//! captions alone. Motion and sound are measured where balls fly, so that what they should do is known without
//! doubt; scenes whose own clip would count as broken are left out of all three. Captions and cameos are judged
//! by [networks](crate::judge) that were trained apart from the model. Out of distribution are captions of what
//! the world hardly or never shows; there is no truth to set beside those clips. Last comes
//! [`PhyWorld`](crate::phyworld)'s protocol, where numbers outside the training's ranges are given.
//! INVARIANT: the same model and options give the same report on the same kind of device.

mod cameos;
mod families;
mod flight;
mod interval;
mod page;
mod physics;
mod track;
mod unusual;

use std::ops::ControlFlow;
use std::path::PathBuf;

use kinora_harness::interrupt::Interrupt;
use kinora_harness::progress::{Mode, Progress};
use kinora_harness::publish::FileError;
use kinora_harness::seed::derive;
use serde::Serialize;
use thiserror::Error;

pub use self::interval::Interval;
pub use self::physics::Figures;

use self::families::Survey;
use crate::clip::Clip;
use crate::generate::{
    BATCH, GenerateError, GenerationRequest, Generator, LabSettings, REFERENCE_SIDE, TAKES,
};
use crate::judge::{Agreement, ClipAgreement, Judges, Likeness, Recognised, Worth};
use crate::media::MediaError;
use crate::performance::Performance;
use crate::phyworld::{self, PhyWorldError, Protocol};
use crate::train::latents::Encoders;
use crate::world::draw::{portrait, render};
use crate::world::sound::sound;
use crate::world::{FPS, Family, Name, SAMPLE_RATE, Scene};

/// Width and height of the clips that are judged.
const SIDE: usize = 128;

#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvaluateError {
    #[error(transparent)]
    Generate(GenerateError),
    #[error(transparent)]
    Media(#[from] MediaError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    PhyWorld(#[from] PhyWorldError),
    #[error("the evaluation was stopped")]
    Interrupted,
}

impl From<GenerateError> for EvaluateError {
    fn from(error: GenerateError) -> Self {
        match error {
            // Nothing but an interrupt cancels what is generated here.
            GenerateError::Cancelled => Self::Interrupted,
            other => Self::Generate(other),
        }
    }
}

/// What is evaluated, and how much of it.
#[derive(Clone, Debug)]
pub struct EvaluateOptions {
    /// Scenes of each family.
    pub clips: u64,
    /// Captions of each family out of distribution.
    pub unusual_clips: u64,
    /// People, and balls, whom only a reference names; none leaves them out.
    pub cameos: usize,
    /// Episodes of each task and domain of `PhyWorld`; none leaves it out.
    pub phyworld_episodes: usize,
    pub seed: u64,
    /// Takes that each clip is chosen from.
    pub takes: usize,
    /// Steps of the sampler; `None` as the model is best drawn with.
    pub steps: Option<usize>,
    /// How strongly captions are followed; `None` as the model is best drawn with.
    pub guidance: Option<f32>,
    /// Where the page goes, if anywhere.
    pub report: Option<PathBuf>,
    /// What the page calls the model.
    pub model_name: String,
    pub progress: Mode,
    pub interrupt: Interrupt,
}

impl Default for EvaluateOptions {
    fn default() -> Self {
        Self {
            clips: 32,
            unusual_clips: 32,
            cameos: 100,
            phyworld_episodes: 100,
            seed: 1,
            takes: TAKES,
            steps: None,
            guidance: None,
            report: None,
            model_name: "nano".to_owned(),
            progress: Mode::Silent,
            interrupt: Interrupt::new(),
        }
    }
}

/// The same on three kinds of clip.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Beside<T> {
    /// The world itself.
    pub ground_truth: T,
    /// The world through the model's latents.
    pub reconstruction: T,
    /// The model, from the captions alone.
    pub generated: T,
}

impl<T> Beside<T> {
    fn of([ground_truth, reconstruction, generated]: [T; 3]) -> Self {
        Self { ground_truth, reconstruction, generated }
    }

    /// Something of each.
    pub fn read<'a, U>(&'a self, read: impl Fn(&'a T) -> U) -> Beside<U> {
        Beside::of([&self.ground_truth, &self.reconstruction, &self.generated].map(read))
    }
}

/// The figures of a model beside those that bound it.
#[derive(Clone, Debug, Serialize)]
pub struct EvaluateReport {
    /// Scenes of each family.
    pub clips: u64,
    pub seed: u64,
    pub takes: usize,
    pub steps: usize,
    pub guidance: f32,
    pub parameters: usize,
    /// Over all families.
    pub captions: Beside<CaptionFigures>,
    /// `None` where no cameos were asked for.
    pub likeness: Option<Beside<LikenessFigures>>,
    /// Frechet distance of the half of the clips to the other half of the world's own; the world's own other half
    /// is the floor.
    pub distance: Beside<Option<Interval>>,
    pub families: Vec<FamilyReport>,
    pub phyworld: Option<PhyWorldReport>,
    /// What the judges are worth on scenes of other seeds.
    pub judges: Worth,
}

/// One family's figures.
#[derive(Clone, Debug, Serialize)]
pub struct FamilyReport {
    pub family: Family,
    pub captions: Beside<CaptionFigures>,
    /// `None` where no balls fly.
    pub motion: Option<MotionReport>,
}

/// How a family's balls move and sound.
#[derive(Clone, Debug, Serialize)]
pub struct MotionReport {
    /// Scenes that are left out, because their own clip would count as broken.
    pub left_out: usize,
    pub figures: Beside<Figures>,
    /// The model, from captions of what the world hardly or never shows; `None` where there are none.
    pub out_of_distribution: Option<Figures>,
}

/// How often clips do what their captions say; a share that no caption speaks of is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CaptionFigures {
    pub clips: usize,
    /// The first actor's colour is seen.
    pub colour: Option<Interval>,
    pub event: Option<Interval>,
    /// As many bounces or jumps are seen as asked.
    pub count_seen: Option<Interval>,
    /// As many bounces are heard as asked.
    pub count_heard: Option<Interval>,
}

impl CaptionFigures {
    fn of(clips: &[ClipAgreement]) -> Self {
        let agreement = Agreement::of(clips);
        Self {
            clips: clips.len(),
            colour: Interval::of_share(agreement.colour),
            event: Interval::of_share(agreement.event),
            count_seen: Interval::of_share(agreement.bounces_seen.and(agreement.jumps_seen)),
            count_heard: Interval::of_share(agreement.bounces_heard),
        }
    }
}

/// How well cameos look and sound like their references.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LikenessFigures {
    pub people: LikenessFigure,
    pub balls: LikenessFigure,
    pub voices: LikenessFigure,
}

/// How well cameos of one kind are recognised.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LikenessFigure {
    pub clips: usize,
    /// Clips in which nobody is seen, or nobody heard. They count as not recognised.
    pub absent: usize,
    /// References that a clip is compared with.
    pub gallery: usize,
    /// Share of the clips that are most like their own reference of the gallery.
    pub top1: Option<Interval>,
    /// Share of the clips that are more like their own reference than like one other.
    pub swap: Option<Interval>,
    /// Mean cosine to the own reference, and to one other.
    pub right_cosine: f32,
    pub wrong_cosine: f32,
}

impl LikenessFigures {
    fn of(likeness: &Likeness) -> Self {
        let figure = |found: &Recognised| LikenessFigure {
            clips: found.clips,
            absent: found.absent,
            gallery: found.gallery,
            top1: Interval::of_share(found.top1),
            swap: Interval::of_share(found.swap),
            right_cosine: found.right_cosine,
            wrong_cosine: found.wrong_cosine,
        };
        Self {
            people: figure(&likeness.people),
            balls: figure(&likeness.balls),
            voices: figure(&likeness.voices),
        }
    }
}

/// `PhyWorld`'s figures, which the published ones are beside.
#[derive(Clone, Debug, Serialize)]
pub struct PhyWorldReport {
    /// What measuring costs.
    pub ground_truth: phyworld::Report,
    /// What the latents cost.
    pub reconstruction: phyworld::Report,
    pub model: phyworld::Report,
}

/// Evaluates a model, and writes the page where the options ask for it.
pub fn evaluate(
    generator: &Generator,
    judges: &Judges,
    options: &EvaluateOptions,
) -> Result<EvaluateReport, EvaluateError> {
    let total = Family::ALL.len() as u64 * options.clips;
    let mut progress = Progress::new("eval", total, options.progress);
    let mut survey = Survey::new(generator, judges, options);
    let mut families = Vec::with_capacity(Family::ALL.len());
    for (family, done) in Family::ALL.into_iter().zip((0..).step_by(options.clips.max(1) as usize)) {
        let mut on_clips = |clips: u64| progress.set(done + clips, format!("clips, {}", name(family)));
        families.push(survey.family(family, &mut on_clips)?);
    }
    progress.finish(format!("{total} clips judged"));
    let cameos = (options.cameos > 0).then(|| cameos::evaluate(generator, judges, options)).transpose()?;
    let (likeness, faces) = cameos.unzip();
    let phyworld = (options.phyworld_episodes > 0).then(|| evaluate_lab(generator, options)).transpose()?;
    let sampling = generator.card().sampling;
    let report = EvaluateReport {
        clips: options.clips,
        seed: options.seed,
        takes: options.takes,
        steps: options.steps.unwrap_or(sampling.steps),
        guidance: options.guidance.unwrap_or(sampling.guidance),
        parameters: generator.parameters(),
        captions: survey.captions(),
        likeness,
        distance: survey.distance(),
        families,
        phyworld,
        judges: judges.card().worth.clone(),
    };
    if let Some(path) = &options.report {
        let page = page::of(&report, &options.model_name, survey.exhibits, faces.unwrap_or_default());
        kinora_harness::page::write(&page, path)?;
    }
    Ok(report)
}

/// `PhyWorld`'s protocol with the model as predictor.
fn evaluate_lab(generator: &Generator, options: &EvaluateOptions) -> Result<PhyWorldReport, EvaluateError> {
    let protocol = Protocol { episodes: options.phyworld_episodes, ..Protocol::default() };
    let total = (phyworld::Task::ALL.len() * phyworld::Domain::ALL.len() * protocol.episodes) as u64;
    let mut progress = Progress::new("phyworld", total, options.progress);
    let ground_truth = phyworld::evaluate_codec(&protocol, |frames| frames)?;
    let reconstruction =
        phyworld::evaluate_retold(&protocol, |episode| generator.retell_lab(episode, protocol.side))?;
    let mut first = 0;
    let model = phyworld::evaluate_in_batches(&protocol, BATCH, |seen| {
        let steps = options.steps.unwrap_or(generator.card().sampling.steps);
        let settings = LabSettings { steps, seed: options.seed, first };
        first += seen.len() as u64;
        let predicted = generator.continue_lab(seen, settings, &mut |_, _| go_on(options))?;
        progress.set(first, "episodes");
        Ok::<_, EvaluateError>(predicted)
    })?;
    progress.finish(format!("{total} episodes predicted"));
    Ok(PhyWorldReport { ground_truth, reconstruction, model })
}

fn go_on(options: &EvaluateOptions) -> ControlFlow<()> {
    if options.interrupt.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// What the model imagines, one performance a request.
fn perform(
    generator: &Generator,
    requests: &[GenerationRequest],
    options: &EvaluateOptions,
) -> Result<Vec<Performance>, EvaluateError> {
    if options.interrupt.is_set() {
        return Err(EvaluateError::Interrupted);
    }
    Ok(generator.perform_batch(requests, &mut |_, _| go_on(options))?)
}

/// Scenes as they are once they were rows of latents.
fn retell(generator: &Generator, scenes: &[&Scene]) -> Vec<Performance> {
    let config = &generator.card().model;
    let encoders = Encoders { config, sound: &generator.model().sound, device: generator.device() };
    let performances = encoders.perform(scenes).into_iter();
    performances.map(|told| Performance::from_row(&told.to_row(config).values, config)).collect()
}

fn original(scene: &Scene) -> Clip {
    Clip {
        width: SIDE,
        height: SIDE,
        fps: FPS,
        frames: render(scene, SIDE, SIDE),
        sample_rate: SAMPLE_RATE,
        samples: sound(scene),
    }
}

fn request(caption: String, options: &EvaluateOptions, index: u64) -> GenerationRequest {
    GenerationRequest {
        takes: options.takes,
        steps: options.steps,
        guidance: options.guidance,
        width: SIDE,
        height: SIDE,
        ..GenerationRequest::new(caption, derive(options.seed, "generated") ^ index)
    }
}

fn portraits(scene: &Scene) -> Vec<Vec<u8>> {
    let cameos = scene.actors.iter().filter(|actor| actor.name == Name::Cameo);
    cameos.map(|actor| portrait(&actor.look, REFERENCE_SIDE)).collect()
}

fn name(family: Family) -> &'static str {
    match family {
        Family::Bounce => "bounce",
        Family::Hoop => "hoop",
        Family::Collision => "collision",
        Family::Dominoes => "dominoes",
        Family::Pendulum => "pendulum",
        Family::Ramp => "ramp",
        Family::Walk => "walk",
        Family::Throw => "throw",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn few() -> EvaluateOptions {
        EvaluateOptions {
            clips: 2,
            unusual_clips: 1,
            cameos: 2,
            phyworld_episodes: 1,
            steps: Some(2),
            ..EvaluateOptions::default()
        }
    }

    #[test]
    fn a_report_sets_a_model_beside_what_bounds_it() {
        let (generator, judges) = (crate::generate::untrained(), Judges::shipped().unwrap());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("page.html");
        let options = EvaluateOptions { report: Some(path.clone()), ..few() };
        let report = evaluate(&generator, &judges, &options).unwrap();
        assert_eq!(report.families.len(), Family::ALL.len());
        for family in &report.families {
            assert_eq!(family.captions.generated.clips, 2);
            let Some(motion) = &family.motion else { continue };
            let figures = &motion.figures;
            for figures in [&figures.ground_truth, &figures.reconstruction, &figures.generated] {
                assert_eq!(figures.clips + motion.left_out, 2, "{:?}", family.family);
            }
            let spread = motion.out_of_distribution.as_ref().map(|figures| figures.clips);
            assert_eq!(spread, (family.family != Family::Throw).then_some(1));
        }
        assert_eq!(report.captions.ground_truth.clips, 2 * Family::ALL.len());
        let likeness = report.likeness.unwrap();
        assert_eq!((likeness.generated.people.clips, likeness.generated.balls.clips), (2, 2));
        assert!(likeness.ground_truth.people.right_cosine > likeness.generated.people.right_cosine);
        let distance = [report.distance.ground_truth, report.distance.generated];
        assert!(distance[0].unwrap().value < distance[1].unwrap().value, "{distance:?}");
        assert!(report.phyworld.unwrap().reconstruction.rows.iter().all(|row| row.error.missing == 0));
        let page = std::fs::read_to_string(path).unwrap();
        let has = |part: &str| page.matches(part).count();
        assert_eq!(
            has("<h2"),
            4 + Family::ALL.len(),
            "captions, likeness, distance, PhyWorld and the families"
        );
        assert!(has("data:video/mp4") >= Family::ALL.len() && has("targets met") == 1);
    }

    #[test]
    fn an_interrupt_ends_it() {
        let options = few();
        options.interrupt.set();
        let stopped = evaluate(&crate::generate::untrained(), &Judges::shipped().unwrap(), &options);
        assert!(matches!(stopped, Err(EvaluateError::Interrupted)));
    }
}
