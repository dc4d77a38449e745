//! Reads balls as arcs: tracks that tremble enter, arcs that meet where something is struck leave.
//!
//! What flies falls freely until it strikes something, what rolls keeps its course, and what is held is where
//! the hand is. A track is split into the arcs and holds that explain it best for how many they are (dynamic
//! programming, as in the segmented least squares of Bellman, 1961), and all arcs of a ball are then fitted at
//! once, such that each ends where and when the next one begins. The instant is where the two meet, drawn to
//! an impact that is heard there. Where and when something flies is the model's to say; that it falls as all
//! things in its world do is not.
//! INVARIANT: no ball jumps between arcs, and a track of arcs stays what it is.

mod bounces;
mod fit;
mod split;

use self::fit::fit;
use self::split::split;
use crate::world::{FPS, GRAVITY_M_S2};

/// Frames of the shortest arc.
const SHORTEST: usize = 4;
/// A ball whose lowest point stays within this of the floor lies or rolls on it.
const LYING_M: f64 = 0.12;
/// A joint within this of the floor may be an impact on it.
const FLOOR_M: f64 = 0.7;
/// The same where there are other things to strike.
const CROWDED_FLOOR_M: f64 = 0.35;
/// A hand within this of a ball's centre may take it or let it go.
const REACH_M: f64 = 0.7;
/// Two balls within so many times both radii of each other may strike each other.
const NEAR: f64 = 1.5;

/// What the height of a free fall bends, in metres a squared frame.
const FALL_M: f64 = -0.5 * GRAVITY_M_S2 as f64 / (FPS * FPS) as f64;
/// Free falls are drawn with between so many times that bend.
const FALLS: std::ops::RangeInclusive<f64> = 0.4..=2.0;

/// A ball as it was drawn.
#[derive(Clone, Debug)]
pub(crate) struct Ball {
    pub(crate) radius_m: f64,
    /// Across and up, one a frame.
    pub(crate) places_m: Vec<[f64; 2]>,
}

/// What is around the balls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// Whether there is a floor, at height 0.
    pub(crate) floor: bool,
    /// Whether there is a rim, a board, a ramp or a block.
    pub(crate) obstacles: bool,
    /// When something is heard, in frames.
    pub(crate) heard: Vec<f64>,
    /// Width of the picture, which balls do not leave; `None` where they may.
    pub(crate) view_m: Option<f64>,
    /// Places of the hands that may hold a ball, across and up, one a frame.
    pub(crate) hands_m: Vec<Vec<[f64; 2]>>,
}

/// A ball on arcs.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// Across and up, one a frame.
    pub(crate) places_m: Vec<[f64; 2]>,
    /// In order of time.
    pub(crate) strikes: Vec<Strike>,
}

/// What turns a ball from one arc to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Strike {
    /// In frames.
    pub(crate) time: f64,
    /// Change of velocity in metres a frame.
    pub(crate) turn_m: f64,
}

impl Strike {
    fn is_near(&self, other: &Self) -> bool {
        (self.time - other.time).abs() < 1.0
    }
}

/// A stretch of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first: usize,
    /// Is part of it.
    last: usize,
    /// Which hand holds the ball meanwhile.
    hand: Option<usize>,
}

impl Span {
    fn frames(self) -> usize {
        self.last - self.first + 1
    }
}

/// The balls as arcs say them. A track too short for an arc is left.
pub(crate) fn read(balls: &[Ball], around: &Surroundings) -> Vec<Reading> {
    let arcs = balls.iter().enumerate().map(|(index, ball)| {
        let noise_m = tremble_m(&ball.places_m);
        let spans = split(ball, noise_m, &around.hands_m, |before, after| {
            (before..=after).any(|frame| is_beside(balls, index, frame, around))
        });
        fit(ball, &spans, around)
    });
    arcs.collect()
}

/// Whether there is anything that a ball could strike in a frame.
fn is_beside(balls: &[Ball], index: usize, frame: usize, around: &Surroundings) -> bool {
    let ball = &balls[index];
    let Some(place) = ball.places_m.get(frame) else { return false };
    let on_floor = around.floor && place[1] - ball.radius_m < FLOOR_M;
    let by_ball = balls.iter().enumerate().filter(|(other, _)| *other != index).any(|(_, other)| {
        let reach_m = NEAR * (ball.radius_m + other.radius_m);
        other
            .places_m
            .get(frame)
            .is_some_and(|there| (place[0] - there[0]).hypot(place[1] - there[1]) < reach_m)
    });
    let by_hand = around
        .hands_m
        .iter()
        .filter_map(|hand| hand.get(frame))
        .any(|hand| (place[0] - hand[0]).hypot(place[1] - hand[1]) < REACH_M);
    around.obstacles || on_floor || by_ball || by_hand
}

/// How much a track trembles: the deviation of a place that third differences speak of, of which half are
/// larger. Impacts are rarer than that.
fn tremble_m(places_m: &[[f64; 2]]) -> f64 {
    let mut thirds: Vec<f64> = places_m
        .windows(4)
        .flat_map(|p| {
            [0, 1].map(|axis| (p[3][axis] - 3.0 * p[2][axis] + 3.0 * p[1][axis] - p[0][axis]).abs())
        })
        .collect();
    thirds.sort_by(f64::total_cmp);
    let median = thirds.get(thirds.len() / 2).copied().unwrap_or_default();
    // The third difference of independent places has 20 times their variance.
    (median / (0.674_5 * 20.0_f64.sqrt())).clamp(LEAST_NOISE_M, MOST_NOISE_M)
}

/// Noise that is supposed at least: places that were drawn are off together, not one by one.
const LEAST_NOISE_M: f64 = 0.02;
const MOST_NOISE_M: f64 = 0.15;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::world::{Body, Family, Track};

    /// A ball that bounces on the floor, and when.
    fn bouncing(height_m: f64, restitution: f64, speed_m_s: f64, radius_m: f64) -> (Ball, Vec<f64>) {
        let gravity = f64::from(GRAVITY_M_S2);
        let (mut up_m, mut rise_m_s) = (height_m, 0.0);
        let mut impacts = Vec::new();
        let steps = 200;
        let dt_s = 1.0 / (f64::from(FPS) * f64::from(steps));
        let mut places_m = Vec::new();
        for step in 0..96 * steps {
            if step % steps == 0 {
                places_m.push([1.0 + speed_m_s * f64::from(step) * dt_s, radius_m + up_m]);
            }
            up_m += rise_m_s * dt_s - 0.5 * gravity * dt_s * dt_s;
            rise_m_s -= gravity * dt_s;
            if up_m < 0.0 && rise_m_s < 0.0 {
                up_m = 0.0;
                rise_m_s *= -restitution;
                impacts.push(f64::from(step) / f64::from(steps));
            }
        }
        (Ball { radius_m, places_m }, impacts)
    }

    /// Frames until it rises less than half a metre, which may be read as lying, or until the clip ends.
    fn high(height_m: f64, restitution: f64, impacts: &[f64], frames: usize) -> usize {
        let low = (0..20).take_while(|&bounce| height_m * restitution.powi(2 * bounce) > 0.5).count();
        let last = frames - SHORTEST;
        impacts.get(low - 1).map_or(last, |&impact| last.min(impact as usize))
    }

    fn worst(one: &[[f64; 2]], other: &[[f64; 2]]) -> f64 {
        one.iter().zip(other).map(|(a, b)| (a[0] - b[0]).hypot(a[1] - b[1])).fold(0.0, f64::max)
    }

    /// A number below which the given share of numbers lies.
    fn quantile(mut numbers: Vec<f64>, share: f64) -> f64 {
        numbers.sort_by(f64::total_cmp);
        numbers[(share * numbers.len() as f64) as usize]
    }

    /// Balls as they are and as they are drawn: each place off by up to `most_m` in every direction.
    fn trembling(most_m: f64) -> impl Iterator<Item = (f64, Ball, Ball, Surroundings, usize)> {
        (0..300).map(move |seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (height_m, restitution) = (rng.random_range(2.0..5.0), rng.random_range(0.65..0.85));
            let (truth, heard) = bouncing(height_m, restitution, 0.5, 0.5);
            let high = high(height_m, restitution, &heard, truth.places_m.len());
            let mut drawn = truth.clone();
            for place in &mut drawn.places_m {
                *place = place.map(|metres| metres + rng.random_range(-most_m..most_m));
            }
            (restitution, truth, drawn, Surroundings { floor: true, heard, ..Surroundings::default() }, high)
        })
    }

    #[test]
    fn one_ball_keeps_one_share() {
        let (mut shares, mut instants) = (Vec::new(), Vec::new());
        for (restitution, _, drawn, around, _) in trembling(0.04) {
            if around.heard.get(2).is_none_or(|&third| third > 88.0) {
                continue;
            }
            let strikes: Vec<f64> =
                read(&[drawn], &around)[0].strikes.iter().map(|strike| strike.time).collect();
            let found = (strikes[2] - strikes[1]) / (strikes[1] - strikes[0]);
            shares.push((found - restitution).abs());
            instants.push((strikes[0] - around.heard[0]).abs());
        }
        assert!(shares.len() > 200);
        let off =
            [0.5, 0.98].map(|share| (quantile(shares.clone(), share), quantile(instants.clone(), share)));
        assert!(off[0].0 < 0.001 && off[0].1 < 0.02, "{off:?}");
        assert!(off[1].0 < 0.01 && off[1].1 < 0.1, "{off:?}");
    }

    #[test]
    fn trembling_becomes_arcs() {
        let left: Vec<f64> = trembling(0.08)
            .map(|(_, truth, drawn, around, high)| {
                let off = |places: &[[f64; 2]]| -> f64 {
                    let places = places.iter().zip(&truth.places_m).take(high);
                    places.map(|(a, b)| (a[1] - b[1]).powi(2)).sum()
                };
                off(&read(std::slice::from_ref(&drawn), &around)[0].places_m) / off(&drawn.places_m)
            })
            .collect();
        let left = [0.5, 0.97].map(|share| quantile(left.clone(), share));
        assert!(left[0] < 0.02 && left[1] < 0.3, "{left:?}");
    }

    proptest! {
        #[test]
        fn a_bouncing_ball_stays(
            height_m in 1.5..5.0_f64, restitution in 0.6..0.9_f64, speed_m_s in -1.0..1.0_f64, radius_m in 0.3..0.9_f64,
        ) {
            let (ball, heard) = bouncing(height_m, restitution, speed_m_s, radius_m);
            let around = Surroundings { floor: true, heard, ..Surroundings::default() };
            let read = read(std::slice::from_ref(&ball), &around);
            let high = high(height_m, restitution, &around.heard, ball.places_m.len());
            let off_m = worst(&read[0].places_m[..high], &ball.places_m[..high]);
            prop_assert!(off_m < 0.06, "{off_m}");
        }

        #[test]
        fn any_track_is_read_without_a_jump(
            places in prop::collection::vec([0.0..10.0_f64, 0.0..6.0_f64], 1..100), floor in any::<bool>(),
        ) {
            let ball = Ball { radius_m: 0.5, places_m: places.clone() };
            let read = read(&[ball], &Surroundings { floor, ..Surroundings::default() });
            prop_assert_eq!(read[0].places_m.len(), places.len());
            prop_assert!(read[0].places_m.iter().flatten().all(|metres| metres.is_finite()));
        }
    }

    #[test]
    fn the_worlds_own_balls_stay() {
        for family in [Family::Bounce, Family::Hoop, Family::Collision, Family::Ramp] {
            let mut off = Vec::new();
            for seed in 0..40 {
                let scene = crate::train::latents::tell_family(family, seed).scene;
                let balls: Vec<Ball> = scene
                    .actors
                    .iter()
                    .filter_map(|actor| match (&actor.body, &actor.track) {
                        (Body::Ball { radius_m }, Track::Bodies(frames)) => Some(Ball {
                            radius_m: f64::from(*radius_m),
                            places_m: frames
                                .iter()
                                .map(|bodies| [f64::from(bodies[0].x_m), f64::from(bodies[0].y_m)])
                                .collect(),
                        }),
                        _ => None,
                    })
                    .collect();
                let heard =
                    scene.contacts.iter().map(|contact| f64::from(contact.time_s) * f64::from(FPS)).collect();
                let obstacles = scene.stage.fixture.is_some();
                let around = Surroundings { floor: true, obstacles, heard, ..Surroundings::default() };
                for (read, ball) in read(&balls, &around).iter().zip(&balls) {
                    off.push(worst(&read.places_m, &ball.places_m));
                }
            }
            off.sort_by(f64::total_cmp);
            // Rims are struck twice within a few frames, which is one impact here.
            let (median, nine_tenths) = (off[off.len() / 2], off[off.len() * 9 / 10]);
            assert!(median < 0.08 && nine_tenths < 0.3, "{family:?}: {median} m, {nine_tenths} m");
        }
    }
}
