//! Picture sizes: RGB8 frames of one size go in, frames of another come out.
//!
//! The picture keeps its shape: it is scaled to fit, and the room that is left over is filled by continuing
//! the picture's edge, softly blurred, so that a wall stays a wall and a floor a floor. Or it is scaled to fill, and cropped about its centre.

/// A prepared scaling from one size to another.
pub(crate) struct Fit {
    from: (usize, usize),
    to: (usize, usize),
    /// Size and place of the scaled picture on the canvas.
    inner: (usize, usize),
    offset: (usize, usize),
    columns: Vec<Sampling>,
    rows: Vec<Sampling>,
}

/// The source pixels that one target pixel is made of.
struct Sampling {
    first: usize,
    weights: Vec<f32>,
}

impl Fit {
    pub(crate) fn new(from: (usize, usize), to: (u32, u32)) -> Self {
        let to = (to.0 as usize, to.1 as usize);
        let scale = (to.0 as f64 / from.0 as f64).min(to.1 as f64 / from.1 as f64);
        let side = |length: usize, limit: usize| ((length as f64 * scale).round() as usize).clamp(1, limit);
        let inner = (side(from.0, to.0), side(from.1, to.1));
        Self {
            from,
            to,
            inner,
            offset: ((to.0 - inner.0) / 2, (to.1 - inner.1) / 2),
            columns: samplings(from.0, whole(from.0), inner.0),
            rows: samplings(from.1, whole(from.1), inner.1),
        }
    }

    /// A scaling that fills the target, cropping about the centre where the shape differs.
    pub(crate) fn covering(from: (usize, usize), to: (u32, u32)) -> Self {
        let to = (to.0 as usize, to.1 as usize);
        let scale = (from.0 as f32 / to.0 as f32).min(from.1 as f32 / to.1 as f32);
        let window = |from: usize, to: usize| {
            let length = to as f32 * scale;
            ((from as f32 - length) / 2.0, length)
        };
        Self {
            from,
            to,
            inner: to,
            offset: (0, 0),
            columns: samplings(from.0, window(from.0, to.0), to.0),
            rows: samplings(from.1, window(from.1, to.1), to.1),
        }
    }

    /// Scales one frame into `canvas`, which is resized to hold it.
    pub(crate) fn apply(&self, pixels: &[u8], canvas: &mut Vec<u8>) {
        canvas.clear();
        if self.from == self.to {
            canvas.extend_from_slice(pixels);
            return;
        }
        canvas.resize(self.to.0 * self.to.1 * 3, 0);
        let narrow = self.scale_rows(pixels);
        let stride = self.inner.0 * 3;
        for (row, sampling) in self.rows.iter().enumerate() {
            let start = ((self.offset.1 + row) * self.to.0 + self.offset.0) * 3;
            let target = &mut canvas[start..start + stride];
            for (column, value) in target.iter_mut().enumerate() {
                let mut sum = 0.0;
                for (tap, weight) in sampling.weights.iter().enumerate() {
                    sum += weight * narrow[(sampling.first + tap) * stride + column];
                }
                *value = (sum + 0.5) as u8;
            }
        }
        if self.inner.0 < self.to.0 {
            self.extend_sideways(canvas);
        }
        if self.inner.1 < self.to.1 {
            self.extend_upright(canvas);
        }
    }

    fn scale_rows(&self, pixels: &[u8]) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.inner.0 * self.from.1 * 3);
        for row in pixels.chunks_exact(self.from.0 * 3) {
            for sampling in &self.columns {
                let mut sum = [0.0_f32; 3];
                for (weight, pixel) in sampling.weights.iter().zip(row[sampling.first * 3..].chunks_exact(3))
                {
                    for (sum, &channel) in sum.iter_mut().zip(pixel) {
                        *sum += weight * f32::from(channel);
                    }
                }
                out.extend_from_slice(&sum);
            }
        }
        out
    }

    fn extend_sideways(&self, canvas: &mut [u8]) {
        let (left, right) = (self.offset.0, self.offset.0 + self.inner.0);
        let column = |canvas: &[u8], x: usize| -> Vec<[u8; 3]> {
            (0..self.to.1).map(|y| rgb_at(canvas, y * self.to.0 + x)).collect()
        };
        let (first, last) = (blurred(&column(canvas, left), 2), blurred(&column(canvas, right - 1), 2));
        for y in 0..self.to.1 {
            let row = &mut canvas[y * self.to.0 * 3..][..self.to.0 * 3];
            for pixel in row[..left * 3].chunks_exact_mut(3) {
                pixel.copy_from_slice(&first[y]);
            }
            for pixel in row[right * 3..].chunks_exact_mut(3) {
                pixel.copy_from_slice(&last[y]);
            }
        }
    }

    fn extend_upright(&self, canvas: &mut [u8]) {
        let (top, bottom) = (self.offset.1, self.offset.1 + self.inner.1);
        let row = |canvas: &[u8], y: usize| -> Vec<[u8; 3]> {
            (0..self.to.0).map(|x| rgb_at(canvas, y * self.to.0 + x)).collect()
        };
        let radius = self.to.0 / 12;
        let (first, last) = (blurred(&row(canvas, top), radius), blurred(&row(canvas, bottom - 1), radius));
        for (y, line) in canvas.chunks_exact_mut(self.to.0 * 3).enumerate() {
            let edge = match y {
                y if y < top => &first,
                y if y >= bottom => &last,
                _ => continue,
            };
            for (pixel, colour) in line.chunks_exact_mut(3).zip(edge) {
                pixel.copy_from_slice(colour);
            }
        }
    }
}

fn rgb_at(canvas: &[u8], pixel: usize) -> [u8; 3] {
    [canvas[pixel * 3], canvas[pixel * 3 + 1], canvas[pixel * 3 + 2]]
}

/// Running mean over `2 * radius + 1` pixels, repeating the ends.
fn blurred(line: &[[u8; 3]], radius: usize) -> Vec<[u8; 3]> {
    let at = |index: isize| line[index.clamp(0, line.len() as isize - 1) as usize];
    let span = (2 * radius + 1) as u32;
    (0..line.len() as isize)
        .map(|centre| {
            let mut sum = [0_u32; 3];
            for index in centre - radius as isize..=centre + radius as isize {
                for (sum, channel) in sum.iter_mut().zip(at(index)) {
                    *sum += u32::from(channel);
                }
            }
            sum.map(|sum| ((sum + span / 2) / span) as u8)
        })
        .collect()
}

/// The window that leaves nothing out.
fn whole(length: usize) -> (f32, f32) {
    (0.0, length as f32)
}

/// Catmull-Rom weights from a window (start and length) of `from` pixels to `to` pixels, widened when
/// shrinking; the borders repeat.
fn samplings(from: usize, window: (f32, f32), to: usize) -> Vec<Sampling> {
    let ratio = window.1 / to as f32;
    let widen = ratio.max(1.0);
    (0..to)
        .map(|target| {
            let centre = window.0 + (target as f32 + 0.5) * ratio - 0.5;
            let low = (centre - 2.0 * widen).floor() as isize;
            let high = (centre + 2.0 * widen).ceil() as isize;
            let first = low.clamp(0, from as isize - 1) as usize;
            let last = high.clamp(0, from as isize - 1) as usize;
            let mut weights = vec![0.0; last - first + 1];
            for source in low..=high {
                let inside = source.clamp(first as isize, last as isize) as usize;
                weights[inside - first] += catmull_rom((source as f32 - centre) / widen);
            }
            let sum: f32 = weights.iter().sum();
            for weight in &mut weights {
                *weight /= sum;
            }
            Sampling { first, weights }
        })
        .collect()
}

fn catmull_rom(x: f32) -> f32 {
    match x.abs() {
        x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        x if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::Fit;

    #[test]
    fn a_flat_picture_stays_flat_at_any_size_and_shape() {
        let pixels: Vec<u8> = [200, 90, 17].repeat(64 * 64);
        for size in [(256, 256), (64, 64), (32, 32), (128, 96), (72, 128)] {
            let mut canvas = Vec::new();
            Fit::new((64, 64), size).apply(&pixels, &mut canvas);
            assert_eq!(canvas.len(), (size.0 * size.1 * 3) as usize);
            assert!(canvas.chunks_exact(3).all(|pixel| pixel == [200, 90, 17]), "{size:?}");
        }
    }

    #[test]
    fn a_covering_picture_is_cropped_about_its_centre() {
        // Three stripes, of which a narrower picture shows the middle one.
        let stripe = |column: usize| if (16..32).contains(&column) { 200 } else { 20 };
        let pixels: Vec<u8> = (0..16 * 48).flat_map(|index| [stripe(index % 48); 3]).collect();
        for size in [(16, 16), (8, 8), (64, 64)] {
            let mut canvas = Vec::new();
            Fit::covering((48, 16), size).apply(&pixels, &mut canvas);
            let (width, row) = (size.0 as usize, size.1 as usize / 2);
            let line = &canvas[row * width * 3..][..width * 3];
            // Sampling mixes in the neighbours at the very border.
            assert!(line[3..(width - 1) * 3].iter().all(|&value| value > 180), "{size:?}: {line:?}");
        }
    }

    #[test]
    fn the_edges_continue_where_the_shape_differs() {
        // Upper half white, lower half black.
        let pixels: Vec<u8> =
            (0..32 * 32 * 3).map(|index| if index < 16 * 32 * 3 { 255 } else { 0 }).collect();
        let mut canvas = Vec::new();
        Fit::new((32, 32), (32, 64)).apply(&pixels, &mut canvas);
        assert!(canvas[..16 * 32 * 3].iter().all(|&value| value == 255));
        assert!(canvas[48 * 32 * 3..].iter().all(|&value| value == 0));
    }
}
