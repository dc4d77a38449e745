//! Rectified flow: how clean latents become noisy ones, what the transformer is asked to predict, and how a
//! clip is drawn from noise by following its predictions.
//!
//! A point at time t lies on the straight line from noise e to data x: z = (1 - t) e + t x. The transformer
//! predicts the unit-variance direction f = ((1 - t) x - t e) / n with n^2 = t^2 + (1 - t)^2, from which
//! x = (t z + n (1 - t) f) / n^2: near the data an error of f moves x little, which keeps tracks steady.

use std::ops::ControlFlow;

use burn::tensor::Tensor;

use super::latents::Latents;
use super::transformer::FlowTransformer;

/// Clean latents on the way to noise, and the direction that leads back.
#[derive(Debug)]
pub(crate) struct Noised {
    pub(crate) noisy: Latents,
    pub(crate) direction: Latents,
}

/// Coefficients of one stream at its timesteps, each `[batch, 1, 1]`.
struct Line {
    t: Tensor<3>,
    rest: Tensor<3>,
    norm: Tensor<3>,
}

impl Line {
    fn at(timesteps: &Tensor<1>) -> Self {
        let [batch] = timesteps.dims();
        let t = timesteps.clone().reshape([batch, 1, 1]);
        let rest = t.clone().neg().add_scalar(1.0);
        let norm = t.clone().square().add(rest.clone().square()).sqrt();
        Self { t, rest, norm }
    }
}

/// Mixes `clean` with `noise`, picture and sound at timesteps of their own.
pub(crate) fn add_noise(
    clean: Latents,
    noise: Latents,
    picture_timesteps: &Tensor<1>,
    sound_timesteps: &Tensor<1>,
) -> Noised {
    let (picture, sound) = (Line::at(picture_timesteps), Line::at(sound_timesteps));
    let toward = clean.clone().scale(&picture.t, &sound.t);
    let noisy = toward.zip(noise.clone().scale(&picture.rest, &sound.rest), Tensor::add);
    let direction = clean
        .scale(&picture.rest.div(picture.norm.clone()), &sound.rest.div(sound.norm.clone()))
        .zip(noise.scale(&picture.t.div(picture.norm), &sound.t.div(sound.norm)), Tensor::sub);
    Noised { noisy, direction }
}

/// The clean latents that a predicted direction points at, for one timestep of the whole batch.
fn clean_from(noisy: Latents, direction: Latents, t: f32) -> Latents {
    let square = t * t + (1.0 - t) * (1.0 - t);
    let (keep, step) = (t / square, (1.0 - t) / square.sqrt());
    noisy.zip(direction, |noisy, direction| noisy.mul_scalar(keep).add(direction.mul_scalar(step)))
}

/// How a clip is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sampling {
    pub(crate) steps: usize,
    /// How far to go beyond the unconditional prediction; 1 follows the prompt as it was learned.
    pub(crate) guidance: f32,
    /// Spends more steps near the noise, where the clip is decided.
    pub(crate) shift: f32,
}

/// What a clip is drawn towards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guide<'a> {
    /// Context of the prompts, `[batch, context, width]`.
    pub(crate) context: &'a Tensor<3>,
    /// Context of no prompt at all, as many times.
    pub(crate) unconditional: &'a Tensor<3>,
    /// Looks of balls and place that are given: another take of the same scene.
    pub(crate) looks: Option<&'a Latents>,
    pub(crate) sampling: Sampling,
}

/// The sampler's timesteps, from 0 to 1.
pub(crate) fn timesteps(steps: usize, shift: f32) -> Vec<f32> {
    (0..=steps)
        .map(|step| {
            let noise = 1.0 - step as f32 / steps as f32;
            1.0 - shift * noise / (1.0 + (shift - 1.0) * noise)
        })
        .collect()
}

/// Draws a batch of clips from `noise`. `on_step` may end it early, which gives `None`.
pub(crate) fn sample(
    model: &FlowTransformer,
    noise: &Latents,
    guide: Guide<'_>,
    on_step: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Option<Latents> {
    let contexts = Tensor::cat(vec![guide.context.clone(), guide.unconditional.clone()], 0);
    let Sampling { steps, guidance, shift } = guide.sampling;
    let times = timesteps(steps, shift);
    let mut state = noise.clone();
    for (step, pair) in times.windows(2).enumerate() {
        let (t, next) = (pair[0], pair[1]);
        if let Some(looks) = guide.looks {
            state = impose(state, noise, looks, t);
        }
        let clean = predict(model, &state, &contexts, t, guidance);
        // Along the line through the state and the predicted data.
        let share = (next - t) / (1.0 - t);
        state = state.zip(clean, |state, clean| state.mul_scalar(1.0 - share).add(clean.mul_scalar(share)));
        if on_step(step + 1, steps).is_break() {
            return None;
        }
    }
    Some(match guide.looks {
        Some(looks) => impose(state, noise, looks, 1.0),
        None => state,
    })
}

/// Puts the looks where they would be at time `t`.
fn impose(state: Latents, noise: &Latents, looks: &Latents, t: f32) -> Latents {
    let at = |clean: &Tensor<3>, noise: &Tensor<3>| {
        clean.clone().mul_scalar(t).add(noise.clone().mul_scalar(1.0 - t))
    };
    Latents { balls: at(&looks.balls, &noise.balls), scene: at(&looks.scene, &noise.scene), ..state }
}

/// Clean latents predicted with guidance: conditional and unconditional rows share one batch.
fn predict(model: &FlowTransformer, state: &Latents, contexts: &Tensor<3>, t: f32, guidance: f32) -> Latents {
    let batch = contexts.dims()[0] / 2;
    let twice = state.clone().map(|part| part.repeat_dim(0, 2));
    let times = Tensor::<1>::full([2 * batch], t, &contexts.device());
    let direction = model.forward(twice, times.clone(), times, contexts.clone());
    let direction = direction.map(|both| {
        let conditional = both.clone().narrow(0, 0, batch);
        let unconditional = both.narrow(0, batch, batch);
        let difference = conditional.sub(unconditional.clone());
        unconditional.add(difference.mul_scalar(guidance))
    });
    clean_from(state.clone(), direction, t)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::size::ModelSize;

    fn random(batch: usize) -> Latents {
        let device = Device::flex();
        let widths = ModelSize::Nano.config().latent_widths();
        let rows = Tensor::<1>::random([batch * widths.total()], Distribution::Normal(0.0, 1.0), &device);
        let rows: Vec<f32> = rows.try_into_vec_as::<f32>().unwrap();
        Latents::from_rows(&rows, widths, &device)
    }

    fn difference(one: Latents, two: Latents) -> f32 {
        let pairs = one.into_rows().concat().into_iter().zip(two.into_rows().concat());
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn the_true_direction_leads_back_to_the_data() {
        let device = Device::flex();
        let (clean, noise) = (random(2), random(2));
        for t in [0.0, 0.3, 0.5, 0.95] {
            let times = Tensor::<1>::full([2], t, &device);
            let noised = add_noise(clean.clone(), noise.clone(), &times, &times);
            let back = clean_from(noised.noisy, noised.direction, t);
            let error = difference(back, clean.clone());
            assert!(error < 1e-4, "at {t}: {error}");
        }
    }

    #[test]
    fn the_direction_has_unit_variance_at_every_time() {
        let device = Device::flex();
        for t in [0.05, 0.5, 0.9] {
            let times = Tensor::<1>::full([4], t, &device);
            let noised = add_noise(random(4), random(4), &times, &times);
            let rows = noised.direction.into_rows().concat();
            let variance = rows.iter().map(|value| value * value).sum::<f32>() / rows.len() as f32;
            assert!((variance - 1.0).abs() < 0.1, "at {t}: {variance}");
        }
    }

    #[test]
    fn the_sampler_runs_from_noise_to_data_and_lingers_near_the_noise() {
        let times = timesteps(10, 2.0);
        assert!(times[0].abs() < 1e-6 && (times[10] - 1.0).abs() < 1e-6);
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(times[5] < 0.5);
    }
}
