//! Weights that depend on the seed alone: a seed and a constructor enter, a module leaves.
//!
//! Burn draws initial weights lazily from one generator for the whole process, so two models
//! built at once would take each other's draws. Here they are drawn at once, under a lock.

use std::sync::{Mutex, PoisonError};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};

static GENERATOR: Mutex<()> = Mutex::new(());

/// Builds a module whose initial weights are those of `seed`.
pub fn seeded<M: Module>(device: &Device, seed: u64, build: impl FnOnce() -> M) -> M {
    let _one_at_a_time = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    device.seed(seed);
    let module = build();
    module.visit(&mut Draw);
    module
}

/// Touches every parameter, which draws it.
struct Draw;

impl ModuleVisitor for Draw {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        drop(param.val());
    }
}

/// A seed of its own for the part of a run named `name`, so that parts do not share draws.
///
/// FNV-1a over the name, mixed with the seed: stable across versions and machines.
pub fn derive(seed: u64, name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64 ^ seed.rotate_left(32), |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd) ^ seed
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};

    use super::*;

    fn draw(seed: u64) -> Vec<f32> {
        let device = Device::flex();
        let linear: Linear = seeded(&device, seed, || LinearConfig::new(16, 16).init(&device));
        linear.weight.val().into_data().try_to_vec().unwrap()
    }

    #[test]
    fn the_seed_decides_even_with_other_draws_at_once() {
        let expected = draw(7);
        assert_ne!(expected, draw(8));
        let drawn: Vec<Vec<f32>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| draw(7))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(drawn.iter().all(|weights| *weights == expected));
    }

    #[test]
    fn parts_and_seeds_do_not_share_a_derived_seed() {
        let derived = [derive(1, "a"), derive(1, "b"), derive(2, "a"), derive(2, "b")];
        for (i, one) in derived.iter().enumerate() {
            assert!(derived[i + 1..].iter().all(|other| other != one));
        }
        assert_eq!(derive(1, "a"), derived[0]);
    }
}
