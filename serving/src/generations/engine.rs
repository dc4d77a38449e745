//! The generation engine: a request that everyone consented to becomes an MP4 and two pictures.
//! It blocks and computes; whoever calls it does so on a blocking thread.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use kinora_harness::device::DeviceChoice;
use kinora_training::clip::Clip;
use kinora_training::generate::{GenerateError, GenerationRequest, Generator, Source};
use kinora_training::media::decode::{DecodeError, DecodeOptions, decode};
use kinora_training::media::{EncodeOptions, MediaError, encode_mp4_watched, spritesheet_png, thumbnail_png};
use kinora_training::world::{FPS, SAMPLE_RATE};
use thiserror::Error;

use super::Watch;
use super::draft::{Derivation, Draft};
use super::journey::RenderedMedia;

/// Share of the progress that the model's steps make up; encoding and signing are the rest.
const MODEL_PERCENT: usize = 85;
const ENCODED_PERCENT: usize = 95;
/// Pictures whose shorter side is longer than this, in pixels, are drawn smaller and scaled up.
const SIDE_MAX: u32 = 512;
/// How far an edit goes from its parent, where 1 keeps nothing: the words may change what happens, and what
/// they leave open stays.
const EDIT_STRENGTH: f32 = 0.6;
/// Longest parent that is read, in seconds.
const PARENT_MAX_S: f64 = 120.0;
const SHEET_COLUMNS: usize = 4;
const SHEET_ROWS: usize = 2;

/// A likeness as the model takes it: 32x32 RGB.
pub type Likeness = [u8; 32 * 32 * 3];

#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    #[error("the generation was stopped")]
    Stopped,
    #[error("the model failed")]
    Generate(#[source] GenerateError),
    #[error("the clip that this one is made from could not be read")]
    Decode(#[from] DecodeError),
    #[error("the clip could not be encoded")]
    Encode(#[from] MediaError),
}

/// A loaded model. Cloning is cheap; the weights are shared.
#[derive(Clone)]
pub struct Engine {
    generator: Arc<Generator>,
    /// Steps of the sampler, where not the model's usual number.
    steps: Option<usize>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    pub fn new(generator: Generator) -> Self {
        Self { generator: Arc::new(generator), steps: None }
    }

    /// With another number of steps than usual: fewer are faster and rougher.
    #[must_use]
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.steps = Some(steps);
        self
    }

    /// The weights in `models_dir/video`, where the installation has trained its own; otherwise
    /// those that ship with Kinora.
    pub fn load(models_dir: &Path) -> Result<Self, GenerateError> {
        let own = models_dir.join("video");
        let generator = if own.is_dir() {
            Generator::load(&own, DeviceChoice::Auto)?
        } else {
            Generator::shipped(DeviceChoice::Auto)?
        };
        Ok(Self::new(generator))
    }

    /// The words of a prompt that the model does not know and will ignore.
    pub(crate) fn unknown_words(&self, prompt: &str) -> Vec<String> {
        self.generator.unknown_words(prompt)
    }

    pub(super) fn make(
        &self,
        draft: &Draft,
        likeness: Option<&Likeness>,
        parent: Option<&[u8]>,
        watch: &Watch,
    ) -> Result<RenderedMedia, EngineError> {
        let mut request = GenerationRequest::new(draft.prompt.as_str(), draft.seed);
        request.seconds = draft.seconds;
        (request.width, request.height) = drawn_size(draft.size.width, draft.size.height);
        request.source = source(draft, parent, (request.width as u32, request.height as u32))?;
        request.references = likeness.map(|pixels| pixels.to_vec()).into_iter().collect();
        if let Some(steps) = self.steps {
            request.steps = Some(steps);
        }
        let mut on_step = |done: usize, total: usize| {
            watch.report((done * MODEL_PERCENT / total.max(1)) as u8);
            if watch.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let clip = match self.generator.generate(&request, &mut on_step) {
            Ok(clip) => clip,
            Err(GenerateError::Cancelled) => return Err(EngineError::Stopped),
            Err(error) => return Err(EngineError::Generate(error)),
        };
        match encode(&clip, draft, watch) {
            Err(MediaError::Stopped) => Err(EngineError::Stopped),
            media => Ok(media?),
        }
    }
}

/// What the clip begins with beside its prompt. A remix begins with the noise of its parent's first take,
/// which the seed is.
fn source(
    draft: &Draft,
    parent: Option<&[u8]>,
    (width, height): (u32, u32),
) -> Result<Option<Source>, EngineError> {
    let (Some(origin), Some(mp4)) = (&draft.origin, parent) else { return Ok(None) };
    if origin.derivation == Derivation::Remix {
        return Ok(None);
    }
    let options =
        DecodeOptions { width, height, fps: FPS, sample_rate: SAMPLE_RATE, max_seconds: PARENT_MAX_S };
    let clip = decode(mp4, options)?;
    Ok(Some(match origin.derivation {
        Derivation::Extension { .. } => Source::Extend(clip),
        Derivation::Edit | Derivation::Remix => Source::Edit { clip, strength: EDIT_STRENGTH },
    }))
}

/// The size that a picture is drawn at: of the same shape, and no larger than it needs to be.
fn drawn_size(width: u32, height: u32) -> (usize, usize) {
    let scale = (SIDE_MAX as f32 / width.min(height) as f32).min(1.0);
    let side = |pixels: u32| ((pixels as f32 * scale / 2.0).round() as usize * 2).max(2);
    (side(width), side(height))
}

fn encode(clip: &Clip, draft: &Draft, watch: &Watch) -> Result<RenderedMedia, MediaError> {
    let size = (draft.size.width, draft.size.height);
    let options = EncodeOptions { size, ..EncodeOptions::default() };
    let mp4 = encode_mp4_watched(clip, options, &mut |done, total| {
        watch.report((MODEL_PERCENT + done * (ENCODED_PERCENT - MODEL_PERCENT) / total.max(1)) as u8);
        if watch.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    watch.report(ENCODED_PERCENT as u8);
    // The middle of the clip shows more of it than the first frame.
    let thumbnail = thumbnail_png(clip, clip.frame_count() / 2)?;
    let spritesheet = spritesheet_png(clip, SHEET_COLUMNS, SHEET_ROWS)?;
    Ok(RenderedMedia {
        mp4: mp4.into(),
        thumbnail: thumbnail.into(),
        spritesheet: spritesheet.into(),
        duration_ms: (clip.seconds() * 1000.0).round() as i64,
    })
}
