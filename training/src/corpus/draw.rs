//! Pictures: a scene and its motion go in, anti-aliased RGB8 frames come out.
//!
//! What does not move (wall, floor, hoop) is drawn once by tiny-skia; the balls and their shadows are shaded
//! per pixel with exact coverage, so that a ball's centre can be read back to a small part of a pixel.

use tiny_skia::{
    Color, GradientStop, LineCap, LinearGradient, Paint, PathBuilder, Pixmap, Point, Rect, Shader,
    SpreadMode, Stroke, Transform,
};

use super::motion::Motion;
use super::scene::{Backdrop, Hoop, Scene};
use super::skin::{Rgb, Skin};
use super::{VIEW_M, VIEW_TOP_M};

/// Where the floor meets the wall, in metres above the line on which the balls bounce.
const HORIZON_M: f32 = 0.34;
const NET_M: f32 = 0.85;

/// A ball on the canvas, in pixels, y down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Disc {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) radius: f32,
    /// Counter-clockwise as seen.
    pub(super) angle_rad: f32,
}

/// Frames of `size` x `size` RGB8 pixels, `[time, height, width, 3]`.
pub fn render(scene: &Scene, motion: &Motion, size: usize) -> Vec<u8> {
    let Some((background, front)) = draw_stage(scene, size) else { return Vec::new() };
    let scale = size as f32 / VIEW_M;
    let mut frames = Vec::with_capacity(motion.frames.len() * background.len());
    for states in &motion.frames {
        let start = frames.len();
        frames.extend_from_slice(&background);
        let canvas = &mut frames[start..];
        for (state, ball) in states.iter().zip(&scene.balls) {
            draw_shadow(canvas, size, state.x_m, state.y_m - ball.radius_m, ball.radius_m);
        }
        for (state, ball) in states.iter().zip(&scene.balls) {
            let disc = Disc {
                x: state.x_m * scale,
                y: (VIEW_TOP_M - state.y_m) * scale,
                radius: ball.radius_m * scale,
                angle_rad: state.angle_rad,
            };
            draw_ball(canvas, size, &disc, ball.skin);
        }
        if let Some(front) = &front {
            lay_over(canvas, front);
        }
    }
    frames
}

/// Shades one ball into a square RGB8 canvas.
pub(super) fn draw_ball(canvas: &mut [u8], side: usize, disc: &Disc, skin: Skin) {
    let (sin, cos) = disc.angle_rad.sin_cos();
    let Some((rows, columns)) = bounds(disc.x, disc.y, disc.radius + 1.0, disc.radius + 1.0, side) else {
        return;
    };
    for row in rows {
        for column in columns.clone() {
            let dx = column as f32 + 0.5 - disc.x;
            let dy = row as f32 + 0.5 - disc.y;
            let distance = dx.hypot(dy);
            let coverage = (disc.radius - distance + 0.5).clamp(0.0, 1.0);
            if coverage <= 0.0 {
                continue;
            }
            let (nx, ny) = (dx / disc.radius, dy / disc.radius);
            let mut colour = skin.base.map(f32::from);
            if let Some((pattern, second)) = skin.accent {
                // y is down on the canvas and up on the ball.
                let (u, v) = (nx * cos - ny * sin, -nx * sin - ny * cos);
                let share = (pattern.inside(u, v) * disc.radius + 0.5).clamp(0.0, 1.0);
                for (channel, second) in colour.iter_mut().zip(second) {
                    *channel += (f32::from(second) - *channel) * share;
                }
            }
            let nz = (1.0 - nx * nx - ny * ny).max(0.0).sqrt();
            let light = (-0.42 * nx - 0.62 * ny + 0.66 * nz).max(0.0);
            let glint = light.powi(24) * 70.0;
            let shade = 0.62 + 0.42 * light;
            let offset = (row * side + column) * 3;
            for (pixel, channel) in canvas[offset..offset + 3].iter_mut().zip(colour) {
                let lit = (channel * shade + glint).min(255.0);
                *pixel = (f32::from(*pixel) + (lit - f32::from(*pixel)) * coverage).round() as u8;
            }
        }
    }
}

/// A soft shadow on the floor below a ball whose lowest point is `height_m` up.
fn draw_shadow(canvas: &mut [u8], side: usize, x_m: f32, height_m: f32, radius_m: f32) {
    let scale = side as f32 / VIEW_M;
    let height_m = height_m.max(0.0);
    let spread = 1.0 + 0.12 * height_m;
    let strength = 0.55 / (1.0 + 0.8 * height_m);
    let (x, y) = (x_m * scale, (VIEW_TOP_M + 0.04) * scale);
    let (half_width, half_height) = (radius_m * spread * scale, 0.24 * radius_m * spread * scale);
    let Some((rows, columns)) = bounds(x, y, half_width, half_height, side) else { return };
    for row in rows {
        for column in columns.clone() {
            let dx = (column as f32 + 0.5 - x) / half_width;
            let dy = (row as f32 + 0.5 - y) / half_height;
            let depth = (1.0 - dx * dx - dy * dy).max(0.0);
            let keep = 1.0 - strength * depth.sqrt() * depth.sqrt().min(0.8);
            let offset = (row * side + column) * 3;
            for pixel in &mut canvas[offset..offset + 3] {
                *pixel = (f32::from(*pixel) * keep).round() as u8;
            }
        }
    }
}

type Span = std::ops::Range<usize>;

/// Rows and columns that an ellipse can touch, or `None` outside the canvas.
fn bounds(x: f32, y: f32, half_width: f32, half_height: f32, side: usize) -> Option<(Span, Span)> {
    let span = |centre: f32, half: f32| {
        let low = (centre - half).floor().max(0.0) as usize;
        let high = ((centre + half).ceil().max(0.0) as usize).min(side);
        (low < high).then_some(low..high)
    };
    Some((span(y, half_height)?, span(x, half_width)?))
}

/// Premultiplied RGBA pixels over an RGB canvas; `front` lists the pixels that are not empty.
fn lay_over(canvas: &mut [u8], front: &[(usize, [u8; 4])]) {
    for &(offset, [red, green, blue, alpha]) in front {
        let keep = 255 - u32::from(alpha);
        for (pixel, over) in canvas[offset..offset + 3].iter_mut().zip([red, green, blue]) {
            *pixel = (u32::from(over) + (u32::from(*pixel) * keep + 127) / 255).min(255) as u8;
        }
    }
}

type Stage = (Vec<u8>, Option<Vec<(usize, [u8; 4])>>);

/// The still parts: everything behind the balls, and the part of the hoop in front of them.
fn draw_stage(scene: &Scene, size: usize) -> Option<Stage> {
    let side = u32::try_from(size).ok()?;
    let mut back = Pixmap::new(side, side)?;
    let view = Transform::from_row(
        size as f32 / VIEW_M,
        0.0,
        0.0,
        -(size as f32) / VIEW_M,
        0.0,
        VIEW_TOP_M * size as f32 / VIEW_M,
    );
    draw_room(&mut back, scene.backdrop, view)?;
    let front = match &scene.hoop {
        Some(hoop) => {
            draw_board(&mut back, hoop, view)?;
            draw_rim_half(&mut back, hoop, view, 1.0)?;
            let mut front = Pixmap::new(side, side)?;
            draw_net(&mut front, hoop, view)?;
            draw_rim_half(&mut front, hoop, view, -1.0)?;
            let pixels = front.data().chunks_exact(4).enumerate();
            let seen = pixels.filter(|(_, pixel)| pixel[3] > 0);
            Some(seen.map(|(index, p)| (index * 3, [p[0], p[1], p[2], p[3]])).collect())
        }
        None => None,
    };
    let opaque = back.data().chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
    Some((opaque, front))
}

/// Wall and floor colours of a backdrop, each from its upper to its lower edge.
fn tints(backdrop: Backdrop) -> [Rgb; 4] {
    match backdrop {
        Backdrop::Sky => [[158, 196, 226], [208, 226, 236], [150, 140, 132], [186, 172, 158]],
        Backdrop::Sand => [[226, 204, 166], [240, 226, 200], [158, 122, 92], [192, 152, 116]],
        Backdrop::Mint => [[160, 206, 190], [206, 230, 218], [124, 132, 138], [160, 168, 172]],
        Backdrop::Lavender => [[190, 180, 220], [220, 214, 236], [128, 118, 142], [166, 154, 176]],
        Backdrop::Stone => [[176, 182, 190], [214, 216, 220], [112, 106, 104], [150, 142, 138]],
    }
}

fn draw_room(canvas: &mut Pixmap, backdrop: Backdrop, view: Transform) -> Option<()> {
    let [wall_top, wall_low, floor_far, floor_near] = tints(backdrop);
    let floor_m = VIEW_TOP_M - VIEW_M;
    let wall = gradient((VIEW_TOP_M, wall_top), (HORIZON_M, wall_low))?;
    canvas.fill_rect(Rect::from_ltrb(-1.0, HORIZON_M, VIEW_M + 1.0, VIEW_TOP_M + 1.0)?, &wall, view, None);
    let floor = gradient((HORIZON_M, floor_far), (floor_m, floor_near))?;
    canvas.fill_rect(Rect::from_ltrb(-1.0, floor_m - 1.0, VIEW_M + 1.0, HORIZON_M)?, &floor, view, None);
    let skirting = paint([255, 255, 255], 110);
    canvas.fill_rect(
        Rect::from_ltrb(-1.0, HORIZON_M, VIEW_M + 1.0, HORIZON_M + 0.09)?,
        &skirting,
        view,
        None,
    );
    Some(())
}

fn draw_board(canvas: &mut Pixmap, hoop: &Hoop, view: Transform) -> Option<()> {
    let (low, high) = hoop.board_box();
    let behind_m = if hoop.mirrored { low.0 - 0.22 } else { high.0 + 0.22 };
    let steel = paint([84, 90, 102], 255);
    let pole = Rect::from_ltrb(behind_m - 0.1, 0.1, behind_m + 0.1, hoop.height_m + 0.9)?;
    canvas.fill_rect(pole, &steel, view, None);
    let arm =
        Rect::from_ltrb(low.0.min(behind_m), hoop.height_m + 0.5, high.0.max(behind_m), hoop.height_m + 0.7)?;
    canvas.fill_rect(arm, &steel, view, None);
    canvas.fill_rect(
        Rect::from_ltrb(low.0, low.1, high.0, high.1)?,
        &paint([250, 250, 250], 255),
        view,
        None,
    );
    let band = Rect::from_ltrb(low.0, hoop.height_m + 0.35, high.0, hoop.height_m + 1.0)?;
    canvas.fill_rect(band, &paint([206, 60, 52], 255), view, None);
    let [near, _] = hoop.rim_x_m();
    let bracket = Rect::from_ltrb(
        near.min(hoop.board_x_m),
        hoop.height_m - 0.06,
        near.max(hoop.board_x_m),
        hoop.height_m + 0.06,
    )?;
    canvas.fill_rect(bracket, &paint([206, 84, 28], 255), view, None);
    Some(())
}

/// Half of the rim's ellipse: the far half (`side` 1) is drawn behind the ball, the near one in front.
fn draw_rim_half(canvas: &mut Pixmap, hoop: &Hoop, view: Transform, side: f32) -> Option<()> {
    let [near, far] = hoop.rim_x_m();
    let depth_m = 0.16 * side;
    let mut path = PathBuilder::new();
    path.move_to(near, hoop.height_m);
    path.cubic_to(near, hoop.height_m + depth_m, far, hoop.height_m + depth_m, far, hoop.height_m);
    let stroke = Stroke { width: 2.0 * Hoop::RIM_RADIUS_M, line_cap: LineCap::Round, ..Stroke::default() };
    let colour = if side > 0.0 { [198, 78, 24] } else { [240, 104, 36] };
    canvas.stroke_path(&path.finish()?, &paint(colour, 255), &stroke, view, None);
    Some(())
}

fn draw_net(canvas: &mut Pixmap, hoop: &Hoop, view: Transform) -> Option<()> {
    let [near, far] = hoop.rim_x_m();
    let (left, right) = (near.min(far), near.max(far));
    let (top, bottom) = (hoop.height_m - 0.06, hoop.height_m - NET_M);
    let inset = 0.2 * (right - left);
    let across = |share: f32, down: f32| {
        let narrow = inset * down;
        left + narrow + (right - left - 2.0 * narrow) * share
    };
    let strands = 5_u8;
    let mut path = PathBuilder::new();
    for strand in 0..=strands {
        let share = f32::from(strand) / f32::from(strands);
        for lean in [-1.0, 1.0] {
            let target = share + lean * 2.0 / f32::from(strands);
            if (-0.01..=1.01).contains(&target) {
                path.move_to(across(share, 0.0), top);
                path.line_to(across(target, 1.0), bottom);
            }
        }
    }
    let stroke = Stroke { width: 0.05, ..Stroke::default() };
    canvas.stroke_path(&path.finish()?, &paint([255, 255, 255], 190), &stroke, view, None);
    Some(())
}

fn paint(colour: Rgb, alpha: u8) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(colour[0], colour[1], colour[2], alpha);
    paint.anti_alias = true;
    paint
}

fn gradient(from: (f32, Rgb), to: (f32, Rgb)) -> Option<Paint<'static>> {
    let stop = |at: f32, c: Rgb| GradientStop::new(at, Color::from_rgba8(c[0], c[1], c[2], 255));
    let shader: Shader<'static> = LinearGradient::new(
        Point::from_xy(0.0, from.0),
        Point::from_xy(0.0, to.0),
        vec![stop(0.0, from.1), stop(1.0, to.1)],
        SpreadMode::Pad,
        Transform::identity(),
    )?;
    Some(Paint { shader, anti_alias: true, ..Paint::default() })
}
