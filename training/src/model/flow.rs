//! Rectified flow: how clean latents become noisy ones, what the transformer is asked to predict, and how a
//! clip is drawn from noise by following its predictions.
//!
//! A point at time t lies on the straight line from noise e to data x: z = (1 - t) e + t x. The transformer
//! predicts the unit-variance direction f = ((1 - t) x - t e) / n with n^2 = t^2 + (1 - t)^2, from which
//! x = (t z + n (1 - t) f) / n^2: near the data an error of f moves x little, which keeps tracks steady.

use std::ops::ControlFlow;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::latents::{ACTOR, LOOK, Latents, VOICE, VOICE_CODE};
use super::transformer::{FlowTransformer, Known};

/// Clean latents on the way to noise, and the direction that leads back.
#[derive(Debug)]
pub(crate) struct Noised {
    pub(crate) noisy: Latents,
    pub(crate) direction: Latents,
}

/// Coefficients of the line at each clip's timestep, `[batch, 1, ..]`.
#[derive(Clone, Debug)]
pub(crate) struct Line<const D: usize> {
    t: Tensor<D>,
    rest: Tensor<D>,
    norm: Tensor<D>,
}

impl<const D: usize> Line<D> {
    /// Of timesteps `[batch]`.
    pub(crate) fn at(timesteps: &Tensor<1>) -> Self {
        let mut shape = [1; D];
        shape[0] = timesteps.dims()[0];
        let t = timesteps.clone().reshape(shape);
        let rest = t.clone().neg().add_scalar(1.0);
        let norm = t.clone().square().add(rest.clone().square()).sqrt();
        Self { t, rest, norm }
    }

    /// The point of the line.
    pub(crate) fn noisy(&self, clean: Tensor<D>, noise: Tensor<D>) -> Tensor<D> {
        clean.mul(self.t.clone()).add(noise.mul(self.rest.clone()))
    }

    /// The direction that leads from there back to `clean`.
    pub(crate) fn direction(&self, clean: Tensor<D>, noise: Tensor<D>) -> Tensor<D> {
        let rest = self.rest.clone().div(self.norm.clone());
        clean.mul(rest).sub(noise.mul(self.t.clone().div(self.norm.clone())))
    }
}

/// Mixes `clean` with `noise`, picture and sound at timesteps of their own.
pub(crate) fn add_noise(
    clean: Latents,
    noise: Latents,
    picture_timesteps: &Tensor<1>,
    sound_timesteps: &Tensor<1>,
) -> Noised {
    let (picture, sound) = (Line::<3>::at(picture_timesteps), Line::<3>::at(sound_timesteps));
    let direction = clean.clone().zip_streams(
        noise.clone(),
        |clean, noise| picture.direction(clean, noise),
        |clean, noise| sound.direction(clean, noise),
    );
    let noisy = clean.zip_streams(
        noise,
        |clean, noise| picture.noisy(clean, noise),
        |clean, noise| sound.noisy(clean, noise),
    );
    Noised { noisy, direction }
}

/// The clean latents that a predicted direction points at, for one timestep of the whole batch.
pub(crate) fn clean_from<const D: usize>(noisy: Tensor<D>, direction: Tensor<D>, t: f32) -> Tensor<D> {
    let square = t * t + (1.0 - t) * (1.0 - t);
    let (keep, step) = (t / square, (1.0 - t) / square.sqrt());
    noisy.mul_scalar(keep).add(direction.mul_scalar(step))
}

/// One step of the sampler, from `t` to `next`: along the line through the state and the predicted data.
pub(crate) fn advance<const D: usize>(state: Tensor<D>, clean: Tensor<D>, t: f32, next: f32) -> Tensor<D> {
    let share = (next - t) / (1.0 - t);
    state.mul_scalar(1.0 - share).add(clean.mul_scalar(share))
}

/// How a clip is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sampling {
    pub(crate) steps: usize,
    /// How far to go beyond the prediction without text; 1 follows the prompt as it was learned.
    pub(crate) guidance: f32,
    /// How far to go beyond the prediction without references.
    pub(crate) likeness: f32,
    /// Spends more steps near the noise, where the clip is decided.
    pub(crate) shift: f32,
    /// The time up to which anything is exaggerated: what happens is decided by then, and what follows are its
    /// particulars, which are best drawn as they were learned (Kynkaanniemi et al., 2024).
    pub(crate) guided_until: f32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { steps: 16, guidance: 3.0, likeness: 2.0, shift: 2.0, guided_until: 0.5 }
    }
}

impl Sampling {
    /// Whether what is predicted for the whole prompt at this time is all that counts.
    fn is_plain(&self, t: f32) -> bool {
        t >= self.guided_until
            || ((self.guidance - 1.0).abs() < f32::EPSILON && (self.likeness - 1.0).abs() < f32::EPSILON)
    }
}

/// What a clip is drawn towards. Each context is `[batch, 32, width]`.
#[derive(Clone, Debug)]
pub(crate) struct Guide {
    /// Of the prompts with their references.
    pub(crate) whole: Tensor<3>,
    /// Of the prompts alone, where there are references.
    pub(crate) text: Option<Tensor<3>>,
    /// Of no prompt at all.
    pub(crate) nothing: Tensor<3>,
    pub(crate) known: Known,
    pub(crate) likeness: Option<Likeness>,
    pub(crate) sampling: Sampling,
}

/// What references say of a clip. It is not drawn anew: the sampler draws the rest around it.
#[derive(Clone, Debug)]
pub(crate) struct Likeness {
    /// Normalised looks `[batch, 3, 23]`, and 1 for each number that a portrait shows.
    pub(crate) looks: Tensor<3>,
    pub(crate) shown: Tensor<3>,
    /// Normalised voices `[batch, 1, 4]`, and 1 where there is one, `[batch, 1, 1]`.
    pub(crate) voices: Tensor<3>,
    pub(crate) heard: Tensor<3>,
}

impl Likeness {
    /// Predicted data that look and sound as the references do.
    fn keep(&self, clean: Latents) -> Latents {
        let mix = |drawn: Tensor<3>, given: &Tensor<3>, share: &Tensor<3>| {
            drawn.clone().add(given.clone().sub(drawn).mul(share.clone()))
        };
        let (facts, look) = (clean.actors.clone().narrow(2, 0, ACTOR - LOOK), ACTOR - LOOK);
        let look = mix(clean.actors.narrow(2, look, LOOK), &self.looks, &self.shown);
        let who = clean.voice.clone().narrow(2, 0, VOICE - VOICE_CODE);
        let voice = mix(clean.voice.narrow(2, VOICE - VOICE_CODE, VOICE_CODE), &self.voices, &self.heard);
        Latents {
            actors: Tensor::cat(vec![facts, look], 2),
            voice: Tensor::cat(vec![who, voice], 2),
            ..clean
        }
    }
}

/// Where the sampler begins instead of at noise.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) clean: Latents,
    /// From 0, where nothing of `clean` is left, to 1.
    pub(crate) t: f32,
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

/// Draws a batch of clips from `noise`, or from `start` with as much of it as belongs there. `on_step` may end
/// it early, which gives `None`.
pub(crate) fn sample(
    model: &FlowTransformer,
    noise: &Latents,
    start: Option<&Start>,
    guide: &Guide,
    on_step: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Option<Latents> {
    let Sampling { steps, shift, .. } = guide.sampling;
    let first = start.map_or(0.0, |start| start.t);
    let times: Vec<f32> = timesteps(steps, shift).into_iter().map(|t| first + (1.0 - first) * t).collect();
    let mut state = match start {
        None => noise.clone(),
        Some(Start { clean, t }) => noise
            .clone()
            .zip(clean.clone(), |noise, clean| noise.mul_scalar(1.0 - t).add(clean.mul_scalar(*t))),
    };
    for (step, pair) in times.windows(2).enumerate() {
        state = stride(model, state, guide, (pair[0], pair[1]));
        if on_step(step + 1, steps).is_break() {
            return None;
        }
    }
    let mask = guide.known.mask.spread(&state);
    let given = guide.known.values.clone().zip(mask.clone(), Tensor::mul);
    let drawn = state.zip(mask, |state, mask| state.clone().sub(state.mul(mask)));
    Some(drawn.zip(given, Tensor::add))
}

/// One step of the sampler, along the line through the state and the predicted data.
pub(crate) fn stride(
    model: &FlowTransformer,
    state: Latents,
    guide: &Guide,
    (t, next): (f32, f32),
) -> Latents {
    let mut clean = predict(model, &state, guide, t);
    if let Some(likeness) = &guide.likeness {
        clean = likeness.keep(clean);
    }
    state.zip(clean, |state, clean| advance(state, clean, t, next))
}

/// The direction that leads from `noisy` at t straight to `clean`; the inverse of [`clean_from`].
pub(crate) fn direction_to(noisy: Latents, clean: Latents, t: f32) -> Latents {
    let square = t * t + (1.0 - t) * (1.0 - t);
    let scale = 1.0 / (square.sqrt() * (1.0 - t));
    noisy.zip(clean, |noisy, clean| clean.mul_scalar(square * scale).sub(noisy.mul_scalar(t * scale)))
}

/// Clean latents predicted with guidance: `v0 + s_text (v_text - v0) + s_likeness (v_whole - v_text)`. All the
/// predictions share one batch.
fn predict(model: &FlowTransformer, state: &Latents, guide: &Guide, t: f32) -> Latents {
    let batch = guide.whole.dims()[0];
    let Sampling { guidance, likeness, .. } = guide.sampling;
    let contexts = if guide.sampling.is_plain(t) {
        vec![guide.whole.clone()]
    } else {
        [Some(guide.nothing.clone()), Some(guide.whole.clone()), guide.text.clone()]
            .into_iter()
            .flatten()
            .collect()
    };
    let copies = contexts.len();
    let contexts = Tensor::cat(contexts, 0);
    let repeat = |part: Tensor<3>| part.repeat_dim(0, copies);
    let known =
        Known { values: guide.known.values.clone().map(repeat), mask: guide.known.mask.repeat(copies) };
    let times = Tensor::<1>::full([copies * batch], t, &contexts.device());
    let direction = model.forward(state.clone().map(repeat), &known, times.clone(), times, contexts);
    let direction = direction.map(|all| {
        if copies == 1 {
            return all;
        }
        let part = |index: usize| all.clone().narrow(0, index * batch, batch);
        let (nothing, whole) = (part(0), part(1));
        if copies == 2 {
            return nothing.clone().add(whole.sub(nothing).mul_scalar(guidance));
        }
        let text = part(2);
        let towards_text = text.clone().sub(nothing.clone()).mul_scalar(guidance);
        nothing.add(towards_text).add(whole.sub(text).mul_scalar(likeness))
    });
    state.clone().zip(direction, |state, direction| clean_from(state, direction, t))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};
    use proptest::prelude::*;

    use super::*;
    use crate::size::ModelSize;

    fn random(batch: usize) -> Latents {
        let device = Device::flex();
        let layout = ModelSize::Nano.config().layout();
        let rows = Tensor::<1>::random([batch * layout.total()], Distribution::Normal(0.0, 1.0), &device);
        let rows: Vec<f32> = rows.try_into_vec_as::<f32>().unwrap();
        Latents::from_rows(&rows, layout, &device)
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
            let again = direction_to(noised.noisy.clone(), clean.clone(), t);
            assert!(difference(again, noised.direction.clone()) < 1e-4, "at {t}");
            let back = noised.noisy.zip(noised.direction, |noisy, direction| clean_from(noisy, direction, t));
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

    /// Where the sampler ends from `noise` if the data are normal with this mean and deviation, of which the
    /// best prediction is known: the mean of the data given the state.
    fn sample_normal(noise: f32, mean: f32, deviation: f32, times: &[f32]) -> f32 {
        let device = Device::flex();
        let mut state = Tensor::<1>::from_floats([noise], &device);
        for pair in times.windows(2) {
            let t = pair[0];
            let variance = (deviation * t).powi(2) + (1.0 - t).powi(2);
            let pull = deviation * deviation * t / variance;
            let clean = state.clone().sub_scalar(t * mean).mul_scalar(pull).add_scalar(mean);
            state = advance(state, clean, t, pair[1]);
        }
        state.into_scalar::<f32>()
    }

    proptest! {
        /// The flow carries noise z to mean + deviation * z, whatever path it takes; the sampler's error falls
        /// with its steps as Euler's does.
        #[test]
        fn normal_data_come_from_noise_as_in_closed_form(
            noise in -2.5_f32..2.5, mean in -2.0_f32..2.0, deviation in 0.2_f32..2.0, shift in 1.0_f32..3.0,
        ) {
            let exact = mean + deviation * noise;
            let off = |steps: usize| {
                (sample_normal(noise, mean, deviation, &timesteps(steps, shift)) - exact).abs()
            };
            let scale = deviation * noise.abs().max(0.1);
            // Euler's error is at most a constant over the steps: 6.3 for the widest and most shifted of these.
            for steps in [16, 64, 512] {
                let bound = 7.0 * scale / steps as f32;
                prop_assert!(off(steps) < bound, "{steps} steps: {} of {bound}", off(steps));
            }
            let ratio = off(64) / off(128).max(1e-6);
            prop_assert!(off(128) < 2e-4 || (1.7..2.3).contains(&ratio), "{ratio}");
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
