//! The space the transformer works in: where everything is in each frame, how it looks, and what sounds when.
//!
//! Everything is linear in what it describes, so a flight is a parabola in the latents too and a small model
//! can learn it. Beside its places stands each actor's velocity: the noise and the loss treat every number in
//! its own unit variance, so a velocity is known as finely as velocities differ, where the difference of two
//! places would carry the error of both. A clip is five parts, each a row of tokens: tracks and sound (four frames a token), the
//! actors and the stage (what does not change), and the voice of who speaks. [`Latents`] holds a batch of
//! clips as tensors on a device.

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::size::ModelConfig;
use crate::world::{ACTORS, BLOCKS, FPS, FRAMES};

/// Position (two) and the cosine and sine of the angle, a body and frame.
pub(crate) const BODY_TRACK: usize = 4;
/// How far the first body of an actor has moved since the frame before, across and up.
pub(crate) const MOTION: usize = 2;
/// Numbers of the tracks of each actor in one frame: of a row of blocks, and of the third actor's one ball.
pub(crate) const ACTOR_TRACKS: [usize; ACTORS] =
    [MOTION + BLOCKS * BODY_TRACK, MOTION + BLOCKS * BODY_TRACK, MOTION + BODY_TRACK];
/// Numbers of all tracks in one frame.
pub(crate) const FRAME_TRACKS: usize = ACTOR_TRACKS[0] + ACTOR_TRACKS[1] + ACTOR_TRACKS[2];
/// Frames in a token of tracks or sound.
pub(crate) const FRAMES_PER_TOKEN: usize = 4;
/// Tokens of tracks, and of sound, in a clip.
pub(crate) const TOKENS: usize = FRAMES / FRAMES_PER_TOKEN;
/// Instants of sound in a frame: impacts and the voice are read at twice the rate of pictures.
pub(crate) const INSTANTS_PER_FRAME: usize = 2;
/// Instants of sound in a token.
pub(crate) const INSTANTS_PER_TOKEN: usize = INSTANTS_PER_FRAME * FRAMES_PER_TOKEN;
/// Instants of sound a second.
pub(crate) const INSTANTS_PER_S: f32 = (FPS as usize * INSTANTS_PER_FRAME) as f32;
/// A skin: its colours (six) and pattern (four).
pub(crate) const SKIN: usize = 6 + 4;
/// A look: a skin or shirt, then a person's complexion, hair and trousers (nine) and hair style (four).
pub(crate) const LOOK: usize = SKIN + 9 + 4;
/// An actor: kind (four), blocks (seven), sizes (four), pivot (two), then the look.
pub(crate) const ACTOR: usize = 4 + BLOCKS + 4 + 2 + LOOK;
/// A stage: shot (four), fixture (two), the hoop's place (three), the ramp's (four), the light (three), the
/// backdrop (five), wall and floor (three each).
pub(crate) const STAGE: usize = 4 + 2 + 3 + 4 + 3 + 5 + 3 + 3;
/// Onset strength and loudness, before an impact's sound code.
pub(crate) const IMPACT_FACTS: usize = 2;
/// Numbers of a voice frame.
pub(crate) const VOICE_FRAME: usize = 6;
/// Whether somebody speaks, who, and how their voice sounds (four).
pub(crate) const VOICE: usize = 2 + VOICE_CODE;
/// Numbers that say how a voice sounds.
pub(crate) const VOICE_CODE: usize = 4;
/// Numbers of a clip that one frame decides: its tracks, the actors and the stage.
pub(crate) const GLANCE: usize = FRAME_TRACKS + ACTORS * ACTOR + STAGE;
/// Parts of a clip.
pub(crate) const PARTS: usize = 5;

/// Tokens and widths of the parts of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    tokens: usize,
    /// Numbers of one instant of sound.
    pub(crate) instant: usize,
}

impl ModelConfig {
    /// The layout of a clip of a usual length.
    pub(crate) fn layout(&self) -> Layout {
        Layout { tokens: TOKENS, instant: IMPACT_FACTS + self.sound_code + VOICE_FRAME }
    }
}

impl Layout {
    /// Numbers that describe one clip.
    pub(crate) fn total(self) -> usize {
        self.shapes().iter().map(|[tokens, width]| tokens * width).sum()
    }

    /// Tokens and width of each part, in the order in which they lie in memory.
    pub(crate) fn shapes(self) -> [[usize; 2]; PARTS] {
        [
            [self.tokens, FRAMES_PER_TOKEN * FRAME_TRACKS],
            [ACTORS, ACTOR],
            [1, STAGE],
            [self.tokens, INSTANTS_PER_TOKEN * self.instant],
            [1, VOICE],
        ]
    }

    /// The numbers of a row that its first frame decides. Actors and stage follow the tracks in a row.
    pub(crate) fn glance(self, row: &[f32]) -> Vec<f32> {
        let [[tokens, width], ..] = self.shapes();
        let rest = row.iter().skip(tokens * width);
        row.iter().take(FRAME_TRACKS).chain(rest).take(GLANCE).copied().collect()
    }

    /// A row of a clip in which nothing moves, whose frames, actors and stage are a glance's, and in which
    /// nothing sounds.
    pub(crate) fn row_of_glance(self, glance: &[f32]) -> Vec<f32> {
        let [[tokens, width], ..] = self.shapes();
        let (frame, rest) = glance.split_at(FRAME_TRACKS.min(glance.len()));
        let mut still = frame.to_vec();
        let mut first = 0;
        for tracks in ACTOR_TRACKS {
            still.iter_mut().skip(first).take(MOTION).for_each(|moved| *moved = 0.0);
            first += tracks;
        }
        let mut row = still.repeat(tokens * width / FRAME_TRACKS);
        row.extend_from_slice(rest);
        row.resize(self.total(), 0.0);
        row
    }

    /// After how many numbers the meaning of each part's numbers repeats.
    fn periods(self) -> [usize; PARTS] {
        [FRAME_TRACKS, ACTOR, STAGE, self.instant, VOICE]
    }
}

/// The second at the middle of each token.
pub(crate) fn token_seconds() -> Vec<f32> {
    let middle = (FRAMES_PER_TOKEN - 1) as f32 / 2.0;
    (0..TOKENS).map(|token| ((token * FRAMES_PER_TOKEN) as f32 + middle) / FPS as f32).collect()
}

/// A batch of clips in latent space.
#[derive(Clone, Debug)]
pub(crate) struct Latents {
    /// `[batch, 24, 4 frames x 66]`
    pub(crate) tracks: Tensor<3>,
    /// `[batch, 3, 40]`
    pub(crate) actors: Tensor<3>,
    /// `[batch, 1, 27]`
    pub(crate) stage: Tensor<3>,
    /// `[batch, 24, 8 instants x (impact, voice frame)]`
    pub(crate) sound: Tensor<3>,
    /// `[batch, 1, 6]`
    pub(crate) voice: Tensor<3>,
}

impl Latents {
    fn from_parts([tracks, actors, stage, sound, voice]: [Tensor<3>; PARTS]) -> Self {
        Self { tracks, actors, stage, sound, voice }
    }

    fn into_parts(self) -> [Tensor<3>; PARTS] {
        [self.tracks, self.actors, self.stage, self.sound, self.voice]
    }

    /// Unpacks clips that lie one after another, each as [`Layout::shapes`] says.
    pub(crate) fn from_rows(rows: &[f32], layout: Layout, device: &Device) -> Self {
        let total = layout.total();
        let batch = rows.len() / total;
        let mut start = 0;
        Self::from_parts(layout.shapes().map(|[tokens, width]| {
            let length = tokens * width;
            let part: Vec<f32> = (0..batch)
                .flat_map(|row| rows[row * total + start..row * total + start + length].iter().copied())
                .collect();
            start += length;
            Tensor::<3>::from_data(TensorData::new(part, [batch, tokens, width]), device)
        }))
    }

    /// The inverse of [`Latents::from_rows`], for one clip of the batch at a time.
    pub(crate) fn into_rows(self) -> Vec<Vec<f32>> {
        let batch = self.tracks.dims()[0];
        let parts = self.into_parts().map(|part| {
            let [_, tokens, width] = part.dims();
            // The devices hold f32 here by construction; an empty row fails every later length check.
            (part.try_into_vec_as::<f32>().unwrap_or_default(), tokens * width)
        });
        (0..batch)
            .map(|row| {
                parts
                    .iter()
                    .flat_map(|(values, length)| values.iter().skip(row * length).take(*length).copied())
                    .collect()
            })
            .collect()
    }

    /// Applies `f` to each part.
    pub(crate) fn map(self, f: impl FnMut(Tensor<3>) -> Tensor<3>) -> Self {
        Self::from_parts(self.into_parts().map(f))
    }

    /// Applies `f` to each part of two batches.
    pub(crate) fn zip(self, other: Self, mut f: impl FnMut(Tensor<3>, Tensor<3>) -> Tensor<3>) -> Self {
        let [a, b, c, d, e] = self.into_parts();
        let [p, q, r, s, t] = other.into_parts();
        Self::from_parts([f(a, p), f(b, q), f(c, r), f(d, s), f(e, t)])
    }

    /// Applies `picture` to the picture's parts of two batches and `sound` to the sound's.
    pub(crate) fn zip_streams(
        self,
        other: Self,
        picture: impl Fn(Tensor<3>, Tensor<3>) -> Tensor<3>,
        sound: impl Fn(Tensor<3>, Tensor<3>) -> Tensor<3>,
    ) -> Self {
        Self {
            tracks: picture(self.tracks, other.tracks),
            actors: picture(self.actors, other.actors),
            stage: picture(self.stage, other.stage),
            sound: sound(self.sound, other.sound),
            voice: sound(self.voice, other.voice),
        }
    }
}

/// Shift and scale that bring each number of a clip to zero mean and unit variance, shared by all frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Normalisation {
    tracks: Vec<[f32; 2]>,
    actor: Vec<[f32; 2]>,
    stage: Vec<[f32; 2]>,
    instant: Vec<[f32; 2]>,
    voice: Vec<[f32; 2]>,
}

/// Adds up clips, of which only the numbers that mean something count.
#[derive(Debug)]
pub(crate) struct Measure {
    layout: Layout,
    sums: [Vec<[f64; 3]>; PARTS],
}

impl Measure {
    pub(crate) fn new(layout: Layout) -> Self {
        Self { layout, sums: layout.periods().map(|period| vec![[0.0; 3]; period]) }
    }

    /// Adds a clip, with the weight that training gives each of its numbers.
    pub(crate) fn add(&mut self, row: &[f32], weights: &[f32]) {
        let (mut row, mut weights) = (row, weights);
        for ([tokens, width], sums) in self.layout.shapes().into_iter().zip(&mut self.sums) {
            let (values, later) = row.split_at(tokens * width);
            let (counts, others) = weights.split_at(tokens * width);
            (row, weights) = (later, others);
            let period = sums.len();
            for (place, (&value, &weight)) in values.iter().zip(counts).enumerate() {
                if weight > FAINT {
                    let [count, sum, squares] = &mut sums[place % period];
                    *count += 1.0;
                    *sum += f64::from(value);
                    *squares += f64::from(value) * f64::from(value);
                }
            }
        }
    }

    pub(crate) fn finish(self) -> Normalisation {
        let [tracks, actor, stage, instant, voice] = self.sums.map(|sums| {
            let pair = |[count, sum, squares]: [f64; 3]| {
                let mean = sum / count.max(1.0);
                let variance = (squares / count.max(1.0) - mean * mean).max(0.0);
                // A number that never changes is left as it is.
                let deviation = if variance > 1e-6 { variance.sqrt() } else { 1.0 };
                [mean as f32, deviation as f32]
            };
            sums.into_iter().map(pair).collect()
        });
        Normalisation { tracks, actor, stage, instant, voice }
    }
}

/// Weight of numbers that mean nothing: the model is to keep them near zero, no more.
pub(crate) const FAINT: f32 = 0.03;

impl Normalisation {
    fn parts(&self) -> [&Vec<[f32; 2]>; PARTS] {
        [&self.tracks, &self.actor, &self.stage, &self.instant, &self.voice]
    }

    /// Whether this belongs to a model of this layout.
    pub(crate) fn fits(&self, layout: Layout) -> bool {
        self.parts().map(Vec::len) == layout.periods()
    }

    /// Clips to unit variance, in place; numbers that mean nothing become zero.
    pub(crate) fn apply(&self, row: &mut [f32], weights: &[f32], layout: Layout) {
        self.each(row, layout, |value, [mean, deviation]| (value - mean) / deviation);
        for (value, &weight) in row.iter_mut().zip(weights) {
            if weight <= FAINT {
                *value = 0.0;
            }
        }
    }

    /// The inverse of [`Normalisation::apply`].
    pub(crate) fn undo(&self, row: &mut [f32], layout: Layout) {
        self.each(row, layout, |value, [mean, deviation]| value * deviation + mean);
    }

    /// An actor's look alone to unit variance, in place.
    pub(crate) fn apply_to_look(&self, look: &mut [f32]) {
        for (value, [mean, deviation]) in look.iter_mut().zip(&self.actor[ACTOR - LOOK..]) {
            *value = (*value - mean) / deviation;
        }
    }

    /// How a voice sounds alone to unit variance, in place.
    pub(crate) fn apply_to_voice(&self, code: &mut [f32]) {
        for (value, [mean, deviation]) in code.iter_mut().zip(&self.voice[2..]) {
            *value = (*value - mean) / deviation;
        }
    }

    fn each(&self, row: &mut [f32], layout: Layout, f: impl Fn(f32, [f32; 2]) -> f32) {
        let mut rest = row;
        for ([tokens, width], pairs) in layout.shapes().into_iter().zip(self.parts()) {
            let (part, after) = rest.split_at_mut(tokens * width);
            for (value, pair) in part.iter_mut().zip(pairs.iter().cycle()) {
                *value = f(*value, *pair);
            }
            rest = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::ModelSize;

    fn rows(count: usize, layout: Layout) -> Vec<f32> {
        (0..count * layout.total()).map(|place| ((place * 7919) % 1013) as f32 / 100.0).collect()
    }

    #[test]
    fn rows_come_back_from_tensors() {
        let layout = ModelSize::Nano.config().layout();
        let rows = rows(3, layout);
        let latents = Latents::from_rows(&rows, layout, &Device::flex());
        assert_eq!(latents.tracks.dims(), [3, 24, 264]);
        assert_eq!(latents.into_rows().concat(), rows);
    }

    #[test]
    fn a_glance_comes_back_from_its_row() {
        let layout = ModelSize::Nano.config().layout();
        let mut glance: Vec<f32> = (1..=GLANCE).map(|place| place as f32).collect();
        let mut first = 0;
        for tracks in ACTOR_TRACKS {
            glance[first..first + MOTION].fill(0.0);
            first += tracks;
        }
        let row = layout.row_of_glance(&glance);
        assert_eq!(row.len(), layout.total());
        assert_eq!(layout.glance(&row), glance);
        assert_eq!(row[FRAME_TRACKS..2 * FRAME_TRACKS], row[..FRAME_TRACKS]);
    }

    #[test]
    fn normalised_rows_have_unit_variance_and_come_back() {
        let layout = ModelSize::Nano.config().layout();
        let original = rows(16, layout);
        let weights = vec![1.0; layout.total()];
        let mut measure = Measure::new(layout);
        for row in original.chunks_exact(layout.total()) {
            measure.add(row, &weights);
        }
        let normalisation = measure.finish();
        assert!(normalisation.fits(layout));
        let mut changed = original.clone();
        for row in changed.chunks_exact_mut(layout.total()) {
            normalisation.apply(row, &weights, layout);
        }
        let mean = changed.iter().sum::<f32>() / changed.len() as f32;
        let squares = changed.iter().map(|value| value * value).sum::<f32>() / changed.len() as f32;
        assert!(mean.abs() < 0.02 && (squares - 1.0).abs() < 0.02, "mean {mean}, squares {squares}");
        for row in changed.chunks_exact_mut(layout.total()) {
            normalisation.undo(row, layout);
        }
        assert!(changed.iter().zip(&original).all(|(a, b)| (a - b).abs() < 1e-3));
    }

    #[test]
    fn what_means_nothing_neither_counts_nor_stays() {
        let layout = ModelSize::Nano.config().layout();
        let mut row = vec![1.0_f32; layout.total()];
        let mut weights = vec![1.0_f32; layout.total()];
        (row[0], weights[0]) = (1000.0, FAINT);
        let mut measure = Measure::new(layout);
        measure.add(&row, &weights);
        let normalisation = measure.finish();
        normalisation.apply(&mut row, &weights, layout);
        assert!(row.iter().all(|value| value.abs() < 1e-6));
    }
}
