//! Magnitude spectrograms that differentiate: samples enter, magnitudes at one window length leave.
//!
//! Windows are cut by reshaping and transformed by products with fixed bases, so that gradients flow on every
//! device.

use std::f32::consts::TAU;

use burn::tensor::{Device, Tensor, TensorData};

/// Windows overlap by three quarters.
const OVERLAP: usize = 4;

/// Bases of one window length.
#[derive(Clone, Debug)]
pub(super) struct Stft {
    window: usize,
    /// Cosines, then sines, under a Hann window: `[window, 2 bins]`.
    basis: Tensor<2>,
}

impl Stft {
    /// `window` samples long, a multiple of four.
    pub(super) fn new(window: usize, device: &Device) -> Self {
        let bins = window / 2 + 1;
        let scale = (8.0 / (3.0 * window as f32)).sqrt();
        let basis = (0..window).flat_map(|index| {
            let hann = 0.5 - 0.5 * (TAU * index as f32 / window as f32).cos();
            (0..2 * bins).map(move |column| {
                // Reduced before the cosine, which is exact for small angles only.
                let angle = TAU * ((index * (column % bins)) % window) as f32 / window as f32;
                scale * hann * if column < bins { angle.cos() } else { angle.sin() }
            })
        });
        let basis = TensorData::new(basis.collect::<Vec<f32>>(), [window, 2 * bins]);
        Self { window, basis: Tensor::from_data(basis, device) }
    }

    /// # Shapes
    /// - samples: `[batch, samples]`; output: `[batch, windows, bins]`.
    pub(super) fn magnitudes(&self, samples: Tensor<2>) -> Tensor<3> {
        let [batch, length] = samples.dims();
        let hop = self.window / OVERLAP;
        // Silence around the sound, so that its ends are heard too.
        let hops = length.div_ceil(hop) + 2 * (OVERLAP - 1);
        let before = (OVERLAP - 1) * hop;
        let silence = |count: usize| Tensor::<2>::zeros([batch, count], &samples.device());
        let after = silence(hops * hop - before - length);
        let hopped = Tensor::cat(vec![silence(before), samples, after], 1).reshape([batch, hops, hop]);
        let windows = hops + 1 - OVERLAP;
        let cut = (0..OVERLAP).map(|start| hopped.clone().narrow(1, start, windows));
        let cut = Tensor::cat(cut.collect(), 2).reshape([batch * windows, self.window]);
        let bins = self.basis.dims()[1] / 2;
        let spectra = cut.matmul(self.basis.clone()).reshape([batch, windows, 2 * bins]);
        let (real, imaginary) = (spectra.clone().narrow(2, 0, bins), spectra.narrow(2, bins, bins));
        real.square().add(imaginary.square()).add_scalar(1e-7).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_loudest_in_its_bin() {
        let device = Device::flex();
        let tone: Vec<f32> = (0..2048).map(|index| (TAU * 20.0 * index as f32 / 256.0).sin()).collect();
        let samples = Tensor::<1>::from_floats(tone.as_slice(), &device).unsqueeze::<2>();
        let magnitudes = Stft::new(256, &device).magnitudes(samples);
        let [_, windows, bins] = magnitudes.dims();
        let values: Vec<f32> = magnitudes.try_into_vec_as::<f32>().unwrap();
        let middle = &values[windows / 2 * bins..(windows / 2 + 1) * bins];
        let loudest = (0..bins).max_by(|&a, &b| middle[a].total_cmp(&middle[b])).unwrap();
        assert_eq!(loudest, 20);
        assert!(middle[40] < 0.01 * middle[20]);
    }
}
