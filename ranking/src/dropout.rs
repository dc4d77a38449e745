//! Dropout (Srivastava and others 2014) by a generator of one's own: a step is the same whenever and
//! wherever it is computed, whatever else is drawn in the process.

use burn::tensor::{Tensor, TensorData};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Forgets a share of numbers at random, and scales what is kept so that the mean stays.
#[derive(Debug)]
pub struct Dropout {
    /// Within 0 and 1, 1 left out.
    rate: f64,
    rng: ChaCha8Rng,
}

impl Dropout {
    pub fn new(rate: f64, seed: u64) -> Self {
        Self { rate, rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    pub fn apply<const D: usize>(&mut self, x: Tensor<D>) -> Tensor<D> {
        if self.rate == 0.0 {
            return x;
        }
        let shape = x.dims();
        let mut bytes = vec![0_u8; 2 * shape.iter().product::<usize>()];
        self.rng.fill_bytes(&mut bytes);
        let (threshold, scale) = ((self.rate * 65_536.0) as u16, (1.0 / (1.0 - self.rate)) as f32);
        let kept = bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&pair| if u16::from_le_bytes(pair) < threshold { 0.0 } else { scale });
        let mask = TensorData::new(kept.collect::<Vec<f32>>(), shape);
        let device = x.device();
        x * Tensor::from_data(mask, &device)
    }
}

/// Dropout where there is one: while training.
pub fn maybe<const D: usize>(dropout: &mut Option<&mut Dropout>, x: Tensor<D>) -> Tensor<D> {
    match dropout {
        Some(dropout) => dropout.apply(x),
        None => x,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_mean_stays_and_the_seed_decides() {
        let device = Device::flex();
        let forget = |seed| {
            let mut dropout = Dropout::new(0.25, seed);
            dropout.apply(Tensor::<2>::ones([100, 100], &device)).into_data().try_to_vec::<f32>().unwrap()
        };
        let kept = forget(1);
        assert!((kept.iter().sum::<f32>() / 1e4 - 1.0).abs() < 0.03);
        assert!(kept.iter().all(|&number| number == 0.0 || (number - 4.0 / 3.0).abs() < 1e-6));
        assert_eq!(kept, forget(1));
        assert_ne!(kept, forget(2));
    }
}
