//! Follows one or two balls in the pixels of a clip: frames and an empty take of the same stage enter; where
//! each ball is in each frame, how large it is, and where it vanishes or is seen twice leave.
//!
//! What differs from the empty take and is no shadow may be a ball. (A median over time in its stead would hold
//! a ball that rests until it is struck.) A disc is one ball, whatever its pattern; which of two it is, its
//! colours, its size and where it was going say together. Where two touch, their pixels are told apart by the
//! same. A centre is that of the circle through the ball's outline, read along rays to a small part of a pixel;
//! where something else covers the outline, the rays that are left decide.
//! INVARIANT: nothing but pixels, the shot and, where people are about, the ball's colours is known.

mod among;

use std::f64::consts::{PI, TAU};

use crate::clip::Clip;
use crate::world::{Rgb, Shot};

/// Summed channel difference from which a pixel is not the background.
const DIFFERENT: u32 = 18;
/// Shadows fall below this height, in metres.
const SHADOWS_M: f64 = 0.45;
/// Anything of a smaller radius is no ball.
const SMALLEST_M: f64 = 0.15;
/// A part of this share of a ball's area is taken for it.
const PART: f64 = 0.35;
/// A region that shows less than this share of a ball is not of that ball.
const PURE: f64 = 0.2;
/// A disc's sides differ by at most this share, and it fills an ellipse by this much.
const ROUND: f64 = 0.2;
const FILLED: std::ops::Range<f64> = 0.85..1.15;
/// A pixel this far from a ball's colours weighs as much as one a radius outside of where it is expected.
const UNLIKE: f64 = 60.0;
/// Rays from a centre to the outline.
const RAYS: usize = 48;
/// Fewer rays that meet the outline place no circle.
const FEWEST_RAYS: usize = 10;
/// How far from the expected outline rays look for it, in pixels, from round to round.
const REACHES_PX: [f64; 4] = [5.0, 2.5, 1.5, 1.3];
/// Step along a ray, in pixels.
const STEP_PX: f64 = 0.25;
/// Squared colour difference below which no outline is seen.
const FAINT: f64 = 900.0;
/// Squared difference of tint that is clear enough to be read alone.
const TINTED: f64 = 400.0;
/// Frames of which one is asked for the radius.
const RADIUS_EVERY: usize = 3;
/// Colours that stand for a ball.
const PALETTE: usize = 6;
/// Frames from which colours are learned.
const LEARNED: usize = 6;

/// x and y; metres from the lower left corner of the floor, y up, or pixels, y down.
pub(super) type Point = [f64; 2];

/// One ball followed through a clip.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ball {
    /// `None` where it is not seen.
    pub(super) places_m: Vec<Option<Point>>,
    pub(super) radius_m: f64,
    /// Whether it is seen more than once.
    pub(super) doubled: Vec<bool>,
    /// Whether it touches somebody, who may move it as they like.
    pub(super) held: Vec<bool>,
}

/// The balls of a clip.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Track {
    pub(super) fps: f64,
    pub(super) balls: Vec<Ball>,
}

/// What is looked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wanted {
    /// As many balls, and nothing else moves.
    Balls(usize),
    /// One ball of these colours, among people.
    Among(Vec<Rgb>),
}

/// A circle through an outline, in pixels.
#[derive(Clone, Copy, Debug)]
struct Ring {
    centre: Point,
    radius: f64,
    /// Share of the rays that met the outline.
    seen: f64,
    /// Root mean square distance of the outline from the circle.
    rough: f64,
}

/// Some pixels of one ball.
struct Part {
    ball: usize,
    pixels: Vec<usize>,
}

struct Eyes<'a> {
    clip: &'a Clip,
    /// The stage without what moves.
    empty: &'a [u8],
    /// Metres in a pixel.
    scale_m: f64,
    top_m: f64,
    shadow_row: usize,
}

/// What tells one of two balls.
#[derive(Default)]
struct Looks {
    palette: Vec<[f64; 3]>,
    radius: f64,
}

impl Track {
    pub(super) fn follow(clip: &Clip, empty: &[u8], shot: Shot, wanted: &Wanted) -> Self {
        let scale_m = f64::from(shot.view_m()) / clip.width.max(1) as f64;
        let top_m = f64::from(shot.top_m());
        let shadow_row = ((top_m - SHADOWS_M) / scale_m) as usize;
        let eyes = Eyes { clip, empty, scale_m, top_m, shadow_row };
        let smallest = PI * (SMALLEST_M / scale_m).powi(2);
        let frames: Vec<&[u8]> = clip.frames.chunks_exact(clip.frame_len().max(1)).collect();
        let seen: Vec<Vec<Vec<usize>>> = frames
            .iter()
            .map(|frame| {
                let mut found = regions(&eyes.foreground(frame), clip.width);
                found.retain(|region| region.len() as f64 >= smallest);
                found
            })
            .collect();
        let balls = match wanted {
            Wanted::Among(colours) => vec![eyes.among(&frames, &seen, colours)],
            Wanted::Balls(1) => {
                let part = |region: &Vec<usize>| Part { ball: 0, pixels: region.clone() };
                let parts: Vec<Vec<Part>> =
                    seen.iter().map(|regions| regions.iter().map(part).collect()).collect();
                vec![eyes.follow(0, &frames, &parts)]
            }
            Wanted::Balls(count) => {
                let parts = eyes.tell_apart(&frames, &seen, smallest);
                (0..*count).map(|ball| eyes.follow(ball, &frames, &parts)).collect()
            }
        };
        Self { fps: f64::from(clip.fps), balls }
    }
}

impl Eyes<'_> {
    fn foreground(&self, frame: &[u8]) -> Vec<bool> {
        let pixels = frame.as_chunks::<3>().0.iter().zip(self.empty.as_chunks::<3>().0).enumerate();
        pixels
            .map(|(at, (pixel, place))| {
                let difference: u32 = pixel.iter().zip(place).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
                difference > DIFFERENT
                    && !(at / self.clip.width >= self.shadow_row && is_shade(*pixel, *place))
            })
            .collect()
    }

    /// Looks of two balls, from the first frames that show them apart.
    fn learn(&self, frames: &[&[u8]], seen: &[Vec<Vec<usize>>]) -> [Looks; 2] {
        let mut shown: [(Vec<[f64; 3]>, Vec<f64>); 2] = Default::default();
        let mut last: Option<[Point; 2]> = None;
        let apart = frames.iter().zip(seen).filter(|(_, regions)| regions.len() > 1);
        for (frame, regions) in apart.take(LEARNED) {
            let mut largest: Vec<&Vec<usize>> = regions.iter().collect();
            largest.sort_by_key(|region| std::cmp::Reverse(region.len()));
            largest.truncate(2);
            let middles = [self.middle(largest[0]), self.middle(largest[1])];
            // The one that is nearer to where the first was is the first.
            let crossed = last.is_some_and(|[first, second]| {
                distance(first, middles[1]) + distance(second, middles[0])
                    < distance(first, middles[0]) + distance(second, middles[1])
            });
            if crossed {
                largest.swap(0, 1);
            }
            last = Some(if crossed { [middles[1], middles[0]] } else { middles });
            for ((colours, radii), region) in shown.iter_mut().zip(largest) {
                colours.extend(self.core(region).map(|at| tone(rgb(frame, at))));
                radii.push((region.len() as f64 / PI).sqrt());
            }
        }
        shown.map(|(colours, mut radii)| Looks {
            palette: extremes(&colours, PALETTE),
            radius: median(&mut radii).unwrap_or(0.0),
        })
    }

    /// The radius of a region that is a disc, in pixels.
    fn disc(&self, region: &[usize]) -> Option<f64> {
        let (low, high) = self.bounds(region);
        let [wide, tall] = [0, 1].map(|axis| high[axis] - low[axis] + 1.0);
        let filled = region.len() as f64 / (0.25 * PI * wide * tall);
        let round = (wide - tall).abs() <= (ROUND * wide.max(tall)).max(1.5);
        (round && FILLED.contains(&filled)).then(|| (region.len() as f64 / PI).sqrt())
    }

    /// Pixels of a region with nothing but the region around them.
    fn core<'a>(&self, region: &'a [usize]) -> impl Iterator<Item = usize> + use<'a> {
        let width = self.clip.width;
        let inside: std::collections::HashSet<usize> = region.iter().copied().collect();
        region.iter().copied().filter(move |&at| {
            let near = [at.wrapping_sub(1), at + 1, at.wrapping_sub(width), at + width];
            near.iter().all(|other| inside.contains(other))
        })
    }

    /// The parts of each frame that may each be one of two balls.
    fn tell_apart(&self, frames: &[&[u8]], seen: &[Vec<Vec<usize>>], smallest: f64) -> Vec<Vec<Part>> {
        let looks = self.learn(frames, seen);
        let mut ways: [Vec<Option<Point>>; 2] = Default::default();
        let mut told = Vec::with_capacity(frames.len());
        for (frame, regions) in frames.iter().zip(seen) {
            let expected = ways.each_ref().map(|way| ahead(way));
            let (discs, others): (Vec<_>, Vec<_>) =
                regions.iter().partition(|region| self.disc(region).is_some());
            let costs: Vec<[f64; 2]> =
                discs.iter().map(|disc| self.costs(frame, disc, &looks, expected)).collect();
            let owner = |index: usize| usize::from(costs[index][1] < costs[index][0]);
            let mut owners: Vec<usize> = (0..discs.len()).map(owner).collect();
            // Two discs are two balls: the pair that fits best.
            let pairs = (0..discs.len()).flat_map(|one| (0..discs.len()).map(move |other| (one, other)));
            let cost = |&(one, other): &(usize, usize)| costs[one][0] + costs[other][1];
            let best = pairs.filter(|(one, other)| one != other).min_by(|a, b| cost(a).total_cmp(&cost(b)));
            if let Some((one, other)) = best {
                (owners[one], owners[other]) = (0, 1);
            }
            let whole = owners.iter().zip(discs).map(|(&ball, region)| Part { ball, pixels: region.clone() });
            let mut parts: Vec<Part> = whole.collect();
            for region in others {
                parts.extend(self.split(frame, region, &looks, expected, smallest));
            }
            for (ball, way) in ways.iter_mut().enumerate() {
                let own = parts.iter().filter(|part| part.ball == ball).max_by_key(|part| part.pixels.len());
                way.push(own.map(|part| self.middle(&part.pixels)));
            }
            told.push(parts);
        }
        told
    }

    /// How unlike each of two balls a disc is: its colours, its size and its place.
    fn costs(
        &self,
        frame: &[u8],
        disc: &[usize],
        looks: &[Looks; 2],
        expected: [Option<Point>; 2],
    ) -> [f64; 2] {
        let radius = (disc.len() as f64 / PI).sqrt();
        let mut nearer = [0.0; 2];
        let mut total = 0.0;
        for at in self.core(disc) {
            let away = looks.each_ref().map(|look| look.away(rgb(frame, at)));
            // Tones that both balls have say nothing.
            let clear = ((away[0] - away[1]).abs() / UNLIKE).min(1.0);
            nearer[usize::from(away[1] < away[0])] += clear;
            total += 1.0;
        }
        let middle = self.middle(disc);
        [0, 1].map(|ball: usize| {
            let size = (radius - looks[ball].radius).abs() / looks[ball].radius.max(1.0);
            let place =
                expected[ball].map_or(0.0, |place| (distance(place, middle) / (4.0 * radius)).min(1.0));
            nearer[1 - ball] / f64::max(total, 1.0) + 3.0 * size.min(0.5) + place
        })
    }

    /// The parts of a region in which two balls may touch.
    fn split(
        &self,
        frame: &[u8],
        region: &[usize],
        looks: &[Looks; 2],
        expected: [Option<Point>; 2],
        smallest: f64,
    ) -> Vec<Part> {
        let owner = |at: usize| {
            let cost = [0, 1].map(|ball: usize| {
                let outside = expected[ball].map_or(0.0, |place| {
                    (distance(place, self.point(at)) / looks[ball].radius.max(1.0) - 1.0).clamp(0.0, 1.0)
                });
                looks[ball].away(rgb(frame, at)) / UNLIKE + outside
            });
            usize::from(cost[1] < cost[0])
        };
        let mut counts = [0_usize; 2];
        self.core(region).for_each(|at| counts[owner(at)] += 1);
        let shows = |ball: usize| counts[ball] as f64 > PURE * PI * looks[ball].radius.powi(2);
        if !(shows(0) && shows(1)) {
            return vec![Part { ball: usize::from(counts[1] > counts[0]), pixels: region.to_vec() }];
        }
        let mut parts = Vec::new();
        for ball in 0..2 {
            let mut set = vec![false; frame.len() / 3];
            for &at in region.iter().filter(|&&at| owner(at) == ball) {
                set[at] = true;
            }
            let own = regions(&set, self.clip.width).into_iter();
            let own = own.filter(|pixels| pixels.len() as f64 >= smallest);
            parts.extend(own.map(|pixels| Part { ball, pixels }));
        }
        parts
    }

    fn follow(&self, ball: usize, frames: &[&[u8]], parts: &[Vec<Part>]) -> Ball {
        let own: Vec<Vec<&Part>> =
            parts.iter().map(|parts| parts.iter().filter(|part| part.ball == ball).collect()).collect();
        let radius = self.radius(frames, &own);
        let area = PI * radius * radius;
        let mut places: Vec<Option<Point>> = Vec::with_capacity(frames.len());
        let mut doubled = Vec::with_capacity(frames.len());
        for (frame, parts) in frames.iter().zip(&own) {
            let expected = ahead(&places);
            // What is left of a ball under a rim or another ball still counts; crumbs beside a whole one do not.
            let whole: Vec<&&Part> =
                parts.iter().filter(|part| part.pixels.len() as f64 >= PART * area).collect();
            let candidates = if whole.is_empty() { parts.iter().collect() } else { whole };
            doubled.push(
                candidates.len() > 1
                    && parts.iter().map(|p| p.pixels.len()).sum::<usize>() as f64 > 1.3 * area,
            );
            let chosen = candidates.into_iter().min_by(|one, other| {
                let cost = |part: &Part| match expected {
                    Some(expected) => distance(self.middle(&part.pixels), expected),
                    None => -(part.pixels.len() as f64),
                };
                cost(one).total_cmp(&cost(other))
            });
            places.push(chosen.map(|part| self.centre(frame, part, radius, expected)));
        }
        Ball {
            places_m: places
                .into_iter()
                .map(|place| place.map(|[x, y]| [x * self.scale_m, self.top_m - y * self.scale_m]))
                .collect(),
            radius_m: radius * self.scale_m,
            held: vec![false; doubled.len()],
            doubled,
        }
    }

    /// The radius in pixels that most frames agree on.
    fn radius(&self, frames: &[&[u8]], own: &[Vec<&Part>]) -> f64 {
        let largest =
            |parts: &Vec<&Part>| parts.iter().map(|part| &part.pixels).max_by_key(|p| p.len()).cloned();
        let mut rings = Vec::new();
        let mut areas = Vec::new();
        let shown = frames.iter().zip(own).filter_map(|(frame, parts)| Some((frame, largest(parts)?)));
        for (frame, pixels) in shown.step_by(RADIUS_EVERY) {
            let rough = (pixels.len() as f64 / PI).sqrt();
            areas.push(rough);
            rings.extend(
                self.ring(frame, self.middle(&pixels), rough, true)
                    .filter(|ring| ring.seen > 0.6 && ring.rough < 0.5)
                    .map(|ring| ring.radius),
            );
        }
        median(if 4 * rings.len() > areas.len() { &mut rings } else { &mut areas }).unwrap_or(0.0)
    }

    /// The centre of a ball of which a part is seen: by its outline, or else by its pixels.
    fn centre(&self, frame: &[u8], part: &Part, radius: f64, expected: Option<Point>) -> Point {
        let mean = [0, 1].map(|axis| {
            let sum: f64 = part.pixels.iter().map(|&at| self.point(at)[axis]).sum();
            sum / part.pixels.len().max(1) as f64
        });
        let middle = self.middle(&part.pixels);
        let near = expected.filter(|&expected| distance(expected, middle) < radius);
        let mut best: Option<Ring> = None;
        for start in [near, Some(middle), Some(mean)].into_iter().flatten() {
            let found = self.ring(frame, start, radius, false);
            let ring = found.filter(|ring| ring.rough < 0.8 && distance(ring.centre, mean) < radius);
            let worth = |ring: &Ring| ring.seen - ring.rough;
            if ring.is_some_and(|ring| best.is_none_or(|best| worth(&ring) > worth(&best))) {
                best = ring;
            }
            // Most of the outline is on the circle: nothing else can be the ball.
            if best.is_some_and(|best| best.seen > 0.6 && best.rough < 0.3) {
                break;
            }
        }
        best.map_or(mean, |ring| ring.centre)
    }

    fn point(&self, at: usize) -> Point {
        [(at % self.clip.width) as f64 + 0.5, (at / self.clip.width) as f64 + 0.5]
    }

    /// Middle of the box around some pixels.
    fn middle(&self, pixels: &[usize]) -> Point {
        let (low, high) = self.bounds(pixels);
        [0, 1].map(|axis| f64::midpoint(low[axis], high[axis]))
    }

    /// The corners of the box around the middles of some pixels.
    fn bounds(&self, pixels: &[usize]) -> (Point, Point) {
        let (mut low, mut high) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
        for &at in pixels {
            let point = self.point(at);
            for axis in 0..2 {
                low[axis] = low[axis].min(point[axis]);
                high[axis] = high[axis].max(point[axis]);
            }
        }
        (low, high)
    }

    /// The circle through the outline around `centre`, of that radius or, where `free`, of any.
    fn ring(&self, frame: &[u8], mut centre: Point, mut radius: f64, free: bool) -> Option<Ring> {
        let mut ring = None;
        for reach in REACHES_PX {
            let rays: Vec<(Point, f64)> = (0..RAYS)
                .filter_map(|ray| {
                    let (sin, cos) = (TAU * ray as f64 / RAYS as f64).sin_cos();
                    self.edge(frame, centre, [cos, sin], radius, reach)
                        .map(|edge| ([cos, sin], edge - radius))
                })
                .collect();
            if rays.len() < FEWEST_RAYS {
                return None;
            }
            let [dx, dy, growth] = fit_circle(&rays, free)?;
            let squares: f64 = rays
                .iter()
                .map(|([cos, sin], off)| (off - growth - dx * cos - dy * sin).powi(2).min(1.0))
                .sum();
            centre = [centre[0] + dx, centre[1] + dy];
            radius += growth;
            ring = Some(Ring {
                centre,
                radius,
                seen: rays.len() as f64 / RAYS as f64,
                rough: (squares / rays.len() as f64).sqrt(),
            });
        }
        ring
    }

    /// How far from `centre` along a ray the ball ends, where the background follows it.
    fn edge(&self, frame: &[u8], centre: Point, [cos, sin]: Point, radius: f64, reach: f64) -> Option<f64> {
        let (start, end) = ((radius - reach).max(0.3 * radius), radius + reach);
        let at = |along: f64| [centre[0] + along * cos, centre[1] + along * sin];
        let inner = self.sample(frame, at(start))?;
        let cover = |along: f64| {
            let (pixel, back) = (self.sample(frame, at(along))?, self.sample(self.empty, at(along))?);
            // A ball is darker towards its outline, but of the same tint: what of the contrast is no brightness
            // says best where it ends, if there is any.
            let brightness = dot(back, inner) / dot(inner, inner).max(1.0);
            let tint: [f64; 3] = std::array::from_fn(|i| brightness * inner[i] - back[i]);
            let contrast: [f64; 3] = std::array::from_fn(|i| inner[i] - back[i]);
            let tinted = dot(tint, tint) > TINTED;
            let towards = if tinted { tint } else { contrast };
            let square = dot(contrast, towards);
            let change: [f64; 3] = std::array::from_fn(|i| pixel[i] - back[i]);
            (tinted || square > FAINT).then(|| dot(change, towards) / square)
        };
        if !(-0.15..0.15).contains(&cover(end)?) {
            return None;
        }
        let steps = ((end - start) / STEP_PX).ceil();
        let step = (end - start) / steps;
        let mut edge = start;
        for index in 0..steps as usize {
            edge += step * cover(start + (index as f64 + 0.5) * step)?.clamp(0.0, 1.2);
        }
        Some(edge)
    }

    /// A colour between pixels.
    fn sample(&self, pixels: &[u8], [x, y]: Point) -> Option<[f64; 3]> {
        let (x, y) = (x - 0.5, y - 0.5);
        let (width, height) = (self.clip.width, self.clip.height);
        if x < 0.0 || y < 0.0 || x >= (width - 1) as f64 || y >= (height - 1) as f64 {
            return None;
        }
        let (column, row) = (x as usize, y as usize);
        let (right, down) = (x - column as f64, y - row as f64);
        let corner = |dx: usize, dy: usize| rgb(pixels, (row + dy) * width + column + dx);
        let (a, b, c, d) = (corner(0, 0), corner(1, 0), corner(0, 1), corner(1, 1));
        Some(std::array::from_fn(|i| {
            let mix = |one: u8, other: u8| f64::from(one) + right * (f64::from(other) - f64::from(one));
            let (upper, lower) = (mix(a[i], b[i]), mix(c[i], d[i]));
            upper + down * (lower - upper)
        }))
    }
}

/// Shift and growth that bring a circle to its outline, by least squares that outliers pull little.
fn fit_circle(rays: &[(Point, f64)], free: bool) -> Option<[f64; 3]> {
    let mut found = [0.0; 3];
    // The middle ray is right even where a third of them is not.
    found[2] = median(&mut rays.iter().map(|ray| ray.1).collect::<Vec<f64>>())?;
    for round in 0..8 {
        let tolerance = if round < 2 { 2.0 } else { 0.25 };
        let mut matrix = [[0.0; 3]; 3];
        let mut right = [0.0; 3];
        for &([cos, sin], off) in rays {
            let row = [cos, sin, 1.0];
            let residual = off - row.iter().zip(found).map(|(a, b)| a * b).sum::<f64>();
            let weight = (1.0 + (residual / tolerance).powi(2)).powi(-2);
            for i in 0..3 {
                right[i] += weight * row[i] * off;
                for j in 0..3 {
                    matrix[i][j] += weight * row[i] * row[j];
                }
            }
        }
        if !free {
            matrix[2] = [0.0, 0.0, 1.0];
            right[2] = 0.0;
        }
        found = solve(matrix, right)?;
    }
    Some(found)
}

/// Three linear equations, by Cramer's rule.
pub(super) fn solve(matrix: [[f64; 3]; 3], right: [f64; 3]) -> Option<[f64; 3]> {
    let determinant = |m: [[f64; 3]; 3]| {
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    };
    let whole = determinant(matrix);
    let scale: f64 = matrix.iter().flatten().map(|value| value.abs()).fold(0.0, f64::max);
    (whole.abs() > 1e-9 * scale.powi(3)).then(|| {
        std::array::from_fn(|column| {
            let mut replaced = matrix;
            for (row, value) in replaced.iter_mut().zip(right) {
                row[column] = value;
            }
            determinant(replaced) / whole
        })
    })
}

/// Where a ball is next if it goes on as it does.
fn ahead(places: &[Option<Point>]) -> Option<Point> {
    match places {
        [.., Some(before), Some(last)] => Some([0, 1].map(|axis| 2.0 * last[axis] - before[axis])),
        [.., last] => *last,
        [] => None,
    }
}

fn dot(one: [f64; 3], other: [f64; 3]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

pub(super) fn distance<const N: usize>(one: [f64; N], other: [f64; N]) -> f64 {
    one.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

pub(super) fn median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(middle, f64::total_cmp).1)
}

fn tone(pixel: [u8; 3]) -> [f64; 3] {
    pixel.map(f64::from)
}

/// Named colours as shaded balls show them.
fn shades(colours: &[Rgb]) -> Vec<[f64; 3]> {
    let shades = [0.55, 0.65, 0.75, 0.85, 0.95, 1.04];
    colours
        .iter()
        .flat_map(|colour| shades.map(|shade| tone(*colour).map(|channel| channel * shade)))
        .collect()
}

impl Looks {
    /// Distance of a pixel to the nearest of a ball's colours.
    fn away(&self, pixel: [u8; 3]) -> f64 {
        let colour = tone(pixel);
        self.palette.iter().map(|&other| distance(colour, other)).fold(f64::INFINITY, f64::min)
    }
}

/// At most `count` colours that lie as far apart as the given ones do.
fn extremes(colours: &[[f64; 3]], count: usize) -> Vec<[f64; 3]> {
    let mut chosen: Vec<[f64; 3]> = colours.first().copied().into_iter().collect();
    while chosen.len() < count {
        let away = |colour: &&[f64; 3]| {
            chosen.iter().map(|&other| distance(**colour, other)).fold(f64::INFINITY, f64::min)
        };
        let farthest = colours.iter().max_by(|one, other| away(one).total_cmp(&away(other)));
        match farthest {
            Some(colour) if away(&colour) > 8.0 => chosen.push(*colour),
            _ => break,
        }
    }
    chosen
}

/// One pixel; black beyond the picture.
fn rgb(pixels: &[u8], at: usize) -> [u8; 3] {
    pixels.as_chunks::<3>().0.get(at).copied().unwrap_or_default()
}

/// Groups of set pixels, of which neighbours lie at most two apart: a line of another colour splits nothing.
fn regions(set: &[bool], width: usize) -> Vec<Vec<usize>> {
    let mut left = set.to_vec();
    let mut found = Vec::new();
    for start in 0..left.len() {
        if !left[start] {
            continue;
        }
        left[start] = false;
        let mut region = vec![start];
        let mut next = 0;
        while let Some(&at) = region.get(next) {
            next += 1;
            let (column, row) = (at % width, at / width);
            for near_row in row.saturating_sub(2)..(row + 3).min(left.len() / width) {
                for near_column in column.saturating_sub(2)..(column + 3).min(width) {
                    let near = near_row * width + near_column;
                    if left[near] {
                        left[near] = false;
                        region.push(near);
                    }
                }
            }
        }
        found.push(region);
    }
    found
}

/// Whether a pixel is the background's own, only darker: a shadow takes the same share of each channel.
fn is_shade(pixel: [u8; 3], place: [u8; 3]) -> bool {
    let shares = pixel.into_iter().zip(place).map(|(a, b)| f32::from(a) / f32::from(b.max(1)));
    let (low, high) =
        shares.fold((f32::MAX, 0.0_f32), |(low, high), share| (low.min(share), high.max(share)));
    high - low < 0.03 && low > 0.4 && high < 1.0
}

#[cfg(test)]
mod tests {
    use super::super::physics::Known;
    use super::*;
    use crate::world::draw::{render, render_stage};
    use crate::world::{Body, FPS, Family, Pose, SAMPLE_RATE, Scene, Track as Way};

    const SIDE: usize = 128;

    fn seen(scene: &Scene) -> Track {
        let clip = Clip {
            width: SIDE,
            height: SIDE,
            fps: FPS,
            frames: render(scene, SIDE, SIDE),
            sample_rate: SAMPLE_RATE,
            samples: Vec::new(),
        };
        let empty = render_stage(scene, SIDE, SIDE);
        Track::follow(&clip, &empty, scene.shot, &Wanted::Balls(scene.actors.len()))
    }

    /// Median distance in pixels between where a ball is and where it is seen.
    fn error_px(scene: &Scene, actor: usize, ball: &Ball) -> f64 {
        let Way::Bodies(frames) = &scene.actors[actor].track else { panic!("a ball") };
        let mut errors: Vec<f64> = frames
            .iter()
            .zip(&ball.places_m)
            .map(|(poses, place)| {
                place.map_or(99.0, |place| {
                    distance(place, [f64::from(poses[0].x_m), f64::from(poses[0].y_m)]) * SIDE as f64
                        / f64::from(scene.shot.view_m())
                })
            })
            .collect();
        median(&mut errors).unwrap()
    }

    fn way(scene: &mut Scene, actor: usize) -> &mut Vec<Vec<Pose>> {
        match &mut scene.actors[actor].track {
            Way::Bodies(frames) => frames,
            Way::Doll(_) => panic!("a ball"),
        }
    }

    #[test]
    fn balls_are_seen_where_they_are() {
        let mut errors = Vec::new();
        for (family, seed) in [Family::Bounce, Family::Hoop, Family::Collision]
            .into_iter()
            .flat_map(|family| (3..9).map(move |seed| (family, seed)))
        {
            let scene = family.sample(seed);
            let track = seen(&scene);
            // Which ball is the first is nobody's business.
            let swapped = scene.actors.len() == 2 && error_px(&scene, 0, &track.balls[0]) > 3.0;
            for (actor, body) in scene.actors.iter().enumerate() {
                let ball = &track.balls[if swapped { 1 - actor } else { actor }];
                let Body::Ball { radius_m } = body.body else { panic!("a ball") };
                errors.push(error_px(&scene, actor, ball));
                assert!((ball.radius_m / f64::from(radius_m) - 1.0).abs() < 0.06, "{family:?} {seed}");
                assert!(ball.places_m.iter().all(Option::is_some), "{family:?} {seed}");
                assert!(!ball.doubled.contains(&true), "{family:?} {seed}");
            }
        }
        assert!(median(&mut errors).unwrap() < 0.06, "{errors:?}");
    }

    #[test]
    fn a_ball_that_is_gone_or_double_is_noticed() {
        let mut scene = Family::Bounce.sample(4);
        for frame in 20..30 {
            way(&mut scene, 0)[frame][0].x_m = 99.0;
        }
        let view_m = scene.shot.view_m();
        for frame in 50..57 {
            let [Pose { x_m, .. }] = way(&mut scene, 0)[frame][..] else { panic!("one body") };
            let beside_m = if x_m < view_m / 2.0 { view_m - 1.0 } else { 1.0 };
            way(&mut scene, 0)[frame].push(Pose { x_m: beside_m, y_m: 3.0, angle_rad: 0.0 });
        }
        let ball = &seen(&scene).balls[0];
        let gone: Vec<usize> = (0..96).filter(|&frame| ball.places_m[frame].is_none()).collect();
        let double: Vec<usize> = (0..96).filter(|&frame| ball.doubled[frame]).collect();
        assert_eq!(gone, (20..30).collect::<Vec<_>>());
        assert_eq!(double, (50..57).collect::<Vec<_>>());
    }

    #[test]
    fn one_ball_of_two_that_is_gone_is_that_one() {
        let mut scene = Family::Collision.sample(7);
        for frame in 40..96 {
            way(&mut scene, 1)[frame][0].x_m = 99.0;
        }
        let track = seen(&scene);
        let lost = |ball: &Ball| ball.places_m.iter().filter(|place| place.is_none()).count();
        let mut lost: Vec<usize> = track.balls.iter().map(lost).collect();
        lost.sort_unstable();
        assert_eq!(lost, [0, 56]);
    }

    #[test]
    fn regions_are_apart_by_more_than_a_pixel() {
        let mut set = vec![false; 100];
        for at in [0, 2, 13, 50, 9, 19] {
            set[at] = true;
        }
        let mut sizes: Vec<usize> = regions(&set, 10).iter().map(Vec::len).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 2, 3]);
    }

    #[test]
    fn a_ball_among_people_is_followed_in_flight_and_in_hands() {
        let (mut errors, mut lost) = (Vec::new(), 0);
        for seed in 0..12 {
            let scene = Family::Throw.sample(seed);
            let Known { wanted, .. } = Known::of(&scene);
            let clip = Clip {
                width: SIDE,
                height: SIDE,
                fps: FPS,
                frames: render(&scene, SIDE, SIDE),
                sample_rate: SAMPLE_RATE,
                samples: Vec::new(),
            };
            let track = Track::follow(&clip, &render_stage(&scene, SIDE, SIDE), scene.shot, &wanted);
            let ball = &track.balls[0];
            let actor = scene.actors.len() - 1;
            errors.push(error_px(&scene, actor, ball));
            lost += ball.places_m.iter().filter(|place| place.is_none()).count();
            assert!(ball.held.contains(&false), "the ball of {seed} flies");
        }
        // A ball in the colours of whoever holds it may be lost in their hands.
        assert!(errors.iter().filter(|error| **error < 1.0).count() >= 11, "{errors:?}");
        assert!(lost <= 96, "{lost} frames without the ball");
    }
}
