//! The kinds of scene, one file each: how a scene is sampled, how it moves and what a caption says of it.
//!
//! A seed goes in, a [`Scene`] comes out. What a caption will say is drawn first, parameters are chosen from
//! the equations where those decide, and drawn again until the simulated motion agrees.
//! INVARIANT: everything stays in view, and the event of a scene is what happens in it.

mod bounce;
mod collision;
mod dominoes;
mod hoop;
mod pendulum;
mod ramp;
#[cfg(test)]
mod tests;
mod throw;
mod walk;

use std::f32::consts::PI;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::physics::{Motion, Shape, Solid, State, World, simulate};
use super::{Actor, Body, Colour, Contact, Event, Look, Name, Scene, Shot, Skin, Stage, Track};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// One ball that bounces on the floor.
    Bounce,
    /// One ball thrown at a backboard and hoop.
    Hoop,
    /// Two balls that run into each other.
    Collision,
    /// A ball that knocks over a row of blocks.
    Dominoes,
    /// A bob on a rod, and a ball in its way or none.
    Pendulum,
    /// A ball that rolls down a ramp.
    Ramp,
    /// A person who walks, jumps, waves and speaks.
    Walk,
    /// A person who throws or catches a ball, alone or with another.
    Throw,
}

impl Family {
    pub const ALL: [Self; 8] = [
        Self::Bounce,
        Self::Hoop,
        Self::Collision,
        Self::Dominoes,
        Self::Pendulum,
        Self::Ramp,
        Self::Walk,
        Self::Throw,
    ];

    /// Of how many scenes in a hundred a family is.
    fn percent(self) -> u32 {
        match self {
            Self::Bounce => 20,
            Self::Hoop | Self::Collision => 14,
            Self::Walk => 12,
            Self::Dominoes | Self::Pendulum | Self::Ramp | Self::Throw => 10,
        }
    }

    /// The family of [`Scene::sample`] for a seed.
    pub fn of(seed: u64) -> Self {
        // Other numbers than those that the family itself draws from the seed.
        let mut left = ChaCha8Rng::seed_from_u64(seed ^ 0xfa31).random_range(0..100_u32);
        for family in Self::ALL {
            match left.checked_sub(family.percent()) {
                Some(rest) => left = rest,
                None => return family,
            }
        }
        Self::Throw
    }

    /// A scene of this family. The same seed gives the same scene.
    pub fn sample(self, seed: u64) -> Scene {
        match self {
            Self::Bounce => bounce::sample(seed),
            Self::Hoop => hoop::sample(seed),
            Self::Collision => collision::sample(seed),
            Self::Dominoes => dominoes::sample(seed),
            Self::Pendulum => pendulum::sample(seed),
            Self::Ramp => ramp::sample(seed),
            Self::Walk => walk::sample(seed),
            Self::Throw => throw::sample(seed),
        }
    }

    /// What happens in a scene of this family, without the shot.
    pub(super) fn caption(self, scene: &Scene, rng: &mut ChaCha8Rng) -> String {
        match self {
            Self::Bounce => bounce::caption(scene, rng),
            Self::Hoop => hoop::caption(scene, rng),
            Self::Collision => collision::caption(scene, rng),
            Self::Dominoes => dominoes::caption(scene, rng),
            Self::Pendulum => pendulum::caption(scene, rng),
            Self::Ramp => ramp::caption(scene, rng),
            Self::Walk => walk::caption(scene, rng),
            Self::Throw => throw::caption(scene, rng),
        }
    }
}

impl Scene {
    /// A scene of any family. The same seed gives the same scene.
    pub fn sample(seed: u64) -> Self {
        Family::of(seed).sample(seed)
    }
}

/// What stays as it is while the parameters of a motion are drawn and drawn again, so that no event and no
/// shot becomes rare because it is hard to reach.
struct Casting {
    family: Family,
    seed: u64,
    shot: Shot,
    stage: Stage,
    looks: Vec<(Skin, Name)>,
    event: Event,
}

impl Casting {
    fn sample(
        family: Family,
        seed: u64,
        (shot, event): (Shot, Event),
        actors: usize,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        Self { family, seed, shot, stage: Stage::sample(rng), looks: sample_looks(actors, rng), event }
    }

    /// The scene of the first drafted world in which the event happens.
    fn play(
        self,
        rng: &mut ChaCha8Rng,
        draft: impl Fn(&mut ChaCha8Rng) -> Option<World>,
        judge: impl Fn(&World, &Motion) -> Option<Event>,
    ) -> Scene {
        loop {
            let Some(world) = draft(rng) else { continue };
            let Some(motion) = simulate(&world) else { continue };
            if judge(&world, &motion) == Some(self.event) {
                return self.film(&world, motion);
            }
        }
    }

    fn film(self, world: &World, motion: Motion) -> Scene {
        let actors = self.looks.iter().enumerate().filter_map(|(actor, &(skin, name))| {
            let first = world.solids.iter().position(|solid| solid.actor == actor)?;
            let count = world.solids.iter().filter(|solid| solid.actor == actor).count();
            let solid = world.solids.get(first)?;
            let (body, restitution) = match solid.shape {
                Shape::Ball { radius_m } => (Body::Ball { radius_m }, solid.restitution),
                Shape::Block { half_width_m, half_height_m } => {
                    (Body::Blocks { half_width_m, half_height_m, count }, 0.0)
                }
            };
            let poses = motion.frames.iter();
            let track = poses.map(|states| states[first..first + count].iter().map(State::pose).collect());
            let track = Track::Bodies(track.collect());
            Some(Actor { body, look: Look::Skin(skin), name, track, restitution })
        });
        let actors = actors.collect();
        self.scene(Stage { fixture: world.fixture, ..self.stage }, actors, motion.contacts)
    }

    fn scene(&self, stage: Stage, actors: Vec<Actor>, contacts: Vec<Contact>) -> Scene {
        Scene {
            family: self.family,
            seed: self.seed,
            shot: self.shot,
            stage,
            actors,
            contacts,
            speech: None,
            event: self.event,
        }
    }
}

/// Looks that captions can tell apart; a quarter of the scenes call their first actor the cameo.
fn sample_looks(count: usize, rng: &mut ChaCha8Rng) -> Vec<(Skin, Name)> {
    let cameo = rng.random_bool(0.25);
    // Distinct base colours: "a red ball and a red ball" names nothing.
    let mut colours = Colour::ALL;
    colours.shuffle(rng);
    let second = colours[count];
    colours
        .into_iter()
        .take(count)
        .enumerate()
        .map(|(index, colour)| {
            if index == 0 && cameo {
                return (Skin::sample_identity(rng), Name::Cameo);
            }
            let second = rng.random_bool(0.2).then_some(second);
            (Skin::sample_named(rng, colour, second), Name::Colours(colour, second))
        })
        .collect()
}

/// A ball in the air.
fn flying(radius_m: f32, at_m: (f32, f32), velocity_m_s: (f32, f32), rng: &mut ChaCha8Rng) -> Solid {
    Solid {
        actor: 0,
        shape: Shape::Ball { radius_m },
        at_m,
        velocity_m_s,
        angle_rad: rng.random_range(-PI..PI),
        spin_rad_s: rng.random_range(-3.0..3.0),
        restitution: 0.7,
    }
}

/// A ball that rolls on the floor without slipping.
fn rolling(radius_m: f32, x_m: f32, speed_m_s: f32, rng: &mut ChaCha8Rng) -> Solid {
    let spin_rad_s = -speed_m_s / radius_m;
    Solid { spin_rad_s, ..flying(radius_m, (x_m, radius_m), (speed_m_s, 0.0), rng) }
}
