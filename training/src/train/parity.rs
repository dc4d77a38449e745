//! A CUDA device against the CPU: the same network, sampler and training step give the same numbers.
//!
//! `cargo test --features cuda -- --ignored parity` on a machine with an NVIDIA GPU.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use kinora_harness::device::{DeviceChoice, resolve};

use super::descent::{Shard, Trained};
use super::flow::{Batch, groups};
use crate::generate::untrained;
use crate::model::flow::{Guide, Sampling, sample};
use crate::model::latents::Latents;
use crate::model::text::PROMPT_WORDS;
use crate::model::transformer::{FlowTransformer, Known, Prompts};
use crate::size::ModelSize;

/// Clips in a batch.
const CLIPS: usize = 2;

fn gpu() -> Device {
    resolve(DeviceChoice::Cuda(0)).unwrap()
}

/// Latents that are the same on every device.
fn latents(device: &Device) -> Latents {
    let layout = ModelSize::Nano.config().layout();
    let numbers = (0..CLIPS * layout.total()).map(|place| ((place * 7919) % 1013) as f32 / 290.0 - 1.75);
    Latents::from_rows(&numbers.collect::<Vec<f32>>(), layout, device)
}

fn words(device: &Device) -> Tensor<2, Int> {
    let numbers: Vec<i32> = (0..CLIPS * PROMPT_WORDS).map(|place| (place % 60) as i32 + 2).collect();
    Tensor::from_data(TensorData::new(numbers, [CLIPS, PROMPT_WORDS]), device)
}

/// The largest difference, in root mean squares of what the CPU gives.
fn difference(cpu: Latents, gpu: Latents) -> f32 {
    let (cpu, gpu) = (cpu.into_rows().concat(), gpu.into_rows().concat());
    let scale = (cpu.iter().map(|value| value * value).sum::<f32>() / cpu.len() as f32).sqrt();
    cpu.iter().zip(gpu).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max) / scale
}

fn forward(flow: &FlowTransformer, device: &Device) -> Latents {
    let noisy = latents(device);
    let times = Tensor::<1>::full([CLIPS], 0.4, device);
    let known = Known::nothing(&noisy);
    flow.forward(noisy, &known, times.clone(), times, flow.context(Prompts::of_words(words(device))))
}

fn drawn(flow: &FlowTransformer, device: &Device) -> Latents {
    let noise = latents(device);
    let guide = Guide {
        whole: flow.context(Prompts::of_words(words(device))),
        text: None,
        nothing: flow.context(Prompts::of_words(words(device).zeros_like())),
        known: Known::nothing(&noise),
        likeness: None,
        sampling: Sampling { steps: 4, ..Sampling::default() },
    };
    sample(flow, &noise, None, &guide, &mut |_, _| std::ops::ControlFlow::Continue(())).unwrap()
}

#[test]
#[ignore = "needs a CUDA device"]
fn the_network_gives_the_same() {
    let generator = untrained();
    let (cpu, gpu) = (Device::flex(), gpu());
    let flow = &generator.model().flow;
    let off = difference(forward(flow, &cpu), forward(&flow.clone().fork(&gpu), &gpu));
    assert!(off < 1e-3, "{off}");
}

#[test]
#[ignore = "needs a CUDA device"]
fn the_sampler_draws_the_same() {
    let generator = untrained();
    let (cpu, gpu) = (Device::flex(), gpu());
    let flow = &generator.model().flow;
    let off = difference(drawn(flow, &cpu), drawn(&flow.clone().fork(&gpu), &gpu));
    assert!(off < 5e-3, "{off}");
}

#[test]
#[ignore = "needs a CUDA device"]
fn a_training_step_learns_the_same() {
    let config = ModelSize::Nano.config();
    let generator = untrained();
    let trained = |device: Device| {
        let plain = device.clone();
        let device = device.autodiff();
        let model = generator.model().flow.clone().fork(&plain).train();
        let mut trained = Trained::new(model.clone(), groups(&model, &[]));
        let loss = |model: &FlowTransformer, shard: Shard<'_>| {
            Batch::made_up(&config, 4, shard.step, shard.device).loss(model)
        };
        let mut losses = Vec::new();
        for step in 0..3 {
            let told;
            (told, trained) = trained.step(step, 1, std::slice::from_ref(&device), 0.1, &loss);
            losses.extend(told.into_iter().map(Tensor::into_scalar::<f32>));
        }
        (losses, forward(&trained.into_module().valid(), &plain))
    };
    let (cpu, gpu) = (trained(Device::flex()), trained(gpu()));
    for (one, other) in cpu.0.iter().zip(&gpu.0) {
        assert!((one - other).abs() < 1e-3 * one.abs(), "{cpu:?} and {gpu:?}");
    }
    let off = difference(cpu.1, gpu.1);
    assert!(off < 2e-2, "{off}");
}
