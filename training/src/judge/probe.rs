//! What happens: pixels and samples enter; the event, the named colours and features to compare sets of clips
//! by leave.
//!
//! A clip is glanced at two dozen times: where something differs from the place, in which colours, and what is
//! heard meanwhile. INVARIANT: a probe sees what a viewer sees; captions, scenes and latents stay outside.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::figure::{difference, median, resample, taps};
use super::hearing::{Mel, WINDOW};
use crate::clip::Clip;
use crate::world::{Backdrop, Colour, Event, Scene, Shot};

/// Pictures of a clip that a probe sees.
const GLANCES: usize = 24;
/// Their side in pixels.
pub(super) const SIDE: usize = 32;
/// What moves in each glance, the place, and the mean colours of what moves.
pub(super) const CHANNELS: usize = GLANCES + 6;
const SLOTS: usize = 32;
const BANDS: usize = 16;
/// Numbers of what is heard.
pub(super) const HEARD: usize = SLOTS * BANDS;
const HOP: usize = 256;
/// Features that sets of clips are compared by.
pub(super) const FEATURES: usize = 64;
/// What the features are also trained to know, so that a set of clips that all look alike is found out.
pub(super) const SURROUNDINGS: usize = Colour::ALL.len() + SHOTS.len() + BACKDROPS.len();
const SHOTS: [Shot; 3] = [Shot::Close, Shot::Medium, Shot::Wide];
const BACKDROPS: [Backdrop; 5] =
    [Backdrop::Sky, Backdrop::Sand, Backdrop::Mint, Backdrop::Lavender, Backdrop::Stone];

/// An [`Event`] without its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    Bounces,
    Scores,
    Misses,
    Collides,
    Topples,
    Swings,
    Rolls,
    Walks,
    Jumps,
    Waves,
    Stands,
    Throws,
    Catches,
}

impl EventKind {
    pub const ALL: [Self; 13] = [
        Self::Bounces,
        Self::Scores,
        Self::Misses,
        Self::Collides,
        Self::Topples,
        Self::Swings,
        Self::Rolls,
        Self::Walks,
        Self::Jumps,
        Self::Waves,
        Self::Stands,
        Self::Throws,
        Self::Catches,
    ];

    pub fn of(event: Event) -> Self {
        match event {
            Event::Bounces(_) => Self::Bounces,
            Event::Scores { .. } => Self::Scores,
            Event::Misses { .. } => Self::Misses,
            Event::Collides { .. } => Self::Collides,
            Event::Topples { .. } => Self::Topples,
            Event::Swings { .. } => Self::Swings,
            Event::Rolls { .. } => Self::Rolls,
            Event::Walks { .. } => Self::Walks,
            Event::Jumps(_) => Self::Jumps,
            Event::Waves => Self::Waves,
            Event::Stands => Self::Stands,
            Event::Throws { .. } => Self::Throws,
            Event::Catches => Self::Catches,
        }
    }

    pub(super) fn index(self) -> usize {
        Self::ALL.iter().position(|kind| *kind == self).unwrap_or(0)
    }
}

/// What a probe sees and hears of a clip.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Glance {
    /// `[channel, row, column]`
    pub(super) picture: Vec<u8>,
    /// `[slot, band]`
    pub(super) sound: Vec<f32>,
}

impl Glance {
    pub(super) fn at(clip: &Clip) -> Self {
        Self { picture: look(clip), sound: listen(&clip.samples, clip.sample_rate) }
    }

    /// The same as a mirror shows it.
    pub(super) fn mirrored(&self) -> Self {
        let lines = self.picture.chunks_exact(SIDE);
        Self {
            picture: lines.flat_map(|line| line.iter().rev().copied()).collect(),
            sound: self.sound.clone(),
        }
    }
}

fn look(clip: &Clip) -> Vec<u8> {
    let mut picture = vec![0; CHANNELS * SIDE * SIDE];
    let (count, side) = (clip.frame_count(), clip.width.min(clip.height));
    if count == 0 {
        return picture;
    }
    // Of other aspects the square that every aspect shows.
    let step = side as f32 / SIDE as f32;
    let columns = taps(((clip.width - side) / 2) as f32, step, SIDE, clip.width);
    let rows = taps((clip.height - side) as f32, step, SIDE, clip.height);
    let frames: Vec<Vec<u8>> = (0..GLANCES)
        .filter_map(|glance| clip.frame(glance * count / GLANCES))
        .map(|pixels| resample(pixels, clip.width, &columns, &rows))
        .collect();
    let place = median(&frames);
    let (moves, still) = picture.split_at_mut(GLANCES * SIDE * SIDE);
    let mut sums = vec![[0.0_f32; 4]; SIDE * SIDE];
    for (frame, out) in frames.iter().zip(moves.chunks_exact_mut(SIDE * SIDE)) {
        let pixels = frame.chunks_exact(3).zip(place.chunks_exact(3));
        for (((pixel, own), out), sum) in pixels.zip(out).zip(&mut sums) {
            let strength = difference(pixel, own).min(255);
            *out = strength as u8;
            let weight = if strength > 40 { strength as f32 } else { 0.0 };
            sum[3] += weight;
            for (channel, &value) in sum.iter_mut().zip(pixel) {
                *channel += weight * f32::from(value);
            }
        }
    }
    for channel in 0..3 {
        for (at, sum) in sums.iter().enumerate() {
            still[channel * SIDE * SIDE + at] = place[at * 3 + channel];
            let mean = if sum[3] > 0.0 { sum[channel] / sum[3] } else { 128.0 };
            still[(channel + 3) * SIDE * SIDE + at] = mean as u8;
        }
    }
    picture
}

/// The loudest that each band is in each slot of a clip.
fn listen(samples: &[f32], sample_rate: u32) -> Vec<f32> {
    let mel = Mel::new(BANDS, sample_rate);
    let mut heard = vec![-1.0_f32; HEARD];
    for start in (0..samples.len()).step_by(HOP) {
        let window = &samples[start..(start + WINDOW).min(samples.len())];
        if window.iter().all(|sample| sample.abs() < 1e-4) {
            continue;
        }
        let slot = start * SLOTS / samples.len();
        for (most, power) in heard[slot * BANDS..].iter_mut().zip(mel.log_power(window)) {
            *most = most.max((power + 8.0) / 8.0);
        }
    }
    heard
}

/// Convolutions that halve the picture, and a linear layer on what is left.
#[derive(Module, Debug)]
struct Eye {
    layers: Vec<Conv2d>,
    head: Linear,
}

impl Eye {
    /// An eye for square pictures of `side` pixels and `widths[0]` channels.
    fn new(side: usize, widths: &[usize], outputs: usize, device: &Device) -> Self {
        let halved = widths.windows(2).map(|pair| {
            Conv2dConfig::new([pair[0], pair[1]], [3, 3])
                .with_stride([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device)
        });
        let layers: Vec<Conv2d> = halved.collect();
        let rest = layers.iter().fold(side, |side, _| side.div_ceil(2));
        let features = rest * rest * widths.last().copied().unwrap_or(1);
        Self { layers, head: LinearConfig::new(features, outputs).init(device) }
    }

    /// # Shapes
    /// - pictures: `[pictures, channels, side, side]`; output: `[pictures, outputs]`.
    fn forward(&self, pictures: Tensor<4>) -> Tensor<2> {
        let seen = self.layers.iter().fold(pictures, |seen, layer| relu(layer.forward(seen)));
        self.head.forward(seen.flatten::<2>(1, 3))
    }
}

#[derive(Module, Debug)]
pub(super) struct Probe {
    eye: Eye,
    ear: Linear,
    mind: Linear,
    event: Linear,
    surroundings: Linear,
}

/// What a probe makes of a batch of clips.
#[derive(Debug)]
pub(super) struct Verdict {
    /// `[clips, FEATURES]`
    pub(super) features: Tensor<2>,
    /// Logits, `[clips, events]`.
    pub(super) events: Tensor<2>,
    /// Logits, `[clips, SURROUNDINGS]`.
    pub(super) surroundings: Tensor<2>,
}

impl Probe {
    pub(super) fn new(device: &Device) -> Self {
        const SEEN: usize = 96;
        const SAID: usize = 48;
        let layer = |from, to| LinearConfig::new(from, to).init(device);
        Self {
            eye: Eye::new(SIDE, &[CHANNELS, 32, 48, 48], SEEN, device),
            ear: layer(HEARD, SAID),
            mind: layer(SEEN + SAID, FEATURES),
            event: layer(FEATURES, EventKind::ALL.len()),
            surroundings: layer(FEATURES, SURROUNDINGS),
        }
    }

    /// # Shapes
    /// - pictures: `[clips, CHANNELS, SIDE, SIDE]`; sounds: `[clips, HEARD]`.
    pub(super) fn forward(&self, pictures: Tensor<4>, sounds: Tensor<2>) -> Verdict {
        let seen = relu(self.eye.forward(pictures));
        let heard = relu(self.ear.forward(sounds));
        let features = relu(self.mind.forward(Tensor::cat(vec![seen, heard], 1)));
        Verdict {
            events: self.event.forward(features.clone()),
            surroundings: self.surroundings.forward(features.clone()),
            features,
        }
    }
}

/// Glances as a probe takes them.
pub(super) fn batch(glances: &[Glance], device: &Device) -> (Tensor<4>, Tensor<2>) {
    let mut pixels = Vec::with_capacity(glances.len() * CHANNELS * SIDE * SIDE);
    for glance in glances {
        let (moves, still) = glance.picture.split_at(GLANCES * SIDE * SIDE);
        pixels.extend(moves.iter().map(|&value| f32::from(value) / 255.0));
        pixels.extend(still.iter().map(|&value| f32::from(value) / 255.0 - 0.5));
    }
    let sounds: Vec<f32> = glances.iter().flat_map(|glance| glance.sound.iter().copied()).collect();
    (
        Tensor::from_data(TensorData::new(pixels, [glances.len(), CHANNELS, SIDE, SIDE]), device),
        Tensor::from_data(TensorData::new(sounds, [glances.len(), HEARD]), device),
    )
}

/// The surroundings of a scene, 1 for what is there and 0 for what is not.
pub(super) fn surroundings(scene: &Scene) -> Vec<f32> {
    let colours = scene_colours(scene);
    let flag = |on: bool| if on { 1.0 } else { 0.0 };
    let mut flags: Vec<f32> = Colour::ALL.iter().map(|colour| flag(colours.contains(colour))).collect();
    flags.extend(SHOTS.map(|shot| flag(shot == scene.shot)));
    flags.extend(BACKDROPS.map(|backdrop| flag(backdrop == scene.stage.backdrop)));
    flags
}

/// The colours that a caption of the scene can name, the first actor's first, each once.
pub(super) fn scene_colours(scene: &Scene) -> Vec<Colour> {
    let mut colours = Vec::new();
    for actor in &scene.actors {
        if let crate::world::Name::Colours(first, second) = actor.name {
            for colour in std::iter::once(first).chain(second) {
                if !colours.contains(&colour) {
                    colours.push(colour);
                }
            }
        }
    }
    colours
}

/// Index of the highest value.
pub(super) fn highest(values: &[f32]) -> Option<usize> {
    (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Family;
    use crate::world::draw::render;
    use crate::world::sound::sound;

    fn clip(seed: u64, side: usize) -> Clip {
        let scene = Family::Bounce.sample(seed);
        let frames = render(&scene, side, side);
        Clip { width: side, height: side, fps: 24, frames, sample_rate: 12_000, samples: sound(&scene) }
    }

    #[test]
    fn a_glance_hardly_depends_on_the_size_of_the_picture() {
        let (small, large) = (Glance::at(&clip(5, 64)), Glance::at(&clip(5, 160)));
        let apart: f32 =
            small.picture.iter().zip(&large.picture).map(|(a, b)| f32::from(a.abs_diff(*b))).sum::<f32>()
                / small.picture.len() as f32;
        assert!(apart < 4.0, "{apart}");
        assert_eq!(small.sound, large.sound);
    }

    #[test]
    fn a_mirror_image_mirrors_back() {
        let glance = Glance::at(&clip(6, 64));
        let mirrored = glance.mirrored();
        assert_ne!(glance, mirrored);
        assert_eq!(glance, mirrored.mirrored());
    }

    #[test]
    fn a_clip_without_frames_and_samples_can_be_glanced_at() {
        let clip =
            Clip { width: 0, height: 0, fps: 24, frames: vec![], sample_rate: 12_000, samples: vec![] };
        let glance = Glance::at(&clip);
        assert!(glance.picture.iter().all(|&value| value == 0) && glance.sound.len() == HEARD);
    }

    #[test]
    fn every_kind_of_event_has_its_place() {
        for (index, kind) in EventKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), index);
        }
    }
}
