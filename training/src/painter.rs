//! Draws a performance: tracks, looks and impacts enter, frames and samples leave.
//!
//! What does not change in a clip (the place, each ball's surface, the light) is decoded once as a picture;
//! each frame then only lays these over each other. INVARIANT: the same performance gives the same clip,
//! whatever the number of threads.

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use crate::clip::Clip;
use crate::corpus::{FPS, SAMPLE_RATE, SAMPLES_PER_FRAME, VIEW_M, VIEW_TOP_M};
use crate::model::Model;
use crate::model::latents::BALLS;
use crate::model::picture::{
    SHADOW_FEATURES, body_features, facing_features, shadow_features, stage_features,
};
use crate::model::sound::Atoms;
use crate::performance::{Performance, Pose};

/// Side of a ball's surface as a picture, over two radii.
const TEXTURE_SIDE: usize = 96;
/// A shadow that takes less light than this is none: its window must leave no edge.
const FAINTEST_SHADOW: f32 = 0.025;
/// Beyond this many radii from a ball's centre nothing of it is drawn.
const REACH: f32 = 1.04;

/// Decodes performances with one model.
#[derive(Debug)]
pub(crate) struct Painter<'a> {
    pub(crate) model: &'a Model,
    pub(crate) atoms: &'a Atoms,
    pub(crate) device: &'a Device,
}

/// A square picture of values, `[row][column][channel]`.
struct Plane {
    values: Vec<f32>,
    side: usize,
    channels: usize,
}

impl Plane {
    fn at(&self, index: usize) -> &[f32] {
        &self.values[index * self.channels..(index + 1) * self.channels]
    }

    /// Bilinear value at a point of [-1, 1] squared.
    fn sample<const C: usize>(&self, u: f32, v: f32) -> [f32; C] {
        let last = (self.side - 1) as f32;
        let place = |x: f32| ((x * 0.5 + 0.5) * last).clamp(0.0, last - 1e-3);
        let (column, row) = (place(u), place(v));
        let corner = row as usize * self.side + column as usize;
        let (right, down) = (column.fract(), row.fract());
        let corners = [corner, corner + 1, corner + self.side, corner + self.side + 1];
        let weights =
            [(1.0 - right) * (1.0 - down), right * (1.0 - down), (1.0 - right) * down, right * down];
        std::array::from_fn(|channel| {
            corners.iter().zip(weights).map(|(&at, weight)| weight * self.at(at)[channel]).sum()
        })
    }
}

/// What one clip is laid together from.
struct Props {
    back: Plane,
    front: Plane,
    cover: Plane,
    surfaces: [Option<Plane>; BALLS],
    light: Plane,
    edge: [f32; 2],
}

/// One ball in one frame.
struct Sprite<'a> {
    pose: Pose,
    radius_m: f32,
    surface: &'a Plane,
}

/// The light that shadows take from some pixels of one frame: (pixel, what remains).
type Shade = Vec<(usize, f32)>;

impl Painter<'_> {
    /// The whole clip, `size` x `size`.
    pub(crate) fn clip(&self, performance: &Performance, size: usize) -> Clip {
        Clip {
            width: size,
            height: size,
            fps: FPS,
            frames: self.frames(performance, size),
            sample_rate: SAMPLE_RATE,
            samples: self.samples(performance),
        }
    }

    fn frames(&self, performance: &Performance, size: usize) -> Vec<u8> {
        let props = self.props(performance, size);
        let shades = self.shades(performance, size);
        let frames = performance.poses.par_iter().zip(&shades).map(|(poses, shade)| {
            let mut canvas: Vec<f32> = props.back.values.clone();
            for &(pixel, keep) in shade {
                for channel in &mut canvas[pixel * 3..pixel * 3 + 3] {
                    *channel *= keep;
                }
            }
            for ((pose, looks), surface) in poses.iter().zip(&performance.balls).zip(&props.surfaces) {
                if let (Some(looks), Some(surface)) = (looks, surface) {
                    let sprite = Sprite { pose: *pose, radius_m: looks.radius_m, surface };
                    draw_ball(&mut canvas, size, &sprite, &props);
                }
            }
            for (index, pixel) in canvas.chunks_exact_mut(3).enumerate() {
                let cover = props.cover.at(index)[0];
                if cover > 0.004 {
                    for (channel, front) in pixel.iter_mut().zip(props.front.at(index)) {
                        *channel += (front - *channel) * cover;
                    }
                }
            }
            canvas.iter().map(|channel| (channel.clamp(0.0, 1.0) * 255.0).round() as u8).collect::<Vec<u8>>()
        });
        frames.collect::<Vec<_>>().concat()
    }

    fn props(&self, performance: &Performance, size: usize) -> Props {
        let picture = &self.model.picture;
        let points: Vec<f32> = (0..size * size)
            .flat_map(|pixel| {
                let (x_m, y_m) = world((pixel % size) as f32 + 0.5, (pixel / size) as f32 + 0.5, size);
                stage_features(x_m, y_m, performance.hoop)
            })
            .collect();
        let stage = picture.stage(self.rows(points, size * size), self.codes(&performance.scene));

        let grid: Vec<(f32, f32)> = (0..TEXTURE_SIDE * TEXTURE_SIDE)
            .map(|pixel| {
                let place = |index: usize| index as f32 / (TEXTURE_SIDE - 1) as f32 * 2.0 - 1.0;
                (place(pixel % TEXTURE_SIDE), place(pixel / TEXTURE_SIDE))
            })
            .collect();
        let body: Vec<f32> = grid.iter().flat_map(|&(u, v)| body_features(u, v)).collect();
        let surfaces = performance.balls.clone().map(|looks| {
            looks.map(|looks| {
                let body = self.rows(body.clone(), grid.len());
                plane(picture.surface(body, self.codes(&looks.skin)), TEXTURE_SIDE)
            })
        });
        let facing: Vec<f32> = grid.iter().flat_map(|&(nx, ny)| facing_features(nx, ny)).collect();
        Props {
            back: plane(stage.back, size),
            front: plane(stage.front, size),
            cover: plane(stage.cover, size),
            surfaces,
            light: plane(picture.light(self.rows(facing, grid.len())), TEXTURE_SIDE),
            edge: picture.edge_values(),
        }
    }

    /// The shadows of every frame, decoded together.
    fn shades(&self, performance: &Performance, size: usize) -> Vec<Shade> {
        let scale = size as f32 / VIEW_M;
        let mut features: Vec<f32> = Vec::new();
        let mut frames: Vec<Vec<usize>> = Vec::with_capacity(performance.poses.len());
        for poses in &performance.poses {
            let mut pixels = Vec::new();
            for (pose, looks) in poses.iter().zip(&performance.balls) {
                let Some(looks) = looks else { continue };
                let radius_m = looks.radius_m;
                let (columns, rows) = (
                    span((pose.x_m - 2.0 * radius_m) * scale, (pose.x_m + 2.0 * radius_m) * scale, size),
                    span(
                        (VIEW_TOP_M + 0.04 - 0.5 * radius_m) * scale,
                        (VIEW_TOP_M + 0.04 + 0.5 * radius_m) * scale,
                        size,
                    ),
                );
                for row in rows {
                    for column in columns.clone() {
                        pixels.push(row * size + column);
                        let point = world(column as f32 + 0.5, row as f32 + 0.5, size);
                        features.extend(shadow_features(point, (pose.x_m, pose.y_m), radius_m));
                    }
                }
            }
            frames.push(pixels);
        }
        let count = features.len() / SHADOW_FEATURES;
        if count == 0 {
            return vec![Vec::new(); frames.len()];
        }
        let taken = self.model.picture.shade(self.rows(features, count));
        let taken = values(taken);
        let mut taken = taken.into_iter();
        frames
            .into_iter()
            .map(|pixels| {
                let shaded = pixels.into_iter().zip(taken.by_ref());
                shaded.map(|(at, part)| (at, 1.0 - (part - FAINTEST_SHADOW).max(0.0))).collect()
            })
            .collect()
    }

    fn samples(&self, performance: &Performance) -> Vec<f32> {
        let mut samples = vec![0.0_f32; performance.poses.len() * SAMPLES_PER_FRAME];
        if performance.impacts.is_empty() {
            return samples;
        }
        let codes: Vec<f32> =
            performance.impacts.iter().flat_map(|impact| impact.timbre.iter().copied()).collect();
        let width = codes.len() / performance.impacts.len();
        let codes =
            Tensor::<2>::from_data(TensorData::new(codes, [performance.impacts.len(), width]), self.device);
        let amplitudes = values(self.model.sound.decode(codes).unsqueeze::<3>());
        for (impact, amplitudes) in performance.impacts.iter().zip(amplitudes.chunks_exact(Atoms::COUNT)) {
            let onset = (impact.time_s * SAMPLE_RATE as f32).round() as usize;
            if let Some(rest) = samples.get_mut(onset..) {
                self.atoms.play(amplitudes, impact.loudness.exp(), rest);
            }
        }
        for sample in &mut samples {
            if sample.abs() > 0.8 {
                *sample = sample.signum() * (0.8 + 0.2 * ((sample.abs() - 0.8) / 0.2).tanh());
            }
        }
        samples
    }

    fn rows(&self, features: Vec<f32>, pixels: usize) -> Tensor<3> {
        let width = features.len() / pixels.max(1);
        Tensor::from_data(TensorData::new(features, [1, pixels, width]), self.device)
    }

    fn codes(&self, code: &[f32]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(code.to_vec(), [1, code.len()]), self.device)
    }
}

fn draw_ball(canvas: &mut [f32], size: usize, sprite: &Sprite<'_>, props: &Props) {
    let Sprite { pose, radius_m, surface } = sprite;
    let scale = size as f32 / VIEW_M;
    let (x, y, radius) = (pose.x_m * scale, (VIEW_TOP_M - pose.y_m) * scale, radius_m * scale);
    let (sin, cos) = pose.angle_rad.sin_cos();
    let reach = radius * REACH + 1.0;
    for row in span(y - reach, y + reach, size) {
        for column in span(x - reach, x + reach, size) {
            let (dx, dy) = (column as f32 + 0.5 - x, row as f32 + 0.5 - y);
            let distance = (radius - dx.hypot(dy)).clamp(-EDGE_PIXELS, EDGE_PIXELS);
            let coverage = 1.0 / (1.0 + (-(distance * props.edge[0] + props.edge[1])).exp());
            if coverage < 0.004 {
                continue;
            }
            let (nx, ny) = (dx / radius, dy / radius);
            let (u, v) = to_body(nx, ny, sin, cos);
            let colour: [f32; 3] = surface.sample(u, v);
            let [shade, glint]: [f32; 2] = props.light.sample(nx, ny);
            let offset = (row * size + column) * 3;
            for (channel, colour) in canvas[offset..offset + 3].iter_mut().zip(colour) {
                *channel += (colour * shade + glint - *channel) * coverage;
            }
        }
    }
}

/// Distances from a ball's edge beyond this many pixels are all the same.
pub(crate) const EDGE_PIXELS: f32 = 6.0;

/// From the canvas's directions (y down) to the ball's own.
pub(crate) fn to_body(nx: f32, ny: f32, sin: f32, cos: f32) -> (f32, f32) {
    (nx * cos - ny * sin, -nx * sin - ny * cos)
}

/// The world's point at a pixel of a square picture.
pub(crate) fn world(column: f32, row: f32, size: usize) -> (f32, f32) {
    let scale = VIEW_M / size as f32;
    (column * scale, VIEW_TOP_M - row * scale)
}

/// Whole pixels between two edges, within the picture.
fn span(low: f32, high: f32, size: usize) -> std::ops::Range<usize> {
    let low = low.floor().max(0.0) as usize;
    let high = (high.ceil().max(0.0) as usize).min(size);
    low.min(high)..high
}

fn plane(pixels: Tensor<3>, side: usize) -> Plane {
    let channels = pixels.dims()[2];
    Plane { values: values(pixels), side, channels }
}

/// The values of a tensor that this crate made, and which therefore holds f32.
fn values(tensor: Tensor<3>) -> Vec<f32> {
    let count = tensor.shape().num_elements();
    tensor.try_into_vec_as::<f32>().unwrap_or_else(|_| vec![0.0; count])
}
