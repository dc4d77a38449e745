//! The model as a predictor of `PhyWorld` videos: three conditioned frames enter, the frames that follow leave.
//!
//! The balls of the conditioned frames are measured by the benchmark's own code, and the tracks through the
//! measured places are given to the model as the first frames of a clip at its own rate; what it draws after
//! them is read at the benchmark's rate. INVARIANT: nothing but the conditioned pixels and the task's name
//! reaches the model, and a video does not depend on those that are predicted beside it.

use std::f64::consts::PI;

use burn::tensor::{Tensor, TensorData};
use kinora_harness::seed::derive;

use super::{GenerateError, Generator, Prompt, noise};
use crate::model::flow::{Sampling, sample};
use crate::model::latents::{FRAMES_PER_TOKEN, Latents, TOKENS};
use crate::model::transformer::{Known, Mask};
use crate::performance::{Figure, Performance};
use crate::phyworld::{CONDITIONED, Conditioning, DT_S, Episode, FRAMES, Point, Task, draw, find};
use crate::train::LAB_FRAMES;
use crate::train::latents::phyworld_caption;
use crate::world::{Body, FPS, Track};

/// How the frames after the conditioned ones are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LabSettings {
    pub(crate) steps: usize,
    pub(crate) seed: u64,
    /// Number of the first video, of which each has its own noise.
    pub(crate) first: u64,
}

impl Generator {
    /// The frames after the conditioned ones, RGB8, one set a video. `on_step` may end it.
    pub(crate) fn continue_lab(
        &self,
        seen: &[Conditioning],
        settings: LabSettings,
        on_step: &mut dyn FnMut(usize, usize) -> std::ops::ControlFlow<()>,
    ) -> Result<Vec<Vec<u8>>, GenerateError> {
        let (layout, batch) = (self.card.model.layout(), seen.len());
        let prompts: Vec<Prompt> = seen
            .iter()
            .map(|seen| Prompt::of_words(self.card.vocabulary.numbers(phyworld_caption(seen.task))))
            .collect();
        let usual = self.card.sampling;
        // What follows from the conditioned frames is one thing: to exaggerate it would be wrong.
        let sampling = Sampling { steps: settings.steps, guidance: 1.0, likeness: 1.0, ..usual };
        let mut guide = self.guide_to(&prompts, layout, sampling);
        let given: Vec<f32> = seen
            .iter()
            .flat_map(|seen| {
                let mut row = beginning(seen).to_row(&self.card.model);
                self.card.normalisation.apply(&mut row.values, &row.weights, layout);
                row.values
            })
            .collect();
        let shown = (0..batch * TOKENS * FRAMES_PER_TOKEN)
            .map(|frame| if frame % (TOKENS * FRAMES_PER_TOKEN) < LAB_FRAMES { 1.0 } else { 0.0 });
        let shown = TensorData::new(shown.collect::<Vec<f32>>(), [batch, TOKENS, FRAMES_PER_TOKEN]);
        let nothing = Mask::nothing(batch, &self.device);
        guide.known = Known {
            values: Latents::from_rows(&given, layout, &self.device),
            mask: Mask {
                frames: Tensor::from_data(shown, &self.device),
                actors: nothing.actors.ones_like(),
                stage: nothing.stage.ones_like(),
                ..nothing
            },
        };
        let seed = derive(settings.seed, "lab");
        let noise: Vec<f32> = (0..batch as u64)
            .flat_map(|video| noise(seed.wrapping_add(settings.first + video), 0, layout))
            .collect();
        let noise = Latents::from_rows(&noise, layout, &self.device);
        let drawn =
            sample(&self.model.flow, &noise, None, &guide, on_step).ok_or(GenerateError::Cancelled)?;
        Ok(self
            .read(drawn)
            .zip(seen)
            .map(|(performance, seen)| {
                show(&performance.cut(SHOWN).settled(), seen.task, seen.side)
                    .split_off(CONDITIONED * seen.side.pow(2) * 3)
            })
            .collect())
    }

    /// What is left of a video once it was a row of latents: its frames, RGB8.
    pub(crate) fn retell_lab(&self, episode: &Episode, side: usize) -> Vec<u8> {
        let row = Performance::of_episode(episode).to_row(&self.card.model);
        let back = Performance::from_row(&row.values, &self.card.model).cut(SHOWN).settled();
        show(&back, episode.task, side)
    }
}

/// What the conditioned frames show, as the beginning of a clip.
fn beginning(seen: &Conditioning) -> Performance {
    let mut radii = Vec::new();
    let mut ways: Vec<[[f64; 3]; 2]> = Vec::new();
    for ball in 0..seen.task.balls() {
        let blobs: Vec<_> =
            (0..CONDITIONED).filter_map(|frame| find(seen.frame(frame), seen.side, ball)).collect();
        let Ok([first, second, third]) = <[_; CONDITIONED]>::try_from(blobs) else { continue };
        radii.push(((first.area + second.area + third.area) / (3.0 * PI)).sqrt());
        ways.push([0, 1].map(|axis| {
            let at = [first, second, third].map(|blob| blob.centre[axis]);
            match seen.task {
                // Nothing pulls: the straight line that fits best.
                Task::UniformMotion | Task::Collision => {
                    let speed = (at[2] - at[0]) / (2.0 * DT_S);
                    [at.iter().sum::<f64>() / 3.0 - speed * DT_S, speed, 0.0]
                }
                Task::Parabola => {
                    let bend = (at[2] - 2.0 * at[1] + at[0]) / (2.0 * DT_S * DT_S);
                    [at[0], (at[1] - at[0]) / DT_S - bend * DT_S, bend]
                }
            }
        }));
    }
    let last_s = (LAB_FRAMES - 1) as f64 / f64::from(FPS);
    Performance::of_lab(&radii, last_s, |ball, time_s| {
        ways[ball].map(|[level, speed, bend]| level + speed * time_s + bend * time_s * time_s)
    })
}

/// The frames of the benchmark that a performance shows.
fn show(performance: &Performance, task: Task, side: usize) -> Vec<u8> {
    let balls = performance
        .actors
        .iter()
        .take(task.balls())
        .map(|figure| match figure {
            Some(Figure { body: Body::Ball { radius_m }, track: Track::Bodies(poses), .. }) => {
                let way = |axis: usize| -> Vec<f64> {
                    let coordinate = |pose: &crate::world::Pose| [pose.x_m, pose.y_m][axis];
                    poses.iter().flatten().map(|pose| f64::from(coordinate(pose))).collect()
                };
                let (across, up) = (way(0), way(1));
                crate::phyworld::Ball {
                    radius: f64::from(*radius_m),
                    centres: std::array::from_fn(|frame| {
                        let time_s = frame as f64 * DT_S;
                        [between_frames(&across, time_s), between_frames(&up, time_s)]
                    }),
                }
            }
            // What is no ball is drawn where nobody sees it, and counts as missing.
            _ => crate::phyworld::Ball { radius: 0.0, centres: [AWAY; FRAMES] },
        })
        .collect();
    draw(&Episode { task, gravity: 0.0, balls, contact_s: None }, side)
}

/// Frames, at the clip's own rate, of a video of the benchmark; later ones mean nothing.
const SHOWN: usize = ((FRAMES - 1) as f64 * DT_S * FPS as f64) as usize + 1;

/// Out of the world's view.
const AWAY: Point = [-9.0, -9.0];

/// A place between frames, as if the track were a parabola on the smoother side, or two lines where it turns
/// between the two frames (essentially non-oscillatory interpolation with subcell resolution).
fn between_frames(track: &[f64], time_s: f64) -> f64 {
    let shown = SHOWN.min(track.len());
    let track = &track[..shown];
    if shown < 6 {
        return track.last().copied().unwrap_or_default();
    }
    let position = time_s * f64::from(FPS);
    let first = (position as usize).min(shown - 2);
    let share = position - first as f64;
    let bend = |middle: usize| {
        (1..shown - 1).contains(&middle).then(|| track[middle + 1] - 2.0 * track[middle] + track[middle - 1])
    };
    let line = track[first] + share * (track[first + 1] - track[first]);
    let bends = [bend(first), bend(first + 1)];
    if let ([Some(left), Some(right)], Some(before), Some(after)) =
        (bends, first.checked_sub(1).and_then(bend), bend(first + 2))
    {
        let smooth = before.abs().max(after.abs());
        if left * right > 0.0 && left.abs().min(right.abs()) > 4.0 * smooth + 4e-6 {
            // One side of the turn or the other: the lines through the frames before it and after it.
            let early = track[first] + share * (track[first] - track[first - 1]);
            let late = track[first + 1] + (share - 1.0) * (track[first + 2] - track[first + 1]);
            return if left > 0.0 { early.max(late) } else { early.min(late) };
        }
    }
    let bend = match bends {
        [Some(left), Some(right)] if left.abs() <= right.abs() => left,
        [_, Some(right)] => right,
        [Some(left), None] => left,
        [None, None] => 0.0,
    };
    line + 0.5 * bend * share * (share - 1.0)
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use proptest::prelude::*;

    use super::super::untrained;
    use super::*;
    use crate::phyworld::{Domain, PUBLISHED, Protocol, evaluate_retold};

    proptest! {
        #[test]
        fn a_parabola_and_a_turn_are_read_between_frames(
            time_s in 0.0..3.1_f64, speed in -5.0..5.0_f64, bend in -5.0..5.0_f64,
            turn_s in 0.7..2.4_f64, after in 1.0..5.0_f64,
        ) {
            let track = |at: &dyn Fn(f64) -> f64| -> Vec<f64> {
                (0..96).map(|frame| at(f64::from(frame) / 24.0)).collect()
            };
            let thrown = |t: f64| 3.0 + speed * t + bend * t * t;
            prop_assert!((between_frames(&track(&thrown), time_s) - thrown(time_s)).abs() < 1e-9);
            let turned = |t: f64| 3.0 + if t < turn_s { -1.0 } else { after } * (t - turn_s);
            prop_assert!((between_frames(&track(&turned), time_s) - turned(time_s)).abs() < 1e-6);
        }
    }

    #[test]
    fn the_beginning_is_where_the_balls_are() {
        for task in Task::ALL {
            for (domain, seed) in Domain::ALL.into_iter().zip(0..) {
                let episode = task.sample(domain, seed);
                let given = beginning(&Conditioning::of(&episode, 128));
                let truth = Performance::of_episode(&episode);
                for (one, other) in given.actors.iter().flatten().zip(truth.actors.iter().flatten()) {
                    let (Track::Bodies(one), Track::Bodies(other)) = (&one.track, &other.track) else {
                        panic!()
                    };
                    for (one, other) in one.iter().flatten().zip(other.iter().flatten()).take(LAB_FRAMES) {
                        assert!((one.x_m - other.x_m).hypot(one.y_m - other.y_m) < 2e-3, "{task} {domain}");
                    }
                }
                assert_eq!(given.actors.iter().flatten().count(), task.balls());
            }
        }
    }

    #[test]
    fn the_latents_keep_more_than_the_authors_autoencoder() {
        let generator = untrained();
        let protocol = Protocol { episodes: 6, ..Protocol::default() };
        let floor = evaluate_retold(&protocol, |episode| generator.retell_lab(episode, 128)).unwrap();
        for published in PUBLISHED {
            let row = floor.row(published.task, Domain::InDistribution).unwrap();
            assert!(row.error.mean < published.autoencoder, "{row:?}");
            assert_eq!(row.error.missing, 0);
        }
    }

    #[test]
    fn a_video_does_not_depend_on_those_beside_it() {
        let generator = untrained();
        let seen: Vec<Conditioning> =
            Task::ALL.map(|task| Conditioning::of(&task.sample(Domain::InDistribution, 3), 64)).into();
        let settings = LabSettings { steps: 2, seed: 4, first: 10 };
        let go_on = &mut |_, _| ControlFlow::Continue(());
        let together = generator.continue_lab(&seen, settings, go_on).unwrap();
        for (index, video) in together.iter().enumerate() {
            assert_eq!(video.len(), (FRAMES - CONDITIONED) * 64 * 64 * 3);
            let settings = LabSettings { first: 10 + index as u64, ..settings };
            let alone = generator.continue_lab(&seen[index..=index], settings, go_on).unwrap();
            let off = alone[0].iter().zip(video).filter(|(a, b)| a.abs_diff(**b) > 2).count();
            assert!(off * 1000 < video.len(), "{off} of {} differ", video.len());
        }
        let stopped = generator.continue_lab(&seen, settings, &mut |_, _| ControlFlow::Break(()));
        assert!(matches!(stopped, Err(GenerateError::Cancelled)));
    }
}
