//! Measures how wrong the velocities in a video are: an episode's truth and predicted pixels go in, the
//! [`Judged`] episode comes out, and many of them make a [`VelocityError`].
//!
//! The predicted pixels are all that is read: each pixel is unmixed into red, blue and background, a ball is
//! the centroid of its colour, its velocity the first difference, and the error the length of the difference
//! from the same first difference of the true track. The authors' mask has hard edges; this one weighs by
//! coverage, which takes the mask's own error (theirs is 0.01 to 0.02) out of the figures.
//! INVARIANT: every velocity of [`Episode::scored`] counts. One that cannot be measured counts as
//! [`MISSING_ERROR`], which is more than the speed of any ball in view, so that to leave a ball out never
//! pays against letting it stand still.

use kinora_harness::seed::derive;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::task::{CONDITIONED, DT_S, Episode, FRAMES, Point, WORLD};

/// Error of a velocity with an end at which the ball is not found, in world units a second.
pub const MISSING_ERROR: f64 = 20.0;

/// A pixel with more than this share of a ball's colour, and less than this of the other's, is of its body.
const BODY: f64 = 0.5;
/// Pixels around the body that belong to its edge, be it sharp or blurred.
const EDGE: usize = 2;
/// A ball is found where its body covers at least this share of its true area.
const SMALLEST_SHARE: f64 = 0.25;
/// Draws with replacement for an interval.
const RESAMPLES: usize = 1000;

/// Where a frame shows a ball, and how large, in world units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Blob {
    pub(crate) centre: Point,
    pub(crate) area: f64,
    /// Area of the pixels that are wholly or mostly of the ball.
    pub(crate) body: f64,
}

/// The velocity errors of one episode.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Judged {
    /// Summed over balls and frames, world units a second.
    pub total: f64,
    /// Velocities that were scored.
    pub velocities: usize,
    /// Those of them that count as [`MISSING_ERROR`].
    pub missing: usize,
}

/// The velocity error of many episodes, in world units a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct VelocityError {
    /// Over episodes, of each one's mean over balls and frames.
    pub mean: f64,
    /// The middle episode's.
    pub median: f64,
    /// Bootstrapped 95% interval of the mean.
    pub low: f64,
    pub high: f64,
    pub episodes: usize,
    pub velocities: usize,
    pub missing: usize,
}

/// Judges the frames that follow the conditioned ones: `FRAMES - CONDITIONED` of them, `side` x `side` RGB8.
/// A frame that is not there shows no ball.
pub fn judge(episode: &Episode, predicted: &[u8], side: usize) -> Judged {
    let frames: Vec<&[u8]> = predicted.chunks_exact((side * side * 3).max(1)).collect();
    let mut judged = Judged::default();
    for (index, ball) in episode.balls.iter().enumerate() {
        let smallest = SMALLEST_SHARE * std::f64::consts::PI * ball.mass();
        let seen: Vec<Option<Point>> = (0..FRAMES - CONDITIONED)
            .map(|at| {
                let blob = find(frames.get(at)?, side, index)?;
                (blob.body >= smallest).then_some(blob.centre)
            })
            .collect();
        for frame in episode.scored(ball) {
            let measured = velocity(seen[frame - 1 - CONDITIONED], seen[frame - CONDITIONED]);
            let truth = velocity(Some(ball.centres[frame - 1]), Some(ball.centres[frame]));
            let error = measured.zip(truth).map(|(a, b)| (a[0] - b[0]).hypot(a[1] - b[1]));
            judged.total += error.unwrap_or(MISSING_ERROR);
            judged.velocities += 1;
            judged.missing += usize::from(error.is_none());
        }
    }
    judged
}

fn velocity(before: Option<Point>, after: Option<Point>) -> Option<Point> {
    let (before, after) = (before?, after?);
    Some([0, 1].map(|axis| (after[axis] - before[axis]) / DT_S))
}

/// The ball whose colour is `ball`'s, if any pixel is mostly of it.
pub(crate) fn find(frame: &[u8], side: usize, ball: usize) -> Option<Blob> {
    let covers: Vec<[f64; 2]> = frame.as_chunks().0.iter().copied().map(unmix).collect();
    let is_body =
        |at: usize| covers.get(at).is_some_and(|cover| cover[ball] > BODY && cover[1 - ball] < BODY);
    let near_body = |column: usize, row: usize| {
        let around = |middle: usize| middle.saturating_sub(EDGE)..(middle + EDGE + 1).min(side);
        around(row).any(|row| around(column).any(|column| is_body(row * side + column)))
    };
    let (mut area, mut x, mut y, mut body) = (0.0, 0.0, 0.0, 0_usize);
    for (at, cover) in covers.iter().enumerate() {
        let (column, row) = (at % side, at / side);
        if cover[ball] > 0.0 && near_body(column, row) {
            area += cover[ball];
            x += cover[ball] * (column as f64 + 0.5);
            y += cover[ball] * (row as f64 + 0.5);
            body += usize::from(is_body(at));
        }
    }
    let pixel = WORLD / side as f64;
    (area > 0.0).then(|| Blob {
        centre: [x / area * pixel, WORLD - y / area * pixel],
        area: area * pixel * pixel,
        body: body as f64 * pixel * pixel,
    })
}

/// Shares of red and of blue that explain a pixel best on white: least squares over the three channels.
fn unmix(pixel: [u8; 3]) -> [f64; 2] {
    if pixel == [255; 3] {
        return [0.0; 2];
    }
    let [red, green, blue] = pixel.map(|value| 1.0 - f64::from(value) / 255.0);
    [green + 2.0 * blue - red, green + 2.0 * red - blue].map(|triple| (triple / 3.0).clamp(0.0, 1.0))
}

impl Judged {
    /// Mean over balls and frames.
    pub fn mean(&self) -> Option<f64> {
        (self.velocities > 0).then(|| self.total / self.velocities as f64)
    }
}

impl VelocityError {
    /// What `episodes` say together; `None` where nothing was scored. `seed` draws the interval.
    pub fn of(episodes: &[Judged], seed: u64) -> Option<Self> {
        let mut means: Vec<f64> = episodes.iter().filter_map(Judged::mean).collect();
        if means.is_empty() {
            return None;
        }
        means.sort_by(f64::total_cmp);
        let count = means.len();
        let mut rng = ChaCha8Rng::seed_from_u64(derive(seed, "bootstrap"));
        let mut resampled: Vec<f64> = (0..RESAMPLES)
            .map(|_| (0..count).map(|_| means[rng.random_range(0..count)]).sum::<f64>() / count as f64)
            .collect();
        resampled.sort_by(f64::total_cmp);
        Some(Self {
            mean: means.iter().sum::<f64>() / count as f64,
            median: 0.5 * (means[(count - 1) / 2] + means[count / 2]),
            low: resampled[RESAMPLES / 40],
            high: resampled[RESAMPLES - 1 - RESAMPLES / 40],
            episodes: count,
            velocities: episodes.iter().map(|judged| judged.velocities).sum(),
            missing: episodes.iter().map(|judged| judged.missing).sum(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::draw::{Disc, draw, draw_discs};
    use super::super::task::{Ball, Domain, GRAVITY, Task};
    use super::*;

    const SIDE: usize = 128;
    const FRAME: usize = SIDE * SIDE * 3;

    fn predicted(episode: &Episode) -> Vec<u8> {
        draw(episode, SIDE).split_off(CONDITIONED * FRAME)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_drawn_ball_is_found_where_it_is(
            x in 2.0..8.0_f64, y in 2.0..8.0_f64, radius in 0.3..2.0_f64, ball in 0..2_usize,
        ) {
            let away = Disc { centre: [-9.0, -9.0], radius: 1.0 };
            let mut discs = [away; 2];
            discs[ball] = Disc { centre: [x, y], radius };
            let frame = draw_discs(&discs, SIDE);
            let blob = find(&frame, SIDE, ball).unwrap();
            prop_assert!((blob.centre[0] - x).hypot(blob.centre[1] - y) < 6e-4);
            prop_assert!((blob.area / (std::f64::consts::PI * radius * radius) - 1.0).abs() < 0.01);
            prop_assert_eq!(find(&frame, SIDE, 1 - ball), None);
        }

        #[test]
        fn balls_that_touch_do_not_move_each_other(x in 3.0..6.0_f64, y in 3.0..7.0_f64) {
            let discs =
                [Disc { centre: [x, y], radius: 0.7 }, Disc { centre: [x + 2.0, y], radius: 1.3 }];
            let frame = draw_discs(&discs, SIDE);
            for (ball, disc) in discs.iter().enumerate() {
                let blob = find(&frame, SIDE, ball).unwrap();
                let [dx, dy] = [0, 1].map(|axis| blob.centre[axis] - disc.centre[axis]);
                prop_assert!(dx.hypot(dy) < 5e-4);
            }
        }
    }

    #[test]
    fn faint_noise_far_from_a_ball_does_not_move_it() {
        let disc = Disc { centre: [3.3, 4.4], radius: 0.8 };
        let mut frame = draw_discs(&[disc], SIDE);
        let clean = find(&frame, SIDE, 0).unwrap();
        frame[FRAME - SIDE * 30 * 3..].iter_mut().for_each(|value| *value = value.saturating_sub(40));
        assert_eq!(find(&frame, SIDE, 0).unwrap(), clean);
    }

    #[test]
    fn an_error_in_velocity_is_measured_in_world_units() {
        let at_rest = Ball { radius: 1.0, centres: [[3.0, 5.0]; FRAMES] };
        let truth = Episode {
            task: Task::UniformMotion,
            gravity: 0.0,
            balls: vec![at_rest.clone()],
            contact_s: None,
        };
        let mut drifting = truth.clone();
        for (frame, centre) in drifting.balls[0].centres.iter_mut().enumerate() {
            *centre = [3.0 + 0.3 * DT_S * frame as f64, 5.0 - 0.4 * DT_S * frame as f64];
        }
        let judged = judge(&truth, &predicted(&drifting), SIDE);
        let error = judged.mean().unwrap();
        assert!((error - 0.5).abs() < 0.002, "{error}");
        assert_eq!((judged.velocities, judged.missing), (FRAMES - CONDITIONED - 1, 0));
    }

    #[test]
    fn a_missing_ball_is_counted_at_both_velocities_that_need_it() {
        let episode = Task::UniformMotion.sample(Domain::InDistribution, 3);
        let mut frames = predicted(&episode);
        let whole = judge(&episode, &frames, SIDE);
        assert_eq!(whole.missing, 0);
        frames[4 * FRAME..5 * FRAME].fill(255);
        let gap = judge(&episode, &frames, SIDE);
        assert_eq!((gap.missing, gap.velocities), (2, whole.velocities));
        assert!((gap.total - whole.total - 2.0 * MISSING_ERROR).abs() < 0.1);
        let nothing = judge(&episode, &[], SIDE);
        assert_eq!((nothing.missing, nothing.mean()), (whole.velocities, Some(MISSING_ERROR)));
    }

    #[test]
    fn one_ball_of_two_that_is_gone_is_counted() {
        let episode = Task::Collision.sample(Domain::InDistribution, 1);
        let mut alone = episode.clone();
        alone.balls.truncate(1);
        let judged = judge(&episode, &predicted(&alone), SIDE);
        assert_eq!(judged.missing, episode.scored(&episode.balls[1]).count());
        assert!(judged.missing > 0);
    }

    #[test]
    fn a_shrunken_remainder_is_no_ball() {
        let episode = Task::UniformMotion.sample(Domain::InDistribution, 3);
        let mut shrunken = episode.clone();
        shrunken.balls[0].radius *= 0.4;
        let judged = judge(&episode, &predicted(&shrunken), SIDE);
        assert_eq!(judged.missing, judged.velocities);
    }

    #[test]
    fn to_leave_a_ball_out_never_pays_against_letting_it_stand() {
        for (task, domain) in Task::ALL.into_iter().flat_map(|task| Domain::ALL.map(|domain| (task, domain)))
        {
            for seed in 0..200 {
                let episode = task.sample_under(GRAVITY, domain, seed);
                for ball in &episode.balls {
                    for frame in episode.scored(ball) {
                        let [vx, vy] =
                            velocity(Some(ball.centres[frame - 1]), Some(ball.centres[frame])).unwrap();
                        assert!(vx.hypot(vy) < MISSING_ERROR);
                    }
                }
            }
        }
    }

    #[test]
    fn the_interval_holds_the_mean_and_follows_the_seed() {
        let judged: Vec<Judged> =
            (0..60).map(|index| Judged { total: f64::from(index % 7), velocities: 2, missing: 0 }).collect();
        let error = VelocityError::of(&judged, 1).unwrap();
        assert!(error.low < error.mean && error.mean < error.high);
        assert_eq!(error, VelocityError::of(&judged, 1).unwrap());
        assert_ne!(error.low.to_bits(), VelocityError::of(&judged, 2).unwrap().low.to_bits());
        assert_eq!((error.episodes, error.velocities), (60, 120));
        assert_eq!(VelocityError::of(&[], 1), None);
    }
}
