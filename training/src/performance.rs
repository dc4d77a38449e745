//! What happens in a clip, in the world's own units: between the latents, which are numbers, and pictures and
//! sound, which are drawn from it.
//!
//! A scene and its codes enter and become a row of latents; a row that the model drew becomes a
//! [`Performance`] again. INVARIANT: whatever a row holds, the performance can be drawn: sizes and counts are
//! bounded here.

use crate::corpus::{FPS, FRAMES, Hoop, VIEW_M};
use crate::model::latents::{BALL_FACTS, BALLS, SCENE_FACTS, SOUND_FACTS, TOKENS, TRACK};
use crate::model::picture::HoopPlace;
use crate::size::ModelConfig;
use crate::steady::steady;

/// Width, in frames, of the bump that marks an onset: wide enough to be read between frames.
const BUMP_FRAMES: f32 = 0.8;
/// Impacts nearer than this, in frames, are heard as the louder of them.
const NEAREST_FRAMES: f32 = 1.6;
/// A bump lower than this is no impact.
const FAINTEST_BUMP: f32 = 0.42;
/// Loudness that the latents count from.
const MIDDLE_LOUDNESS: f32 = -2.5;
const MIDDLE_RADIUS_M: f32 = 0.6;
const RADIUS_UNIT_M: f32 = 0.2;
/// The middle of the view, which is half a view away from its edges.
const MIDDLE_M: (f32, f32) = (4.0, 3.2);

/// Where one ball is in one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Pose {
    pub(crate) x_m: f32,
    pub(crate) y_m: f32,
    /// Counter-clockwise.
    pub(crate) angle_rad: f32,
}

/// How one ball looks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BallLooks {
    pub(crate) radius_m: f32,
    pub(crate) skin: Vec<f32>,
}

/// One audible impact.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Impact {
    pub(crate) time_s: f32,
    /// Logarithm of the early root mean square.
    pub(crate) loudness: f32,
    pub(crate) timbre: Vec<f32>,
}

/// One clip: looks, tracks and impacts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Performance {
    /// `[frame][ball]`; the pose of a ball that is not there means nothing.
    pub(crate) poses: Vec<[Pose; BALLS]>,
    pub(crate) balls: [Option<BallLooks>; BALLS],
    pub(crate) hoop: Option<HoopPlace>,
    pub(crate) scene: Vec<f32>,
    /// In order of time.
    pub(crate) impacts: Vec<Impact>,
}

/// Where the corpus's hoop stands.
pub(crate) fn hoop_place(hoop: &Hoop) -> HoopPlace {
    HoopPlace { x_m: hoop.board_x_m, y_m: hoop.height_m, side: if hoop.mirrored { 1.0 } else { -1.0 } }
}

impl Performance {
    /// A row of latents, not normalised.
    pub(crate) fn to_row(&self, config: &ModelConfig) -> Vec<f32> {
        let mut row = Vec::with_capacity(config.latent_widths().total());
        for poses in &self.poses {
            for (pose, looks) in poses.iter().zip(&self.balls) {
                row.extend(match looks {
                    Some(_) => [
                        (pose.x_m - MIDDLE_M.0) / MIDDLE_M.0,
                        (pose.y_m - MIDDLE_M.1) / MIDDLE_M.0,
                        pose.angle_rad.cos(),
                        pose.angle_rad.sin(),
                    ],
                    None => [0.0; TRACK],
                });
            }
        }
        for looks in &self.balls {
            match looks {
                Some(looks) => {
                    row.extend([1.0, (looks.radius_m - MIDDLE_RADIUS_M) / RADIUS_UNIT_M]);
                    row.extend(&looks.skin);
                }
                None => {
                    row.extend([-1.0, 0.0]);
                    row.extend(std::iter::repeat_n(0.0, config.skin_code));
                }
            }
        }
        row.extend(self.hoop.map_or([-1.0, 0.0, 0.0, 0.0], |hoop| {
            [1.0, (hoop.x_m - MIDDLE_M.0) / MIDDLE_M.0, (hoop.y_m - MIDDLE_M.1) / MIDDLE_M.0, hoop.side]
        }));
        row.extend(&self.scene);
        let heard = self.distinct_impacts();
        for frame in 0..FRAMES {
            row.extend(sound_at(frame, &heard, config.sound_code));
        }
        row
    }

    /// The performance that a row of latents, not normalised, describes.
    pub(crate) fn from_row(row: &[f32], config: &ModelConfig) -> Self {
        let widths = config.latent_widths();
        let (tracks, rest) = row.split_at(TOKENS * widths.tracks);
        let (balls, rest) = rest.split_at(BALLS * widths.ball);
        let (scene, sound) = rest.split_at(widths.scene);

        let poses = tracks
            .chunks_exact(BALLS * TRACK)
            .map(|frame| std::array::from_fn(|ball| pose(&frame[ball * TRACK..(ball + 1) * TRACK])));
        let looks: [Option<BallLooks>; BALLS] = std::array::from_fn(|ball| {
            let facts = &balls[ball * widths.ball..(ball + 1) * widths.ball];
            // There is always a first ball: every caption has one.
            (ball == 0 || facts[0] > 0.0).then(|| BallLooks {
                radius_m: (facts[1] * RADIUS_UNIT_M + MIDDLE_RADIUS_M).clamp(0.3, 1.0),
                skin: facts[BALL_FACTS..].iter().map(|code| code.clamp(-2.0, 2.0)).collect(),
            })
        });
        let hoop = (scene[0] > 0.0).then(|| HoopPlace {
            x_m: (scene[1] * MIDDLE_M.0 + MIDDLE_M.0).clamp(0.0, VIEW_M),
            y_m: (scene[2] * MIDDLE_M.0 + MIDDLE_M.1).clamp(0.0, VIEW_M),
            side: if scene[3] < 0.0 { -1.0 } else { 1.0 },
        });
        Self {
            poses: poses.collect(),
            balls: looks,
            hoop,
            scene: scene[SCENE_FACTS..].iter().map(|code| code.clamp(-2.0, 2.0)).collect(),
            impacts: impacts(sound, SOUND_FACTS + config.sound_code),
        }
    }

    /// The same with tracks that do not tremble.
    pub(crate) fn steadied(mut self) -> Self {
        for ball in 0..BALLS {
            let axis = |read: fn(&Pose) -> f32| -> Vec<f32> {
                steady(&self.poses.iter().map(|poses| read(&poses[ball])).collect::<Vec<f32>>())
            };
            let (x_m, y_m) = (axis(|pose| pose.x_m), axis(|pose| pose.y_m));
            for ((poses, x_m), y_m) in self.poses.iter_mut().zip(x_m).zip(y_m) {
                poses[ball] = Pose { x_m, y_m, ..poses[ball] };
            }
        }
        self
    }

    /// The impacts without those that a louder one hides.
    fn distinct_impacts(&self) -> Vec<&Impact> {
        let mut heard: Vec<&Impact> = Vec::new();
        for impact in &self.impacts {
            match heard.last_mut() {
                Some(last) if (impact.time_s - last.time_s) * (FPS as f32) < NEAREST_FRAMES => {
                    if impact.loudness > last.loudness {
                        *last = impact;
                    }
                }
                _ => heard.push(impact),
            }
        }
        heard
    }
}

fn pose(track: &[f32]) -> Pose {
    // A step beyond the view is as far as a ball can leave it.
    let bounded = |value: f32| value.clamp(-1.5, 1.5);
    Pose {
        x_m: bounded(track[0]) * MIDDLE_M.0 + MIDDLE_M.0,
        y_m: bounded(track[1]) * MIDDLE_M.0 + MIDDLE_M.1,
        angle_rad: track[3].atan2(track[2]),
    }
}

/// The bump, and what is said under it, of the impact nearest to a frame.
fn sound_at(frame: usize, impacts: &[&Impact], code: usize) -> Vec<f32> {
    let away = |impact: &Impact| (frame as f32 - impact.time_s * FPS as f32).abs();
    let nearest = impacts.iter().min_by(|a, b| away(a).total_cmp(&away(b)));
    let mut numbers = vec![0.0; SOUND_FACTS + code];
    if let Some(impact) = nearest {
        let bump = (-0.5 * (away(impact) / BUMP_FRAMES).powi(2)).exp();
        numbers[0] = bump;
        numbers[1] = bump * (impact.loudness - MIDDLE_LOUDNESS);
        for (number, timbre) in numbers[SOUND_FACTS..].iter_mut().zip(&impact.timbre) {
            *number = bump * timbre;
        }
    }
    numbers
}

/// Reads impacts back: the bumps' peaks, placed between frames by their shoulders.
fn impacts(sound: &[f32], width: usize) -> Vec<Impact> {
    let frames: Vec<&[f32]> = sound.chunks_exact(width).collect();
    let bump = |frame: usize| frames.get(frame).map_or(0.0, |numbers| numbers[0]);
    let mut found: Vec<Impact> = Vec::new();
    for (frame, numbers) in frames.iter().enumerate() {
        let (before, here, after) = (frame.checked_sub(1).map_or(0.0, bump), numbers[0], bump(frame + 1));
        if here < FAINTEST_BUMP || here < before || here <= after {
            continue;
        }
        let time_s = ((frame as f32 + between(before, here, after)) / FPS as f32).max(0.0);
        let too_near = |last: &Impact| (time_s - last.time_s) * (FPS as f32) < NEAREST_FRAMES;
        if found.last().is_some_and(too_near) {
            continue;
        }
        // Shoulders say the same under a lower bump: all three together say it best.
        let around = &frames[frame.saturating_sub(1)..(frame + 2).min(frames.len())];
        let weight: f32 = around.iter().map(|numbers| numbers[0].max(0.0)).sum();
        let mean = |place: usize| around.iter().map(|numbers| numbers[place]).sum::<f32>() / weight;
        found.push(Impact {
            time_s,
            loudness: (mean(1) + MIDDLE_LOUDNESS).clamp(-8.0, 0.0),
            timbre: (SOUND_FACTS..width).map(|place| mean(place).clamp(-2.0, 2.0)).collect(),
        });
    }
    found
}

/// Where, in frames from the middle one, a bump through three values peaks.
fn between(before: f32, here: f32, after: f32) -> f32 {
    let [before, here, after] = [before, here, after].map(|value| value.max(0.02).ln());
    let curvature = before - 2.0 * here + after;
    if curvature > -1e-3 { 0.0 } else { (0.5 * (before - after) / curvature).clamp(-0.6, 0.6) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::size::ModelSize;

    fn performance(times_s: &[f32], config: &ModelConfig) -> Performance {
        let ball = |radius_m| BallLooks { radius_m, skin: vec![0.5; config.skin_code] };
        Performance {
            poses: (0..FRAMES)
                .map(|frame| {
                    let at = frame as f32 / FRAMES as f32;
                    [
                        Pose { x_m: 1.0 + at, y_m: 5.0 - at, angle_rad: at },
                        Pose { x_m: 4.0, y_m: 3.2, angle_rad: 0.0 },
                    ]
                })
                .collect(),
            balls: [Some(ball(0.5)), None],
            hoop: Some(HoopPlace { x_m: 7.0, y_m: 3.5, side: -1.0 }),
            scene: vec![0.25; config.scene_code],
            impacts: times_s
                .iter()
                .map(|&time_s| Impact { time_s, loudness: -1.5, timbre: vec![0.75; config.sound_code] })
                .collect(),
        }
    }

    proptest! {
        #[test]
        fn a_performance_comes_back_from_its_row(first in 0.1_f32..1.0, gap in 0.2_f32..1.0) {
            let config = ModelSize::Nano.config();
            let original = performance(&[first, first + gap], &config);
            let row = original.to_row(&config);
            prop_assert_eq!(row.len(), config.latent_widths().total());
            let back = Performance::from_row(&row, &config);
            prop_assert_eq!(back.impacts.len(), 2);
            for (a, b) in back.impacts.iter().zip(&original.impacts) {
                prop_assert!((a.time_s - b.time_s).abs() < 0.001, "{} for {}", a.time_s, b.time_s);
                prop_assert!((a.loudness - b.loudness).abs() < 0.02);
                prop_assert!((a.timbre[0] - b.timbre[0]).abs() < 0.02);
            }
            for (a, b) in back.poses.iter().zip(&original.poses) {
                prop_assert!((a[0].x_m - b[0].x_m).abs() < 1e-4 && (a[0].y_m - b[0].y_m).abs() < 1e-4);
                prop_assert!((a[0].angle_rad - b[0].angle_rad).abs() < 1e-4);
            }
            prop_assert!(back.balls[1].is_none());
            prop_assert!((back.hoop.unwrap().x_m - 7.0).abs() < 1e-4);
        }

        #[test]
        fn any_row_can_be_drawn(seed in any::<u32>()) {
            let config = ModelSize::Nano.config();
            let row: Vec<f32> = (0..config.latent_widths().total() as u32)
                .map(|place| ((place.wrapping_mul(2_654_435_761) ^ seed) % 4001) as f32 / 500.0 - 4.0)
                .collect();
            let drawn = Performance::from_row(&row, &config);
            prop_assert_eq!(drawn.poses.len(), FRAMES);
            prop_assert!(drawn.impacts.len() < FRAMES);
            prop_assert!(drawn.impacts.iter().all(|impact| impact.time_s.is_finite() && impact.loudness <= 0.0));
            prop_assert!(drawn.balls[0].is_some());
        }
    }

    #[test]
    fn of_two_impacts_at_once_the_louder_is_heard() {
        let config = ModelSize::Nano.config();
        let mut both = performance(&[1.0, 1.02], &config);
        both.impacts[1].loudness = -0.5;
        let back = Performance::from_row(&both.to_row(&config), &config);
        assert_eq!(back.impacts.len(), 1);
        assert!((back.impacts[0].loudness + 0.5).abs() < 0.05);
    }
}
