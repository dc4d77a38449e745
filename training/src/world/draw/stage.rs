//! What stands still: a stage goes in, an opaque picture of it and what covers the actors come out.

use tiny_skia::{FillRule, LineCap, Paint, PathBuilder, Pixmap, Rect, Stroke, Transform};

use super::View;
use super::sprite::{Canvas, Shading, Tone, coverage, mix, tone_of};
use crate::world::{Backdrop, Fixture, FloorTexture, Hoop, Ramp, Rgb, Stage, WallTexture};

/// Where the floor meets the wall, above the line on which things stand.
const HORIZON_M: f32 = 0.34;
const SKIRTING_M: f32 = 0.11;
const RIM_RADIUS_M: f32 = 0.06;
const OPENING_M: f32 = 1.5;
const BRACKET_M: f32 = 0.15;
const BOARD_THICKNESS_M: f32 = 0.18;
const NET_M: f32 = 0.85;

/// What lies over the actors: offsets of pixels that are not empty, and their premultiplied RGBA.
pub(super) type Front = Vec<(usize, [u8; 4])>;

pub(super) fn draw(stage: &Stage, view: &View, shading: &Shading) -> (Vec<u8>, Front) {
    let mut back = vec![0; view.bytes()];
    draw_room(&mut view.canvas(&mut back), stage, view, shading);
    let mut front = Front::new();
    if let Some(fixture) = stage.fixture {
        // Either fails for an empty picture alone, which nothing can be drawn on.
        if let Some(behind) = layer(view, shading, |brush| brush.draw_back(&fixture)) {
            lay_over(&mut back, &behind);
        }
        front = layer(view, shading, |brush| brush.draw_front(&fixture)).unwrap_or_default();
    }
    (back, front)
}

/// Premultiplied RGBA pixels over an RGB picture.
pub(super) fn lay_over(pixels: &mut [u8], layer: &[(usize, [u8; 4])]) {
    for &(offset, [red, green, blue, alpha]) in layer {
        let keep = 255 - u32::from(alpha);
        for (pixel, over) in pixels[offset..offset + 3].iter_mut().zip([red, green, blue]) {
            *pixel = (u32::from(over) + (u32::from(*pixel) * keep + 127) / 255).min(255) as u8;
        }
    }
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

fn draw_room(canvas: &mut Canvas<'_>, stage: &Stage, view: &View, shading: &Shading) {
    let [wall_top, wall_low, floor_far, floor_near] = tints(stage.backdrop).map(tone_of);
    let (scale, width) = (view.scale, view.width);
    let (top_m, low_m) = (0.9 * view.view_m, -0.1 * view.view_m);
    // The glow hangs on the wall on the side that the light comes from.
    let (glow_x_m, glow_y_m) = (view.view_m * (0.5 + 0.75 * shading.towards[0]), 0.62 * view.view_m);
    for row in 0..view.height {
        let y_m = (view.floor - canvas.middle_y(row)) / scale;
        let height = ((y_m - HORIZON_M) / (top_m - HORIZON_M)).clamp(0.0, 1.0);
        let near = ((HORIZON_M - y_m) / (HORIZON_M - low_m)).clamp(0.0, 1.0);
        let wall = mix(wall_low, wall_top, height);
        let floor = mix(floor_far, floor_near, near);
        let wall_share = coverage((y_m - HORIZON_M) * scale);
        let skirting = wall_share * coverage((HORIZON_M + SKIRTING_M - y_m) * scale);
        let gloom = 0.12 * (1.0 - (y_m - HORIZON_M).abs() / 0.16).clamp(0.0, 1.0);
        for column in 0..width {
            let x_m = canvas.middle_x(column) / scale;
            let mut colour = floor;
            if wall_share > 0.0 {
                let (dx, dy) = ((x_m - glow_x_m) / view.view_m, (y_m - glow_y_m) / view.view_m);
                let glow = 0.95 + 0.1 * (-(dx * dx + dy * dy) / 0.16).exp();
                let grain = wall_grain(stage.wall, x_m, y_m, scale) * glow;
                let plain = wall.map(|channel| channel * grain);
                let trimmed = mix(plain, [255.0; 3], 0.43 * skirting);
                colour = mix(colour, trimmed, wall_share);
            }
            if wall_share < 1.0 {
                let grain = floor_grain(stage.floor, x_m - 0.5 * view.view_m, near, scale);
                colour = mix(floor.map(|channel| channel * grain), colour, wall_share);
            }
            let keep = 1.0 - gloom * (1.0 - 0.6 * skirting);
            let lit = shading.tinted(colour);
            let offset = (row * width + column) * 3;
            for (pixel, channel) in canvas.pixels[offset..offset + 3].iter_mut().zip(lit) {
                *pixel = (channel * keep + 0.5).clamp(0.0, 255.0) as u8;
            }
        }
    }
}

/// How much of its light a wall gives back at a place.
fn wall_grain(texture: WallTexture, x_m: f32, y_m: f32, scale: f32) -> f32 {
    match texture {
        WallTexture::Plain => 1.0,
        WallTexture::Stripes => {
            let pitch_m = 0.8;
            let from_edge = (x_m / (2.0 * pitch_m)).rem_euclid(1.0) - 0.5;
            let inside_m = (0.25 - from_edge.abs()) * 2.0 * pitch_m;
            1.0 - 0.055 * coverage(inside_m * scale)
        }
        WallTexture::Bricks => {
            let (length_m, height_m) = (1.25, 0.55);
            let course = (y_m / height_m).floor();
            let along = x_m / length_m + 0.5 * course.rem_euclid(2.0);
            let joint_m = ((along - along.round()).abs() * length_m)
                .min((y_m / height_m - (y_m / height_m).round()).abs() * height_m);
            let brick = 1.0 + 0.035 * (speckle(along.floor() as i32, course as i32) - 0.5);
            brick - 0.075 * coverage((0.035 - joint_m) * scale)
        }
    }
}

/// How much of its light a floor gives back. `x_m` counts from the middle of the view, `near` grows from the
/// wall (0) to the view's lower edge (1), where a plank is wider than at the wall.
fn floor_grain(texture: FloorTexture, x_m: f32, near: f32, scale: f32) -> f32 {
    let widening = 1.0 + 0.3 * near;
    let across = x_m / widening;
    match texture {
        FloorTexture::Plain => 1.0,
        FloorTexture::Planks => {
            let pitch_m = 0.9;
            let plank = (across / pitch_m).floor();
            let seam_m = (across / pitch_m - (across / pitch_m).round()).abs() * pitch_m * widening;
            let board = 1.0 + 0.08 * (speckle(plank as i32, 7) - 0.5);
            board - 0.14 * coverage((0.03 - seam_m) * scale)
        }
        FloorTexture::Tiles => {
            let pitch_m = 1.1;
            let column = (across / pitch_m).floor();
            // Rows of tiles grow towards the viewer.
            let depth = 3.4 * near / (0.55 + near);
            let even = (column + depth.floor()).rem_euclid(2.0);
            let from_side = (across / pitch_m - (across / pitch_m).round()).abs() * pitch_m * widening;
            let blend = coverage(from_side * scale);
            1.0 - 0.085 * (even * blend + 0.5 * (1.0 - blend))
        }
    }
}

/// A number from 0 to 1 that a cell keeps.
fn speckle(column: i32, row: i32) -> f32 {
    let mixed = (column as u32).wrapping_mul(0x9e37_79b9) ^ (row as u32).wrapping_mul(0x85eb_ca6b);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x2c1b_3c6d);
    ((mixed ^ (mixed >> 13)) & 0xff) as f32 / 255.0
}

/// Draws on a picture that reaches half the square's side farther to the left, right and top than the square
/// one, whatever the aspect: a path that an edge cuts is rounded otherwise than one that it does not.
fn layer(view: &View, shading: &Shading, draw: impl FnOnce(&mut Brush<'_>) -> Option<()>) -> Option<Front> {
    let side = view.width.min(view.height);
    let margin = side.div_ceil(2);
    let (width, height) = (side + 2 * margin, side + margin);
    let mut pixmap = Pixmap::new(u32::try_from(width).ok()?, u32::try_from(height).ok()?)?;
    let origin = margin as f32;
    let transform = Transform::from_row(view.scale, 0.0, 0.0, -view.scale, origin, origin + view.floor);
    draw(&mut Brush { pixmap: &mut pixmap, shading, transform })?;
    let pixels = pixmap.data().chunks_exact(4).enumerate();
    let seen = pixels.filter(|(_, pixel)| pixel[3] > 0).filter_map(|(index, p)| {
        let column = (index % width + view.left).checked_sub(margin).filter(|&at| at < view.width)?;
        let row = (index / width + view.top).checked_sub(margin)?;
        Some(((row * view.width + column) * 3, [p[0], p[1], p[2], p[3]]))
    });
    Some(seen.collect())
}

/// Draws in metres, in the colours that the light leaves.
struct Brush<'a> {
    pixmap: &'a mut Pixmap,
    shading: &'a Shading,
    transform: Transform,
}

impl Brush<'_> {
    fn draw_back(&mut self, fixture: &Fixture) -> Option<()> {
        match fixture {
            Fixture::Hoop(hoop) => {
                self.draw_board(hoop)?;
                self.draw_rim_half(hoop, 1.0)
            }
            Fixture::Ramp(_) => Some(()),
        }
    }

    /// The net and the near half of the rim; a ramp, which hides the shadow of what rolls down it.
    fn draw_front(&mut self, fixture: &Fixture) -> Option<()> {
        match fixture {
            Fixture::Hoop(hoop) => {
                self.draw_net(hoop)?;
                self.draw_rim_half(hoop, -1.0)
            }
            Fixture::Ramp(ramp) => self.draw_ramp(ramp),
        }
    }

    fn draw_board(&mut self, hoop: &Hoop) -> Option<()> {
        let out = outwards(hoop);
        let back_m = hoop.board_x_m - out * BOARD_THICKNESS_M;
        let (left_m, right_m) = (hoop.board_x_m.min(back_m), hoop.board_x_m.max(back_m));
        let behind_m = back_m - out * 0.22;
        let height_m = hoop.height_m;
        let (steel, light_steel) = ([84, 90, 102], [112, 119, 132]);
        self.fill_box([behind_m - 0.34, 0.0, behind_m + 0.34, 0.14], [64, 68, 78])?;
        self.fill_box([behind_m - 0.1, 0.1, behind_m + 0.1, height_m + 0.9], steel)?;
        self.fill_box([behind_m - 0.05, 0.14, behind_m + 0.01, height_m + 0.9], light_steel)?;
        let arm = [left_m.min(behind_m), height_m + 0.5, right_m.max(behind_m), height_m + 0.7];
        self.fill_box(arm, steel)?;
        self.fill_box([left_m, height_m - 0.15, right_m, height_m + 1.6], [250, 250, 250])?;
        self.fill_box([left_m, height_m + 0.35, right_m, height_m + 1.0], [206, 60, 52])?;
        let [near, _] = rim_x_m(hoop);
        let bracket = [
            near.min(hoop.board_x_m),
            height_m - RIM_RADIUS_M,
            near.max(hoop.board_x_m),
            height_m + RIM_RADIUS_M,
        ];
        self.fill_box(bracket, [206, 84, 28])
    }

    /// Half of the rim's ellipse: the far half (`side` 1) is behind the ball, the near one in front.
    fn draw_rim_half(&mut self, hoop: &Hoop, side: f32) -> Option<()> {
        let [near, far] = rim_x_m(hoop);
        let depth_m = 0.16 * side;
        let mut path = PathBuilder::new();
        path.move_to(near, hoop.height_m);
        path.cubic_to(near, hoop.height_m + depth_m, far, hoop.height_m + depth_m, far, hoop.height_m);
        let colour = if side > 0.0 { [198, 78, 24] } else { [240, 104, 36] };
        self.stroke(path, 2.0 * RIM_RADIUS_M, colour, 255)
    }

    fn draw_net(&mut self, hoop: &Hoop) -> Option<()> {
        let [near, far] = rim_x_m(hoop);
        let (left, right) = (near.min(far), near.max(far));
        let (top, bottom) = (hoop.height_m - RIM_RADIUS_M, hoop.height_m - NET_M);
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
        self.stroke(path, 0.05, [255, 255, 255], 190)
    }

    /// A wooden wedge with a painted slope.
    fn draw_ramp(&mut self, ramp: &Ramp) -> Option<()> {
        let rise = if ramp.mirrored { -1.0 } else { 1.0 };
        let foot = (ramp.foot_x_m, 0.0);
        let back_x_m = ramp.foot_x_m + rise * ramp.length_m;
        let ridge = (back_x_m, ramp.height_m);
        self.fill_corners(&[foot, ridge, (back_x_m, 0.0)], [176, 124, 78])?;
        // Boards end where the slope cuts them.
        let boards = 4_u8;
        for board in 1..boards {
            let share = f32::from(board) / f32::from(boards);
            let mut seam = PathBuilder::new();
            seam.move_to(ramp.foot_x_m + rise * ramp.length_m * share, ramp.height_m * share);
            seam.line_to(back_x_m, ramp.height_m * share);
            self.stroke(seam, 0.035, [120, 78, 44], 150)?;
        }
        let post_m = rise * 0.16_f32.min(0.2 * ramp.length_m);
        let post_top_m = ramp.height_m * (1.0 - post_m.abs() / ramp.length_m.max(1e-3));
        let post = [(back_x_m, 0.0), ridge, (back_x_m - post_m, post_top_m), (back_x_m - post_m, 0.0)];
        self.fill_corners(&post, [148, 98, 58])?;
        // The painted strip lies inside the wedge: its upper edge is the slope that balls roll on.
        let slope_m = ramp.length_m.hypot(ramp.height_m).max(1e-3);
        let thick_m = 0.13;
        let (drop_m, short_m) =
            (thick_m * slope_m / ramp.length_m.max(1e-3), thick_m * slope_m / ramp.height_m.max(1e-3));
        let strip = [foot, ridge, (back_x_m, ramp.height_m - drop_m), (ramp.foot_x_m + rise * short_m, 0.0)];
        self.fill_corners(&strip, [44, 108, 132])
    }

    fn fill_corners(&mut self, corners: &[(f32, f32)], colour: Rgb) -> Option<()> {
        let mut path = PathBuilder::new();
        for (index, &(x_m, y_m)) in corners.iter().enumerate() {
            if index == 0 { path.move_to(x_m, y_m) } else { path.line_to(x_m, y_m) }
        }
        path.close();
        let paint = self.paint(colour, 255);
        self.pixmap.fill_path(&path.finish()?, &paint, FillRule::Winding, self.transform, None);
        Some(())
    }

    /// Left, lower, right and upper edge.
    fn fill_box(&mut self, [left, low, right, high]: [f32; 4], colour: Rgb) -> Option<()> {
        let paint = self.paint(colour, 255);
        self.pixmap.fill_rect(Rect::from_ltrb(left, low, right, high)?, &paint, self.transform, None);
        Some(())
    }

    fn stroke(&mut self, path: PathBuilder, width_m: f32, colour: Rgb, alpha: u8) -> Option<()> {
        let stroke = Stroke { width: width_m, line_cap: LineCap::Round, ..Stroke::default() };
        let paint = self.paint(colour, alpha);
        self.pixmap.stroke_path(&path.finish()?, &paint, &stroke, self.transform, None);
        Some(())
    }

    fn paint(&self, colour: Rgb, alpha: u8) -> Paint<'static> {
        let [red, green, blue]: Tone = self.shading.tinted(tone_of(colour));
        let mut paint = Paint::default();
        paint.set_color_rgba8(red as u8, green as u8, blue as u8, alpha);
        paint.anti_alias = true;
        paint
    }
}

fn outwards(hoop: &Hoop) -> f32 {
    if hoop.mirrored { 1.0 } else { -1.0 }
}

/// The rim nearest to the board, then the other.
fn rim_x_m(hoop: &Hoop) -> [f32; 2] {
    let near = hoop.board_x_m + outwards(hoop) * BRACKET_M;
    [near, near + outwards(hoop) * OPENING_M]
}
