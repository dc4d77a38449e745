//! The jointed figure of a person: one pose enters, the placed parts of the body leave.
//!
//! A doll is a hip and seven angles; its parts follow by forward kinematics, so that no limb can come off.

use serde::{Deserialize, Serialize};

use super::Pose;

/// Parts of a doll, in the order in which they are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    FarArm,
    FarLeg,
    NearLeg,
    Torso,
    Head,
    NearArm,
}

impl Part {
    pub const ALL: [Self; 6] =
        [Self::FarArm, Self::FarLeg, Self::NearLeg, Self::Torso, Self::Head, Self::NearArm];

    /// Half width, half height and corner radius of the rounded box, as shares of the person's height.
    pub fn shape(self) -> [f32; 3] {
        match self {
            Self::FarArm | Self::NearArm => [0.045, 0.18, 0.045],
            Self::FarLeg | Self::NearLeg => [0.055, 0.225, 0.055],
            Self::Torso => [0.115, 0.185, 0.08],
            Self::Head => [0.13, 0.13, 0.13],
        }
    }
}

/// Where a person is in one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DollPose {
    /// The hip joint. A person of height h who stands upright has it at 0.42 h.
    pub x_m: f32,
    pub y_m: f32,
    /// Angle of the torso from upright, counter-clockwise.
    pub lean_rad: f32,
    /// Angle of the head relative to the torso.
    pub nod_rad: f32,
    /// Angles of the far and near arm relative to the torso: 0 hangs down, counter-clockwise.
    pub arms_rad: [f32; 2],
    /// Angles of the far and near leg from straight down.
    pub legs_rad: [f32; 2],
    /// How far the mouth is open, 0 to 1.
    pub mouth: f32,
}

/// Height of the hip over the floor, as a share of the person's height.
pub const HIP: f32 = 0.42;
const SHOULDER: f32 = 0.31;
/// How far to the side of the middle an arm and a leg are jointed: the far ones left, the near ones right.
const SHOULDER_ASIDE: f32 = 0.1;
const HIP_ASIDE: f32 = 0.045;
const NECK: f32 = 0.36;
const HEAD: f32 = 0.09;
const LEG: f32 = 0.198;
const ARM: f32 = 0.14;

impl DollPose {
    /// The middle of each part, in the order of [`Part::ALL`]. A limb's own y axis points from its end to its
    /// joint.
    pub fn parts(&self, height_m: f32) -> [Pose; 6] {
        let hip = (self.x_m, self.y_m);
        let up = |from: (f32, f32), length: f32, angle: f32| {
            (from.0 - length * height_m * angle.sin(), from.1 + length * height_m * angle.cos())
        };
        let place = |(x_m, y_m): (f32, f32), angle_rad: f32| Pose { x_m, y_m, angle_rad };
        let neck = up(hip, NECK, self.lean_rad);
        let head_angle = self.lean_rad + self.nod_rad;
        let arm = |side: usize| {
            let angle = self.lean_rad + self.arms_rad[side];
            place(up(self.shoulder_m(side, height_m), -ARM, angle), angle)
        };
        let leg = |side: usize| {
            let joint = (hip.0 + (side as f32 * 2.0 - 1.0) * HIP_ASIDE * height_m, hip.1);
            place(up(joint, -LEG, self.legs_rad[side]), self.legs_rad[side])
        };
        [
            arm(0),
            leg(0),
            leg(1),
            place(up(hip, 0.165, self.lean_rad), self.lean_rad),
            place(up(neck, HEAD, head_angle), head_angle),
            arm(1),
        ]
    }

    /// The shoulder joint of an arm (0 far, 1 near).
    pub fn shoulder_m(&self, side: usize, height_m: f32) -> (f32, f32) {
        let (sin, cos) = self.lean_rad.sin_cos();
        let (up, aside) = (SHOULDER * height_m, (side as f32 * 2.0 - 1.0) * SHOULDER_ASIDE * height_m);
        (self.x_m - up * sin + aside * cos, self.y_m + up * cos + aside * sin)
    }

    /// The hand at the end of an arm (0 far, 1 near).
    pub fn hand_m(&self, side: usize, height_m: f32) -> (f32, f32) {
        let angle = self.lean_rad + self.arms_rad[side];
        let (x, y) = self.shoulder_m(side, height_m);
        (x + 2.0 * ARM * height_m * angle.sin(), y - 2.0 * ARM * height_m * angle.cos())
    }
}
