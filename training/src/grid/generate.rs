//! Generation with a pixel model: a prompt, and what is given of a clip, enter; a clip with sound leaves.
//!
//! A clip that is longer than the model's goes on from its own end, window after window. INVARIANT: the same
//! model, request and seed give the same clip on the same kind of device, alone or in a batch; a
//! [`GridGenerator`] is shared freely between threads.

use std::ops::ControlFlow;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use kinora_harness::device::{DeviceChoice, DeviceError, resolve};
use kinora_harness::seed::derive;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

use super::config::{ClipShape, GridConfig, SAMPLES_PER_LATENT, SPACE_FACTOR, TIME_FACTOR, is_side};
use super::flow::{Course, Guide, sample};
use super::model::{GridCard, GridModel, load};
use super::phyworld::PhyWorldSampling;
use super::pixels;
use super::train::{grids, sound_beside};
use super::transformer::{Grids, Known, Prompted, References};
use crate::clip::Clip;
use crate::media::resample::resample;
use crate::media::resize::Fit;
use crate::train::normal;
use crate::weights::WeightsError;
use crate::world::SAMPLE_RATE;

/// Steps that the sampler may take.
const STEPS: std::ops::RangeInclusive<usize> = 1..=200;
/// The longest clip in seconds.
const LONGEST_S: f64 = 60.0;
/// Spends more steps near the noise.
const SHIFT: f32 = 2.0;
/// Share of the latent frames of a window that the next one begins with, beside the first.
const OVERLAP_SHARE: usize = 4;

/// What is given of a clip.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Start {
    /// Nothing but the prompt.
    #[default]
    Nothing,
    /// The first picture, RGB8.
    Image { width: usize, height: usize, pixels: Vec<u8> },
    /// A clip to go on from; it stands at the beginning of what comes back.
    Continue(Clip),
    /// A clip to change; `strength` in (0, 1] says how much.
    Edit { clip: Clip, strength: f32 },
    /// Pictures that sound is drawn for.
    Pictures(Clip),
    /// Sound, mono at 12 kHz, that pictures are drawn for.
    Sound(Vec<f32>),
}

/// What is to be generated.
#[derive(Clone, Debug, PartialEq)]
pub struct GridRequest {
    pub prompt: String,
    pub seed: u64,
    /// Length of what is drawn. More than the model's own length is drawn in windows.
    pub seconds: f64,
    /// Steps of the sampler.
    pub steps: usize,
    /// How strongly the prompt is followed; 1 is as learned.
    pub guidance: f32,
    /// How strongly the references are followed; 1 is as learned.
    pub likeness: f32,
    /// Portraits of whom the clip shows, RGB8 of the model's reference size.
    pub references: Vec<Vec<u8>>,
    /// Width and height of the pictures in pixels, multiples of 16; the model's own look best.
    pub width: usize,
    pub height: usize,
    pub start: Start,
}

/// Why there is no clip.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GridGenerateError {
    #[error("the prompt is empty")]
    EmptyPrompt,
    #[error("a clip of {seconds} seconds cannot be generated: use more than 0 and at most {most:.1}")]
    Seconds { seconds: f64, most: f64 },
    #[error("{steps} steps cannot be taken: use 1 to 200")]
    Steps { steps: usize },
    #[error("guidance and likeness must lie between 0 and 10")]
    Guidance,
    #[error("a picture of {width}x{height} pixels cannot be drawn: use multiples of 16 up to 1024")]
    Size { width: usize, height: usize },
    #[error("a reference picture must be RGB of {side} x {side} pixels: {expected} bytes, not {found}")]
    Reference { side: usize, expected: usize, found: usize },
    #[error("{found} reference pictures were given: this model reads at most {most}")]
    References { found: usize, most: usize },
    #[error("the strength of an edit is {strength}: use more than 0 and at most 1")]
    Strength { strength: f32 },
    #[error("what the clip is to start from has no whole picture, or is longer than a minute")]
    Start,
    #[error("this model draws no sound: give no sound, and ask for none")]
    Silent,
    #[error("the clips of a batch must be alike in size, length, steps and what they start from")]
    Batch,
    #[error("{bytes} bytes do not fill frames of {width}x{height} that can be encoded")]
    Frames { bytes: usize, width: usize, height: usize },
    #[error("the generation was cancelled")]
    Cancelled,
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// A loaded pixel model, ready to generate.
#[derive(Debug)]
pub struct GridGenerator {
    model: GridModel,
    card: GridCard,
    device: Device,
}

/// What the clips of a batch have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Form {
    shape: ClipShape,
    /// Frames that are drawn anew.
    fresh: usize,
    steps: usize,
    from: f32,
    /// Whether the clips go on from others, and by how many latent frames they can.
    overlap: Option<usize>,
    has_references: bool,
}

/// A clip in the making.
#[derive(Debug, Default)]
struct Reeled {
    frames: Vec<u8>,
    samples: Vec<f32>,
}

/// What is known of one window of one clip.
#[derive(Debug, Default)]
struct Window {
    /// Frames from the first on, 1 + 4 n of them or none.
    frames: Vec<u8>,
    /// Samples from the first on, whole sound latents.
    samples: Vec<f32>,
}

/// A clip whose first frames are given.
#[derive(Clone, Debug)]
pub(super) struct Beginning {
    pub(super) frames: Vec<u8>,
    pub(super) prompt: &'static str,
    pub(super) seed: u64,
}

type OnStep<'a> = &'a mut dyn FnMut(usize, usize) -> ControlFlow<()>;

impl GridGenerator {
    /// Loads the model in `directory`.
    pub fn load(directory: &Path, device: DeviceChoice) -> Result<Self, GridGenerateError> {
        let device = resolve(device)?;
        let (model, card) = load(directory, &device)?;
        Ok(Self { model, card, device })
    }

    /// The sizes that the model is built from.
    pub fn config(&self) -> &GridConfig {
        &self.card.model
    }

    /// Numbers in the model.
    pub fn parameters(&self) -> usize {
        self.model.num_params()
    }

    /// The words of a prompt that the model does not know and will ignore.
    pub fn unknown_words(&self, prompt: &str) -> Vec<String> {
        self.card.vocabulary.unknown(prompt)
    }

    /// A clip of `prompt` as the model knows them best, with the usual settings.
    pub fn request(&self, prompt: impl Into<String>, seed: u64) -> GridRequest {
        let clip = self.card.model.clip;
        GridRequest {
            prompt: prompt.into(),
            seed,
            seconds: clip.seconds(),
            steps: 24,
            guidance: 2.0,
            likeness: 1.0,
            references: Vec::new(),
            width: clip.width,
            height: clip.height,
            start: Start::Nothing,
        }
    }

    /// Generates a clip. `on_step` learns how many of how many steps are done, and may cancel.
    pub fn generate(&self, request: &GridRequest, on_step: OnStep<'_>) -> Result<Clip, GridGenerateError> {
        let clips = self.generate_batch(std::slice::from_ref(request), on_step)?;
        clips.into_iter().next().ok_or(GridGenerateError::Batch)
    }

    /// Generates clips that are alike in size, length, steps and what they start from, at once.
    pub fn generate_batch(
        &self,
        requests: &[GridRequest],
        on_step: OnStep<'_>,
    ) -> Result<Vec<Clip>, GridGenerateError> {
        let forms = requests.iter().map(|request| self.form(request)).collect::<Result<Vec<_>, _>>()?;
        let form = *forms.first().ok_or(GridGenerateError::Batch)?;
        if forms.iter().any(|other| *other != form) {
            return Err(GridGenerateError::Batch);
        }
        let config = GridConfig { clip: form.shape, ..self.card.model };
        let mut reels: Vec<Reeled> =
            requests.iter().map(|request| beginning(request, &config)).collect::<Result<_, _>>()?;
        let whole: Vec<usize> =
            reels.iter().map(|reel| reel.frames.len() / frame_bytes(&form.shape) + form.fresh).collect();
        let shape = form.shape;
        let overlap = usual_overlap(&shape);
        let new_frames = |overlap: usize| shape.frames - frames_of(overlap);
        // The first window draws all its frames, unless the clip goes on from another.
        let first = form.overlap.map_or(shape.frames, new_frames);
        let windows = 1 + form.fresh.saturating_sub(first).div_ceil(new_frames(overlap));
        let total = windows * form.steps;
        for window in 0..windows {
            let overlap = if window == 0 { form.overlap } else { Some(overlap) };
            let known: Vec<Window> = requests
                .iter()
                .zip(&reels)
                .map(|(request, reel)| match overlap {
                    Some(overlap) => end_of(reel, overlap, &config),
                    None => given(request, &config),
                })
                .collect();
            let done = window * form.steps;
            let mut on_window_step = |step: usize, _: usize| on_step(done + step, total);
            let drawn = self.window(requests, &known, &form, &config, window, &mut on_window_step)?;
            let kept = overlap.map_or(0, frames_of);
            for (reel, drawn) in reels.iter_mut().zip(drawn) {
                reel.frames.extend(drawn.frames.iter().skip(kept * frame_bytes(&shape)));
                let first = samples_in(kept, &shape);
                let last = samples_in(shape.frames, &shape);
                reel.samples.extend(drawn.samples.iter().take(last).skip(first));
            }
        }
        let clips = requests.iter().zip(reels).zip(whole);
        Ok(clips.map(|((request, reel), frames)| finished(request, reel, frames, &config)).collect())
    }

    /// Draws one window of each clip.
    fn window(
        &self,
        requests: &[GridRequest],
        known: &[Window],
        form: &Form,
        config: &GridConfig,
        window: usize,
        on_step: OnStep<'_>,
    ) -> Result<Vec<Reeled>, GridGenerateError> {
        let noise = self.noise(requests.iter().map(|request| request.seed), window, config);
        let mut guide = self.guide(requests, form);
        guide.known = self.known(known, &noise, config);
        let clean = (form.from > 0.0).then(|| {
            let edited = requests.iter().map(|request| match &request.start {
                Start::Edit { clip, .. } => held(conform(clip, &config.clip), &config.clip),
                _ => Reeled::default(),
            });
            self.encode(&edited.collect::<Vec<_>>(), config)
        });
        let course = Course { steps: form.steps, shift: SHIFT, from: form.from };
        let drawn = sample(&self.model.flow, noise, clean, &guide, course, on_step)
            .ok_or(GridGenerateError::Cancelled)?;
        Ok(self.decode(drawn))
    }

    /// Whole windows to latents of unit variance.
    fn encode(&self, clips: &[Reeled], config: &GridConfig) -> Grids {
        let ClipShape { width, height, .. } = config.clip;
        let frames: Vec<&[u8]> = clips.iter().map(|clip| clip.frames.as_slice()).collect();
        let picture =
            self.model.picture.encode_long(&pixels::of_clips(&frames, [width, height], &self.device));
        let sound = self.model.sound.as_ref().map(|autoencoder| {
            let length = config.clip.sound_latents() * SAMPLES_PER_LATENT;
            let samples: Vec<f32> = clips
                .iter()
                .flat_map(|clip| clip.samples.iter().copied().chain(std::iter::repeat(0.0)).take(length))
                .collect();
            let samples = TensorData::new(samples, [clips.len(), length]);
            autoencoder.encode(Tensor::<2>::from_data(samples, &self.device)).mean
        });
        self.card.spreads.apply(Grids { picture, sound })
    }

    fn decode(&self, latents: Grids) -> Vec<Reeled> {
        let Grids { picture, sound } = self.card.spreads.undo(latents);
        let frames = pixels::to_clips(self.model.picture.decode_long(&picture));
        let samples = sound.zip(self.model.sound.as_ref()).map(|(sound, autoencoder)| {
            let [batch, latents, _] = sound.dims();
            let samples = autoencoder.decode(sound).clamp(-1.0, 1.0);
            let samples: Vec<f32> = samples.try_into_vec_as::<f32>().unwrap_or_default();
            let length = latents * SAMPLES_PER_LATENT;
            (0..batch)
                .map(|clip| samples.iter().skip(clip * length).take(length).copied().collect())
                .collect::<Vec<Vec<f32>>>()
        });
        let mut samples = samples.unwrap_or_default().into_iter();
        frames
            .into_iter()
            .map(|frames| Reeled { frames, samples: samples.next().unwrap_or_default() })
            .collect()
    }

    fn noise(&self, seeds: impl Iterator<Item = u64>, window: usize, config: &GridConfig) -> Grids {
        let (mut picture, mut sound, mut batch) = (Vec::new(), Vec::new(), 0);
        for seed in seeds {
            let mut rng = ChaCha8Rng::seed_from_u64(derive(seed, "generate"));
            rng.set_stream(window as u64);
            picture.extend((0..config.picture_numbers()).map(|_| normal(&mut rng)));
            sound.extend((0..config.sound_numbers()).map(|_| normal(&mut rng)));
            batch += 1;
        }
        grids(picture, sound, batch, config, &self.device)
    }

    /// What is known of each clip, as latents with a mask.
    fn known(&self, windows: &[Window], like: &Grids, config: &GridConfig) -> Known {
        let mut known = Known::nothing(like);
        let ClipShape { width, height, .. } = config.clip;
        let row = |part: Tensor<5>, index| part.narrow(0, index, 1);
        let (mut values, mut mask) = (Vec::new(), Vec::new());
        for (index, window) in windows.iter().enumerate() {
            let (value, flags) =
                (row(known.values.picture.clone(), index), row(known.mask.picture.clone(), index));
            if window.frames.is_empty() {
                values.push(value);
                mask.push(flags);
                continue;
            }
            let frames = pixels::of_clips(&[&window.frames], [width, height], &self.device);
            let latents = self.card.spreads.picture.apply(self.model.picture.encode_long(&frames));
            let given = flags.clone().narrow(1, 0, latents.dims()[1]).add_scalar(1.0);
            values.push(begun_with(latents, value));
            mask.push(begun_with(given, flags));
        }
        known.values.picture = Tensor::cat(values, 0);
        known.mask.picture = Tensor::cat(mask, 0);
        if let (Some(value), Some(flags)) = (known.values.sound.clone(), known.mask.sound.clone()) {
            let parts = windows.iter().enumerate().map(|(index, window)| {
                let row = |part: &Tensor<3>| part.clone().narrow(0, index, 1);
                self.known_sound(&window.samples, row(&value), row(&flags))
            });
            let (values, mask): (Vec<_>, Vec<_>) = parts.unzip();
            known.values.sound = Some(Tensor::cat(values, 0));
            known.mask.sound = Some(Tensor::cat(mask, 0));
        }
        known
    }

    fn known_sound(&self, samples: &[f32], value: Tensor<3>, flags: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
        let count = samples.len() / SAMPLES_PER_LATENT;
        let (Some(autoencoder), Some(spread)) = (&self.model.sound, &self.card.spreads.sound) else {
            return (value, flags);
        };
        if count == 0 {
            return (value, flags);
        }
        let samples = Tensor::<1>::from_floats(&samples[..count * SAMPLES_PER_LATENT], &self.device);
        let latents = spread.apply(autoencoder.encode(samples.unsqueeze::<2>()).mean);
        let given = flags.clone().narrow(1, 0, count).add_scalar(1.0);
        (begun_with(latents, value), begun_with(given, flags))
    }

    fn guide(&self, requests: &[GridRequest], form: &Form) -> Guide {
        let flow = &self.card.model.flow;
        let batch = requests.len();
        let words = |is_told: bool| {
            let numbers: Vec<i32> = requests
                .iter()
                .flat_map(|request| {
                    let prompt = if is_told { request.prompt.as_str() } else { "" };
                    self.card.vocabulary.numbers_of(prompt, flow.prompt_words)
                })
                .collect();
            let numbers = TensorData::new(numbers, [batch, flow.prompt_words]);
            Tensor::<2, Int>::from_data(numbers, &self.device)
        };
        let prompted = |is_told: bool, is_shown: bool| -> Prompted {
            let references = form.has_references.then(|| self.references(requests, is_shown));
            self.model.flow.prompt(words(is_told), references)
        };
        let shape = form.shape;
        let config = GridConfig { clip: shape, ..self.card.model };
        let like = grids(
            vec![0.0; batch * config.picture_numbers()],
            vec![0.0; batch * config.sound_numbers()],
            batch,
            &config,
            &self.device,
        );
        Guide {
            whole: prompted(true, true),
            text: form.has_references.then(|| prompted(true, false)),
            nothing: prompted(false, false),
            known: Known::nothing(&like),
            guidance: requests.iter().map(|request| request.guidance).collect(),
            likeness: requests.iter().map(|request| request.likeness).collect(),
        }
    }

    /// The portraits of each request as latents.
    fn references(&self, requests: &[GridRequest], is_shown: bool) -> References {
        let flow = &self.card.model.flow;
        let (count, side) = (flow.references, flow.reference_side);
        let blank = vec![0; side * side * 3];
        let all: Vec<&[u8]> = requests
            .iter()
            .flat_map(|request| {
                (0..count).map(|place| request.references.get(place).unwrap_or(&blank).as_slice())
            })
            .collect();
        let has: Vec<f32> = requests
            .iter()
            .flat_map(|request| {
                (0..count).map(|place| if is_shown && place < request.references.len() { 1.0 } else { 0.0 })
            })
            .collect();
        let latents = self.model.picture.encode(pixels::of_clips(&all, [side, side], &self.device)).mean;
        let latents = self.card.spreads.picture.apply(latents);
        let (batch, channels, side) = (requests.len(), self.card.model.picture.channels, side / SPACE_FACTOR);
        References {
            latents: latents.reshape([batch, count, channels, side, side]),
            has: Tensor::from_data(TensorData::new(has, [batch, count, 1, 1]), &self.device),
        }
    }

    /// All frames of clips of the model's length whose beginnings, each 1 + 4 n frames, are given.
    pub(super) fn follow(
        &self,
        beginnings: &[Beginning],
        [width, height]: [usize; 2],
        sampling: PhyWorldSampling,
    ) -> Result<Vec<Vec<u8>>, GridGenerateError> {
        let PhyWorldSampling { steps, guidance, .. } = sampling;
        let (mut requests, mut known, mut form) = (Vec::new(), Vec::new(), None);
        for Beginning { frames, prompt, seed } in beginnings {
            let request = self.request(*prompt, *seed);
            let request = GridRequest { steps, guidance, width, height, ..request };
            let checked = self.form(&request)?;
            check_frames(frames, [width, height])?;
            if frames.len() > checked.shape.bytes() {
                return Err(GridGenerateError::Frames { bytes: frames.len(), width, height });
            }
            form = Some(checked);
            requests.push(request);
            known.push(Window { frames: frames.clone(), samples: Vec::new() });
        }
        let Some(form) = form else { return Ok(Vec::new()) };
        let config = GridConfig { clip: form.shape, ..self.card.model };
        let mut on_step = |_: usize, _: usize| ControlFlow::Continue(());
        let drawn = self.window(&requests, &known, &form, &config, 0, &mut on_step)?;
        Ok(drawn.into_iter().map(|clip| clip.frames).collect())
    }

    /// Frames, 1 + 4 n of them, after the autoencoder.
    pub fn reconstruct(
        &self,
        frames: &[u8],
        [width, height]: [usize; 2],
    ) -> Result<Vec<u8>, GridGenerateError> {
        if !is_side(width) || !is_side(height) {
            return Err(GridGenerateError::Size { width, height });
        }
        check_frames(frames, [width, height])?;
        let frames = pixels::of_clips(&[frames], [width, height], &self.device);
        let back = self.model.picture.decode_long(&self.model.picture.encode_long(&frames));
        Ok(pixels::to_clips(back).concat())
    }

    /// Checks a request, and says what it has in common with others.
    fn form(&self, request: &GridRequest) -> Result<Form, GridGenerateError> {
        let GridConfig { clip, sound, flow, .. } = self.card.model;
        let GridRequest { seconds, steps, width, height, .. } = *request;
        if request.prompt.trim().is_empty() {
            return Err(GridGenerateError::EmptyPrompt);
        }
        if !STEPS.contains(&steps) {
            return Err(GridGenerateError::Steps { steps });
        }
        if !(0.0..=10.0).contains(&request.guidance) || !(0.0..=10.0).contains(&request.likeness) {
            return Err(GridGenerateError::Guidance);
        }
        if !is_side(width) || !is_side(height) {
            return Err(GridGenerateError::Size { width, height });
        }
        if request.references.len() > flow.references {
            let found = request.references.len();
            return Err(GridGenerateError::References { found, most: flow.references });
        }
        let (side, expected) = (flow.reference_side, flow.reference_side.pow(2) * 3);
        if let Some(pixels) = request.references.iter().find(|pixels| pixels.len() != expected) {
            return Err(GridGenerateError::Reference { side, expected, found: pixels.len() });
        }
        let shape = ClipShape { width, height, ..clip };
        let is_whole = |clip: &Clip| clip.frame_count() > 0 && clip.fps > 0 && clip.seconds() <= LONGEST_S;
        let (mut from, mut overlap, mut most) = (0.0, None, LONGEST_S);
        match &request.start {
            Start::Nothing => {}
            Start::Image { width, height, pixels } => {
                let expected = width.saturating_mul(*height).saturating_mul(3);
                if pixels.len() != expected || pixels.is_empty() {
                    return Err(GridGenerateError::Start);
                }
            }
            Start::Continue(clip) => {
                if !is_whole(clip) {
                    return Err(GridGenerateError::Start);
                }
                let frames = conformed_frames(clip, shape.fps);
                overlap = Some(usual_overlap(&shape).min(1 + (frames - 1) / TIME_FACTOR));
            }
            Start::Edit { clip, strength } => {
                if !is_whole(clip) {
                    return Err(GridGenerateError::Start);
                }
                if !(*strength > 0.0 && *strength <= 1.0) {
                    return Err(GridGenerateError::Strength { strength: *strength });
                }
                (from, most) = (1.0 - strength, shape.seconds());
            }
            Start::Pictures(clip) => {
                if !is_whole(clip) {
                    return Err(GridGenerateError::Start);
                }
                most = shape.seconds();
            }
            Start::Sound(_) => most = shape.seconds(),
        }
        if matches!(request.start, Start::Pictures(_) | Start::Sound(_)) && sound.is_none() {
            return Err(GridGenerateError::Silent);
        }
        if !(seconds > 0.0 && seconds <= most + 1e-9) {
            return Err(GridGenerateError::Seconds { seconds, most });
        }
        let fresh = ((seconds * f64::from(shape.fps)).round() as usize).max(1);
        Ok(Form { shape, fresh, steps, from, overlap, has_references: !request.references.is_empty() })
    }
}

/// `all` with its first frames replaced by `beginning`.
fn begun_with<const D: usize>(beginning: Tensor<D>, all: Tensor<D>) -> Tensor<D> {
    let (count, times) = (beginning.dims()[1], all.dims()[1]);
    if count >= times {
        return beginning.narrow(1, 0, times);
    }
    Tensor::cat(vec![beginning, all.narrow(1, count, times - count)], 1)
}

fn frame_bytes(shape: &ClipShape) -> usize {
    (shape.width * shape.height * 3).max(1)
}

/// Sound samples in the time of so many frames.
fn samples_in(frames: usize, shape: &ClipShape) -> usize {
    frames * SAMPLE_RATE as usize / shape.fps.max(1) as usize
}

/// Frames that so many latent frames stand for.
fn frames_of(latents: usize) -> usize {
    1 + (latents.max(1) - 1) * TIME_FACTOR
}

/// Latent frames of a window that the next one begins with.
fn usual_overlap(shape: &ClipShape) -> usize {
    (1 + (shape.latent_frames() / OVERLAP_SHARE).max(1)).min(shape.latent_frames() - 1)
}

fn check_frames(frames: &[u8], [width, height]: [usize; 2]) -> Result<(), GridGenerateError> {
    let frame = (width * height * 3).max(1);
    let count = frames.len() / frame;
    if frames.len().is_multiple_of(frame) && count % TIME_FACTOR == 1 {
        return Ok(());
    }
    Err(GridGenerateError::Frames { bytes: frames.len(), width, height })
}

/// Frames of a clip at another rate.
fn conformed_frames(clip: &Clip, fps: u32) -> usize {
    ((clip.seconds() * f64::from(fps)).round() as usize).max(1)
}

/// A clip at the model's picture size and rates.
fn conform(clip: &Clip, shape: &ClipShape) -> Reeled {
    let fit = Fit::covering((clip.width, clip.height), (shape.width as u32, shape.height as u32));
    let mut canvas = Vec::new();
    let mut frames = Vec::new();
    for index in 0..conformed_frames(clip, shape.fps) {
        let nearest = (index as f64 + 0.5) * f64::from(clip.fps) / f64::from(shape.fps);
        let nearest = (nearest as usize).min(clip.frame_count().saturating_sub(1));
        fit.apply(clip.frame(nearest).unwrap_or_default(), &mut canvas);
        frames.extend_from_slice(&canvas);
    }
    Reeled { frames, samples: resample(&clip.samples, clip.sample_rate, SAMPLE_RATE) }
}

/// As many frames as a window has: longer clips are cut, in shorter ones the last picture is held.
fn held(mut reel: Reeled, shape: &ClipShape) -> Reeled {
    let frame = frame_bytes(shape);
    reel.frames.truncate(shape.bytes());
    let last = reel.frames.len().saturating_sub(frame);
    while reel.frames.len() < shape.bytes() && last < reel.frames.len() {
        reel.frames.extend_from_within(last..last + frame);
    }
    reel
}

/// What the clip of a request begins with, before anything is drawn.
fn beginning(request: &GridRequest, config: &GridConfig) -> Result<Reeled, GridGenerateError> {
    let Start::Continue(clip) = &request.start else { return Ok(Reeled::default()) };
    let mut reel = conform(clip, &config.clip);
    if reel.frames.is_empty() {
        return Err(GridGenerateError::Start);
    }
    // Sound keeps time with the pictures.
    let length = samples_in(reel.frames.len() / frame_bytes(&config.clip), &config.clip);
    if config.sound.is_some() {
        reel.samples.resize(length, 0.0);
    } else {
        reel.samples.clear();
    }
    Ok(reel)
}

/// What a request gives of its first window.
fn given(request: &GridRequest, config: &GridConfig) -> Window {
    let shape = &config.clip;
    match &request.start {
        Start::Image { width, height, pixels } => {
            let fit = Fit::covering((*width, *height), (shape.width as u32, shape.height as u32));
            let mut frames = Vec::new();
            fit.apply(pixels, &mut frames);
            Window { frames, samples: Vec::new() }
        }
        Start::Pictures(clip) => {
            Window { frames: held(conform(clip, shape), shape).frames, samples: Vec::new() }
        }
        Start::Sound(samples) => {
            let mut samples = samples.clone();
            samples.resize(shape.sound_latents() * SAMPLES_PER_LATENT, 0.0);
            Window { frames: Vec::new(), samples }
        }
        Start::Nothing | Start::Continue(_) | Start::Edit { .. } => Window::default(),
    }
}

/// The end of what there is of a clip, as the beginning of its next window.
fn end_of(reel: &Reeled, overlap: usize, config: &GridConfig) -> Window {
    let shape = &config.clip;
    let frames = frames_of(overlap);
    let from = reel.frames.len().saturating_sub(frames * frame_bytes(shape));
    let first_sample = reel.samples.len().saturating_sub(samples_in(frames, shape));
    let length = sound_beside(overlap, config) * SAMPLES_PER_LATENT;
    Window {
        frames: reel.frames.iter().skip(from).copied().collect(),
        samples: reel.samples.iter().skip(first_sample).take(length).copied().collect(),
    }
}

/// The clip of a request, `frames` long; what was given stays as it was given.
fn finished(request: &GridRequest, reel: Reeled, frames: usize, config: &GridConfig) -> Clip {
    let shape = &config.clip;
    let Reeled { frames: mut pixels, mut samples } = reel;
    match &request.start {
        Start::Pictures(clip) => pixels = held(conform(clip, shape), shape).frames,
        Start::Sound(given) => {
            samples.clone_from(given);
            samples.resize(samples_in(shape.frames, shape), 0.0);
        }
        _ => {}
    }
    pixels.truncate(frames * frame_bytes(shape));
    samples.truncate(samples_in(frames, shape));
    Clip {
        width: shape.width,
        height: shape.height,
        fps: shape.fps,
        frames: pixels,
        sample_rate: SAMPLE_RATE,
        samples,
    }
}

#[cfg(test)]
mod tests;
