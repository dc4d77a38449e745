//! Pictures: a scene goes in, anti-aliased RGB8 frames come out.
//!
//! What stands still is drawn once a clip; what moves is shaded per pixel with exact coverage, so that a
//! body's centre can be read back to a small part of a pixel.
//! INVARIANT: a pixel depends on the scene and on its place in the square picture alone: another aspect shows
//! more of the same stage, and shows the rest at the same pixels.

mod person;
mod sprite;
mod stage;
#[cfg(test)]
mod tests;

use sprite::{Canvas, Finish, Shading, Shape, block, skin, tone};

pub(crate) use sprite::Window;

use super::doll::{DollPose, HIP, Part};
use super::{Actor, Body, Light, Look, Pose, Rgb, Scene, Shot, Skin, Stage, Track};

/// Anything farther out than this is out of sight; it keeps extreme poses finite.
const FARTHEST_M: f32 = 1e4;
/// How far below y = 0 a shadow lies: the floor is seen a little from above.
const SHADOW_DROP_M: f32 = 0.04;

const STEEL: Rgb = [122, 128, 140];
const DARK_STEEL: Rgb = [70, 75, 86];
const TIMBER: Rgb = [150, 108, 70];
const PORTRAIT_GREY: u8 = 198;

/// How metres lie on a picture. Lengths in pixels are those of the square picture, whose upper left corner is
/// the origin; y is down.
#[derive(Clone, Copy, Debug)]
struct View {
    width: usize,
    height: usize,
    /// Pixels that this picture shows to the left of the square one, and above it.
    left: usize,
    top: usize,
    scale: f32,
    /// Where the floor line is.
    floor: f32,
    view_m: f32,
}

impl View {
    fn new(shot: Shot, width: usize, height: usize) -> Self {
        let side = width.min(height);
        let view_m = shot.view_m();
        let scale = side as f32 / view_m;
        Self {
            width,
            height,
            left: (width - side) / 2,
            top: height - side,
            scale,
            floor: shot.top_m() * scale,
            view_m,
        }
    }

    /// A metre fills the picture; the floor line is its lower edge.
    fn unit(side: usize) -> Self {
        let scale = side as f32;
        Self { width: side, height: side, left: 0, top: 0, scale, floor: scale, view_m: 1.0 }
    }

    fn place(&self, x_m: f32, y_m: f32) -> (f32, f32) {
        let near = |length_m: f32| length_m.clamp(-FARTHEST_M, FARTHEST_M);
        (near(x_m) * self.scale, self.floor - near(y_m) * self.scale)
    }

    /// A rounded box with its half width, half height and corner radius in metres.
    fn shape(&self, pose: Pose, [half_width_m, half_height_m, corner_m]: [f32; 3]) -> Shape {
        let (x, y) = self.place(pose.x_m, pose.y_m);
        Shape {
            x,
            y,
            half_width: half_width_m * self.scale,
            half_height: half_height_m * self.scale,
            corner: corner_m * self.scale,
            angle_rad: pose.angle_rad,
        }
    }

    fn canvas<'a>(&self, pixels: &'a mut [u8]) -> Canvas<'a> {
        let window = Window::whole(self.width, self.height);
        Canvas { pixels, width: self.width, left: self.left, top: self.top, window }
    }

    fn bytes(&self) -> usize {
        self.width * self.height * 3
    }
}

/// All frames of `width` x `height` RGB8 pixels, `[time, height, width, 3]`.
pub fn render(scene: &Scene, width: usize, height: usize) -> Vec<u8> {
    let easel = Easel::new(scene.shot, &scene.stage, width, height);
    let count = scene.frames();
    let mut frames = vec![0; count * easel.back.len()];
    for (frame, pixels) in frames.chunks_exact_mut(easel.back.len().max(1)).enumerate() {
        easel.draw(&scene.actors, frame, &Window::whole(width, height), pixels);
    }
    frames
}

/// One frame, `[height, width, 3]`. A track that ends earlier holds its last pose.
pub fn render_frame(scene: &Scene, frame: usize, width: usize, height: usize) -> Vec<u8> {
    let easel = Easel::new(scene.shot, &scene.stage, width, height);
    let mut pixels = easel.back.clone();
    easel.draw(&scene.actors, frame, &Window::whole(width, height), &mut pixels);
    pixels
}

/// The stage without its actors, `[height, width, 3]`.
pub fn render_stage(scene: &Scene, width: usize, height: usize) -> Vec<u8> {
    let Easel { mut back, front, .. } = Easel::new(scene.shot, &scene.stage, width, height);
    stage::lay_over(&mut back, &front);
    back
}

/// What a look looks like, `side` x `side` RGB8 on grey: a ball, or a person who stands upright.
pub fn portrait(look: &Look, side: usize) -> Vec<u8> {
    let view = View::unit(side);
    let mut pixels = vec![PORTRAIT_GREY; view.bytes()];
    let canvas = &mut view.canvas(&mut pixels);
    let shading = Shading::new(Light { from_x: 0.0, warmth: 0.5, brightness: 1.0 });
    match *look {
        Look::Skin(surface) => {
            let pose = Pose { x_m: 0.5, y_m: 0.5, angle_rad: 0.0 };
            draw_ball(canvas, &shading, view.shape(pose, [0.45; 3]), surface);
        }
        Look::Person(appearance) => {
            // Room for shoes below and a bun above.
            let (foot_m, height_m) = (0.02, 0.92);
            let pose = DollPose {
                x_m: 0.5,
                y_m: foot_m + HIP * height_m,
                arms_rad: [-0.55, 0.55],
                legs_rad: [-0.14, 0.14],
                ..DollPose::default()
            };
            person::draw(canvas, &view, &shading, &pose, height_m, &appearance);
        }
    }
    pixels
}

/// One stage at one size, ready for actors.
#[derive(Clone, Debug)]
pub(crate) struct Easel {
    view: View,
    shading: Shading,
    back: Vec<u8>,
    front: stage::Front,
}

impl Easel {
    pub(crate) fn new(shot: Shot, stage: &Stage, width: usize, height: usize) -> Self {
        let view = View::new(shot, width, height);
        let shading = Shading::new(stage.light);
        let (back, front) = stage::draw(stage, &view, &shading);
        Self { view, shading, back, front }
    }

    pub(crate) fn size(&self) -> (usize, usize) {
        (self.view.width, self.view.height)
    }

    /// Pixels in a metre.
    pub(crate) fn scale(&self) -> f32 {
        self.view.scale
    }

    /// Where a point of the world lies, in pixels from the upper left corner of this picture.
    pub(crate) fn place(&self, x_m: f32, y_m: f32) -> (f32, f32) {
        let (x, y) = self.view.place(x_m, y_m);
        (x + self.view.left as f32, y + self.view.top as f32)
    }

    /// The inverse of [`Easel::place`].
    pub(crate) fn point(&self, x: f32, y: f32) -> (f32, f32) {
        let View { left, top, scale, floor, .. } = self.view;
        ((x - left as f32) / scale, (floor + top as f32 - y) / scale)
    }

    /// Draws a frame of the actors within a window of the picture; what `pixels` hold elsewhere means nothing.
    pub(crate) fn draw(&self, actors: &[Actor], frame: usize, window: &Window, pixels: &mut [u8]) {
        let stride = self.view.width * 3;
        let line = window.columns.start * 3..window.columns.end * 3;
        let rows = pixels.chunks_exact_mut(stride.max(1)).zip(self.back.chunks_exact(stride.max(1)));
        for (row, back) in rows.take(window.rows.end).skip(window.rows.start) {
            row[line.clone()].copy_from_slice(&back[line.clone()]);
        }
        let canvas = &mut Canvas { window: window.clone(), ..self.view.canvas(pixels) };
        for actor in actors {
            self.draw_shadows(canvas, actor, frame);
        }
        for actor in actors {
            self.draw_actor(canvas, actor, frame);
        }
        // What lies over the actors is in the order of the rows.
        let before = |row: usize| self.front.partition_point(|(offset, _)| *offset < row * stride);
        stage::lay_over(pixels, &self.front[before(window.rows.start)..before(window.rows.end)]);
    }

    fn draw_actor(&self, canvas: &mut Canvas<'_>, actor: &Actor, frame: usize) {
        let (view, shading) = (&self.view, &self.shading);
        match (actor.body, actor.look, &actor.track) {
            (Body::Person { height_m }, Look::Person(appearance), Track::Doll(poses)) => {
                if let Some(pose) = at(poses, frame) {
                    person::draw(canvas, view, shading, pose, height_m, &appearance);
                }
            }
            (body, Look::Skin(surface), Track::Bodies(poses)) => {
                for &pose in at(poses, frame).into_iter().flatten() {
                    match body {
                        Body::Ball { radius_m } => {
                            draw_ball(canvas, shading, view.shape(pose, [radius_m; 3]), surface);
                        }
                        Body::Blocks { half_width_m, half_height_m, .. } => {
                            let corner_m = 0.25 * half_width_m.min(half_height_m);
                            let shape = view.shape(pose, [half_width_m, half_height_m, corner_m]);
                            canvas.paint(&shape, shading, Finish::SATIN, block(surface, &shape));
                        }
                        Body::Pendulum { pivot_m, radius_m } => {
                            self.draw_hanger(canvas, pose, pivot_m);
                            draw_ball(canvas, shading, view.shape(pose, [radius_m; 3]), surface);
                        }
                        Body::Person { .. } => {}
                    }
                }
            }
            _ => {}
        }
    }

    /// The beam across the picture, the mount below it and the rod from there to the bob.
    fn draw_hanger(&self, canvas: &mut Canvas<'_>, bob: Pose, pivot_m: (f32, f32)) {
        let (view, shading) = (&self.view, &self.shading);
        let (pivot_x, pivot_y) = pivot_m;
        let upright = |x_m, y_m| Pose { x_m, y_m, angle_rad: 0.0 };
        let beam = view.shape(upright(pivot_x, pivot_y + 0.27), [FARTHEST_M, 0.13, 0.05]);
        canvas.paint(&beam, shading, Finish::MATT, tone(TIMBER));
        let mount = view.shape(upright(pivot_x, pivot_y + 0.07), [0.15, 0.13, 0.04]);
        canvas.paint(&mount, shading, Finish::SATIN, tone(DARK_STEEL));
        let (dx, dy) = (bob.x_m - pivot_x, bob.y_m - pivot_y);
        let rod = Pose {
            x_m: f32::midpoint(pivot_x, bob.x_m),
            y_m: f32::midpoint(pivot_y, bob.y_m),
            angle_rad: dx.atan2(-dy),
        };
        let half_m = (0.5 * dx.hypot(dy)).min(FARTHEST_M);
        canvas.paint(&view.shape(rod, [0.04, half_m, 0.04]), shading, Finish::SATIN, tone(STEEL));
        let pin = view.shape(upright(pivot_x, pivot_y), [0.09; 3]);
        canvas.paint(&pin, shading, Finish::SATIN, tone(STEEL));
    }

    fn draw_shadows(&self, canvas: &mut Canvas<'_>, actor: &Actor, frame: usize) {
        match (actor.body, &actor.track) {
            (Body::Person { height_m }, Track::Doll(poses)) => {
                if let Some(pose) = at(poses, frame) {
                    let [_, half_leg, _] = Part::FarLeg.shape().map(|share| share * height_m);
                    let [_, far, near, ..] = pose.parts(height_m).map(|limb| {
                        let (sin, cos) = limb.angle_rad.sin_cos();
                        (limb.x_m + half_leg * sin, limb.y_m - half_leg * cos)
                    });
                    let stride_m = 0.5 * (near.0 - far.0).abs();
                    let x_m = f32::midpoint(far.0, near.0);
                    self.draw_shadow(canvas, x_m, far.1.min(near.1), 0.11 * height_m + stride_m);
                }
            }
            (body, Track::Bodies(poses)) => {
                for pose in at(poses, frame).into_iter().flatten() {
                    let (wide_m, high_m) = match body {
                        Body::Ball { radius_m } | Body::Pendulum { radius_m, .. } => (radius_m, radius_m),
                        Body::Blocks { half_width_m, half_height_m, .. } => {
                            let (sin, cos) = (pose.angle_rad.sin().abs(), pose.angle_rad.cos().abs());
                            (
                                half_width_m * cos + half_height_m * sin,
                                half_width_m * sin + half_height_m * cos,
                            )
                        }
                        Body::Person { .. } => continue,
                    };
                    self.draw_shadow(canvas, pose.x_m, pose.y_m - high_m, wide_m);
                }
            }
            (_, Track::Doll(_)) => {}
        }
    }

    /// A soft shadow on the floor below something whose lowest point is `height_m` up.
    fn draw_shadow(&self, canvas: &mut Canvas<'_>, x_m: f32, height_m: f32, half_width_m: f32) {
        let height_m = height_m.clamp(0.0, FARTHEST_M);
        let spread = 1.0 + 0.12 * height_m;
        let strength = 0.55 / (1.0 + 0.8 * height_m);
        // A thin block still hides a deep enough strip of the floor to be seen.
        let half_height_m = (0.24 * half_width_m).clamp(0.07, 0.3);
        let (x, y) = self.view.place(x_m, -SHADOW_DROP_M);
        let scale = spread * self.view.scale;
        canvas.shade(x, y, half_width_m * scale, half_height_m * scale, strength);
    }
}

fn draw_ball(canvas: &mut Canvas<'_>, shading: &Shading, shape: Shape, surface: Skin) {
    canvas.paint(&shape, shading, Finish::GLOSS, skin(surface, &shape));
}

fn at<T>(track: &[T], frame: usize) -> Option<&T> {
    track.get(frame).or(track.last())
}
