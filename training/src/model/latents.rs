//! The space the transformer works in: where the balls are in each frame, how they and the place look, and
//! where in time impacts sound and how.
//!
//! Everything is linear in what it describes, so a flight is a parabola in the latents too and a small model
//! can learn it. [`Latents`] holds a batch as tensors on a device; each part is a stream of tokens.

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::corpus::{FPS, FRAMES};
use crate::size::ModelConfig;

/// Balls that a clip can show; a missing one has a presence of -1.
pub(crate) const BALLS: usize = 2;
/// Position (two) and the cosine and sine of the angle, a ball and frame.
pub(crate) const TRACK: usize = 4;
/// Frames in a token of tracks or sound.
pub(crate) const FRAMES_PER_TOKEN: usize = 4;
/// Tokens of tracks, and of sound, in a clip.
pub(crate) const TOKENS: usize = FRAMES / FRAMES_PER_TOKEN;
/// Presence and radius, before a ball's skin code.
pub(crate) const BALL_FACTS: usize = 2;
/// Hoop or none, its position (two) and its side, before the scene code.
pub(crate) const SCENE_FACTS: usize = 4;
/// Onset strength and loudness, before an impact's sound code.
pub(crate) const SOUND_FACTS: usize = 2;

/// Widths of the four parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LatentWidths {
    pub(crate) tracks: usize,
    pub(crate) ball: usize,
    pub(crate) scene: usize,
    pub(crate) sound: usize,
}

impl ModelConfig {
    pub(crate) fn latent_widths(&self) -> LatentWidths {
        LatentWidths {
            tracks: FRAMES_PER_TOKEN * BALLS * TRACK,
            ball: BALL_FACTS + self.skin_code,
            scene: SCENE_FACTS + self.scene_code,
            sound: FRAMES_PER_TOKEN * (SOUND_FACTS + self.sound_code),
        }
    }
}

impl LatentWidths {
    /// Numbers that describe one clip.
    pub(crate) fn total(self) -> usize {
        TOKENS * self.tracks + BALLS * self.ball + self.scene + TOKENS * self.sound
    }

    /// Shapes of the parts of one clip, in the order in which they lie in memory.
    fn shapes(self) -> [[usize; 2]; 4] {
        [[TOKENS, self.tracks], [BALLS, self.ball], [1, self.scene], [TOKENS, self.sound]]
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
    /// `[batch, 24, 4 frames x 2 balls x (x, y, cos, sin)]`
    pub(crate) tracks: Tensor<3>,
    /// `[batch, 2, presence, radius, skin code]`
    pub(crate) balls: Tensor<3>,
    /// `[batch, 1, hoop, x, y, side, scene code]`
    pub(crate) scene: Tensor<3>,
    /// `[batch, 24, 4 frames x (onset, loudness, sound code)]`
    pub(crate) sound: Tensor<3>,
}

impl Latents {
    /// Unpacks clips that lie one after another, each as [`LatentWidths::shapes`] says.
    pub(crate) fn from_rows(rows: &[f32], widths: LatentWidths, device: &Device) -> Self {
        let total = widths.total();
        let batch = rows.len() / total;
        let mut start = 0;
        let [tracks, balls, scene, sound] = widths.shapes().map(|[tokens, width]| {
            let length = tokens * width;
            let part: Vec<f32> = (0..batch)
                .flat_map(|row| rows[row * total + start..row * total + start + length].iter().copied())
                .collect();
            start += length;
            Tensor::<3>::from_data(TensorData::new(part, [batch, tokens, width]), device)
        });
        Self { tracks, balls, scene, sound }
    }

    /// The inverse of [`Latents::from_rows`], for one clip of the batch at a time.
    pub(crate) fn into_rows(self) -> Vec<Vec<f32>> {
        let batch = self.tracks.dims()[0];
        let parts = [self.tracks, self.balls, self.scene, self.sound].map(|part| {
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
    pub(crate) fn map(self, mut f: impl FnMut(Tensor<3>) -> Tensor<3>) -> Self {
        Self { tracks: f(self.tracks), balls: f(self.balls), scene: f(self.scene), sound: f(self.sound) }
    }

    /// Applies `f` to each part of two batches.
    pub(crate) fn zip(self, other: Self, mut f: impl FnMut(Tensor<3>, Tensor<3>) -> Tensor<3>) -> Self {
        Self {
            tracks: f(self.tracks, other.tracks),
            balls: f(self.balls, other.balls),
            scene: f(self.scene, other.scene),
            sound: f(self.sound, other.sound),
        }
    }

    /// Multiplies the picture's parts by `picture` and the sound by `sound`, each `[batch, 1, 1]`.
    pub(crate) fn scale(self, picture: &Tensor<3>, sound: &Tensor<3>) -> Self {
        Self {
            tracks: self.tracks.mul(picture.clone()),
            balls: self.balls.mul(picture.clone()),
            scene: self.scene.mul(picture.clone()),
            sound: self.sound.mul(sound.clone()),
        }
    }
}

/// Shift and scale that bring each number of a clip to zero mean and unit variance, shared by all frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Normalisation {
    tracks: Vec<[f32; 2]>,
    ball: Vec<[f32; 2]>,
    scene: Vec<[f32; 2]>,
    sound: Vec<[f32; 2]>,
}

impl Normalisation {
    /// Measures clips that lie one after another.
    pub(crate) fn measure(rows: &[f32], widths: LatentWidths) -> Self {
        let total = widths.total();
        let mut start = 0;
        // A track or sound token repeats the numbers of a frame; a ball token those of a ball.
        let periods = [BALLS * TRACK, widths.ball, widths.scene, widths.sound / FRAMES_PER_TOKEN];
        let mut parts = widths.shapes().into_iter().zip(periods).map(|([tokens, width], period)| {
            let first = start;
            start += tokens * width;
            let last = start;
            let mut sums = vec![[0.0_f64; 3]; period];
            for row in rows.chunks_exact(total) {
                for (place, &value) in row[first..last].iter().enumerate() {
                    let [count, sum, squares] = &mut sums[place % period];
                    *count += 1.0;
                    *sum += f64::from(value);
                    *squares += f64::from(value) * f64::from(value);
                }
            }
            sums.into_iter()
                .map(|[count, sum, squares]| {
                    let mean = sum / count.max(1.0);
                    let variance = (squares / count.max(1.0) - mean * mean).max(0.0);
                    [mean as f32, variance.sqrt().max(1e-3) as f32]
                })
                .collect::<Vec<_>>()
        });
        let mut next = || parts.next().unwrap_or_default();
        Self { tracks: next(), ball: next(), scene: next(), sound: next() }
    }

    /// Whether this belongs to a model of these widths.
    pub(crate) fn fits(&self, widths: LatentWidths) -> bool {
        self.tracks.len() == BALLS * TRACK
            && self.ball.len() == widths.ball
            && self.scene.len() == widths.scene
            && self.sound.len() * FRAMES_PER_TOKEN == widths.sound
    }

    /// Clips to unit variance, in place.
    pub(crate) fn apply(&self, rows: &mut [f32], widths: LatentWidths) {
        self.each(rows, widths, |value, [mean, deviation]| (value - mean) / deviation);
    }

    /// The inverse of [`Normalisation::apply`].
    pub(crate) fn undo(&self, rows: &mut [f32], widths: LatentWidths) {
        self.each(rows, widths, |value, [mean, deviation]| value * deviation + mean);
    }

    /// A ball's skin code alone to unit variance, in place.
    pub(crate) fn apply_to_skin(&self, code: &mut [f32]) {
        for (value, [mean, deviation]) in code.iter_mut().zip(&self.ball[BALL_FACTS..]) {
            *value = (*value - mean) / deviation;
        }
    }

    fn each(&self, rows: &mut [f32], widths: LatentWidths, f: impl Fn(f32, [f32; 2]) -> f32) {
        for row in rows.chunks_exact_mut(widths.total()) {
            let mut rest = row;
            let parts = [&self.tracks, &self.ball, &self.scene, &self.sound];
            for ([tokens, width], pairs) in widths.shapes().into_iter().zip(parts) {
                let (part, after) = rest.split_at_mut(tokens * width);
                for (value, pair) in part.iter_mut().zip(pairs.iter().cycle()) {
                    *value = f(*value, *pair);
                }
                rest = after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::ModelSize;

    fn rows(count: usize, widths: LatentWidths) -> Vec<f32> {
        (0..count * widths.total()).map(|place| ((place * 7919) % 1013) as f32 / 100.0).collect()
    }

    #[test]
    fn rows_come_back_from_tensors() {
        let widths = ModelSize::Nano.config().latent_widths();
        let rows = rows(3, widths);
        let latents = Latents::from_rows(&rows, widths, &Device::flex());
        assert_eq!(latents.tracks.dims(), [3, 24, 32]);
        assert_eq!(latents.into_rows().concat(), rows);
    }

    #[test]
    fn normalised_rows_have_unit_variance_and_come_back() {
        let widths = ModelSize::Nano.config().latent_widths();
        let original = rows(16, widths);
        let normalisation = Normalisation::measure(&original, widths);
        assert!(normalisation.fits(widths));
        let mut changed = original.clone();
        normalisation.apply(&mut changed, widths);
        let mean = changed.iter().sum::<f32>() / changed.len() as f32;
        let squares = changed.iter().map(|value| value * value).sum::<f32>() / changed.len() as f32;
        assert!(mean.abs() < 0.02 && (squares - 1.0).abs() < 0.02, "mean {mean}, squares {squares}");
        normalisation.undo(&mut changed, widths);
        assert!(changed.iter().zip(&original).all(|(a, b)| (a - b).abs() < 1e-3));
    }
}
