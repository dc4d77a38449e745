//! What a clip shows, before it moves: balls with their throws, a hoop or none, a backdrop.
//!
//! A family and a seed go in, a [`Scene`] whose motion has the promised outcome comes out: parameters are
//! chosen from the equations of flight where those decide, and drawn again until the simulated motion agrees.
//! INVARIANT: in a sampled scene every ball stays in view, and what the caption counts is what happens.

use std::ops::Range;

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::motion::{Contact, ContactKind, Motion, Passes, State, simulate_while};
use super::skin::{Colour, Skin};
use super::{CLIP_S, FRAMES, GRAVITY_M_S2, VIEW_M, VIEW_TOP_M};

/// The kinds of scene the corpus knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// One ball that bounces on the floor.
    Bounce,
    /// One ball thrown at a backboard and hoop.
    Hoop,
    /// Two balls that run into each other.
    Collision,
}

impl Family {
    pub const ALL: [Self; 3] = [Self::Bounce, Self::Hoop, Self::Collision];
}

/// What happens in a clip, as a caption would say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The ball strikes the floor this many times.
    Bounces(u32),
    /// The ball goes through the hoop, off the board first if `banked`.
    Scores { banked: bool },
    /// The ball misses, having struck the rim if `rim`.
    Misses { rim: bool },
    /// The two balls strike each other once, off the floor if `airborne`.
    Collides { airborne: bool },
}

/// One ball at time zero.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ball {
    pub radius_m: f32,
    pub x_m: f32,
    pub y_m: f32,
    pub vx_m_s: f32,
    pub vy_m_s: f32,
    pub angle_rad: f32,
    pub spin_rad_s: f32,
    /// Speed kept in a bounce off the floor, in [0, 1].
    pub restitution: f32,
    pub skin: Skin,
    /// The palette colours that a caption may name; `None` for a cameo.
    pub colours: Option<(Colour, Option<Colour>)>,
}

impl Ball {
    /// Mass of a disc of 1 kg per square metre.
    pub fn mass_kg(&self) -> f32 {
        std::f32::consts::PI * self.radius_m * self.radius_m
    }

    /// True for an identity that only a reference picture names.
    pub fn is_cameo(&self) -> bool {
        self.colours.is_none()
    }
}

/// A hoop seen from the side, on a board at the right or left edge of the view.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hoop {
    pub height_m: f32,
    /// Where the board's face is.
    pub board_x_m: f32,
    /// True when the board stands at the left and the hoop opens to its right.
    pub mirrored: bool,
}

impl Hoop {
    pub const RIM_RADIUS_M: f32 = 0.06;
    /// Distance between the rims.
    pub const OPENING_M: f32 = 1.5;
    const BRACKET_M: f32 = 0.15;
    const BOARD_THICKNESS_M: f32 = 0.18;

    fn outwards(&self) -> f32 {
        if self.mirrored { 1.0 } else { -1.0 }
    }

    /// The rim nearest to the board, then the other.
    pub fn rim_x_m(&self) -> [f32; 2] {
        let near = self.board_x_m + self.outwards() * Self::BRACKET_M;
        [near, near + self.outwards() * Self::OPENING_M]
    }

    /// Lower and upper corners of the board.
    pub fn board_box(&self) -> ((f32, f32), (f32, f32)) {
        let back = self.board_x_m - self.outwards() * Self::BOARD_THICKNESS_M;
        ((self.board_x_m.min(back), self.height_m - 0.15), (self.board_x_m.max(back), self.height_m + 1.6))
    }

    /// Middle of the opening.
    pub fn centre_x_m(&self) -> f32 {
        let [near, far] = self.rim_x_m();
        f32::midpoint(near, far)
    }

    /// True for an x between the rims.
    pub fn spans(&self, x_m: f32) -> bool {
        (x_m - self.centre_x_m()).abs() < Self::OPENING_M / 2.0
    }
}

/// The colours behind the balls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backdrop {
    Sky,
    Sand,
    Mint,
    Lavender,
    Stone,
}

impl Backdrop {
    pub const ALL: [Self; 5] = [Self::Sky, Self::Sand, Self::Mint, Self::Lavender, Self::Stone];
}

/// A clip's world at time zero. Metres and seconds; the floor is y = 0, the view is 8 m wide.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    pub family: Family,
    pub seed: u64,
    pub balls: Vec<Ball>,
    pub hoop: Option<Hoop>,
    pub friction: f32,
    pub backdrop: Backdrop,
    /// What the sampler promised.
    pub outcome: Outcome,
}

impl Scene {
    /// A scene of one family. The same seed gives the same scene.
    pub fn sample(family: Family, seed: u64) -> Self {
        Self::sample_with_motion(family, seed).0
    }

    /// A scene of any family. The same seed gives the same scene.
    pub fn sample_any(seed: u64) -> Self {
        Self::sample(Self::family_of(seed), seed)
    }

    /// The family that [`Scene::sample_any`] picks for a seed: bounces half the time.
    pub fn family_of(seed: u64) -> Family {
        match ChaCha8Rng::seed_from_u64(seed ^ 0xfa31).random_range(0..4) {
            0 | 1 => Family::Bounce,
            2 => Family::Hoop,
            _ => Family::Collision,
        }
    }

    /// A scene and the motion that was checked against its promise.
    pub fn sample_with_motion(family: Family, seed: u64) -> (Self, Motion) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // What the caption says is drawn once, before the parameters are drawn and redrawn, so that no
        // outcome becomes rare because it is hard to reach.
        let outcome = sample_outcome(family, &mut rng);
        let skins = sample_skins(if family == Family::Collision { 2 } else { 1 }, &mut rng);
        let backdrop = Backdrop::ALL.choose(&mut rng).copied().unwrap_or(Backdrop::Sky);
        loop {
            let Some(draft) = draft(outcome, &mut rng) else { continue };
            let balls = draft.throws.iter().zip(&skins).map(|(throw, skin)| throw.ball(*skin)).collect();
            let scene =
                Self { family, seed, balls, hoop: draft.hoop, friction: draft.friction, backdrop, outcome };
            let motion = simulate_while(&scene, |states| scene.shows(states));
            if motion.frames.len() == FRAMES && motion.outcome == Some(outcome) {
                return (scene, motion);
            }
        }
    }

    /// What a motion amounts to, or `None` when no caption describes it well.
    pub(super) fn judge(
        &self,
        frames: &[Vec<State>],
        contacts: &[Contact],
        passes: Passes,
    ) -> Option<Outcome> {
        let count = |kind| contacts.iter().filter(|contact| contact.kind == kind).count();
        match self.family {
            Family::Bounce => {
                // A bounce too soft to see, or at the very edge of the clip, would make the count arguable.
                let clear = contacts.iter().all(|c| c.speed_m_s > 2.2 && c.time_s < CLIP_S - 0.12);
                clear.then_some(Outcome::Bounces(contacts.len() as u32))
            }
            Family::Hoop => {
                let hoop = self.hoop.as_ref()?;
                let last = frames.last()?.first()?;
                let ball = self.balls.first()?;
                if passes.up > 0 || last.y_m > hoop.height_m - ball.radius_m - 0.2 {
                    return None;
                }
                match passes.down {
                    0 => Some(Outcome::Misses { rim: count(ContactKind::Rim) > 0 }),
                    1 => Some(Outcome::Scores { banked: count(ContactKind::Board) > 0 }),
                    _ => None,
                }
            }
            Family::Collision => {
                let meeting = contacts.iter().find(|contact| contact.kind == ContactKind::Ball)?;
                let lowest = self.balls.iter().map(|ball| ball.radius_m).fold(0.0, f32::max);
                let airborne = meeting.y_m > lowest * 1.6;
                (count(ContactKind::Ball) == 1 && meeting.speed_m_s > 1.0)
                    .then_some(Outcome::Collides { airborne })
            }
        }
    }

    /// True while every ball is wholly in view.
    fn shows(&self, states: &[State]) -> bool {
        states.iter().zip(&self.balls).all(|(state, ball)| {
            let margin = ball.radius_m;
            state.x_m > margin && state.x_m < VIEW_M - margin && state.y_m < VIEW_TOP_M - margin
        })
    }
}

/// A ball without its looks.
struct Throw {
    radius_m: f32,
    at: (f32, f32),
    velocity: (f32, f32),
    spin_rad_s: f32,
    angle_rad: f32,
    restitution: f32,
}

type Looks = (Skin, Option<(Colour, Option<Colour>)>);

impl Throw {
    fn ball(&self, (skin, colours): Looks) -> Ball {
        Ball {
            radius_m: self.radius_m,
            x_m: self.at.0,
            y_m: self.at.1,
            vx_m_s: self.velocity.0,
            vy_m_s: self.velocity.1,
            angle_rad: self.angle_rad,
            spin_rad_s: self.spin_rad_s,
            restitution: self.restitution,
            skin,
            colours,
        }
    }
}

struct Draft {
    throws: Vec<Throw>,
    hoop: Option<Hoop>,
    friction: f32,
}

fn sample_outcome(family: Family, rng: &mut ChaCha8Rng) -> Outcome {
    match family {
        Family::Bounce => Outcome::Bounces(rng.random_range(1..=4)),
        Family::Hoop => match rng.random_range(0..8) {
            0..=3 => Outcome::Scores { banked: false },
            4 => Outcome::Scores { banked: true },
            5 => Outcome::Misses { rim: true },
            _ => Outcome::Misses { rim: false },
        },
        Family::Collision => Outcome::Collides { airborne: rng.random_bool(0.4) },
    }
}

fn sample_skins(count: usize, rng: &mut ChaCha8Rng) -> Vec<Looks> {
    let first_is_cameo = rng.random_bool(0.25);
    // Distinct base colours: "a red ball and a red ball" names nothing.
    let mut colours = Colour::ALL;
    colours.shuffle(rng);
    (0..count)
        .map(|index| {
            if index == 0 && first_is_cameo {
                return (Skin::sample_identity(rng), None);
            }
            let second = rng.random_bool(0.2).then_some(colours[count]);
            (Skin::sample_named(rng, colours[index], second), Some((colours[index], second)))
        })
        .collect()
}

fn draft(outcome: Outcome, rng: &mut ChaCha8Rng) -> Option<Draft> {
    match outcome {
        Outcome::Bounces(count) => draft_bounce(count, rng),
        Outcome::Scores { banked } => Some(draft_shot(&Shot::Score { banked }, rng)),
        Outcome::Misses { .. } => Some(draft_shot(&Shot::Miss, rng)),
        Outcome::Collides { airborne: false } => Some(draft_roll(rng)),
        Outcome::Collides { airborne: true } => Some(draft_clash(rng)),
    }
}

/// A flight from the floor takes `flight` seconds, the next ones e, e^2, ... of it; the first contact comes
/// after `start` of it (half for a drop, up to the whole for a toss). So contact n is at
/// `flight * (start + e + ... + e^(n-1))`, which brackets `flight` between two bounds.
fn draft_bounce(count: u32, rng: &mut ChaCha8Rng) -> Option<Draft> {
    let radius_m = rng.random_range(0.45..0.9_f32);
    let restitution = rng.random_range(0.62..0.95_f32);
    let start = if rng.random_bool(0.5) { 0.5 } else { rng.random_range(0.5..1.0_f32) };
    let until_last = start + (1..count).map(|n| restitution.powi(n as i32)).sum::<f32>();
    let until_next = until_last + restitution.powi(count as i32);
    let highest_m = VIEW_TOP_M - 0.1 - 2.0 * radius_m;
    let longest_s = (8.0 * highest_m / GRAVITY_M_S2).sqrt().min((CLIP_S - 0.15) / until_last);
    let shortest_s = (CLIP_S + 0.06) / until_next;
    if shortest_s >= longest_s {
        return None;
    }
    let flight_s = rng.random_range(shortest_s..longest_s);
    let impact_m_s = GRAVITY_M_S2 * flight_s / 2.0;
    let vy_m_s = GRAVITY_M_S2 * flight_s * (start - 0.5);
    let y_m = radius_m + (impact_m_s * impact_m_s - vy_m_s * vy_m_s) / (2.0 * GRAVITY_M_S2);
    let (low, high) = (radius_m + 0.1, VIEW_M - radius_m - 0.1);
    let x_m = rng.random_range(low..high);
    let end_m = rng.random_range(low..high);
    let vx_m_s = (end_m - x_m) / CLIP_S * rng.random_range(0.3..1.0_f32);
    Some(Draft {
        throws: vec![Throw {
            radius_m,
            at: (x_m, y_m),
            velocity: (vx_m_s, vy_m_s),
            spin_rad_s: rng.random_range(-2.5..2.5),
            angle_rad: rng.random_range(-3.1..3.1),
            restitution,
        }],
        hoop: None,
        friction: 0.3,
    })
}

enum Shot {
    Score { banked: bool },
    Miss,
}

fn draft_shot(shot: &Shot, rng: &mut ChaCha8Rng) -> Draft {
    let radius_m = rng.random_range(0.4..0.56_f32);
    let hoop =
        Hoop { height_m: rng.random_range(3.0..4.2), board_x_m: rng.random_range(6.9..7.4), mirrored: false };
    let from = (rng.random_range(0.7..3.2_f32), rng.random_range(0.9..2.2_f32));
    let target_x_m = match shot {
        Shot::Score { banked: false } => hoop.centre_x_m() + rng.random_range(-0.25..0.25),
        // Aim at the hoop's image behind the board, which a bounce of 0.5 brings back to the centre.
        Shot::Score { banked: true } => {
            let face = hoop.board_x_m - radius_m;
            face + (face - hoop.centre_x_m()) / 0.5 + rng.random_range(-0.5..0.5)
        }
        Shot::Miss => {
            let aside = rng.random_range(0.75..2.0_f32);
            hoop.centre_x_m() + if rng.random_bool(0.75) { -aside } else { aside }
        }
    };
    let flight_s = rng.random_range(0.95..1.4_f32);
    let rise_m = hoop.height_m - from.1;
    let mut throw = Throw {
        radius_m,
        at: from,
        velocity: ((target_x_m - from.0) / flight_s, rise_m / flight_s + GRAVITY_M_S2 * flight_s / 2.0),
        spin_rad_s: rng.random_range(0.0..4.0),
        angle_rad: rng.random_range(-3.1..3.1),
        restitution: rng.random_range(0.5..0.78),
    };
    let mut hoop = hoop;
    if rng.random_bool(0.5) {
        hoop.mirrored = true;
        hoop.board_x_m = VIEW_M - hoop.board_x_m;
        throw.at.0 = VIEW_M - throw.at.0;
        throw.velocity.0 = -throw.velocity.0;
        throw.spin_rad_s = -throw.spin_rad_s;
    }
    Draft { throws: vec![throw], hoop: Some(hoop), friction: 0.4 }
}

/// Two balls on the floor, at least one of them rolling towards the other.
fn draft_roll(rng: &mut ChaCha8Rng) -> Draft {
    let restitution = rng.random_range(0.7..0.95);
    let left_m_s = rng.random_range(0.9..3.2);
    let right_m_s = if rng.random_bool(0.35) { 0.0 } else { -rng.random_range(0.4..2.2_f32) };
    let mut throws = vec![rolling(rng, 0.6..2.6, left_m_s), rolling(rng, 4.6..7.4, right_m_s)];
    let mirrored = rng.random_bool(0.5);
    for throw in &mut throws {
        throw.restitution = restitution;
        if mirrored {
            throw.at.0 = VIEW_M - throw.at.0;
            throw.velocity.0 = -throw.velocity.0;
            throw.spin_rad_s = -throw.spin_rad_s;
        }
    }
    Draft { throws, hoop: None, friction: 0.25 }
}

fn rolling(rng: &mut ChaCha8Rng, x_m: Range<f32>, vx_m_s: f32) -> Throw {
    let radius_m = rng.random_range(0.45..0.9_f32);
    Throw {
        radius_m,
        at: (rng.random_range(x_m).clamp(radius_m + 0.1, VIEW_M - radius_m - 0.1), radius_m),
        velocity: (vx_m_s, 0.0),
        spin_rad_s: -vx_m_s / radius_m,
        angle_rad: rng.random_range(-3.1..3.1),
        restitution: 0.8,
    }
}

/// Two balls thrown so that they meet in the air.
fn draft_clash(rng: &mut ChaCha8Rng) -> Draft {
    let restitution = rng.random_range(0.6..0.85);
    let meet_s = rng.random_range(0.6..1.25_f32);
    let meet = (rng.random_range(3.4..4.6_f32), rng.random_range(2.4..5.2_f32));
    let mut throw = |side: f32| {
        let radius_m = rng.random_range(0.45..0.8_f32);
        let edge_m = rng.random_range(radius_m + 0.2..1.9);
        let at =
            (if side < 0.0 { edge_m } else { VIEW_M - edge_m }, rng.random_range(0.9..4.0_f32).max(radius_m));
        let target = (meet.0 + side * radius_m, meet.1 + rng.random_range(-0.35..0.35) * radius_m);
        Throw {
            radius_m,
            at,
            velocity: ((target.0 - at.0) / meet_s, (target.1 - at.1) / meet_s + GRAVITY_M_S2 * meet_s / 2.0),
            spin_rad_s: rng.random_range(-3.0..3.0),
            angle_rad: rng.random_range(-3.1..3.1),
            restitution,
        }
    };
    let mut throws = vec![throw(-1.0), throw(1.0)];
    if rng.random_bool(0.5) {
        throws.reverse();
    }
    Draft { throws, hoop: None, friction: 0.3 }
}
