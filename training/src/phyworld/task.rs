//! What happens in a `PhyWorld` video: a task, a domain and a seed go in; an [`Episode`] comes out, the exact
//! centre of each ball in each frame.
//!
//! Units are the world's: it is 10 wide and 10 high, x to the right and y up from its lower left corner; the
//! paper names no metres. Start places, directions and the frames that a ball stays in view follow the
//! authors' generator (`id_ood_data/` in github.com/phyworld/phyworld); ranges follow the paper's appendix.
//! INVARIANT: an episode depends on nothing but task, gravity, domain and seed; its tracks are closed forms,
//! never integrated, and each ball has velocities that can be scored.

use std::fmt;

use kinora_harness::seed::derive;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Width and height of the world.
pub const WORLD: f64 = 10.0;
/// Time from frame to frame.
pub const DT_S: f64 = 0.1;
/// Frames in a video.
pub const FRAMES: usize = 32;
/// First frames that a predictor is shown.
pub const CONDITIONED: usize = 3;
/// Gravity in world units a second squared.
pub const GRAVITY: f64 = 9.8;
/// Gravity of the generator that the authors released (`one_ball_parabola.py`), for figures that are to be
/// read beside theirs.
pub const RELEASED_GRAVITY: f64 = 2.5;

/// A ball that moves alone is in view this long, where the world is wide enough for its speed.
const SHORTEST_VIEW_S: f64 = 24.0 * DT_S;
/// How far a ball that is too fast for that may start from the left edge.
const FAST_START: f64 = 0.5;
/// Free space above and below a ball that moves along a line.
const MARGIN: f64 = 0.5;
/// Heights of the start of a fall span this much.
const FALL_START: f64 = 1.0;
/// A contact leaves eight frames before it and eight after it.
const FIRST_CONTACT_S: f64 = 8.0 * DT_S;
const LAST_CONTACT_S: f64 = (FRAMES - 8) as f64 * DT_S;
/// Velocities of each ball that a collision lets be scored at least.
const FEWEST_SCORED: usize = 3;

/// x and y.
pub type Point = [f64; 2];

/// What is to be predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// One ball goes to the right at constant speed.
    UniformMotion,
    /// Two balls approach on one horizontal line and bounce off each other once, without loss.
    Collision,
    /// One ball is thrown to the right and falls; there is no floor.
    Parabola,
}

/// Where radii and speeds come from. In a collision both balls leave the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Domain {
    InDistribution,
    RadiusOut,
    SpeedOut,
    BothOut,
}

/// One ball, and where its centre is in each frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ball {
    pub radius: f64,
    pub centres: [Point; FRAMES],
}

/// One video's truth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    pub task: Task,
    /// Zero where nothing falls.
    pub gravity: f64,
    /// The red ball, then the blue one.
    pub balls: Vec<Ball>,
    /// When the balls touch.
    pub contact_s: Option<f64>,
}

impl Task {
    pub const ALL: [Self; 3] = [Self::UniformMotion, Self::Collision, Self::Parabola];

    pub fn name(self) -> &'static str {
        match self {
            Self::UniformMotion => "uniform_motion",
            Self::Collision => "collision",
            Self::Parabola => "parabola",
        }
    }

    /// How many balls its videos show.
    pub fn balls(self) -> usize {
        match self {
            Self::UniformMotion | Self::Parabola => 1,
            Self::Collision => 2,
        }
    }

    /// The episode of `seed`, under [`GRAVITY`].
    pub fn sample(self, domain: Domain, seed: u64) -> Episode {
        self.sample_under(GRAVITY, domain, seed)
    }

    /// The episode of `seed` where `gravity` pulls. Only the parabola feels it.
    pub fn sample_under(self, gravity: f64, domain: Domain, seed: u64) -> Episode {
        let name = format!("{self} {domain}");
        let mut rng = ChaCha8Rng::seed_from_u64(derive(seed, &name));
        match self {
            Self::UniformMotion => alone(self, 0.0, domain, &mut rng),
            Self::Collision => collision(domain, &mut rng),
            Self::Parabola => alone(self, gravity, domain, &mut rng),
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Domain {
    pub const ALL: [Self; 4] = [Self::InDistribution, Self::RadiusOut, Self::SpeedOut, Self::BothOut];

    pub fn name(self) -> &'static str {
        match self {
            Self::InDistribution => "in_distribution",
            Self::RadiusOut => "radius_out",
            Self::SpeedOut => "speed_out",
            Self::BothOut => "both_out",
        }
    }

    fn radius(self, rng: &mut ChaCha8Rng) -> f64 {
        match self {
            Self::InDistribution | Self::SpeedOut => rng.random_range(0.7..1.5),
            Self::RadiusOut | Self::BothOut if rng.random_bool(0.5) => rng.random_range(0.3..0.6),
            Self::RadiusOut | Self::BothOut => rng.random_range(1.5..2.0),
        }
    }

    fn speed(self, rng: &mut ChaCha8Rng) -> f64 {
        match self {
            Self::InDistribution | Self::RadiusOut => rng.random_range(1.0..4.0),
            Self::SpeedOut | Self::BothOut if rng.random_bool(0.5) => rng.random_range(0.0..0.8),
            Self::SpeedOut | Self::BothOut => rng.random_range(4.5..6.0),
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Ball {
    fn follow(radius: f64, centre: impl Fn(f64) -> Point) -> Self {
        Self { radius, centres: std::array::from_fn(|frame| centre(time_s(frame))) }
    }

    /// Discs of one density: the area without its pi.
    pub fn mass(&self) -> f64 {
        self.radius * self.radius
    }

    /// True when no part of the ball is beyond an edge.
    pub fn in_view(&self, frame: usize) -> bool {
        let inside = self.radius..=WORLD - self.radius;
        self.centres[frame].iter().all(|coordinate| inside.contains(coordinate))
    }
}

impl Episode {
    /// Where a ball's centre is at any time, also between frames.
    pub fn centre(&self, ball: usize, time_s: f64) -> Point {
        let centres = &self.balls[ball].centres;
        let moved = self.contact_s.is_some_and(|contact_s| time_s > contact_s);
        // A collision leaves eight frames before it and after it.
        let (from, x_velocity) = if moved {
            (FRAMES - 1, (centres[FRAMES - 1][0] - centres[FRAMES - 2][0]) / DT_S)
        } else {
            (0, (centres[1][0] - centres[0][0]) / DT_S)
        };
        let elapsed_s = time_s - from as f64 * DT_S;
        [centres[from][0] + x_velocity * elapsed_s, centres[0][1] - 0.5 * self.gravity * time_s * time_s]
    }

    /// Frames `t` for which the velocity of `ball` from `t - 1` to `t` is scored: both frames are predicted,
    /// show the whole ball and, in a collision, come after the contact.
    pub fn scored(&self, ball: &Ball) -> impl Iterator<Item = usize> {
        (CONDITIONED + 1..FRAMES).filter(move |&frame| {
            let after = self.contact_s.is_none_or(|contact_s| time_s(frame - 1) >= contact_s);
            after && ball.in_view(frame - 1) && ball.in_view(frame)
        })
    }
}

fn time_s(frame: usize) -> f64 {
    frame as f64 * DT_S
}

/// A point of `[low, high]`, or `low` where that is empty.
fn between(low: f64, high: f64, rng: &mut ChaCha8Rng) -> f64 {
    low + (high - low).max(0.0) * rng.random::<f64>()
}

fn alone(task: Task, gravity: f64, domain: Domain, rng: &mut ChaCha8Rng) -> Episode {
    let (radius, speed) = (domain.radius(rng), domain.speed(rng));
    let furthest = WORLD - radius - SHORTEST_VIEW_S * speed;
    let x = between(radius, if furthest < radius { radius + FAST_START } else { furthest }, rng);
    let highest = WORLD - MARGIN - radius;
    let lowest = if task == Task::Parabola { highest - FALL_START } else { MARGIN + radius };
    let y = between(lowest, highest, rng);
    let ball = Ball::follow(radius, |t| [x + speed * t, y - 0.5 * gravity * t * t]);
    Episode { task, gravity, balls: vec![ball], contact_s: None }
}

/// Draws until both balls start in view and stay long enough after the contact. The authors leave out what
/// has no room, too: two large balls that are fast meet before eight frames have passed.
fn collision(domain: Domain, rng: &mut ChaCha8Rng) -> Episode {
    loop {
        let radii = [domain.radius(rng), domain.radius(rng)];
        let speeds = [domain.speed(rng), domain.speed(rng)];
        let room = WORLD - 2.0 * (radii[0] + radii[1]);
        let latest_s = (room / (speeds[0] + speeds[1])).min(LAST_CONTACT_S);
        if latest_s < FIRST_CONTACT_S {
            continue;
        }
        let contact_s = between(FIRST_CONTACT_S, latest_s, rng);
        let leftmost = 2.0 * radii[0] + speeds[0] * contact_s;
        let rightmost = WORLD - 2.0 * radii[1] - speeds[1] * contact_s;
        let meet = between(leftmost, rightmost, rng);
        let tallest = radii[0].max(radii[1]);
        let y = between(MARGIN + tallest, WORLD - MARGIN - tallest, rng);

        let before = [speeds[0], -speeds[1]];
        let at_contact = [meet - radii[0], meet + radii[1]];
        let after = elastic(radii.map(|radius| radius * radius), before);
        let balls = (0..2)
            .map(|ball| {
                Ball::follow(radii[ball], |t| {
                    let velocity = if t < contact_s { before[ball] } else { after[ball] };
                    [at_contact[ball] + velocity * (t - contact_s), y]
                })
            })
            .collect();
        let episode = Episode { task: Task::Collision, gravity: 0.0, balls, contact_s: Some(contact_s) };
        if episode.balls.iter().all(|ball| episode.scored(ball).count() >= FEWEST_SCORED) {
            return episode;
        }
    }
}

/// Seen from the common centre of mass, an elastic collision turns both velocities around.
fn elastic(masses: [f64; 2], velocities: [f64; 2]) -> [f64; 2] {
    let momentum = masses[0] * velocities[0] + masses[1] * velocities[1];
    let centre = momentum / (masses[0] + masses[1]);
    velocities.map(|velocity| 2.0 * centre - velocity)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn domains() -> impl Strategy<Value = Domain> {
        prop::sample::select(Domain::ALL.to_vec())
    }

    /// Velocity from `frame - 1` to `frame`.
    fn velocity(ball: &Ball, frame: usize) -> Point {
        [0, 1].map(|axis| (ball.centres[frame][axis] - ball.centres[frame - 1][axis]) / DT_S)
    }

    fn in_range(value: f64, out: bool, inside: [f64; 2], outside: [[f64; 2]; 2]) -> bool {
        let within = |[low, high]: [f64; 2]| (low - 1e-9..=high + 1e-9).contains(&value);
        if out { outside.into_iter().any(within) } else { within(inside) }
    }

    proptest! {
        #[test]
        fn a_centre_between_frames_agrees_with_the_frames(
            task in prop::sample::select(Task::ALL.to_vec()), domain in domains(), seed: u64,
        ) {
            let episode = task.sample(domain, seed);
            for (index, ball) in episode.balls.iter().enumerate() {
                for (frame, centre) in ball.centres.iter().enumerate() {
                    let found = episode.centre(index, time_s(frame));
                    prop_assert!((found[0] - centre[0]).abs() < 1e-9 && (found[1] - centre[1]).abs() < 1e-9);
                }
            }
        }

        #[test]
        fn a_ball_that_nothing_pulls_keeps_its_velocity(domain in domains(), seed: u64) {
            let episode = Task::UniformMotion.sample(domain, seed);
            let first = velocity(&episode.balls[0], 1);
            prop_assert!(first[1].abs() < 1e-9);
            for frame in 2..FRAMES {
                let now = velocity(&episode.balls[0], frame);
                prop_assert!((now[0] - first[0]).abs() < 1e-9 && now[1].abs() < 1e-9);
            }
        }

        #[test]
        fn a_thrown_ball_falls_with_g_and_keeps_its_horizontal_speed(
            domain in domains(), seed: u64, gravity in 1.0..12.0_f64,
        ) {
            let episode = Task::Parabola.sample_under(gravity, domain, seed);
            let ball = &episode.balls[0];
            // Thrown horizontally: half a frame's fall is all that the first difference sees.
            prop_assert!((velocity(ball, 1)[1] + 0.5 * gravity * DT_S).abs() < 1e-9);
            for frame in 2..FRAMES {
                let (before, now) = (velocity(ball, frame - 1), velocity(ball, frame));
                prop_assert!((now[0] - before[0]).abs() < 1e-9);
                prop_assert!(((before[1] - now[1]) / DT_S - gravity).abs() < 1e-6);
            }
        }

        #[test]
        fn a_collision_keeps_momentum_and_energy_and_touches_once(domain in domains(), seed: u64) {
            let episode = Task::Collision.sample(domain, seed);
            let [left, right] = &episode.balls[..] else { panic!("two balls") };
            let contact_s = episode.contact_s.unwrap();
            let momentum = |frame| left.mass() * velocity(left, frame)[0]
                + right.mass() * velocity(right, frame)[0];
            let energy = |frame| left.mass() * velocity(left, frame)[0].powi(2)
                + right.mass() * velocity(right, frame)[0].powi(2);
            prop_assert!((momentum(1) - momentum(FRAMES - 1)).abs() < 1e-5);
            prop_assert!((energy(1) - energy(FRAMES - 1)).abs() < 1e-5);
            prop_assert!((FIRST_CONTACT_S..=LAST_CONTACT_S).contains(&contact_s));
            let closing = |frame| velocity(left, frame)[0] - velocity(right, frame)[0];
            prop_assert!((closing(1) + closing(FRAMES - 1)).abs() < 1e-9, "elastic");
            for frame in 0..FRAMES {
                prop_assert!((left.centres[frame][1] - right.centres[frame][1]).abs() < 1e-12);
                let gap = right.centres[frame][0] - left.centres[frame][0] - left.radius - right.radius;
                let expected = closing(1) * (time_s(frame) - contact_s).abs();
                prop_assert!((gap - expected).abs() < 1e-9, "gap {gap} at frame {frame}");
            }
        }

        #[test]
        fn an_episode_lies_in_its_domain_starts_in_view_and_can_be_scored(
            task in prop::sample::select(Task::ALL.to_vec()), domain in domains(), seed: u64,
            gravity in prop::sample::select(vec![GRAVITY, RELEASED_GRAVITY]),
        ) {
            let episode = task.sample_under(gravity, domain, seed);
            let radius_out = matches!(domain, Domain::RadiusOut | Domain::BothOut);
            let speed_out = matches!(domain, Domain::SpeedOut | Domain::BothOut);
            prop_assert_eq!(episode.balls.len(), task.balls());
            for ball in &episode.balls {
                let speed = velocity(ball, 1)[0].abs();
                prop_assert!(in_range(ball.radius, radius_out, [0.7, 1.5], [[0.3, 0.6], [1.5, 2.0]]));
                prop_assert!(in_range(speed, speed_out, [1.0, 4.0], [[0.0, 0.8], [4.5, 6.0]]));
                prop_assert!((0..CONDITIONED).all(|frame| ball.in_view(frame)));
                prop_assert!(episode.scored(ball).count() >= FEWEST_SCORED);
                prop_assert!(episode.scored(ball).all(|frame| frame > CONDITIONED));
            }
            prop_assert_eq!(&episode, &task.sample_under(gravity, domain, seed));
        }
    }

    #[test]
    fn seeds_domains_and_tasks_do_not_share_draws() {
        let mut radii: Vec<u64> = Task::ALL
            .into_iter()
            .flat_map(|task| Domain::ALL.map(|domain| (task, domain)))
            .flat_map(|(task, domain)| [0, 1].map(|seed| task.sample(domain, seed).balls[0].radius.to_bits()))
            .collect();
        radii.sort_unstable();
        radii.dedup();
        assert_eq!(radii.len(), 24);
    }
}
