//! Which tones a figure has: a crop enters, how often each tone occurs leaves.
//!
//! Tones are counted in the whole figure, around it, which tells the light, and in each quarter of its height,
//! which tells a shirt from trousers. INVARIANT: what is counted does not depend on how large the figure is.

use burn::tensor::{Device, Tensor, TensorData};

use super::figure::{CHANNELS, CROP, Crop};

/// Tones a channel, of the whole figure, of what is around it and of a quarter of its height.
const FINE: usize = 8;
const COARSE: usize = 4;
const MIDDLING: usize = 5;
const QUARTERS: usize = 4;
/// Numbers of the figure as a whole and of its surroundings, which come first.
pub(super) const WHOLE: usize = FINE.pow(3) + COARSE.pow(3);
/// Numbers that a crop is counted as.
pub(super) const TONES: usize = WHOLE + QUARTERS * MIDDLING.pow(3);

/// How often each tone occurs in a crop.
pub(super) fn count(crop: &Crop) -> Vec<f32> {
    let mut counts = vec![0.0_f32; TONES];
    let (inside, rest) = counts.split_at_mut(FINE.pow(3));
    let (around, quarters) = rest.split_at_mut(COARSE.pow(3));
    let plane = |channel: usize| crop.pixels.iter().skip(channel * CROP * CROP).take(CROP * CROP);
    let tones = plane(0).zip(plane(1)).zip(plane(2)).map(|((&r, &g), &b)| [r, g, b]);
    for (at, (tone, &own)) in tones.zip(plane(CHANNELS - 1)).enumerate() {
        let own = f32::from(own) / 255.0;
        add(inside, FINE, tone, own);
        add(around, COARSE, tone, 1.0 - own);
        let quarter = at / CROP * QUARTERS / CROP;
        add(&mut quarters[quarter * MIDDLING.pow(3)..][..MIDDLING.pow(3)], MIDDLING, tone, own);
    }
    for part in [inside, around, quarters] {
        let sum: f32 = part.iter().sum::<f32>().max(1e-6);
        // Square roots, so that a few pixels of a second colour are not lost beside many of the first.
        for count in part.iter_mut() {
            *count = 2.0 * (*count / sum).sqrt();
        }
    }
    counts
}

/// Shares a pixel among the tones around its own.
fn add(counts: &mut [f32], levels: usize, tone: [u8; 3], weight: f32) {
    if weight <= 0.0 {
        return;
    }
    let place = tone.map(|channel| f32::from(channel) / 255.0 * (levels - 1) as f32);
    for corner in 0..8_usize {
        let (mut at, mut share) = (0, weight);
        for (axis, place) in place.into_iter().enumerate() {
            let low = (place as usize).min(levels - 2);
            let upper = corner >> axis & 1;
            let above = place - low as f32;
            at = at * levels + low + upper;
            share *= if upper == 1 { above } else { 1.0 - above };
        }
        if let Some(count) = counts.get_mut(at) {
            *count += share;
        }
    }
}

/// Counts as networks take them, `[crops, TONES]`.
pub(super) fn batch<'a>(counts: impl IntoIterator<Item = &'a [f32]>, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = counts.into_iter().flatten().copied().collect();
    let count = values.len() / TONES;
    Tensor::from_data(TensorData::new(values, [count, TONES]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crop(tone: [u8; 3], around: [u8; 3], half: bool) -> Crop {
        let own = |at: usize| at % CROP < if half { CROP / 2 } else { CROP };
        let colour = |channel: usize| {
            (0..CROP * CROP).map(move |at| if own(at) { tone[channel] } else { around[channel] })
        };
        let mask = (0..CROP * CROP).map(|at| if own(at) { 255 } else { 0 });
        let pixels = (0..3).flat_map(colour).chain(mask).collect();
        Crop { frame: 0, bounds: [0.0, 0.0, 1.0, 1.0], pixels }
    }

    #[test]
    fn the_figure_is_counted_apart_from_its_place() {
        let (red, sky) = ([220, 42, 48], [180, 200, 240]);
        let (half, whole) = (count(&crop(red, sky, true)), count(&crop(red, sky, false)));
        let own = half[..FINE.pow(3)].iter().zip(&whole);
        assert!(own.into_iter().all(|(a, b)| (a - b).abs() < 1e-4));
        assert!(whole[FINE.pow(3)..WHOLE].iter().all(|&count| count == 0.0));
        let squares: f32 = half.iter().map(|count| (count / 2.0).powi(2)).sum();
        assert!((squares - 3.0).abs() < 1e-3, "all three parts are shares: {squares}");
    }

    #[test]
    fn near_tones_are_counted_alike_and_others_apart() {
        let sky = [180, 200, 240];
        let product = |a: [u8; 3], b: [u8; 3]| -> f32 {
            let (a, b) = (count(&crop(a, sky, true)), count(&crop(b, sky, true)));
            a[..FINE.pow(3)].iter().zip(&b).map(|(a, b)| a * b / 4.0).sum()
        };
        assert!(product([220, 42, 48], [216, 44, 46]) > 0.9);
        assert!(product([220, 42, 48], [38, 98, 222]) < 0.05);
    }
}
