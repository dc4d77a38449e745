//! People: a doll's pose and an appearance go in, a paper doll that faces the viewer is drawn.
//!
//! INVARIANT: what is drawn of a part moves with that part and stays within one and a half times its shape.

use super::View;
use super::sprite::{Canvas, Finish, Shading, Shape, Tone, coverage, mix, skin, tone_of};
use crate::world::doll::{DollPose, Part};
use crate::world::identity::{Appearance, HairStyle};
use crate::world::{Pose, Rgb};

const SHOE: Rgb = [52, 48, 54];
const PUPIL: Rgb = [34, 28, 34];
const MOUTH: Tone = [66.0, 14.0, 20.0];
const LIPS: Tone = [196.0, 92.0, 90.0];
/// Light that reaches the far arm and leg, behind the others.
const FAR: f32 = 0.84;
/// Share of the arm that the sleeve covers.
const SLEEVE: f32 = 0.55;

pub(super) fn draw(
    canvas: &mut Canvas<'_>,
    view: &View,
    shading: &Shading,
    pose: &DollPose,
    height_m: f32,
    appearance: &Appearance,
) {
    let artist = Artist { canvas, shading, appearance, height: height_m * view.scale };
    artist.draw(view, &pose.parts(height_m), height_m, pose.mouth);
}

struct Artist<'a, 'b> {
    canvas: &'a mut Canvas<'b>,
    shading: &'a Shading,
    appearance: &'a Appearance,
    /// The person's height in pixels.
    height: f32,
}

impl Artist<'_, '_> {
    fn draw(mut self, view: &View, poses: &[Pose; 6], height_m: f32, mouth: f32) {
        for (part, &pose) in Part::ALL.into_iter().zip(poses) {
            let shape = view.shape(pose, part.shape().map(|share| share * height_m));
            match part {
                Part::FarArm => self.arm(&shape, FAR),
                Part::FarLeg => self.leg(&shape, FAR),
                Part::NearLeg => self.leg(&shape, 1.0),
                Part::Torso => self.torso(&shape),
                Part::Head => self.head(&shape, mouth.clamp(0.0, 1.0)),
                Part::NearArm => self.arm(&shape, 1.0),
            }
        }
    }

    fn paint(&mut self, shape: &Shape, colour: impl Fn(f32, f32) -> Tone) {
        self.canvas.paint(shape, self.shading, Finish::MATT, colour);
    }

    fn arm(&mut self, shape: &Shape, light: f32) {
        let bare = dim(self.appearance.complexion, light);
        let sleeve = dim(self.appearance.shirt.base, light);
        let height = self.height;
        let cuff = shape.half_height * (1.0 - 2.0 * SLEEVE);
        let hand = shape.attach((0.0, -0.132 * height), [0.053 * height; 3]);
        self.paint(&hand, |_, _| bare);
        self.paint(shape, |u, v| {
            let hem = 1.0 - 0.2 * (1.0 - (v - cuff).abs() / (0.02 * height)).clamp(0.0, 1.0);
            rounded(mix(bare, sleeve, coverage(v - cuff)), u, shape.half_width, hem)
        });
    }

    fn leg(&mut self, shape: &Shape, light: f32) {
        let trousers = dim(self.appearance.trousers, light);
        let shoe = dim(SHOE, light);
        let height = self.height;
        self.paint(shape, |u, _| rounded(trousers, u, shape.half_width, 1.0));
        let foot = shape.attach((0.0, -0.193 * height), [0.07 * height, 0.034 * height, 0.03 * height]);
        self.paint(&foot, |_, _| shoe);
    }

    fn torso(&mut self, shape: &Shape) {
        let shirt = skin(self.appearance.shirt, shape);
        let height = self.height;
        let (neck, collar) = (tone_of(self.appearance.complexion), shape.half_height);
        self.paint(shape, |u, v| {
            let low = 0.055 * height - (u * u + (v - collar) * (v - collar)).sqrt();
            mix(shirt(u, v), neck, coverage(low))
        });
    }

    fn head(&mut self, shape: &Shape, mouth: f32) {
        let radius = shape.half_width;
        let style = self.appearance.hair_style;
        let hair = tone_of(self.appearance.hair);
        let face = tone_of(self.appearance.complexion);
        // In units of the head's radius: how far up the cap of hair sits, and its shape.
        let cap = match style {
            HairStyle::Short => Some((0.1, [1.04; 3])),
            HairStyle::Long => Some((0.0, [1.12, 1.1, 0.8])),
            HairStyle::Bun => Some((0.06, [1.03; 3])),
            HairStyle::None => None,
        };
        let at = |u: f32, v: f32, size: [f32; 3]| {
            shape.attach((u * radius, v * radius), size.map(|share| share * radius))
        };
        if style == HairStyle::Bun {
            self.paint(&at(0.0, 1.0, [0.38; 3]), |_, _| hair);
        }
        if let Some((rise, size)) = cap {
            self.paint(&at(0.0, rise, size), |_, _| hair);
        }
        if style != HairStyle::Long {
            let ear = face.map(|channel| channel * 0.93);
            for side in [-1.0, 1.0] {
                self.paint(&at(side * 0.99, -0.08, [0.17, 0.2, 0.17]), |_, _| ear);
            }
        }
        self.paint(shape, |u, v| features(face, u / radius, v / radius, mouth, radius));
        // The same cap again, as far as it lies in front of the face.
        if let Some((rise, size)) = cap {
            let front = |u: f32, v: f32| coverage(fringe(style, u / radius, v / radius + rise) * radius);
            self.canvas.paint_where(&at(0.0, rise, size), self.shading, Finish::MATT, |_, _| hair, front);
        }
    }
}

/// The face without its hair, in units of the head's radius.
fn features(face: Tone, u: f32, v: f32, mouth: f32, radius: f32) -> Tone {
    let side = u.abs();
    let cheek = 1.0 - ((side - 0.58) * (side - 0.58) + (v + 0.2) * (v + 0.2)).sqrt() / 0.27;
    let blush = [face[0] * 1.04 + 8.0, face[1] * 0.7, face[2] * 0.7];
    let skin = mix(face, blush, 0.6 * cheek.clamp(0.0, 1.0));
    // Taller than wide, and never less than a dot.
    let (du, dv) = ((side - 0.37) / 0.85, v - 0.12);
    let from_eye = (du * du + dv * dv).sqrt();
    let open = mix(skin, [246.0; 3], 0.9 * coverage((0.21 - from_eye) * radius));
    let pupil = 0.14_f32.max(0.7 / radius) - from_eye;
    let looking = mix(open, tone_of(PUPIL), coverage(pupil * radius));
    let half_width = 0.32;
    let along = u / half_width;
    let bend = (1.0 - along * along).max(0.0);
    // Closed it is a smile's line; the jaw opens it downwards, and stays clear of the shoulders.
    let (corner, line) = (-0.3, 0.35 / radius);
    let upper = corner - 0.1 * bend * (1.0 - mouth) + line;
    let lower = corner - (0.1 + 0.32 * mouth) * bend - line;
    let inside = (upper - v).min(v - lower).min(half_width - side);
    let lips = mix(skin, LIPS, 0.7 * mouth.min(0.3) / 0.3 * coverage((inside + 0.07) * radius));
    mix(if side < half_width + 0.1 && v < 0.0 { lips } else { looking }, MOUTH, coverage(inside * radius))
}

/// Signed distance to the hair's edge on the face, in units of the head's radius: positive under the hair.
fn fringe(style: HairStyle, u: f32, v: f32) -> f32 {
    match style {
        HairStyle::Short => v - 0.52 + 0.5 * u * u - 0.12 * u,
        HairStyle::Long => (v - 0.55 + 0.75 * (u + 0.15) * (u + 0.15)).max(u.abs() - 0.82),
        HairStyle::Bun => v - 0.66 + 0.6 * u * u,
        HairStyle::None => -1.0,
    }
}

fn dim(colour: Rgb, light: f32) -> Tone {
    tone_of(colour).map(|channel| channel * light)
}

/// Darkens a limb towards its edges, so that it stands out from a shirt of its own colour.
fn rounded(colour: Tone, u: f32, half_width: f32, light: f32) -> Tone {
    let edge = (u / half_width.max(1e-3)).powi(4).min(1.0);
    colour.map(|channel| channel * light * (1.0 - 0.22 * edge))
}
