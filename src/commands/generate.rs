//! `kinora generate`: a prompt to an MP4 with sound, marked as generated.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use kinora_harness::device::DeviceChoice;
use kinora_harness::progress::Progress;
use kinora_serving::clock::{Clock, utc_year};
use kinora_serving::signing::{Claim, ContentSigner};
use kinora_training::clip::Clip;
use kinora_training::generate::{GenerateError, GenerationRequest, Generator, REFERENCE_SIDE, Source, TAKES};
use kinora_training::grid::generate::{GridGenerateError, GridGenerator, GridRequest, Start};
use kinora_training::media::decode::{DecodeOptions, decode};
use kinora_training::media::{EncodeOptions, encode_mp4, portrait, still};
use kinora_training::weights::{Space, space_of};
use kinora_training::world::{FPS, SAMPLE_RATE};
use serde_json::json;

use crate::{Context, interrupt};

/// Generate a clip with sound from a prompt, with the shipped weights or your own.
///
/// The same prompt, seed and weights make the same clip. The file carries a signed C2PA manifest that
/// says it was generated; the key is made at first use and stays in the data directory.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    prompt: String,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value = "clip.mp4")]
    out: PathBuf,
    /// 4, 8 or 12; a pixel model takes any number [default: 4, or what a pixel model learned from].
    #[arg(long)]
    seconds: Option<u32>,
    /// Width and height of the picture, in pixels: 256, or 448x256 [default: 256, or what a pixel model learned
    /// from].
    #[arg(long, value_parser = parse_size)]
    size: Option<(u32, u32)>,
    /// A picture (PNG or JPEG) of who or what the first actor is; repeat it for the second.
    #[arg(long, value_name = "FILE")]
    cameo: Vec<PathBuf>,
    /// A picture (PNG or JPEG) that the clip begins with.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["extend", "edit"])]
    image: Option<PathBuf>,
    /// A clip (MP4 or WebM) to go on from: it and as many new seconds as `--seconds` says leave.
    #[arg(long, value_name = "FILE", conflicts_with = "edit")]
    extend: Option<PathBuf>,
    /// A clip (MP4 or WebM) to change towards the prompt, as long as it is, up to twelve seconds.
    #[arg(long, value_name = "FILE")]
    edit: Option<PathBuf>,
    /// How far `--edit` goes from the clip: above 0, up to 1, which keeps nothing.
    #[arg(long, default_value_t = 0.6, requires = "edit")]
    strength: f32,
    /// How strongly the cameos' likeness is followed [default: the model's].
    #[arg(long)]
    likeness: Option<f32>,
    /// Steps of the sampler [default: the model's].
    #[arg(long)]
    steps: Option<usize>,
    /// How strongly the prompt is followed [default: the model's].
    #[arg(long)]
    guidance: Option<f32>,
    /// Takes that may be drawn, of which the one most like the prompt is kept. What begins with a picture or a
    /// clip, and a pixel model's clip, is drawn once.
    #[arg(long, default_value_t = TAKES)]
    takes: usize,
    /// A model made by `kinora train video` or `kinora train clips` [default: the shipped nano weights].
    #[arg(long)]
    model: Option<PathBuf>,
    /// auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

/// Learns how many of how many steps are done, and may cancel.
type OnStep<'a> = &'a mut dyn FnMut(usize, usize) -> ControlFlow<()>;

pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let interrupt = interrupt::flag();
    let signer =
        ContentSigner::open(&context.config.storage.keys(), utc_year(Clock::system().now_ms()) as i32)?;
    let mut bar = Progress::new("generating", 0, context.output.progress());
    let mut on_step = |done: usize, total: usize| {
        bar.set(done as u64, format_args!("of {total} steps"));
        if interrupt.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let clip = match &args.model {
        Some(dir) if space_of(dir)? == Space::Grid => draw_pixels(dir, args, context, &mut on_step)?,
        _ => draw_world(args, context, &mut on_step)?,
    };
    bar.finish("encoding");
    let size = (clip.width as u32, clip.height as u32);
    let options = EncodeOptions { size, ..EncodeOptions::default() };
    let mp4 = tokio::task::block_in_place(|| encode_mp4(&clip, options))?;
    let claim = Claim {
        asset_id: args.out.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        model: args.model.as_ref().map_or_else(|| "kinora-nano".to_owned(), |dir| dir.display().to_string()),
        when: jiff::Timestamp::now().to_string(),
    };
    let signed = tokio::task::block_in_place(|| signer.sign(&mp4, &claim, None))?;
    std::fs::write(&args.out, &signed).with_context(|| format!("cannot write {}", args.out.display()))?;
    let result = json!({
        "out": args.out,
        "bytes": signed.len(),
        "seconds": clip.seconds(),
        "frames": clip.frame_count(),
        "width": size.0,
        "height": size.1,
    });
    context.output.result(&result, || {
        format!(
            "{}: {:.0} s, {}x{}, {} KB",
            args.out.display(),
            clip.seconds(),
            size.0,
            size.1,
            signed.len() / 1024
        )
    })?;
    Ok(())
}

/// A clip of the model whose latents describe the physics world.
fn draw_world(args: &Args, context: &Context, on_step: OnStep<'_>) -> anyhow::Result<Clip> {
    let generator = match &args.model {
        Some(dir) => Generator::load(dir, args.device)?,
        None => Generator::shipped(args.device)?,
    };
    name_unknown(&generator.unknown_words(&args.prompt), context);
    let defaults = GenerationRequest::new(&args.prompt, args.seed);
    let (width, height) = args.size.unwrap_or((defaults.width as u32, defaults.height as u32));
    let source = match beginning(args, (width, height))? {
        None => None,
        Some(Beginning::Picture(clip)) => Some(Source::Picture(clip)),
        Some(Beginning::Extend(clip)) => Some(Source::Extend(clip)),
        Some(Beginning::Edit(clip)) => Some(Source::Edit { clip, strength: args.strength }),
    };
    let request = GenerationRequest {
        seconds: args.seconds.unwrap_or(defaults.seconds),
        steps: args.steps,
        takes: args.takes,
        guidance: args.guidance,
        likeness: args.likeness,
        references: cameos(args, REFERENCE_SIDE)?,
        source,
        width: width as usize,
        height: height as usize,
        ..defaults
    };
    match tokio::task::block_in_place(|| generator.generate(&request, on_step)) {
        Err(GenerateError::Cancelled) => Err(interrupt::Interrupted::Abandoned.into()),
        clip => Ok(clip?),
    }
}

/// A clip of a model whose latents describe pixels.
fn draw_pixels(dir: &Path, args: &Args, context: &Context, on_step: OnStep<'_>) -> anyhow::Result<Clip> {
    let generator = GridGenerator::load(dir, args.device)?;
    name_unknown(&generator.unknown_words(&args.prompt), context);
    let defaults = generator.request(&args.prompt, args.seed);
    let (width, height) = args.size.unwrap_or((defaults.width as u32, defaults.height as u32));
    let start = match beginning(args, (width, height))? {
        None => Start::Nothing,
        Some(Beginning::Picture(clip)) => {
            Start::Image { width: clip.width, height: clip.height, pixels: clip.frames }
        }
        Some(Beginning::Extend(clip)) => Start::Continue(clip),
        Some(Beginning::Edit(clip)) => Start::Edit { clip, strength: args.strength },
    };
    let request = GridRequest {
        seconds: args.seconds.map_or(defaults.seconds, f64::from),
        steps: args.steps.unwrap_or(defaults.steps),
        guidance: args.guidance.unwrap_or(defaults.guidance),
        likeness: args.likeness.unwrap_or(defaults.likeness),
        references: cameos(args, generator.config().flow.reference_side)?,
        start,
        width: width as usize,
        height: height as usize,
        ..defaults
    };
    match tokio::task::block_in_place(|| generator.generate(&request, on_step)) {
        Err(GridGenerateError::Cancelled) => Err(interrupt::Interrupted::Abandoned.into()),
        clip => Ok(clip?),
    }
}

fn name_unknown(words: &[String], context: &Context) {
    for word in words {
        context.output.note(&format!("the model does not know the word `{word}`"));
    }
}

/// What the clip begins with beside its prompt.
enum Beginning {
    Picture(Clip),
    Extend(Clip),
    Edit(Clip),
}

fn beginning(args: &Args, (width, height): (u32, u32)) -> anyhow::Result<Option<Beginning>> {
    let clip = |path: &Path| {
        let options = DecodeOptions { width, height, fps: FPS, sample_rate: SAMPLE_RATE, max_seconds: 60.0 };
        decode(path, options).with_context(|| format!("cannot use {}", path.display()))
    };
    if let Some(path) = &args.image {
        let picture = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let first = still(&picture, width as usize, height as usize);
        return Ok(Some(Beginning::Picture(
            first.with_context(|| format!("cannot use {}", path.display()))?,
        )));
    }
    if let Some(path) = &args.extend {
        return Ok(Some(Beginning::Extend(clip(path)?)));
    }
    let Some(path) = &args.edit else { return Ok(None) };
    Ok(Some(Beginning::Edit(clip(path)?)))
}

/// The portraits in the cameos' picture files.
fn cameos(args: &Args, side: usize) -> anyhow::Result<Vec<Vec<u8>>> {
    let read = |path: &PathBuf| {
        let picture = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        portrait(&picture, side).with_context(|| format!("cannot use {}", path.display()))
    };
    args.cameo.iter().map(read).collect()
}

fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let side = |text: &str| {
        let pixels: u32 = text.parse().map_err(|_| format!("`{text}` is no number of pixels"))?;
        let fits = (16..=1024).contains(&pixels) && pixels.is_multiple_of(2);
        if fits { Ok(pixels) } else { Err("use even numbers of pixels from 16 to 1024".to_owned()) }
    };
    match text.split_once('x') {
        Some((width, height)) => Ok((side(width)?, side(height)?)),
        None => side(text).map(|side| (side, side)),
    }
}
