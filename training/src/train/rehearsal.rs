//! Training steps on made-up clips, for timing: the same loss and the same optimizers, no data.

use std::hint::black_box;
use std::time::Instant;

use burn::tensor::{Device, Tensor};
use kinora_harness::device::workers_of;
use kinora_harness::seed::seeded;

use super::descent::{Shard, Trained};
use super::flow::{Batch, groups};
use crate::benchmark::WARM_UP;
use crate::model::transformer::FlowTransformer;
use crate::size::ModelConfig;

/// What is rehearsed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rehearsal<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) batch: usize,
    pub(crate) shards: usize,
    /// Words of the vocabulary.
    pub(crate) words: usize,
}

/// Milliseconds of each of `steps` training steps.
pub(crate) fn rehearse(rehearsal: Rehearsal<'_>, steps: usize, device: &Device) -> Vec<f64> {
    let Rehearsal { config, batch, shards, words } = rehearsal;
    let workers: Vec<Device> = workers_of(device.clone(), shards).into_iter().map(Device::autodiff).collect();
    let device = &workers[0];
    let model = seeded(device, 2, || FlowTransformer::new(config, words, device));
    let groups = groups(&model, &[]);
    let mut trained = Trained::new(model, groups);
    let size = batch.div_ceil(shards.max(1));
    let mut elapsed = Vec::with_capacity(steps);
    for step in 0..(steps + WARM_UP) as u64 {
        let started = Instant::now();
        let loss = |model: &FlowTransformer, shard: Shard<'_>| {
            Batch::made_up(config, size, shard.step ^ shard.index as u64, shard.device).loss(model)
        };
        let losses;
        (losses, trained) = trained.step(step, shards, &workers, 1e-3, &loss);
        // Reading the loss waits for the device.
        black_box(losses.into_iter().map(Tensor::into_scalar::<f32>).sum::<f32>());
        if step >= WARM_UP as u64 {
            elapsed.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    elapsed
}
