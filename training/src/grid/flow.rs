//! Rectified flow over grids of latents: how far the transformer is from the right direction, and how clips are
//! drawn from noise by following it.
//!
//! The line from noise to data and what is predicted on it are those of [`crate::model::flow`].

use std::ops::ControlFlow;

use burn::tensor::{Device, Gradients, Tensor};

use super::transformer::{Embedded, GridTransformer, Grids, Known, Prompted};
use crate::model::flow::{Line, advance, clean_from, timesteps};
use crate::model::recompute::{along, pass};
use crate::train::descent::Slope;

/// How much more a latent counts that moves, and what change counts as moving wholly, in unit variance.
const MOVING_WEIGHT: f32 = 2.0;
const MOVING_CHANGE: f32 = 1.0;
/// Weight of the sound's part of the loss.
const SOUND_WEIGHT: f32 = 0.7;

/// Clips to learn from, and how noisy each is.
#[derive(Debug)]
pub(super) struct Lesson {
    pub(super) clean: Grids,
    pub(super) noise: Grids,
    pub(super) known: Known,
    pub(super) picture_timesteps: Tensor<1>,
    pub(super) sound_timesteps: Tensor<1>,
    /// 1 where a clip has a sound track, else 0, `[batch, 1, 1]`: silence for want of one is not learned.
    pub(super) is_heard: Tensor<3>,
    pub(super) prompted: Prompted,
}

impl Lesson {
    /// How far `model` is from the right direction. With `recompute` its blocks keep no activations.
    pub(super) fn slope(self, model: &GridTransformer, recompute: bool) -> Slope {
        let Self { clean, noise, known, picture_timesteps, sound_timesteps, is_heard, prompted } = self;
        let (picture, sound) = (Line::<5>::at(&picture_timesteps), Line::<3>::at(&sound_timesteps));
        let direction = clean.clone().zip(
            noise.clone(),
            |clean, noise| picture.direction(clean, noise),
            |clean, noise| sound.direction(clean, noise),
        );
        let weight = moving(clean.picture.clone());
        let noisy = clean.zip(
            noise,
            |clean, noise| picture.noisy(clean, noise),
            |clean, noise| sound.noisy(clean, noise),
        );
        let asked = known
            .mask
            .clone()
            .map(|mask| mask.neg().add_scalar(1.0), |mask| mask.neg().add_scalar(1.0).mul(is_heard));
        let loss = |predicted: Grids| {
            let error = predicted.zip(direction, Tensor::sub, Tensor::sub);
            let seen = error.picture.square().mul(weight.mul(asked.picture)).mean();
            match error.sound.zip(asked.sound) {
                Some((error, asked)) => seen.add(error.square().mul(asked).mean().mul_scalar(SOUND_WEIGHT)),
                None => seen,
            }
        };
        if !recompute {
            return loss(model.forward(noisy, &known, picture_timesteps, sound_timesteps, &prompted)).into();
        }
        let Embedded { streams, rotations, canvas } =
            model.embed(noisy, &known, picture_timesteps, sound_timesteps, &prompted);
        let passed = pass(model.blocks(), &streams, &rotations);
        let loss = loss(model.read(passed.output.clone(), canvas));
        let rest = move |after: &Gradients| {
            let (slopes, mut gradients) = passed.backward(after);
            gradients.push(along(streams.tensors(), slopes.tensors()).backward());
            gradients
        };
        Slope { loss, rest: Some(Box::new(rest)) }
    }
}

/// Weights of picture latents, of mean one: those that change from one latent frame to the next count more.
fn moving(latents: Tensor<5>) -> Tensor<5> {
    let [batch, times, _, rows, columns] = latents.dims();
    let still = Tensor::<5>::zeros([batch, 1, 1, rows, columns], &latents.device());
    let change = latents.clone().narrow(1, 1, times - 1).sub(latents.narrow(1, 0, times - 1));
    let change = change.abs().mean_dim(2).mul_scalar(1.0 / MOVING_CHANGE).clamp_max(1.0);
    let weight = Tensor::cat(vec![still, change], 1).mul_scalar(MOVING_WEIGHT).add_scalar(1.0);
    let mean = weight.clone().mean().reshape([1, 1, 1, 1, 1]);
    weight.div(mean)
}

/// What clips are drawn towards.
#[derive(Clone, Debug)]
pub(super) struct Guide {
    /// The prompts with their references.
    pub(super) whole: Prompted,
    /// The prompts alone, where there are references.
    pub(super) text: Option<Prompted>,
    /// No prompt at all.
    pub(super) nothing: Prompted,
    pub(super) known: Known,
    /// How far to go beyond the prediction without text, one a clip.
    pub(super) guidance: Vec<f32>,
    /// How far to go beyond the prediction without references, one a clip.
    pub(super) likeness: Vec<f32>,
}

/// How the sampler goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    pub(super) steps: usize,
    /// Spends more steps near the noise, where the clip is decided.
    pub(super) shift: f32,
    /// Where it begins: 0 at the noise.
    pub(super) from: f32,
}

impl Course {
    /// The timesteps, from `from` to 1.
    fn times(self) -> Vec<f32> {
        timesteps(self.steps, self.shift).into_iter().map(|t| self.from + (1.0 - self.from) * t).collect()
    }
}

/// Draws clips from `noise`; where the course begins later, from `clean` clips that are as noisy as there.
/// `on_step` may end it early, which gives `None`.
pub(super) fn sample(
    model: &GridTransformer,
    noise: Grids,
    clean: Option<Grids>,
    guide: &Guide,
    course: Course,
    on_step: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Option<Grids> {
    let mut state = match clean {
        None => noise,
        Some(clean) => {
            let batch = noise.picture.dims()[0];
            let from = Tensor::<1>::full([batch], course.from, &noise.picture.device());
            clean.zip(
                noise,
                |clean, noise| Line::<5>::at(&from).noisy(clean, noise),
                |clean, noise| Line::<3>::at(&from).noisy(clean, noise),
            )
        }
    };
    for (step, pair) in course.times().windows(2).enumerate() {
        let (t, next) = (pair[0], pair[1]);
        let direction = predict(model, &state, guide, t);
        let clean = state.clone().zip(
            direction,
            |state, direction| clean_from(state, direction, t),
            |state, direction| clean_from(state, direction, t),
        );
        state = state.zip(
            clean,
            |state, clean| advance(state, clean, t, next),
            |state, clean| advance(state, clean, t, next),
        );
        if on_step(step + 1, course.steps).is_break() {
            return None;
        }
    }
    Some(guide.known.complete(state))
}

/// The direction with guidance: `v0 + s_text (v_text - v0) + s_likeness (v_whole - v_text)`. All the
/// predictions share one batch.
fn predict(model: &GridTransformer, state: &Grids, guide: &Guide, t: f32) -> Grids {
    let device = state.picture.device();
    let batch = state.picture.dims()[0];
    // As learned: what the other predictions say weighs nothing.
    if guide.guidance.iter().chain(&guide.likeness).all(|factor| (factor - 1.0).abs() < 1e-6) {
        let times = Tensor::<1>::full([batch], t, &device);
        return model.forward(state.clone(), &guide.known, times.clone(), times, &guide.whole);
    }
    let mut prompts = vec![guide.nothing.clone(), guide.whole.clone()];
    prompts.extend(guide.text.clone());
    let copies = prompts.len();
    let times = Tensor::<1>::full([copies * batch], t, &device);
    let known = guide.known.clone().repeat(copies);
    let all =
        model.forward(state.clone().repeat(copies), &known, times.clone(), times, &Prompted::cat(prompts));
    all.map(|part| guided(&part, copies, guide, &device), |part| guided(&part, copies, guide, &device))
}

fn guided<const D: usize>(all: &Tensor<D>, copies: usize, guide: &Guide, device: &Device) -> Tensor<D> {
    let batch = all.dims()[0] / copies;
    let part = |index: usize| all.clone().narrow(0, index * batch, batch);
    let factor = |values: &[f32]| {
        let mut shape = [1; D];
        shape[0] = batch;
        Tensor::<1>::from_floats(values, device).reshape(shape)
    };
    let (nothing, whole) = (part(0), part(1));
    let text = if copies == 2 { whole.clone() } else { part(2) };
    let towards_text = text.clone().sub(nothing.clone()).mul(factor(&guide.guidance));
    nothing.add(towards_text).add(whole.sub(text).mul(factor(&guide.likeness)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_weighs_more_and_the_mean_is_one() {
        let device = Device::flex();
        let mut numbers = vec![0.0_f32; 3 * 2 * 4];
        numbers[2 * 4] = 3.0;
        let latents = Tensor::<1>::from_floats(numbers.as_slice(), &device).reshape([1, 3, 2, 2, 2]);
        let weights: Vec<f32> = moving(latents).try_into_vec_as::<f32>().unwrap();
        assert!((weights.iter().sum::<f32>() / 12.0 - 1.0).abs() < 1e-5);
        assert!(weights[4] > 2.0 * weights[0] && weights[8] > 2.0 * weights[1]);
    }

    #[test]
    fn a_course_runs_from_where_it_begins_to_the_data() {
        for from in [0.0, 0.4, 0.9] {
            let times = Course { steps: 6, shift: 2.0, from }.times();
            assert!((times[0] - from).abs() < 1e-6 && (times[6] - 1.0).abs() < 1e-6);
            assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
