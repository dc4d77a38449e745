//! How fast the transformer is on this machine: a size enters, the times of a training step and of a sampling
//! step leave.
//!
//! Both run on random latents, so that nothing but the network is timed; `tests/peers/video` times the same
//! network in `PyTorch`.

use std::hint::black_box;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use kinora_harness::seed::seeded;
use serde::Serialize;

use crate::model::flops;
use crate::model::latents::Latents;
use crate::model::text::PROMPT_WORDS;
use crate::model::transformer::{FlowTransformer, Known, Prompts};
use crate::size::ModelConfig;
use crate::train::rehearsal::{Rehearsal, rehearse};

/// Words of a vocabulary of the usual size.
const WORDS: usize = 130;

/// What is timed.
#[derive(Clone, Copy, Debug)]
pub struct BenchmarkOptions {
    /// Clips in a training step.
    pub batch: usize,
    /// Parts of a training step that are worked on at the same time.
    pub shards: usize,
    /// Steps of each kind that are timed, after two that are not.
    pub steps: usize,
}

/// Median times.
#[derive(Clone, Debug, Serialize)]
pub struct BenchmarkReport {
    pub parameters: usize,
    pub batch: usize,
    pub train_step_ms: f64,
    pub train_clips_per_s: f64,
    /// Matrix products of a training step in 10^9 operations a second.
    pub train_gflop_per_s: f64,
    /// One clip, with and without its prompt, as the sampler calls the network.
    pub sample_step_ms: f64,
}

/// Times the transformer of `config`.
pub fn benchmark(config: &ModelConfig, options: BenchmarkOptions, device: &Device) -> BenchmarkReport {
    let model = seeded(device, 1, || FlowTransformer::new(config, WORDS, device));
    let parameters = model.num_params();
    let sample_step_ms = sampling(&model, config, options.steps, device);
    let rehearsal = Rehearsal { config, batch: options.batch, shards: options.shards, words: WORDS };
    let train_step_ms = median(rehearse(rehearsal, options.steps, device));
    let clips = options.batch as f64;
    BenchmarkReport {
        parameters,
        batch: options.batch,
        train_step_ms,
        train_clips_per_s: 1e3 * clips / train_step_ms,
        train_gflop_per_s: flops::training(config) * clips / train_step_ms / 1e6,
        sample_step_ms,
    }
}

/// Times of the network as the sampler calls it for one clip: with its prompt and without, in one batch.
fn sampling(model: &FlowTransformer, config: &ModelConfig, steps: usize, device: &Device) -> f64 {
    let rows = vec![0.1; 2 * config.layout().total()];
    let noisy = Latents::from_rows(&rows, config.layout(), device);
    let known = Known::nothing(&noisy);
    let words = TensorData::new(vec![2_i32; 2 * PROMPT_WORDS], [2, PROMPT_WORDS]);
    let context = model.context(Prompts::of_words(Tensor::<2, Int>::from_data(words, device)));
    let times = Tensor::<1>::full([2], 0.5, device);
    let mut elapsed = Vec::with_capacity(steps);
    for step in 0..steps + WARM_UP {
        let started = Instant::now();
        let drawn = model.forward(noisy.clone(), &known, times.clone(), times.clone(), context.clone());
        // Reading the result waits for the device.
        black_box(drawn.into_rows());
        if step >= WARM_UP {
            elapsed.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    median(elapsed)
}

/// Steps that are not timed: memory is allocated and kernels are chosen in them.
pub(crate) const WARM_UP: usize = 2;

fn median(mut times_ms: Vec<f64>) -> f64 {
    times_ms.sort_by(f64::total_cmp);
    times_ms.get(times_ms.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::ModelSize;

    #[test]
    fn a_small_network_is_timed() {
        let config = ModelConfig { width: 16, heads: 2, layers: 1, ..ModelSize::Nano.config() };
        let options = BenchmarkOptions { batch: 4, shards: 2, steps: 1 };
        let report = benchmark(&config, options, &Device::flex());
        assert!(report.train_step_ms > 0.0 && report.sample_step_ms > 0.0, "{report:?}");
        assert!(report.train_gflop_per_s > 0.0 && report.parameters > 1000, "{report:?}");
    }
}
