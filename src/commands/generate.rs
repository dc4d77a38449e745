//! `kinora generate`: a prompt to an MP4 with sound, marked as generated.

use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Context as _;
use kinora_harness::device::DeviceChoice;
use kinora_harness::progress::Progress;
use kinora_serving::clock::{Clock, utc_year};
use kinora_serving::signing::{Claim, ContentSigner};
use kinora_training::generate::{GenerateError, GenerationRequest, Generator};
use kinora_training::media::{EncodeOptions, encode_mp4};
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
    /// 4, 8 or 12.
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// Width and height of the picture, in pixels.
    #[arg(long, default_value_t = 256)]
    size: u32,
    /// Steps of the sampler [default: the model's].
    #[arg(long)]
    steps: Option<usize>,
    /// How strongly the prompt is followed [default: the model's].
    #[arg(long)]
    guidance: Option<f32>,
    /// A model made by `kinora train video` [default: the shipped nano weights].
    #[arg(long)]
    model: Option<PathBuf>,
    /// auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let interrupt = interrupt::flag();
    let signer =
        ContentSigner::open(&context.config.storage.keys(), utc_year(Clock::system().now_ms()) as i32)?;
    let generator = match &args.model {
        Some(dir) => Generator::load(dir, args.device)?,
        None => Generator::shipped(args.device)?,
    };
    for word in generator.unknown_words(&args.prompt) {
        context.output.note(&format!("the model does not know the word `{word}`"));
    }
    let defaults = GenerationRequest::new(&args.prompt, args.seed);
    let request = GenerationRequest {
        seconds: args.seconds,
        steps: args.steps.unwrap_or(defaults.steps),
        guidance: args.guidance.unwrap_or(defaults.guidance),
        side: args.size as usize,
        ..defaults
    };
    let mut bar = Progress::new("generating", 0, context.output.progress());
    let drawn = tokio::task::block_in_place(|| {
        generator.generate(&request, &mut |done, total| {
            bar.set(done as u64, format_args!("of {total} steps"));
            if interrupt.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    });
    let clip = match drawn {
        Err(GenerateError::Cancelled) => return Err(interrupt::Interrupted::Abandoned.into()),
        clip => clip?,
    };
    bar.finish("encoding");
    let options = EncodeOptions { size: (args.size, args.size), ..EncodeOptions::default() };
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
        "size": args.size,
    });
    context.output.result(&result, || {
        format!(
            "{}: {:.0} s, {}x{}, {} KB",
            args.out.display(),
            clip.seconds(),
            args.size,
            args.size,
            signed.len() / 1024
        )
    })?;
    Ok(())
}
