//! Finds who and what acts in a clip's pixels: frames enter, square crops of the figures leave.
//!
//! A thing is what moves: what differs from each pixel's median over time. A person may stand still, but no
//! person is as wide as the room: what differs from each row's median is a person, or a fixture, which scenes
//! of people have none of. Shadows on the floor are no part of a figure.
//! INVARIANT: a crop shows the figure whole, in its middle, with the same share of room around it.

use crate::clip::Clip;
use crate::world::Look;
use crate::world::draw::portrait;

/// Side of a crop in pixels.
pub(super) const CROP: usize = 48;
/// Red, green, blue, and how much of the pixel is the figure.
pub(super) const CHANNELS: usize = 4;
/// Frames of a clip in which figures are looked for.
pub(super) const GLANCES: usize = 12;
/// Figures of one frame at most, the largest.
const FIGURES: usize = 2;
/// The shorter side of the pictures that are searched.
const SEARCHED: usize = 96;
/// Summed channel difference from which a pixel is not the place's own.
const MOVES: i32 = 54;
/// The same for walls, whose texture differs from their median.
const STANDS: i32 = 78;
/// Shadows fall below this share of the picture's height.
const SHADOWS_FROM: f32 = 0.84;
/// Share of the searched square that a figure covers at least.
const SMALLEST: f32 = 0.0016;
/// Room around a figure, as a share of its longer side.
const ROOM: f32 = 0.15;
const PORTRAIT_SIDE: usize = 96;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A ball or a bob: something that moves.
    Thing,
    Person,
}

impl Kind {
    pub(super) fn of(look: &Look) -> Self {
        match look {
            Look::Skin(_) => Self::Thing,
            Look::Person(_) => Self::Person,
        }
    }

    fn smallest(self) -> f32 {
        match self {
            Self::Thing => SMALLEST,
            Self::Person => 2.5 * SMALLEST,
        }
    }
}

/// A figure cut out of a frame.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Crop {
    /// Which frame of the clip.
    pub(super) frame: usize,
    /// Left, top, right and bottom edge of the figure as shares of the picture's shorter side, from its upper
    /// left corner.
    pub(super) bounds: [f32; 4],
    /// `[channel, row, column]`, 0 to 255.
    pub(super) pixels: Vec<u8>,
}

impl Crop {
    /// True for a place inside the figure's bounds.
    pub(super) fn spans(&self, (x, y): (f32, f32)) -> bool {
        let [left, top, right, bottom] = self.bounds;
        (left..right).contains(&x) && (top..bottom).contains(&y)
    }
}

/// Where a frame's largest figure is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spot {
    /// The middle, as a share of the picture's shorter side, y down.
    pub(super) x: f32,
    pub(super) y: f32,
    /// Radius of a disc that covers as much.
    pub(super) radius: f32,
}

/// The figures of a clip, in at most two dozen crops.
pub(super) fn crops(clip: &Clip, kind: Kind) -> Vec<Crop> {
    let count = clip.frame_count();
    let chosen = (0..GLANCES.min(count)).map(|glance| glance * count / GLANCES.min(count)).collect();
    let Some(searched) = Searched::new(clip, chosen) else { return Vec::new() };
    let place = searched.place(kind);
    let mut crops = Vec::new();
    for (index, small) in searched.frames.iter().enumerate() {
        let mask = searched.mask(small, &place, kind);
        let mut blobs = blobs(&mask, searched.width, searched.least(kind));
        blobs.sort_by_key(|blob| std::cmp::Reverse(blob.pixels.len()));
        for blob in blobs.into_iter().take(FIGURES) {
            let frame = searched.chosen[index];
            if let Some(pixels) = clip.frame(frame) {
                crops.push(searched.cut(pixels, (clip.width, clip.height), &blob, frame));
            }
        }
    }
    crops
}

/// Where the largest figure is in each frame.
pub(super) fn spots(clip: &Clip, kind: Kind) -> Vec<Option<Spot>> {
    let Some(searched) = Searched::new(clip, (0..clip.frame_count()).collect()) else {
        return vec![None; clip.frame_count()];
    };
    let place = searched.place(kind);
    let frames = searched.frames.iter().map(|small| {
        let mask = searched.mask(small, &place, kind);
        let mut blobs = blobs(&mask, searched.width, searched.least(kind));
        blobs.sort_by_key(|blob| std::cmp::Reverse(blob.pixels.len()));
        let mut blobs = blobs.into_iter();
        let largest = blobs.next()?;
        Some(match kind {
            Kind::Thing => searched.spot(small, &place, &largest),
            // A shirt as pale as the wall leaves head and legs.
            Kind::Person => {
                let above = |blob: &Blob| blob.left <= largest.right && largest.left <= blob.right;
                let parts: Vec<Blob> = blobs.filter(above).collect();
                searched.box_of(&parts.into_iter().fold(largest, Blob::join))
            }
        })
    });
    frames.collect()
}

/// The crop of a look's portrait.
pub(super) fn portrait_crop(look: &Look) -> Option<Crop> {
    let side = PORTRAIT_SIDE;
    let frames = portrait(look, side);
    let grey = frames.first().copied()?;
    let clip = Clip { width: side, height: side, fps: 24, frames, sample_rate: 12_000, samples: Vec::new() };
    let searched = Searched::new(&clip, vec![0])?;
    let place = vec![grey; searched.frames.first()?.len()];
    let mask: Vec<bool> = differs(searched.frames.first()?, &place, 24).collect();
    let whole = blobs(&mask, searched.width, 16).into_iter().reduce(Blob::join)?;
    Some(searched.cut(&clip.frames, (side, side), &whole, 0))
}

/// Chosen frames of a clip, small.
struct Searched {
    width: usize,
    height: usize,
    /// Clip pixels a searched pixel.
    scale: f32,
    chosen: Vec<usize>,
    frames: Vec<Vec<u8>>,
}

impl Searched {
    fn new(clip: &Clip, chosen: Vec<usize>) -> Option<Self> {
        let shorter = clip.width.min(clip.height);
        if shorter == 0 || chosen.is_empty() {
            return None;
        }
        let scale = shorter as f32 / SEARCHED.min(shorter) as f32;
        let side = |length: usize| ((length as f32 / scale).round() as usize).max(1);
        let (width, height) = (side(clip.width), side(clip.height));
        let columns = taps(0.0, scale, width, clip.width);
        let rows = taps(0.0, scale, height, clip.height);
        let frames = chosen.iter().filter_map(|&frame| clip.frame(frame));
        let frames = frames.map(|pixels| resample(pixels, clip.width, &columns, &rows)).collect();
        Some(Self { width, height, scale, chosen, frames })
    }

    fn least(&self, kind: Kind) -> usize {
        (kind.smallest() * (self.width.min(self.height) as f32).powi(2)) as usize
    }

    /// What the place looks like without its figures.
    fn place(&self, kind: Kind) -> Vec<u8> {
        let still = median(&self.frames);
        let wall = self.wall(&still);
        match kind {
            Kind::Thing => self.bared(still, &wall),
            Kind::Person => wall,
        }
    }

    /// A ball that bounces on the spot hides it most of the time: where a pixel is the wall's in some frames,
    /// the place is what it is then.
    fn bared(&self, mut still: Vec<u8>, wall: &[u8]) -> Vec<u8> {
        let frames = some(&self.frames);
        let enough = (frames.len() / 6).max(1);
        for (at, (own, wall)) in still.chunks_exact_mut(3).zip(wall.chunks_exact(3)).enumerate() {
            if difference(own, wall) < MOVES {
                continue;
            }
            let seen = frames.iter().map(|frame| &frame[at * 3..at * 3 + 3]);
            let mut bare: Vec<&[u8]> = seen.filter(|pixel| difference(pixel, wall) < MOVES).collect();
            if bare.len() >= enough {
                bare.sort_unstable();
                own.copy_from_slice(bare[bare.len() / 2]);
            }
        }
        still
    }

    /// Each row's median over most of its width: walls and floors change little along a row, and a figure is
    /// narrow.
    fn wall(&self, still: &[u8]) -> Vec<u8> {
        const STRIDE: usize = 4;
        let reach = (2 * self.width / 5).max(1);
        let mut wall = vec![0; still.len()];
        let mut window = Vec::with_capacity(self.width);
        for (line, out) in still.chunks_exact(self.width * 3).zip(wall.chunks_exact_mut(self.width * 3)) {
            for start in (0..self.width).step_by(STRIDE) {
                let (low, high) = (start.saturating_sub(reach), (start + reach).min(self.width));
                for channel in 0..3 {
                    window.clear();
                    window.extend(line[low * 3..high * 3].iter().skip(channel).step_by(3));
                    let middle = window.len() / 2;
                    let value = *window.select_nth_unstable(middle).1;
                    for column in start..(start + STRIDE).min(self.width) {
                        out[column * 3 + channel] = value;
                    }
                }
            }
        }
        wall
    }

    /// Which pixels belong to figures.
    fn mask(&self, frame: &[u8], place: &[u8], kind: Kind) -> Vec<bool> {
        let least = if kind == Kind::Thing { MOVES } else { STANDS };
        let shadows = (SHADOWS_FROM * self.height as f32) as usize * self.width;
        let own = differs(frame, place, least).enumerate().map(|(at, differs)| {
            let range = at * 3..at * 3 + 3;
            differs && !(at >= shadows && is_shade(&frame[range.clone()], &place[range]))
        });
        let mask: Vec<bool> = own.collect();
        // A rod is a pixel wide; no ball is.
        if kind == Kind::Thing { opened(&mask, self.width) } else { mask }
    }

    /// The square around a figure, from the frame at its full size.
    fn cut(&self, frame: &[u8], size: (usize, usize), blob: &Blob, index: usize) -> Crop {
        let (width, height) = (blob.right - blob.left + 1, blob.bottom - blob.top + 1);
        let side = width.max(height) as f32 * (1.0 + ROOM) + 2.0;
        let left = (blob.left + blob.right + 1) as f32 / 2.0 - side / 2.0;
        let top = (blob.top + blob.bottom + 1) as f32 / 2.0 - side / 2.0;
        let step = side / CROP as f32;
        let scaled = |start: f32, end: usize| taps(start * self.scale, step * self.scale, CROP, end);
        let colours = resample(frame, size.0, &scaled(left, size.0), &scaled(top, size.1));
        let mut mask = vec![0; self.width * self.height * 3];
        for &at in &blob.pixels {
            mask[at * 3] = 255;
        }
        let columns = taps(left, step, CROP, self.width);
        let mask = resample(&mask, self.width, &columns, &taps(top, step, CROP, self.height));
        let mut pixels = Vec::with_capacity(CHANNELS * CROP * CROP);
        for channel in 0..3 {
            pixels.extend(colours.iter().skip(channel).step_by(3));
        }
        pixels.extend(mask.iter().step_by(3));
        let shorter = self.width.min(self.height) as f32;
        let edges = [blob.left, blob.top, blob.right + 1, blob.bottom + 1];
        Crop { frame: index, bounds: edges.map(|edge| edge as f32 / shorter), pixels }
    }

    /// The middle of the box around a figure.
    fn box_of(&self, blob: &Blob) -> Spot {
        let shorter = self.width.min(self.height) as f32;
        let middle = |low: usize, high: usize| (low + high + 1) as f32 / (2.0 * shorter);
        let area = blob.pixels.len() as f32 / (shorter * shorter);
        Spot {
            x: middle(blob.left, blob.right),
            y: middle(blob.top, blob.bottom),
            radius: (area / std::f32::consts::PI).sqrt(),
        }
    }

    /// The middle of a figure, to a part of a pixel: pixels count by how far they differ.
    fn spot(&self, frame: &[u8], place: &[u8], blob: &Blob) -> Spot {
        let mut sums = [0.0_f32; 3];
        for &at in &blob.pixels {
            let range = at * 3..at * 3 + 3;
            let weight = difference(&frame[range.clone()], &place[range]).min(150) as f32;
            let (x, y) = ((at % self.width) as f32 + 0.5, (at / self.width) as f32 + 0.5);
            for (sum, value) in sums.iter_mut().zip([weight, weight * x, weight * y]) {
                *sum += value;
            }
        }
        let shorter = self.width.min(self.height) as f32;
        let area = blob.pixels.len() as f32 / (shorter * shorter);
        let weight = sums[0].max(1e-6) * shorter;
        Spot { x: sums[1] / weight, y: sums[2] / weight, radius: (area / std::f32::consts::PI).sqrt() }
    }
}

/// Source pixels and their weights for each of `count` output pixels that are `step` source pixels wide.
/// Beside the picture its edge goes on.
pub(crate) fn taps(start: f32, step: f32, count: usize, end: usize) -> Vec<Vec<(usize, f32)>> {
    let last = end.saturating_sub(1) as f32;
    (0..count)
        .map(|index| {
            let middle = start + (index as f32 + 0.5) * step;
            // Narrower than a source pixel, an output pixel still mixes its neighbours.
            let half = step.max(1.0) / 2.0;
            let (low, high) = (middle - half, middle + half);
            let cells = low.floor() as i64..high.ceil() as i64;
            let share =
                |cell: i64| (high.min(cell as f32 + 1.0) - low.max(cell as f32)).max(0.0) / (high - low);
            cells.map(|cell| ((cell as f32).clamp(0.0, last) as usize, share(cell))).collect()
        })
        .collect()
}

/// An RGB8 picture through [`taps`] of its columns and rows.
pub(crate) fn resample(
    pixels: &[u8],
    width: usize,
    columns: &[Vec<(usize, f32)>],
    rows: &[Vec<(usize, f32)>],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(columns.len() * rows.len() * 3);
    let mut line = vec![0.0_f32; width * 3];
    for row in rows {
        line.fill(0.0);
        for &(source, weight) in row {
            let from = &pixels[source * width * 3..(source + 1) * width * 3];
            for (sum, &value) in line.iter_mut().zip(from) {
                *sum += weight * f32::from(value);
            }
        }
        for column in columns {
            let mut sums = [0.5_f32; 3];
            for &(source, weight) in column {
                for (sum, value) in sums.iter_mut().zip(&line[source * 3..source * 3 + 3]) {
                    *sum += weight * value;
                }
            }
            out.extend(sums.map(|sum| sum as u8));
        }
    }
    out
}

/// Two dozen frames, which say as much of a place as a hundred.
fn some(frames: &[Vec<u8>]) -> Vec<&Vec<u8>> {
    frames.iter().step_by(frames.len().div_ceil(2 * GLANCES).max(1)).collect()
}

/// Each pixel's median over frames.
pub(super) fn median(frames: &[Vec<u8>]) -> Vec<u8> {
    let chosen = some(frames);
    let length = chosen.first().map_or(0, |frame| frame.len());
    let mut values = Vec::with_capacity(chosen.len());
    (0..length)
        .map(|at| {
            values.clear();
            values.extend(chosen.iter().map(|frame| frame[at]));
            let middle = values.len() / 2;
            *values.select_nth_unstable(middle).1
        })
        .collect()
}

pub(super) fn difference(pixel: &[u8], place: &[u8]) -> i32 {
    pixel.iter().zip(place).map(|(&a, &b)| (i32::from(a) - i32::from(b)).abs()).sum()
}

fn differs(frame: &[u8], place: &[u8], least: i32) -> impl Iterator<Item = bool> {
    frame.chunks_exact(3).zip(place.chunks_exact(3)).map(move |(pixel, own)| difference(pixel, own) > least)
}

/// Whether a pixel is the place's own, only darker: a shadow takes the same share of each channel.
fn is_shade(pixel: &[u8], place: &[u8]) -> bool {
    let shares = pixel.iter().zip(place).map(|(&a, &b)| f32::from(a) / f32::from(b.max(1)));
    let (low, high) =
        shares.fold((f32::MAX, 0.0_f32), |(low, high), share| (low.min(share), high.max(share)));
    high - low < 0.06 && low > 0.4 && high < 1.0
}

/// A mask without what is thinner than three pixels.
fn opened(mask: &[bool], width: usize) -> Vec<bool> {
    let height = mask.len() / width.max(1);
    let cross = |mask: &[bool], at: usize, all: bool| {
        let (column, row) = (at % width, at / width);
        let near = [
            Some(at),
            (column > 0).then(|| at - 1),
            (column + 1 < width).then_some(at + 1),
            (row > 0).then(|| at - width),
            (row + 1 < height).then_some(at + width),
        ];
        let mut near = near.into_iter().flatten().map(|at| mask[at]);
        if all { near.all(|on| on) } else { near.any(|on| on) }
    };
    let thin: Vec<bool> = (0..mask.len()).map(|at| cross(mask, at, true)).collect();
    (0..mask.len()).map(|at| mask[at] && cross(&thin, at, false)).collect()
}

/// Pixels that hang together.
#[derive(Debug)]
struct Blob {
    pixels: Vec<usize>,
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

impl Blob {
    fn of(pixels: Vec<usize>, width: usize) -> Self {
        let (mut left, mut top, mut right, mut bottom) = (usize::MAX, usize::MAX, 0, 0);
        for at in &pixels {
            let (column, row) = (at % width, at / width);
            (left, top) = (left.min(column), top.min(row));
            (right, bottom) = (right.max(column), bottom.max(row));
        }
        Self { pixels, left, top, right, bottom }
    }

    fn join(mut self, other: Self) -> Self {
        self.pixels.extend(other.pixels);
        Self {
            pixels: self.pixels,
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }
}

/// The parts of a mask that hang together, corners included, of `least` pixels and more.
fn blobs(mask: &[bool], width: usize, least: usize) -> Vec<Blob> {
    let height = mask.len() / width.max(1);
    let mut open = mask.to_vec();
    let mut found = Vec::new();
    for start in 0..mask.len() {
        if !open[start] {
            continue;
        }
        open[start] = false;
        let mut pixels = vec![start];
        let mut next = 0;
        while let Some(&at) = pixels.get(next) {
            next += 1;
            let (column, row) = (at % width, at / width);
            for row in row.saturating_sub(1)..(row + 2).min(height) {
                for column in column.saturating_sub(1)..(column + 2).min(width) {
                    let near = row * width + column;
                    if std::mem::take(&mut open[near]) {
                        pixels.push(near);
                    }
                }
            }
        }
        if pixels.len() >= least.max(1) {
            found.push(Blob::of(pixels, width));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::draw::render;
    use crate::world::{Body, Family, Identity, Scene, Track};
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn clip(scene: &Scene, side: usize) -> Clip {
        let frames = render(scene, side, side);
        Clip { width: side, height: side, fps: 24, frames, sample_rate: 12_000, samples: Vec::new() }
    }

    #[test]
    fn the_crop_finds_the_ball_wherever_it_is() {
        for (seed, side) in [(1, 96), (2, 128), (3, 200), (4, 96)] {
            let scene = Family::Bounce.sample(seed);
            let crops = crops(&clip(&scene, side), Kind::Thing);
            assert!(crops.len() >= GLANCES - 2, "{} crops", crops.len());
            let Track::Bodies(frames) = &scene.actors[0].track else { panic!() };
            let Body::Ball { radius_m } = scene.actors[0].body else { panic!() };
            let view_m = scene.shot.view_m();
            for crop in crops {
                let pose = frames[crop.frame][0];
                let (x, y) = (pose.x_m / view_m, (scene.shot.top_m() - pose.y_m) / view_m);
                let radius = radius_m / view_m;
                let truth = [x - radius, y - radius, x + radius, y + radius];
                for (edge, truth) in crop.bounds.iter().zip(truth) {
                    assert!((edge - truth).abs() < 0.025, "{seed}: {:?} {truth:?}", crop.bounds);
                }
                let mask: usize =
                    crop.pixels[3 * CROP * CROP..].iter().map(|&on| usize::from(on > 127)).sum();
                assert!((700..1900).contains(&mask), "{mask} pixels of the crop are the ball");
            }
        }
    }

    #[test]
    fn a_portrait_fills_its_crop() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..20 {
            let look = Look::Person(Identity::sample(&mut rng).appearance);
            let [left, top, right, bottom] = portrait_crop(&look).unwrap().bounds;
            assert!(bottom - top > 0.8 && right - left < 0.75, "{left} {top} {right} {bottom}");
        }
    }

    #[test]
    fn an_empty_room_has_no_figure() {
        let mut scene = Family::Bounce.sample(9);
        scene.actors.clear();
        let clip = clip(&scene, 96);
        assert!(crops(&clip, Kind::Thing).is_empty());
        assert!(crops(&clip, Kind::Person).is_empty(), "the room itself was taken for a person");
        assert!(spots(&clip, Kind::Thing).iter().all(Option::is_none));
    }

    proptest! {
        #[test]
        fn any_clip_can_be_searched(width in 1_usize..40, height in 1_usize..40, count in 0_usize..4) {
            let frames = (0..width * height * 3 * count).map(|at| (at * 37 % 251) as u8).collect();
            let clip = Clip { width, height, fps: 24, frames, sample_rate: 12_000, samples: Vec::new() };
            for kind in [Kind::Thing, Kind::Person] {
                for crop in crops(&clip, kind) {
                    prop_assert_eq!(crop.pixels.len(), CHANNELS * CROP * CROP);
                }
                prop_assert_eq!(spots(&clip, kind).len(), count);
            }
        }
    }
}
