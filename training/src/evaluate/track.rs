//! Follows one ball in the pixels of a clip: frames enter; where the ball is, its colour, its flights and its
//! bounces leave.
//!
//! Whatever stands still is the place (each pixel's median over time); what differs from it, and is not its
//! shadow, is the ball. The same eyes judge the corpus, the autoencoders and the model.

use crate::clip::Clip;
use crate::corpus::{Colour, GRAVITY_M_S2, VIEW_M, VIEW_TOP_M};

/// Frames that the median is taken over.
const MEDIAN_FRAMES: usize = 17;
/// Summed channel difference from which a pixel belongs to the ball.
const FOREGROUND: i32 = 54;
/// Shadows fall below this height, in metres.
const SHADOWS_M: f32 = 0.3;
/// A ball covers at least this share of the picture.
const SMALLEST_SHARE: f32 = 0.002;

/// One ball followed through a clip.
#[derive(Clone, Debug)]
pub(super) struct Track {
    pub(super) fps: f32,
    /// Metres, y up; `None` where no ball is seen.
    pub(super) points: Vec<Option<(f32, f32)>>,
    pub(super) radius_m: f32,
    /// The palette colour nearest to what is seen of it.
    pub(super) colour: Option<Colour>,
}

/// A bounce as the picture shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounce {
    pub(super) time_s: f32,
    /// Speeds along y just before and after, metres a second.
    pub(super) before_m_s: f32,
    pub(super) after_m_s: f32,
}

impl Track {
    pub(super) fn follow(clip: &Clip) -> Self {
        let place = median(clip);
        let scale = VIEW_M / clip.width as f32;
        let shadow_row = ((VIEW_TOP_M - SHADOWS_M) / scale) as usize;
        let mut points = Vec::with_capacity(clip.frame_count());
        let (mut areas, mut colours) = (Vec::new(), Vec::new());
        for frame in clip.frames.chunks_exact(clip.frame_len()) {
            let seen = foreground(frame, &place, clip.width, shadow_row);
            let enough = SMALLEST_SHARE * (clip.width * clip.height) as f32;
            if (seen.len() as f32) < enough {
                points.push(None);
                continue;
            }
            let count = seen.len() as f32;
            let column = seen.iter().map(|&at| (at % clip.width) as f32 + 0.5).sum::<f32>() / count;
            let row = seen.iter().map(|&at| (at / clip.width) as f32 + 0.5).sum::<f32>() / count;
            points.push(Some((column * scale, VIEW_TOP_M - row * scale)));
            areas.push(count * scale * scale);
            colours.push(core_colour(frame, &seen, clip.width, (column, row)));
        }
        areas.sort_by(f32::total_cmp);
        let area = areas.get(areas.len() / 2).copied().unwrap_or(0.0);
        Self {
            fps: clip.fps as f32,
            points,
            radius_m: (area / std::f32::consts::PI).sqrt(),
            colour: (!colours.is_empty()).then(|| Colour::nearest(mean_colour(&colours))),
        }
    }

    /// Share of the frames in which no ball is seen.
    pub(super) fn vanished(&self) -> f32 {
        self.points.iter().filter(|point| point.is_none()).count() as f32 / self.points.len().max(1) as f32
    }

    /// Bounces off the floor: where a fall turns into a rise, placed between frames by both arcs.
    pub(super) fn bounces(&self) -> Vec<Bounce> {
        let dt = 1.0 / self.fps;
        let mut bounces: Vec<Bounce> = Vec::new();
        for frame in 1..self.points.len().saturating_sub(2) {
            let Some(bounce) = self.bounce_after(frame) else { continue };
            match bounces.last_mut() {
                // A turn shows in up to three neighbouring gaps: in the one that it lies in it is sharpest.
                Some(last) if bounce.time_s - last.time_s < 3.5 * dt => {
                    if bounce.after_m_s - bounce.before_m_s > last.after_m_s - last.before_m_s {
                        *last = bounce;
                    }
                }
                _ => bounces.push(bounce),
            }
        }
        bounces
    }

    /// A bounce in the gap after `frame`.
    fn bounce_after(&self, frame: usize) -> Option<Bounce> {
        let y = |frame: usize| self.points.get(frame).copied().flatten().map(|(_, y)| y);
        let (a, b, c, d) = (y(frame - 1)?, y(frame)?, y(frame + 1)?, y(frame + 2)?);
        let dt = 1.0 / self.fps;
        let (fall, rise) = ((b - a) / dt, (d - c) / dt);
        if fall > -1.0 || rise < 1.0 {
            return None;
        }
        // Both arcs as straight lines from the gap's ends; they meet where the ball turns.
        let before = fall - GRAVITY_M_S2 * dt / 2.0;
        let after = rise + GRAVITY_M_S2 * dt / 2.0;
        let into_gap = ((c - b - after * dt) / (before - after)).clamp(0.0, dt);
        Some(Bounce {
            time_s: frame as f32 * dt + into_gap,
            before_m_s: before - GRAVITY_M_S2 * into_gap,
            after_m_s: after + GRAVITY_M_S2 * (dt - into_gap),
        })
    }

    /// Frames that lie more than one frame away from every bounce.
    fn free_frames(&self, bounces: &[Bounce]) -> impl Iterator<Item = usize> {
        let away = move |frame: usize| {
            bounces.iter().all(|bounce| (frame as f32 - bounce.time_s * self.fps).abs() > 2.0)
        };
        (1..self.points.len().saturating_sub(1)).filter(move |&frame| away(frame))
    }

    /// How far a ball in free flight is from where its last two places lead it, in metres.
    fn jumps(&self, bounces: &[Bounce]) -> Vec<f32> {
        let dt = 1.0 / self.fps;
        self.free_frames(bounces)
            .filter_map(|frame| {
                let ((x0, y0), (x1, y1), (x2, y2)) =
                    (self.points[frame - 1]?, self.points[frame]?, self.points[frame + 1]?);
                let (dx, dy) = (x2 - 2.0 * x1 + x0, y2 - 2.0 * y1 + y0);
                Some(dx.hypot(dy + GRAVITY_M_S2 * dt * dt))
            })
            .collect()
    }

    /// Share of the free frames at which the ball is half a radius or more from where it should be.
    pub(super) fn teleports(&self, bounces: &[Bounce]) -> f32 {
        let jumps = self.jumps(bounces);
        let far = jumps.iter().filter(|&&jump| jump > 0.5 * self.radius_m.max(0.1)).count();
        far as f32 / jumps.len().max(1) as f32
    }

    /// Typical deviation from smooth flight, in metres.
    pub(super) fn trembling_m(&self, bounces: &[Bounce]) -> f32 {
        let mut jumps = self.jumps(bounces);
        jumps.sort_by(f32::total_cmp);
        jumps.get(jumps.len() / 2).copied().unwrap_or(0.0)
    }

    /// Acceleration of each flight of nine frames or more, by least squares, metres a second squared.
    pub(super) fn gravities(&self, bounces: &[Bounce]) -> Vec<f32> {
        let mut edges: Vec<f32> = bounces.iter().map(|bounce| bounce.time_s * self.fps).collect();
        edges.insert(0, -1.0);
        edges.push(self.points.len() as f32);
        edges
            .windows(2)
            .filter_map(|edge| {
                let first = (edge[0] + 2.0).max(0.0).ceil() as usize;
                let last = (edge[1] - 2.0).max(0.0) as usize;
                let flight: Vec<(f32, f32)> = (first..=last.min(self.points.len() - 1))
                    .filter_map(|frame| self.points[frame].map(|(_, y)| (frame as f32 / self.fps, y)))
                    .collect();
                (flight.len() >= 9).then(|| -2.0 * curvature(&flight))
            })
            .collect()
    }
}

/// The quadratic coefficient of the least-squares parabola through points.
fn curvature(points: &[(f32, f32)]) -> f32 {
    let count = points.len() as f64;
    let middle = points.iter().map(|&(t, _)| f64::from(t)).sum::<f64>() / count;
    let moment = |power: i32| points.iter().map(|&(t, _)| (f64::from(t) - middle).powi(power)).sum::<f64>();
    let product = |power: i32| {
        points.iter().map(|&(t, y)| (f64::from(t) - middle).powi(power) * f64::from(y)).sum::<f64>()
    };
    let (s2, s3, s4) = (moment(2), moment(3), moment(4));
    let (p0, p1, p2) = (product(0), product(1), product(2));
    // Cramer's rule on the normal equations; odd first moment is zero about the middle.
    let determinant = count * (s2 * s4 - s3 * s3) - s2 * s2 * s2;
    ((count * (s2 * p2 - s3 * p1) - s2 * s2 * p0) / determinant) as f32
}

fn median(clip: &Clip) -> Vec<u8> {
    let count = clip.frame_count();
    let chosen: Vec<&[u8]> =
        (0..MEDIAN_FRAMES).filter_map(|index| clip.frame(index * count / MEDIAN_FRAMES)).collect();
    (0..clip.frame_len())
        .map(|at| {
            let mut values: Vec<u8> = chosen.iter().map(|frame| frame[at]).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or(0)
        })
        .collect()
}

/// Pixels that differ from the place, without the shadow below `shadow_row`.
fn foreground(frame: &[u8], place: &[u8], width: usize, shadow_row: usize) -> Vec<usize> {
    let pixels = frame.chunks_exact(3).zip(place.chunks_exact(3)).enumerate();
    pixels
        .filter(|(at, (pixel, place))| {
            let difference: i32 =
                pixel.iter().zip(place.iter()).map(|(&a, &b)| (i32::from(a) - i32::from(b)).abs()).sum();
            difference > FOREGROUND && !(at / width >= shadow_row && is_shade(pixel, place))
        })
        .map(|(at, _)| at)
        .collect()
}

/// Whether a pixel is the place's own, only darker: a shadow takes the same share of each channel.
fn is_shade(pixel: &[u8], place: &[u8]) -> bool {
    let shares = pixel.iter().zip(place).map(|(&a, &b)| f32::from(a) / f32::from(b.max(1)));
    let (low, high) =
        shares.fold((f32::MAX, 0.0_f32), |(low, high), share| (low.min(share), high.max(share)));
    high - low < 0.06 && low > 0.5 && high < 1.0
}

/// The mean colour of a ball's middle, where light and edge change it least.
fn core_colour(frame: &[u8], seen: &[usize], width: usize, (column, row): (f32, f32)) -> [f32; 3] {
    let radius = (seen.len() as f32 / std::f32::consts::PI).sqrt();
    let inner = seen.iter().filter(|&&at| {
        let (dx, dy) = ((at % width) as f32 + 0.5 - column, (at / width) as f32 + 0.5 - row);
        dx.hypot(dy) < 0.7 * radius
    });
    let mut sum = [0.0_f32; 4];
    for &at in inner {
        for (total, &channel) in sum.iter_mut().zip(&frame[at * 3..at * 3 + 3]) {
            *total += f32::from(channel);
        }
        sum[3] += 1.0;
    }
    [sum[0], sum[1], sum[2]].map(|total| total / sum[3].max(1.0))
}

fn mean_colour(colours: &[[f32; 3]]) -> [u8; 3] {
    let mean = |channel: usize| {
        colours.iter().map(|colour| colour[channel]).sum::<f32>() / colours.len().max(1) as f32
    };
    std::array::from_fn(|channel| mean(channel).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parabola_has_its_curvature() {
        let points: Vec<(f32, f32)> = (0..20)
            .map(|frame| {
                let t = frame as f32 / 24.0 + 1.0;
                (t, 3.0 + 2.0 * t - 4.9 * t * t)
            })
            .collect();
        assert!((curvature(&points) + 4.9).abs() < 1e-3);
    }

    #[test]
    fn a_track_of_the_corpus_has_its_bounces() {
        let told = crate::train::latents::tell_family(crate::corpus::Family::Bounce, 3);
        let clip = Clip {
            width: 128,
            height: 128,
            fps: 24,
            frames: crate::corpus::render(&told.scene, &told.motion, 128),
            sample_rate: 12_000,
            samples: Vec::new(),
        };
        let track = Track::follow(&clip);
        let bounces = track.bounces();
        assert_eq!(bounces.len(), told.motion.contacts.len());
        for (bounce, contact) in bounces.iter().zip(&told.motion.contacts) {
            assert!((bounce.time_s - contact.time_s).abs() < 0.006, "{} {}", bounce.time_s, contact.time_s);
            let kept = -bounce.after_m_s / bounce.before_m_s;
            assert!((kept - told.scene.balls[0].restitution).abs() < 0.06, "{kept}");
        }
        assert!(track.vanished() < 1e-6 && track.teleports(&bounces) < 1e-6);
        for gravity in track.gravities(&bounces) {
            assert!((gravity - GRAVITY_M_S2).abs() < 0.6, "{gravity}");
        }
    }
}
