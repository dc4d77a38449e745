//! Follows one ball among people: its colours and a clip's frames enter, where it is leaves.
//!
//! Where it flies it is a disc apart from everything else, which says how large it is and what tones it shows.
//! With these it is found again where somebody holds it: the place near the last one where most of a disc is of
//! its tones and what is around is not. INVARIANT: a ball that nobody ever lets go of is not seen.

use super::{Ball, Eyes, Part, Point, Rgb, ahead, distance, extremes, median, rgb, shades, tone};

/// Farther than this from every shade of the asked colours is another thing.
const STRANGE: f64 = 45.0;
/// A tone this near to one that the ball has shown is the ball's.
const OWN: f64 = 32.0;
/// Tones that stand for the ball.
const TONES: usize = 16;
/// Frames that tones are learned from.
const LEARNED: usize = 8;
/// Radii of balls that people throw.
const RADII_M: std::ops::Range<f64> = 0.13..0.5;
/// Share of a disc that is of the asked colours.
const ASKED: f64 = 0.5;
/// How much of what the ball shows a disc must show where somebody holds it.
const SHOWN: f64 = 0.35;
/// Areas of one ball differ by less than this share.
const ALIKE: f64 = 0.5;
/// How far from where it is expected a held ball is sought, in radii, and on what grid in pixels.
const SOUGHT: f64 = 2.5;
const GRID_PX: f64 = 0.5;

impl Eyes<'_> {
    /// The ball of some colours among people.
    pub(super) fn among(&self, frames: &[&[u8]], seen: &[Vec<Vec<usize>>], colours: &[Rgb]) -> Ball {
        let asked = shades(colours);
        let discs: Vec<Vec<Part>> = frames
            .iter()
            .zip(seen)
            .map(|(frame, regions)| {
                let free = regions.iter().filter(|region| self.is_free(frame, region, &asked));
                free.map(|region| Part { ball: 0, pixels: region.clone() }).collect()
            })
            .collect();
        let discs = alike(discs);
        let gone = Ball {
            places_m: vec![None; frames.len()],
            radius_m: 0.0,
            doubled: vec![false; frames.len()],
            held: vec![false; frames.len()],
        };
        let Some(first) = discs.iter().position(|discs| !discs.is_empty()) else { return gone };
        let own: Vec<Vec<&Part>> = discs.iter().map(|discs| discs.iter().collect()).collect();
        let radius = self.radius(frames, &own);
        let shown = self.tones(frames, &discs);
        let mut places: Vec<Option<Point>> = vec![None; frames.len()];
        // Forth from where it is first free, and back from there.
        for backwards in [false, true] {
            let mut known: Vec<Option<Point>> = Vec::new();
            let order: Vec<usize> = if backwards {
                known.extend(places.iter().skip(first).take(2).rev().copied());
                (0..first).rev().collect()
            } else {
                (first..frames.len()).collect()
            };
            for at in order {
                let (Some(frame), Some(discs)) = (frames.get(at), discs.get(at)) else { continue };
                let expected = ahead(&known);
                let away = |part: &&Part| {
                    expected.map_or(0.0, |expected| distance(self.middle(&part.pixels), expected))
                };
                let free = discs.iter().min_by(|one, other| away(one).total_cmp(&away(other)));
                let place = match (free, expected) {
                    (Some(part), _) => Some(self.centre(frame, part, radius, expected)),
                    (None, Some(expected)) => self.held(frame, expected, radius, &shown),
                    (None, None) => None,
                };
                known.push(place);
                if let Some(slot) = places.get_mut(at) {
                    *slot = place;
                }
            }
        }
        let metres = |[x, y]: Point| [x * self.scale_m, self.top_m - y * self.scale_m];
        Ball {
            places_m: places.into_iter().map(|place| place.map(metres)).collect(),
            radius_m: radius * self.scale_m,
            doubled: discs.iter().map(|discs| discs.len() > 1).collect(),
            held: discs.iter().map(Vec::is_empty).collect(),
        }
    }

    /// Whether a region is a ball of the asked colours apart from everything else.
    fn is_free(&self, frame: &[u8], region: &[usize], asked: &[[f64; 3]]) -> bool {
        let Some(radius) = self.disc(region).filter(|radius| RADII_M.contains(&(radius * self.scale_m)))
        else {
            return false;
        };
        let pixels: Vec<usize> = self.core(region).collect();
        let own = pixels.iter().filter(|&&at| nearest(tone(rgb(frame, at)), asked) < STRANGE).count();
        radius > 0.0 && own as f64 > ASKED * pixels.len() as f64
    }

    /// What the free ball shows.
    fn tones(&self, frames: &[&[u8]], discs: &[Vec<Part>]) -> Tones {
        let free: Vec<(&&[u8], &Part)> =
            frames.iter().zip(discs).filter_map(|(frame, discs)| Some((frame, discs.first()?))).collect();
        let every = free.len().div_ceil(LEARNED).max(1);
        let shown: Vec<[f64; 3]> = free
            .into_iter()
            .step_by(every)
            .flat_map(|(frame, part)| self.core(&part.pixels).map(|at| tone(rgb(frame, at))))
            .collect();
        let mut tones = Tones { colours: extremes(&shown, TONES), shares: Vec::new() };
        tones.shares = vec![0.0; tones.colours.len()];
        for colour in &shown {
            if let Some(share) = tones.of(*colour).and_then(|index| tones.shares.get_mut(index)) {
                *share += 1.0 / shown.len() as f64;
            }
        }
        tones
    }

    /// Where near `expected` a disc shows what the ball shows while what is around it does not.
    fn held(&self, frame: &[u8], expected: Point, radius: f64, tones: &Tones) -> Option<Point> {
        let reach = SOUGHT * radius;
        let span = (reach + 2.0 * radius).ceil() as i64;
        let (left, top) = (expected[0] as i64 - span, expected[1] as i64 - span);
        let side = (2 * span + 1) as usize;
        let (width, height) = (self.clip.width as i64, self.clip.height as i64);
        let own: Vec<Option<usize>> = (0..side * side)
            .map(|at| {
                let (x, y) = (left + (at % side) as i64, top + (at / side) as i64);
                let inside = (0..width).contains(&x) && (0..height).contains(&y);
                inside.then(|| tones.of(tone(rgb(frame, (y * width + x) as usize))))?
            })
            .collect();
        let worth = |place: Point| {
            let mut shown = vec![0.0; tones.shares.len()];
            let (mut inside, mut around) = (0.0, [0.0; 2]);
            let reaches =
                |axis: usize| (place[axis] - 1.6 * radius) as i64..=(place[axis] + 1.6 * radius) as i64;
            for y in reaches(1) {
                for x in reaches(0) {
                    let away = distance(place, [x as f64 + 0.5, y as f64 + 0.5]);
                    let at = (x - left).max(0) as usize + (y - top).max(0) as usize * side;
                    let tone = own.get(at).copied().flatten();
                    if away < radius - 0.3 {
                        inside += 1.0;
                        if let Some(count) = tone.and_then(|tone| shown.get_mut(tone)) {
                            *count += 1.0;
                        }
                    } else if away > radius + 0.5 && away < 1.6 * radius {
                        around[0] += if tone.is_some() { 1.0 } else { 0.0 };
                        around[1] += 1.0;
                    }
                }
            }
            // Not only the ball's tones, but as much of each as the ball shows.
            let alike: f64 = shown
                .iter()
                .zip(&tones.shares)
                .map(|(count, share)| share.min(count / f64::max(inside, 1.0)))
                .sum();
            let around = around[0] / f64::max(around[1], 1.0);
            // Of two places as good as each other the ball is at the nearer.
            (alike - 0.4 * around - 0.05 * distance(place, expected) / radius, alike)
        };
        let steps = (reach / GRID_PX) as i64;
        let grid = (-steps..=steps).flat_map(|row| (-steps..=steps).map(move |column| (column, row)));
        let places = grid
            .map(|(column, row)| [expected[0] + GRID_PX * column as f64, expected[1] + GRID_PX * row as f64]);
        let best = places.map(|place| (place, worth(place))).max_by(|a, b| a.1.0.total_cmp(&b.1.0));
        let place = best.filter(|(_, (_, alike))| *alike > SHOWN)?.0;
        // What is seen of its outline says it better.
        let ring = self.ring(frame, place, radius, false);
        let ring = ring.filter(|ring| ring.rough < 0.5 && distance(ring.centre, place) < 1.0);
        Some(ring.map_or(place, |ring| ring.centre))
    }
}

/// Tones of a ball, and how much of it each is.
struct Tones {
    colours: Vec<[f64; 3]>,
    shares: Vec<f64>,
}

impl Tones {
    /// Which of them a colour is.
    fn of(&self, colour: [f64; 3]) -> Option<usize> {
        let away = self.colours.iter().map(|&other| distance(colour, other)).enumerate();
        away.min_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, away)| *away < OWN).map(|(index, _)| index)
    }
}

/// The discs without those of another size than most.
fn alike(discs: Vec<Vec<Part>>) -> Vec<Vec<Part>> {
    let area = |part: &Part| part.pixels.len() as f64;
    let Some(middle) = median(&mut discs.iter().flatten().map(area).collect::<Vec<f64>>()) else {
        return discs;
    };
    let near = |part: &Part| (area(part) / middle - 1.0).abs() < ALIKE;
    discs.into_iter().map(|discs| discs.into_iter().filter(near).collect()).collect()
}

/// Distance to the nearest of some colours.
fn nearest(colour: [f64; 3], others: &[[f64; 3]]) -> f64 {
    others.iter().map(|&other| distance(colour, other)).fold(f64::INFINITY, f64::min)
}
