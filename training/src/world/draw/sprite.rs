//! Moving parts: a rounded box and the colour of its surface go in, shaded pixels come out.
//!
//! INVARIANT: a part covers as much of each pixel as its outline does, whatever its colours and the light.

use std::ops::Range;

use crate::world::{Light, Rgb, Skin};

/// How far from an outline a pixel's middle can be that it still cuts: half a diagonal.
const EDGE: f32 = std::f32::consts::FRAC_1_SQRT_2;

/// A colour while it is mixed and lit, 0 to 255.
pub(super) type Tone = [f32; 3];

/// A rounded box on the square picture, in pixels, y down. A disc where all three lengths are equal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) half_width: f32,
    pub(super) half_height: f32,
    pub(super) corner: f32,
    /// Counter-clockwise as seen.
    pub(super) angle_rad: f32,
}

impl Shape {
    /// Another box in this one's frame: its centre (y up), half width, half height and corner, in pixels.
    pub(super) fn attach(&self, (u, v): (f32, f32), [half_width, half_height, corner]: [f32; 3]) -> Self {
        let (sin, cos) = self.angle_rad.sin_cos();
        Self {
            x: self.x + u * cos - v * sin,
            y: self.y - u * sin - v * cos,
            half_width,
            half_height,
            corner,
            angle_rad: self.angle_rad,
        }
    }
}

/// How a surface answers the light.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finish {
    /// Brightness of the glint, 0 to 255.
    glint: f32,
    /// How much of the light's direction shows, 0 (flat) to 1 (round).
    relief: f32,
}

impl Finish {
    pub(super) const GLOSS: Self = Self { glint: 70.0, relief: 1.0 };
    pub(super) const SATIN: Self = Self { glint: 12.0, relief: 0.8 };
    pub(super) const MATT: Self = Self { glint: 0.0, relief: 0.7 };
}

/// The light as the shader sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shading {
    /// Towards the light: right, up, out of the picture.
    pub(super) towards: [f32; 3],
    tint: [f32; 3],
}

impl Shading {
    pub(super) fn new(light: Light) -> Self {
        let (x, y) = (0.55 * light.from_x.clamp(-1.0, 1.0), 0.62);
        let warm = 2.0 * light.warmth.clamp(0.0, 1.0) - 1.0;
        // Evening takes red away, sunset blue: tints that leave a named colour its name.
        let white = if warm < 0.0 {
            [1.0 + 0.11 * warm, 1.0 + 0.05 * warm, 1.0]
        } else {
            [1.0, 1.0 - 0.04 * warm, 1.0 - 0.14 * warm]
        };
        let z = (1.0_f32 - x * x - y * y).sqrt();
        Self { towards: [x, y, z], tint: white.map(|channel: f32| channel * light.brightness) }
    }

    /// A colour under this light.
    pub(super) fn tinted(&self, colour: Tone) -> Tone {
        std::array::from_fn(|channel| colour[channel] * self.tint[channel])
    }

    fn lit(&self, colour: Tone, normal: [f32; 3], finish: Finish) -> Tone {
        let facing: f32 = normal.iter().zip(&self.towards).map(|(n, l)| n * l).sum::<f32>().max(0.0);
        let shade = 1.0 + finish.relief * (0.42 * facing - 0.38);
        let glint = if finish.glint > 0.0 { facing.powi(24) * finish.glint } else { 0.0 };
        self.tinted(colour.map(|channel| channel * shade + glint))
    }
}

/// RGB8 pixels whose origin, the upper left corner of the square picture, lies at (`left`, `top`). Bodies are
/// drawn within the window alone.
#[derive(Debug)]
pub(super) struct Canvas<'a> {
    pub(super) pixels: &'a mut [u8],
    pub(super) width: usize,
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) window: Window,
}

/// Some columns and rows of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) columns: Range<usize>,
    pub(crate) rows: Range<usize>,
}

impl Window {
    /// A whole picture.
    pub(crate) fn whole(width: usize, height: usize) -> Self {
        Self { columns: 0..width, rows: 0..height }
    }
}

impl Canvas<'_> {
    /// Lays a shape over what is there. `colour` is asked in the shape's own frame, in pixels, v up.
    pub(super) fn paint(
        &mut self,
        shape: &Shape,
        shading: &Shading,
        finish: Finish,
        colour: impl Fn(f32, f32) -> Tone,
    ) {
        self.paint_where(shape, shading, finish, colour, |_, _| 1.0);
    }

    /// Lays over what is there as much of a shape as `mask` leaves, from 0 to 1.
    pub(super) fn paint_where(
        &mut self,
        shape: &Shape,
        shading: &Shading,
        finish: Finish,
        colour: impl Fn(f32, f32) -> Tone,
        mask: impl Fn(f32, f32) -> f32,
    ) {
        let (sin, cos) = shape.angle_rad.sin_cos();
        let corner = shape.corner.clamp(1e-3, shape.half_width.min(shape.half_height).max(1e-3));
        let (flat_width, flat_height) = (shape.half_width - corner, shape.half_height - corner);
        // A part thinner than a pixel never covers one wholly.
        let thickness = 2.0 * shape.half_width.min(shape.half_height);
        let (reach_u, reach_v) = (shape.half_width + EDGE, shape.half_height + EDGE);
        let reach_y = reach_u * sin.abs() + reach_v * cos.abs();
        for row in self.rows(shape.y - reach_y, shape.y + reach_y) {
            let dy = shape.y - self.middle_y(row);
            let u_span = span(cos, dy * sin, reach_u);
            let v_span = span(-sin, dy * cos, reach_v);
            let columns = self.columns(shape.x + u_span.0.max(v_span.0), shape.x + u_span.1.min(v_span.1));
            for column in columns {
                let dx = self.middle_x(column) - shape.x;
                let (u, v) = (dx * cos + dy * sin, dy * cos - dx * sin);
                let (qu, qv) = (u.abs() - flat_width, v.abs() - flat_height);
                let (du, dv) = (qu.max(0.0), qv.max(0.0));
                let round = (du * du + dv * dv).sqrt();
                let distance = round + qu.max(qv).min(0.0) - corner;
                let (nu, nv) = if round > 0.0 {
                    (du / round * u.signum(), dv / round * v.signum())
                } else if qu > qv {
                    (u.signum(), 0.0)
                } else {
                    (0.0, v.signum())
                };
                let (nx, ny) = (nu * cos - nv * sin, nu * sin + nv * cos);
                // A pixel is wider across its diagonal, so an edge that runs there is as much softer.
                let pixel_width = nx.abs() + ny.abs();
                let share = coverage(-distance / pixel_width).min(thickness / pixel_width) * mask(u, v);
                if share <= 0.0 {
                    continue;
                }
                // The edge is as round as its corners: a disc becomes a ball.
                let slope = (1.0 + distance / corner).clamp(0.0, 1.0);
                let normal = [nx * slope, ny * slope, (1.0 - slope * slope).sqrt()];
                let lit = shading.lit(colour(u, v), normal, finish);
                let offset = (row * self.width + column) * 3;
                for (pixel, channel) in self.pixels[offset..offset + 3].iter_mut().zip(lit) {
                    let below = f32::from(*pixel);
                    *pixel = (below + (channel.min(255.0) - below) * share + 0.5) as u8;
                }
            }
        }
    }

    /// Takes light from a soft ellipse.
    pub(super) fn shade(&mut self, x: f32, y: f32, half_width: f32, half_height: f32, strength: f32) {
        let columns = self.columns(x - half_width, x + half_width);
        for row in self.rows(y - half_height, y + half_height) {
            let dy = (self.middle_y(row) - y) / half_height;
            for column in columns.clone() {
                let dx = (self.middle_x(column) - x) / half_width;
                let depth = (1.0 - dx * dx - dy * dy).max(0.0).sqrt();
                let keep = 1.0 - strength * depth * depth.min(0.8);
                let offset = (row * self.width + column) * 3;
                for pixel in &mut self.pixels[offset..offset + 3] {
                    *pixel = (f32::from(*pixel) * keep + 0.5) as u8;
                }
            }
        }
    }

    pub(super) fn middle_x(&self, column: usize) -> f32 {
        column as f32 - self.left as f32 + 0.5
    }

    pub(super) fn middle_y(&self, row: usize) -> f32 {
        row as f32 - self.top as f32 + 0.5
    }

    /// Columns whose middles can lie between two places.
    fn columns(&self, low: f32, high: f32) -> Range<usize> {
        clip(low + self.left as f32, high + self.left as f32, &self.window.columns)
    }

    fn rows(&self, low: f32, high: f32) -> Range<usize> {
        clip(low + self.top as f32, high + self.top as f32, &self.window.rows)
    }
}

fn clip(low: f32, high: f32, within: &Range<usize>) -> Range<usize> {
    let low = ((low - 0.5).floor().max(0.0) as usize).max(within.start);
    let high = ((high + 0.5).ceil().max(0.0) as usize).min(within.end);
    low..high.max(low)
}

/// Where `slope * x + offset` lies within `reach` of zero.
fn span(slope: f32, offset: f32, reach: f32) -> (f32, f32) {
    if slope.abs() < 1e-4 {
        return (f32::NEG_INFINITY, f32::INFINITY);
    }
    let (a, b) = ((-reach - offset) / slope, (reach - offset) / slope);
    (a.min(b), a.max(b))
}

/// How much of a pixel lies inside an edge at a signed distance in pixels.
pub(super) fn coverage(inside: f32) -> f32 {
    (inside + 0.5).clamp(0.0, 1.0)
}

pub(super) fn tone_of(colour: Rgb) -> Tone {
    colour.map(f32::from)
}

/// `share` of the way from one colour to another.
pub(super) fn mix(from: Tone, to: Tone, share: f32) -> Tone {
    std::array::from_fn(|channel| from[channel] + (to[channel] - from[channel]) * share)
}

/// One colour everywhere.
pub(super) fn tone(colour: Rgb) -> impl Fn(f32, f32) -> Tone {
    let colour = tone_of(colour);
    move |_, _| colour
}

/// A skin that fills a shape: its pattern reaches from edge to edge.
pub(super) fn skin(skin: Skin, shape: &Shape) -> impl Fn(f32, f32) -> Tone + use<> {
    let base = tone_of(skin.base);
    let accent = skin.accent.map(|(pattern, second)| (pattern, tone_of(second)));
    let (wide, high) = (shape.half_width.max(1e-3), shape.half_height.max(1e-3));
    let round = wide.max(high) - wide.min(high) < 1e-3;
    move |u, v| {
        let Some((pattern, second)) = accent else { return base };
        let inside = |u: f32, v: f32| pattern.inside(u / wide, v / high);
        let here = inside(u, v);
        // How fast the distance grows in a pixel: a pattern that is stretched has edges as sharp as another.
        let growth = if round {
            1.0 / wide
        } else {
            let (du, dv) = (inside(u + 0.1, v) - here, inside(u, v + 0.1) - here);
            (du * du + dv * dv).sqrt().max(1e-4) * 10.0
        };
        mix(base, second, coverage(here / growth))
    }
}

/// Painted wood: a skin with a worn, darker edge.
pub(super) fn block(surface: Skin, shape: &Shape) -> impl Fn(f32, f32) -> Tone + use<> {
    let surface = skin(surface, shape);
    let (wide, high) = (shape.half_width, shape.half_height);
    let edge = (0.22 * wide.min(high)).max(0.5);
    move |u, v| {
        let depth = (wide - u.abs()).min(high - v.abs());
        let worn = 0.24 * (1.0 - depth / edge).clamp(0.0, 1.0);
        surface(u, v).map(|channel| channel * (1.0 - worn))
    }
}
