//! The world that the corpus shows: balls, blocks, pendulums and people on a stage, and what they sound like.
//!
//! A seed and an index go in; a [`Sample`] comes out: frames, sound, a caption, the portrait and the voice of
//! a cameo, and the ground truth that the evaluation measures against. A scene is sampled, moved and named in
//! one file a family; [`draw`] shows it and [`sound`] lets it be heard.
//! INVARIANT: a sample depends on nothing but seed, index and size, so any number of threads draw the same.

pub mod caption;
pub mod doll;
pub mod draw;
pub mod export;
pub mod family;
mod fixture;
mod gait;
pub mod identity;
pub mod look;
mod physics;
mod sample;
pub mod sound;
pub mod speech;
mod stage;

use serde::{Deserialize, Serialize};

pub use doll::DollPose;
pub use family::Family;
pub(crate) use gait::sole_m;
pub use identity::{Appearance, Identity, Voice};
pub use look::{Colour, Pattern, Rgb, Skin};
pub use sample::{Corpus, Sample};
pub use speech::{Phrase, VoiceFrame};

/// Frames a second.
pub const FPS: u32 = 24;
/// Frames in a scene: four seconds.
pub const FRAMES: usize = 96;
/// Length of a scene in seconds.
pub const CLIP_S: f32 = 4.0;
/// Sound samples a second.
pub const SAMPLE_RATE: u32 = 12_000;
/// Sound samples a frame.
pub const SAMPLES_PER_FRAME: usize = 500;
/// Sound samples in a scene.
pub const SAMPLES: usize = FRAMES * SAMPLES_PER_FRAME;
/// Gravity.
pub const GRAVITY_M_S2: f32 = 9.81;
/// Actors that a scene can show. The third is always a ball.
pub const ACTORS: usize = 3;
/// Blocks in a row at most.
pub const BLOCKS: usize = 7;

/// How much of the world the square picture shows. The floor line y = 0 lies a tenth of the picture's height
/// above its lower edge, x = 0 at its left edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shot {
    Close,
    Medium,
    Wide,
    /// The empty, floorless world of `PhyWorld`: 10 by 10, y = 0 at its lower edge.
    Lab,
}

impl Shot {
    /// Width and height of the view in metres.
    pub fn view_m(self) -> f32 {
        match self {
            Self::Close => 6.4,
            Self::Medium => 8.0,
            Self::Wide | Self::Lab => 10.0,
        }
    }

    /// Height of the view's upper edge above the floor.
    pub fn top_m(self) -> f32 {
        match self {
            Self::Lab => self.view_m(),
            _ => 0.9 * self.view_m(),
        }
    }
}

/// Everything that stands still.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    pub backdrop: Backdrop,
    pub wall: WallTexture,
    pub floor: FloorTexture,
    pub light: Light,
    pub fixture: Option<Fixture>,
}

/// Colours of wall and floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backdrop {
    Sky,
    Sand,
    Mint,
    Lavender,
    Stone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WallTexture {
    Plain,
    Stripes,
    Bricks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FloorTexture {
    Plain,
    Planks,
    Tiles,
}

/// Where the light comes from, and its colour.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Light {
    /// Horizontal direction towards the light, from -1 (left) to 1 (right).
    pub from_x: f32,
    /// From 0 (bluish evening) over 0.5 (white noon) to 1 (warm sunset).
    pub warmth: f32,
    /// Overall brightness, 0.75 to 1.
    pub brightness: f32,
}

/// What stands on the stage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fixture {
    Hoop(Hoop),
    Ramp(Ramp),
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

/// A wedge whose foot lies on the floor and whose slope is straight up to its vertical back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ramp {
    /// Where the slope meets the floor.
    pub foot_x_m: f32,
    pub length_m: f32,
    pub height_m: f32,
    /// True when the ramp rises to the left, so that a ball rolls down to the right.
    pub mirrored: bool,
}

/// Where a body is in one frame. Metres; the floor is y = 0, y is up; the angle is counter-clockwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pose {
    pub x_m: f32,
    pub y_m: f32,
    pub angle_rad: f32,
}

/// What an actor is made of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// One body: the ball's centre.
    Ball { radius_m: f32 },
    /// `count` bodies, equal standing blocks, each with its pose at its centre.
    Blocks { half_width_m: f32, half_height_m: f32, count: usize },
    /// One body: the bob's centre. The rod reaches from it to the pivot.
    Pendulum { pivot_m: (f32, f32), radius_m: f32 },
    /// A person who stands `height_m` tall.
    Person { height_m: f32 },
}

/// Where an actor is in each frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Track {
    /// `[frame][body]`
    Bodies(Vec<Vec<Pose>>),
    /// `[frame]`
    Doll(Vec<DollPose>),
}

/// How an actor looks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Look {
    Skin(Skin),
    Person(Appearance),
}

/// What a caption may call an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Name {
    /// The palette colours of a ball or of blocks, or of a person's shirt and trousers.
    Colours(Colour, Option<Colour>),
    /// An identity that only a reference names.
    Cameo,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Actor {
    pub body: Body,
    pub look: Look,
    pub name: Name,
    pub track: Track,
    /// Speed kept in a bounce off the floor, in [0, 1]; 0 where nothing bounces.
    pub restitution: f32,
}

/// What struck what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactKind {
    Floor,
    Rim,
    Board,
    Net,
    /// A ball on a ball, or on a pendulum's bob.
    Ball,
    /// A block on a block, or a ball on a block.
    Block,
    /// A block that has fallen on the floor.
    BlockFloor,
    Ramp,
    /// A foot on the floor.
    Step,
    /// Both feet on the floor after a jump.
    Landing,
    /// A ball in a hand.
    Catch,
}

impl ContactKind {
    pub const ALL: [Self; 11] = [
        Self::Floor,
        Self::Rim,
        Self::Board,
        Self::Net,
        Self::Ball,
        Self::Block,
        Self::BlockFloor,
        Self::Ramp,
        Self::Step,
        Self::Landing,
        Self::Catch,
    ];
}

/// One impact.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contact {
    pub time_s: f32,
    pub kind: ContactKind,
    /// Index of the actor that struck.
    pub actor: usize,
    /// Index of the other actor, where there is one.
    pub other: Option<usize>,
    /// Speed of approach along the contact normal.
    pub speed_m_s: f32,
    /// Newton seconds, for bodies of 1 kg per square metre.
    pub impulse_n_s: f32,
    /// Size that the pitch of the sound follows: the radius of the ball, half the height of the block.
    pub size_m: f32,
    pub x_m: f32,
    pub y_m: f32,
}

/// What happens, as a caption would say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The ball strikes the floor this many times.
    Bounces(u32),
    /// The ball goes through the hoop, off the board first if `banked`.
    Scores { banked: bool },
    /// The ball misses, having struck the rim if `rim`.
    Misses { rim: bool },
    /// The two balls strike each other once, off the floor if `airborne`.
    Collides { airborne: bool },
    /// `fallen` of `blocks` blocks are knocked over.
    Topples { fallen: u32, blocks: u32 },
    /// The pendulum passes its lowest point this many times, and strikes a resting ball if `strikes`.
    Swings { passes: u32, strikes: bool },
    /// The ball rolls down the ramp, and into a block if `strikes`.
    Rolls { strikes: bool },
    /// The person walks to the given side.
    Walks { right: bool },
    /// The person jumps this many times.
    Jumps(u32),
    /// The person waves.
    Waves,
    /// The person only stands, and speaks.
    Stands,
    /// A person throws a ball; the other catches it, or it bounces on the floor this many times.
    Throws { caught: bool, bounces: u32 },
    /// A person catches a ball that flies in.
    Catches,
}

/// One clip's world: how it looks, how it moves and what strikes what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    pub family: Family,
    pub seed: u64,
    pub shot: Shot,
    pub stage: Stage,
    /// At most [`ACTORS`], drawn in this order; those that a caption names come first.
    pub actors: Vec<Actor>,
    /// In order of time.
    pub contacts: Vec<Contact>,
    pub speech: Option<Speech>,
    pub event: Event,
}

impl Scene {
    /// Frames in the scene: as long as its longest track.
    pub fn frames(&self) -> usize {
        let length = |actor: &Actor| match &actor.track {
            Track::Bodies(frames) => frames.len(),
            Track::Doll(frames) => frames.len(),
        };
        self.actors.iter().map(length).max().unwrap_or(0)
    }
}

/// What one person says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speech {
    /// Index of the actor who speaks.
    pub speaker: usize,
    pub voice: Voice,
    pub start_s: f32,
    pub phrase: Phrase,
}
