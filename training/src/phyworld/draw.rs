//! Draws an episode as the authors' videos look: discs in, RGB8 frames out; red and blue on white.
//!
//! INVARIANT: a pixel's colour is mixed by the exact area that each disc covers of it, so that at 128 x 128
//! the centroid of what is drawn lies within 0.005 pixels of the disc's centre, for any radius of the tasks.

use super::task::{Episode, FRAMES, Point, WORLD};

/// Colours of the balls, in the order of [`Episode::balls`].
pub(crate) const COLOURS: [[u8; 3]; 2] = [[255, 0, 0], [0, 0, 255]];
const BACKGROUND: u8 = 255;

/// What a frame shows of a ball.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Disc {
    pub(super) centre: Point,
    pub(super) radius: f64,
}

/// Every frame, `side` x `side` RGB8, first row on top.
pub fn draw(episode: &Episode, side: usize) -> Vec<u8> {
    let mut frames = Vec::with_capacity(FRAMES * side * side * 3);
    for frame in 0..FRAMES {
        let discs: Vec<Disc> = episode
            .balls
            .iter()
            .map(|ball| Disc { centre: ball.centres[frame], radius: ball.radius })
            .collect();
        frames.extend(draw_discs(&discs, side));
    }
    frames
}

/// One frame. A later disc hides an earlier one where they overlap.
pub(super) fn draw_discs(discs: &[Disc], side: usize) -> Vec<u8> {
    let scale = side as f64 / WORLD;
    let mut covers = vec![[0.0_f64; COLOURS.len()]; side * side];
    for (ball, disc) in discs.iter().enumerate().take(COLOURS.len()) {
        let (x, y) = (disc.centre[0] * scale, (WORLD - disc.centre[1]) * scale);
        let radius = disc.radius * scale;
        let span = |middle: f64| {
            let low = (middle - radius).floor().max(0.0) as usize;
            low..((middle + radius).ceil().max(0.0) as usize).min(side)
        };
        for row in span(y) {
            for column in span(x) {
                let cover = coverage([column as f64 - x, row as f64 - y], radius);
                let pixel = &mut covers[row * side + column];
                for earlier in &mut pixel[..ball] {
                    *earlier = earlier.min(1.0 - cover);
                }
                pixel[ball] = cover;
            }
        }
    }
    let mut frame = vec![BACKGROUND; covers.len() * 3];
    for (pixel, cover) in frame.chunks_exact_mut(3).zip(&covers) {
        if cover.iter().any(|&share| share > 0.0) {
            pixel.copy_from_slice(&mix(cover));
        }
    }
    frame
}

fn mix(covers: &[f64; COLOURS.len()]) -> [u8; 3] {
    let background = 1.0 - covers.iter().sum::<f64>();
    std::array::from_fn(|channel| {
        let lit: f64 =
            covers.iter().zip(COLOURS).map(|(cover, colour)| cover * f64::from(colour[channel])).sum();
        (background * f64::from(BACKGROUND) + lit).round() as u8
    })
}

/// Exact area that a disc around the origin shares with the unit square whose least corner is `corner`.
fn coverage(corner: [f64; 2], radius: f64) -> f64 {
    let [left, low] = corner;
    let (right, high) = (left + 1.0, low + 1.0);
    let furthest = left.abs().max(right.abs()).hypot(low.abs().max(high.abs()));
    if furthest <= radius {
        return 1.0;
    }
    // Between these abscissae the square's edges and the arcs do not change their order.
    let crossing = |y: f64| (radius * radius - y * y).max(0.0).sqrt();
    let (below, above) = (crossing(low), crossing(high));
    let mut cuts = [left, right, -radius, radius, -below, below, -above, above].map(|x| x.clamp(left, right));
    cuts.sort_by(f64::total_cmp);
    cuts.windows(2)
        .map(|cut| {
            let (from, to) = (cut[0], cut[1]);
            let half_chord = crossing(0.5 * (from + to));
            if half_chord.min(high) <= (-half_chord).max(low) {
                return 0.0;
            }
            let arc = under_arc(to, radius) - under_arc(from, radius);
            let upper = if half_chord < high { arc } else { high * (to - from) };
            let lower = if -half_chord > low { -arc } else { low * (to - from) };
            upper - lower
        })
        .sum::<f64>()
        .clamp(0.0, 1.0)
}

/// Antiderivative of the upper half circle's height.
fn under_arc(x: f64, radius: f64) -> f64 {
    let x = x.clamp(-radius, radius);
    let height = (radius * radius - x * x).max(0.0).sqrt();
    0.5 * (x * height + radius * radius * (x / radius).asin())
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn covered_pixels_add_up_to_the_disc(x in -0.5..0.5_f64, y in -0.5..0.5_f64, radius in 0.2..9.0_f64) {
            let area: f64 = (-11..11)
                .flat_map(|row| (-11..11).map(move |column| (f64::from(column), f64::from(row))))
                .map(|(column, row)| coverage([column - x, row - y], radius))
                .sum();
            prop_assert!((area - PI * radius * radius).abs() < 1e-9);
        }

        #[test]
        fn coverage_is_the_share_of_the_pixel_inside(
            x in -6.0..6.0_f64, y in -6.0..6.0_f64, radius in 0.4..6.0_f64,
        ) {
            let fine = 200;
            let inside = (0..fine * fine)
                .filter(|at| {
                    let (column, row) = (at % fine, at / fine);
                    let part = |index: i32| (f64::from(index) + 0.5) / f64::from(fine);
                    (x + part(column)).hypot(y + part(row)) <= radius
                })
                .count();
            let share = inside as f64 / f64::from(fine * fine);
            prop_assert!((coverage([x, y], radius) - share).abs() < 0.01);
        }
    }

    #[test]
    fn red_and_blue_discs_lie_on_white_with_y_up() {
        let discs = [Disc { centre: [2.0, 8.0], radius: 1.0 }, Disc { centre: [7.0, 3.0], radius: 1.5 }];
        let side = 40;
        let frame = draw_discs(&discs, side);
        let at = |column: usize, row: usize| &frame[(row * side + column) * 3..][..3];
        assert_eq!(at(8, 8), [255, 0, 0]);
        assert_eq!(at(28, 28), [0, 0, 255]);
        assert_eq!(at(8, 30), [255, 255, 255]);
        assert_eq!(frame.len(), side * side * 3);
    }

    #[test]
    fn a_later_disc_hides_an_earlier_one() {
        let disc = Disc { centre: [5.0, 5.0], radius: 2.0 };
        let middle = |discs: &[Disc]| draw_discs(discs, 32)[(16 * 32 + 16) * 3..][..3].to_vec();
        assert_eq!(middle(&[disc]), [255, 0, 0]);
        assert_eq!(middle(&[disc, disc]), [0, 0, 255]);
    }
}
