//! The encoder: a clip's pixels and samples enter, a [`Performance`] leaves.
//!
//! It is the other half of the [painter](crate::painter): the eye recognises the first frame, drawing and
//! comparing makes that exact and follows it from frame to frame ([`follow`]), and sound is read by its onsets
//! and by the ear ([`hear`]). Pictures are read at no more than [`LARGEST_SIDE`] pixels.
//!
//! INVARIANT: causal. A frame's poses depend on this and earlier frames alone, so reading frame by frame
//! gives what reading the whole clip gives; sound is known as soon as it has been heard. Any clip can be read:
//! of one that shows another world, [`Reading::likeness_db`] says how little it was understood.

mod fit;
mod floor;
mod follow;
mod hear;
mod portrait;
mod recognise;
mod sketch;
mod start;
#[cfg(test)]
mod tests;

use burn::tensor::Device;
use thiserror::Error;

use self::fit::{Fitter, Target};
use self::follow::Follower;
use self::hear::Hearer;
use self::recognise::Recogniser;
use self::sketch::Sketch;
use self::start::Start;
use crate::clip::Clip;
use crate::judge::figure::{resample, taps};
use crate::media::resample::resample as resample_sound;
use crate::model::Model;
use crate::model::latents::INSTANTS_PER_FRAME;
use crate::model::sound::Atoms;
use crate::performance::Performance;
use crate::weights::ModelCard;
use crate::world::draw::Window;
use crate::world::{Body, FPS, SAMPLE_RATE, SAMPLES_PER_FRAME, Track, VoiceFrame};

pub use self::floor::{Floor, Floors};
pub(crate) use self::portrait::read_portrait;

/// The shorter side of the pictures that are compared, in pixels, at most.
const LARGEST_SIDE: usize = 128;
/// A first frame less like its reading than this shows nothing yet.
const UNLIKE_DB: f32 = 17.0;
/// First frames that are tried.
const TRIES: usize = 3;
/// Levels by which a frame must differ from one in which nothing was recognised to be tried.
const CHANGED: f32 = 6.0;

/// Why a clip cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    #[error("the clip has no picture: give at least one frame")]
    NoPicture,
    #[error("the clip's rate is 0 frames a second")]
    Rate,
}

/// What was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) performance: Performance,
    /// Peak signal-to-noise ratio of each frame, drawn again, against what was seen.
    pub(crate) likeness_db: Vec<f32>,
}

/// Reads clips with one model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoder<'a> {
    pub(crate) model: &'a Model,
    pub(crate) card: &'a ModelCard,
    pub(crate) atoms: &'a Atoms,
    pub(crate) device: &'a Device,
}

impl<'a> Encoder<'a> {
    /// Reads a clip of any size, rate and length; an image is a clip of one frame.
    pub(crate) fn read(&self, clip: &Clip) -> Result<Reading, EncodeError> {
        if clip.fps == 0 {
            return Err(EncodeError::Rate);
        }
        let mut watch = self.watch(clip.width, clip.height)?;
        watch.listen(&resample_sound(&clip.samples, clip.sample_rate, SAMPLE_RATE));
        for frame in 0..frames_at_world_rate(clip) {
            // The frame that is shown when the world's frame begins.
            let shown = frame * clip.fps as usize / FPS as usize;
            watch.see(clip.frame(shown).ok_or(EncodeError::NoPicture)?);
        }
        watch.finish().ok_or(EncodeError::NoPicture)
    }

    /// Reads frames of one size and sound as they come, [`FPS`] and [`SAMPLE_RATE`] a second.
    pub(crate) fn watch(&self, width: usize, height: usize) -> Result<Watch<'a>, EncodeError> {
        if width == 0 || height == 0 {
            return Err(EncodeError::NoPicture);
        }
        let recogniser = Recogniser {
            eye: &self.model.eye,
            config: &self.card.model,
            normalisation: &self.card.normalisation,
            device: self.device,
        };
        let hearer = Hearer { model: self.model, atoms: self.atoms, device: self.device };
        Ok(Watch::new(recogniser, hearer, width, height))
    }
}

/// How many frames at [`FPS`] a clip lasts: at least one.
pub(crate) fn frames_at_world_rate(clip: &Clip) -> usize {
    (clip.frame_count() * FPS as usize).div_ceil(clip.fps.max(1) as usize).max(1)
}

/// Reads pictures and sound, piece by piece.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    recogniser: Recogniser<'a>,
    hearer: Hearer<'a>,
    scale: Scale,
    /// What was recognised first, and who follows it.
    begun: Option<(Sketch, Follower)>,
    /// The frame in which it was recognised, and how many were tried.
    tried: (Vec<u8>, usize),
    tracks: Vec<Vec<Track>>,
    likeness_db: Vec<f32>,
    samples: Vec<f32>,
}

impl<'a> Watch<'a> {
    fn new(recogniser: Recogniser<'a>, hearer: Hearer<'a>, width: usize, height: usize) -> Self {
        Self {
            recogniser,
            hearer,
            scale: Scale::new(width, height),
            begun: None,
            tried: (Vec::new(), 0),
            tracks: Vec::new(),
            likeness_db: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// The next frame, RGB8.
    pub(crate) fn see(&mut self, pixels: &[u8]) {
        let pixels = self.scale.apply(pixels);
        let size = self.scale.to;
        let target = Target { pixels: &pixels, width: size.0 };
        let is_worth_a_try = self.is_worth_a_try(&pixels);
        match &mut self.begun {
            Some((first, follower)) if !is_worth_a_try => {
                let tracks = follower.follow(target);
                self.likeness_db.push(likeness_db(&first.with(&tracks), target, size));
                self.tracks.push(tracks);
            }
            _ => self.begin(pixels),
        }
    }

    /// The next samples, at [`SAMPLE_RATE`].
    pub(crate) fn listen(&mut self, samples: &[f32]) {
        self.samples.extend(samples.iter().map(|s| if s.is_finite() { s.clamp(-1.0, 1.0) } else { 0.0 }));
    }

    /// What was read of the frames and samples so far; `None` before the first frame.
    pub(crate) fn finish(mut self) -> Option<Reading> {
        let (first, _) = self.begun?;
        let mut performance = Sketch::perform(&first, &self.tracks);
        self.samples.truncate(performance.frames * SAMPLES_PER_FRAME);
        let people = performance.actors.iter().flatten();
        let may_speak = people.filter(|figure| matches!(figure.body, Body::Person { .. })).count() > 0;
        let sounds = self.hearer.hear(&self.samples, may_speak);
        performance.impacts = sounds.impacts;
        performance.utterance = sounds.utterance.map(|mut utterance| {
            utterance.speaker = speaker(&performance, &utterance.frames);
            utterance.frames.resize(performance.frames * INSTANTS_PER_FRAME, VoiceFrame::default());
            utterance
        });
        Some(Reading { performance, likeness_db: self.likeness_db })
    }

    /// Whether nothing was recognised yet, and something new is shown.
    fn is_worth_a_try(&self, pixels: &[u8]) -> bool {
        let (last, tries) = &self.tried;
        *tries < TRIES
            && self.likeness_db.iter().all(|&db| db < UNLIKE_DB)
            && mean_difference(last, pixels) > CHANGED
    }

    /// Recognises a first frame. Until something can be seen, everybody is where they are then.
    fn begin(&mut self, pixels: Vec<u8>) {
        let size = self.scale.to;
        let target = Target { pixels: &pixels, width: size.0 };
        let guesses = self.recogniser.guesses(&pixels, size);
        let mut start = Start { target, size, fitter: Fitter::default() };
        let Some(first) = start.fit(guesses) else { return };
        self.likeness_db.push(likeness_db(&first, target, size));
        self.tracks = vec![first.tracks(); self.likeness_db.len()];
        self.begun = Some((first.clone(), Follower::new(first, size)));
        self.tried = (pixels, self.tried.1 + 1);
    }
}

/// Whose mouth moves with the voice.
fn speaker(performance: &Performance, voice: &[VoiceFrame]) -> usize {
    let moves = |slot: usize| -> Option<f32> {
        let Some(Track::Doll(track)) = performance.actors.get(slot)?.as_ref().map(|figure| &figure.track)
        else {
            return None;
        };
        let instants = voice.iter().step_by(INSTANTS_PER_FRAME);
        Some(track.iter().zip(instants).map(|(pose, frame)| pose.mouth * frame.voiced).sum())
    };
    let mouths = (0..performance.actors.len()).filter_map(|slot| Some((slot, moves(slot)?)));
    mouths.max_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(slot, _)| slot)
}

/// Mean difference of two pictures, in levels.
fn mean_difference(one: &[u8], other: &[u8]) -> f32 {
    let total: u64 = one.iter().zip(other).map(|(&a, &b)| u64::from(a.abs_diff(b))).sum();
    if one.len() == other.len() { total as f32 / one.len().max(1) as f32 } else { f32::INFINITY }
}

/// How like what is seen a sketch is.
fn likeness_db(sketch: &Sketch, target: Target<'_>, size: (usize, usize)) -> f32 {
    let mut drawn = vec![0; target.pixels.len()];
    sketch.easel(size).draw(&sketch.actors, 0, &Window::whole(size.0, size.1), &mut drawn);
    psnr_db(&drawn, target.pixels)
}

/// Peak signal-to-noise ratio of two pictures, at most 99 dB.
pub(crate) fn psnr_db(one: &[u8], other: &[u8]) -> f32 {
    let squares = one.iter().zip(other).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
    let mean = squares.sum::<f64>() / one.len().max(1) as f64;
    (10.0 * (255.0 * 255.0 / mean.max(1e-9)).log10()).min(99.0) as f32
}

/// Brings frames to the size at which they are compared.
#[derive(Debug)]
struct Scale {
    from: (usize, usize),
    to: (usize, usize),
    columns: Vec<Vec<(usize, f32)>>,
    rows: Vec<Vec<(usize, f32)>>,
}

impl Scale {
    fn new(width: usize, height: usize) -> Self {
        let step = (width.min(height) as f32 / LARGEST_SIDE as f32).max(1.0);
        let side = |length: usize| ((length as f32 / step).round() as usize).max(1);
        let to = (side(width), side(height));
        Self {
            from: (width, height),
            to,
            columns: taps(0.0, width as f32 / to.0 as f32, to.0, width),
            rows: taps(0.0, height as f32 / to.1 as f32, to.1, height),
        }
    }

    /// A frame that is too short is black where it ends.
    fn apply(&self, pixels: &[u8]) -> Vec<u8> {
        let mut whole = pixels.to_vec();
        whole.resize(self.from.0 * self.from.1 * 3, 0);
        if self.from == self.to { whole } else { resample(&whole, self.from.0, &self.columns, &self.rows) }
    }
}
