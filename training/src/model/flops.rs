//! Counts the arithmetic of the transformer: a configuration enters, floating-point operations leave.
//!
//! Only matrix products are counted, a multiplication and an addition each, as is usual for the utilisation of
//! a device ("MFU"). A training step costs three times the forward pass.

use std::hint::black_box;
use std::time::Instant;

use burn::tensor::{Device, Tensor};

use super::latents::{FRAMES_PER_TOKEN, LOOK, TOKENS, VOICE_CODE};
use super::text::PROMPT_WORDS;
use crate::size::ModelConfig;
use crate::world::ACTORS;

/// Operations of one clip's forward pass.
pub(crate) fn forward(config: &ModelConfig) -> f64 {
    let width = config.width as f64;
    let product = |rows: usize, d_in: f64, d_out: f64| 2.0 * rows as f64 * d_in * d_out;
    let [tracks, actors, stage, sound, voice] = config.layout().shapes();
    let parts = [(tracks, FRAMES_PER_TOKEN), (actors, 1), (stage, 1), (sound, 1), (voice, 1)];
    let ends: f64 = parts
        .into_iter()
        .map(|([tokens, numbers], mask)| {
            let into = product(tokens, (2 * numbers + mask) as f64, width);
            into + product(tokens, width, numbers as f64)
        })
        .sum();
    let (picture, heard, context) = (TOKENS + ACTORS + 1, TOKENS + 1, PROMPT_WORDS + ACTORS + 1);
    let tokens = picture + heard;
    // Queries, keys, values and output, then the feed-forward layer.
    let stream = product(tokens, width, 4.0 * width) + product(tokens, width, 2.0 * feed_forward(config));
    let attention = 2.0 * product(tokens, width, (tokens + context) as f64);
    let block = stream + attention + product(context, width, 2.0 * width);
    let text_block =
        product(PROMPT_WORDS, width, 8.0 * width) + 2.0 * product(PROMPT_WORDS, width, PROMPT_WORDS as f64);
    let references = product(ACTORS, LOOK as f64, width) + product(1, VOICE_CODE as f64, width);
    ends + references + config.layers as f64 * block + config.text_layers as f64 * text_block
}

fn feed_forward(config: &ModelConfig) -> f64 {
    (config.feed_forward * config.width) as f64
}

/// Operations of one clip in a training step.
pub(crate) fn training(config: &ModelConfig) -> f64 {
    3.0 * forward(config)
}

/// Operations a second of the fastest product of large matrices that this device makes: what its speed is
/// measured against where nobody knows its data sheet.
pub(crate) fn peak_flop_per_s(device: &Device) -> f64 {
    /// A shorter product is mostly the call.
    const LONG_S: f64 = 5e-3;
    let mut side = 1024;
    loop {
        let fastest_s = fastest_product_s(side, device);
        if fastest_s >= LONG_S || side >= 8192 {
            return 2.0 * (side as f64).powi(3) / fastest_s;
        }
        side *= 2;
    }
}

fn fastest_product_s(side: usize, device: &Device) -> f64 {
    let one = Tensor::<2>::ones([side, side], device);
    let times = (0..5).map(|_| {
        let started = Instant::now();
        // Reading a number waits for the device.
        let product = one.clone().matmul(one.clone());
        black_box(product.narrow(0, 0, 1).narrow(1, 0, 1).into_scalar::<f32>());
        started.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min).max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::ModelSize;

    #[test]
    fn a_larger_model_costs_about_as_much_more_as_it_has_parameters() {
        let cost = |size: ModelSize| forward(&size.config());
        let nano = cost(ModelSize::Nano);
        assert!((0.1e9..0.5e9).contains(&nano), "{nano}");
        let ratio = cost(ModelSize::Base) / cost(ModelSize::Small);
        assert!((4.0..8.0).contains(&ratio), "{ratio}");
    }
}
