//! Gradient descent that can stop at any moment: a module, optimizers and a loss enter, the trained module
//! leaves, by way of checkpoints.
//!
//! A batch is split into shards whose gradients are computed side by side, one a worker (a thread of the CPU, or
//! a GPU), and one after another where there are fewer workers; they are added up in order.
//! INVARIANT: a step depends on the module, the optimizers' state and the step's number alone, so a run that
//! goes on from a checkpoint reaches the weights that it would have reached without stopping.

use std::panic::resume_unwind;
use std::path::Path;
use std::thread;
use std::time::Instant;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::{AdamWConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Gradients, Tensor};
use kinora_harness::checkpoint::Checkpoints;
use kinora_harness::device::{DeviceChoice, DeviceError, resolve_workers};
use kinora_harness::interrupt::Interrupt;
use kinora_harness::progress::{Mode, Progress};
use kinora_harness::run::Run;
use kinora_harness::weights::{load_module, load_optimizer, save_module, save_optimizer};

use super::TrainError;
use crate::model::flops::peak_flop_per_s;

/// Steps between two looks at the loss: reading it waits for the device.
const LOSS_EVERY: u64 = 10;
/// Steps between two updates of the averaged weights.
const AVERAGE_EVERY: u64 = 4;
/// Steps over which the learning rate rises.
const WARM_UP: f64 = 60.0;
/// Share of the steps, at the end, over which it falls.
const COOL_DOWN: f64 = 0.4;

/// Parameters that share an optimizer and a learning rate.
pub(crate) struct Group {
    pub(crate) optimizer: ModuleOptimizer,
    pub(crate) params: Vec<ParamId>,
    pub(crate) peak_rate: f64,
}

impl Group {
    /// `AdamW` without weight decay for `params`.
    pub(crate) fn adamw(params: Vec<ParamId>, peak_rate: f64) -> Self {
        let optimizer = AdamWConfig::new().with_weight_decay(0.0).with_epsilon(1e-8).init();
        Self { optimizer, params, peak_rate }
    }

    /// The same for everything that `module` holds.
    pub(crate) fn adamw_all<M: Module>(module: &M, peak_rate: f64) -> Self {
        Self::adamw(parameters(module).into_iter().map(|(id, _)| id).collect(), peak_rate)
    }
}

/// A loss, and how its gradients are found.
pub(crate) struct Slope {
    pub(crate) loss: Tensor<1>,
    /// What of the network lies before the loss's own graph.
    pub(crate) rest: Option<Rest>,
}

/// From the gradients of a loss's own graph to those of what lies before it.
pub(crate) type Rest = Box<dyn FnOnce(&Gradients) -> Vec<Gradients>>;

/// A loss whose graph is the whole network.
impl From<Tensor<1>> for Slope {
    fn from(loss: Tensor<1>) -> Self {
        Self { loss, rest: None }
    }
}

/// Where `shards` parts of a batch are worked on, with gradients.
pub(crate) fn workers(choice: DeviceChoice, shards: usize) -> Result<Vec<Device>, DeviceError> {
    Ok(resolve_workers(choice, shards)?.into_iter().map(Device::autodiff).collect())
}

/// How long a part of the training runs, and what watches it.
pub(crate) struct Descent<'a> {
    pub(crate) name: &'static str,
    pub(crate) steps: u64,
    pub(crate) checkpoint_every: u64,
    /// Decay of the averaged weights a step.
    pub(crate) averaging: f64,
    /// Parts of a batch. Their number decides how sums are rounded, so it belongs to the training, not to the
    /// machine.
    pub(crate) shards: usize,
    /// Where they are worked on, one a worker at a time; the first is the device where gradients are kept.
    pub(crate) workers: Vec<Device>,
    /// What a step costs, where its speed is to be told.
    pub(crate) effort: Option<Effort>,
    /// Where gradients are kept.
    pub(crate) device: &'a Device,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) run: &'a mut Run,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) progress: Mode,
}

/// What a training step costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) clips: usize,
    /// Floating-point operations of a clip.
    pub(crate) flop: f64,
}

/// Tells how fast steps are, beside the fastest that the device multiplies matrices ("MFU").
struct Speedometer {
    effort: Effort,
    peak_flop_per_s: f64,
    since: (u64, Instant),
}

impl Speedometer {
    fn new(effort: Effort, device: &Device, step: u64) -> Self {
        Self { effort, peak_flop_per_s: peak_flop_per_s(device), since: (step, Instant::now()) }
    }

    /// Clips a second since the last look, and the utilisation of the device in [0, 1].
    fn look(&mut self, step: u64) -> (f64, f64) {
        let (before, started) = std::mem::replace(&mut self.since, (step, Instant::now()));
        let clips_per_s =
            ((step - before) as usize * self.effort.clips) as f64 / started.elapsed().as_secs_f64().max(1e-9);
        (clips_per_s, clips_per_s * self.effort.flop / self.peak_flop_per_s)
    }
}

/// One part of one step's batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shard<'a> {
    pub(crate) step: u64,
    pub(crate) index: usize,
    /// Where it is worked on.
    pub(crate) device: &'a Device,
}

/// A module being trained, with the average of its past weights.
pub(crate) struct Trained<M: Module> {
    module: M,
    average: M,
    groups: Vec<Group>,
}

impl<M: Module> Trained<M> {
    pub(crate) fn new(module: M, groups: Vec<Group>) -> Self {
        let average = module.valid();
        Self { module, average, groups }
    }

    /// The weights as they are now.
    #[cfg(all(test, feature = "cuda"))]
    pub(super) fn into_module(self) -> M {
        self.module
    }

    /// One step at `rate` of the peak rates. The losses of the shards add up to that of the step; the first of
    /// the `workers` holds the weights.
    pub(crate) fn step<S: Into<Slope>>(
        self,
        step: u64,
        shards: usize,
        workers: &[Device],
        rate: f64,
        loss: &(impl Fn(&M, Shard<'_>) -> S + Sync),
    ) -> (Vec<Tensor<1>>, Self) {
        let (losses, gradients) = self.gradients(step, shards, workers, loss);
        let Self { mut module, average, mut groups } = self;
        for (group, part) in groups.iter_mut().zip(gradients) {
            module = group.optimizer.step(group.peak_rate * rate, module, part);
        }
        (losses, Self { module, average, groups })
    }

    /// The losses of a step's shards, and each group's gradients.
    fn gradients<S: Into<Slope>>(
        &self,
        step: u64,
        shards: usize,
        workers: &[Device],
        loss: &(impl Fn(&M, Shard<'_>) -> S + Sync),
    ) -> (Vec<Tensor<1>>, Vec<GradientsParams>) {
        let (share, home) = (1.0 / shards as f64, &workers[0]);
        let params: Vec<&[ParamId]> = self.groups.iter().map(|group| group.params.as_slice()).collect();
        let work = |replica: M, index: usize, device: &Device| {
            let Slope { loss, rest } = loss(&replica, Shard { step, index, device }).into();
            let value = loss.mul_scalar(share);
            let mut gradients = value.backward();
            let mut others = rest.map_or_else(Vec::new, |rest| rest(&gradients));
            let parts: Vec<GradientsParams> = params
                .iter()
                .map(|params| {
                    let own = GradientsParams::from_params(&mut gradients, &replica, params);
                    if others.is_empty() {
                        return own;
                    }
                    let mut sum = GradientsAccumulator::new();
                    sum.accumulate(&replica, own);
                    for other in &mut others {
                        sum.accumulate(&replica, GradientsParams::from_params(other, &replica, params));
                    }
                    sum.grads()
                })
                .collect();
            (value.inner(), parts)
        };
        if shards == 1 {
            let (value, parts) = work(self.module.clone(), 0, home);
            return (vec![value], parts);
        }
        let mut sums: Vec<GradientsAccumulator<M>> =
            self.groups.iter().map(|_| GradientsAccumulator::new()).collect();
        let mut losses = Vec::with_capacity(shards);
        let indices: Vec<usize> = (0..shards).collect();
        for wave in indices.chunks(workers.len()) {
            let worked: Vec<_> = thread::scope(|scope| {
                let started: Vec<_> = wave
                    .iter()
                    .zip(workers)
                    .map(|(&index, device)| {
                        // A replica has leaves of its own: graphs that share none do not wait for each other.
                        let replica = self.module.clone().fork(device);
                        let work = &work;
                        scope.spawn(move || work(replica, index, device))
                    })
                    .collect();
                started
                    .into_iter()
                    .map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
                    .collect()
            });
            for ((value, parts), device) in worked.into_iter().zip(workers) {
                losses.push(value);
                for (sum, part) in sums.iter_mut().zip(parts) {
                    let part = if device == home { part } else { part.to_device(home, &self.module) };
                    sum.accumulate(&self.module, part);
                }
            }
        }
        (losses, sums.iter_mut().map(GradientsAccumulator::grads).collect())
    }

    /// With the average moved towards the weights, as after `step`.
    fn averaged(self, step: u64, averaging: f64) -> Self {
        if !(step + 1).is_multiple_of(AVERAGE_EVERY) {
            return self;
        }
        // Early weights are poor: the average forgets them faster.
        let decay = averaging.powi(AVERAGE_EVERY as i32).min(step as f64 / (step as f64 + 40.0));
        Self { average: toward(self.average, &self.module, decay), ..self }
    }
}

impl Descent<'_> {
    /// Trains `module`, from the newest checkpoint where there is one, and returns the averaged weights.
    pub(crate) fn run<M: Module, S: Into<Slope>>(
        self,
        module: M,
        groups: impl FnOnce(&M) -> Vec<Group>,
        loss: impl Fn(&M, Shard<'_>) -> S + Sync,
    ) -> Result<M, TrainError> {
        self.run_watched(module, groups, loss, |_, _, _| Ok(()))
    }

    /// The same; `watch` sees the averaged weights at each checkpoint.
    pub(crate) fn run_watched<M: Module, S: Into<Slope>>(
        self,
        module: M,
        groups: impl FnOnce(&M) -> Vec<Group>,
        loss: impl Fn(&M, Shard<'_>) -> S + Sync,
        mut watch: impl FnMut(u64, &M, &mut Run) -> Result<(), TrainError>,
    ) -> Result<M, TrainError> {
        let (mut step, mut trained) = self.restore(module, groups)?;
        let first = step + 1;
        let mut progress = Progress::new(self.name, self.steps, self.progress);
        let mut told = String::from("done before");
        let effort = self.effort.filter(|_| step < self.steps);
        let mut speedometer = effort.map(|effort| Speedometer::new(effort, self.device, step));
        while step < self.steps {
            if self.interrupt.is_set() {
                self.save(step, &trained)?;
                progress.finish(format!("stopped at step {step}"));
                return Err(TrainError::Interrupted { stage: self.name, step });
            }
            let rate = rate(step, self.steps);
            let value;
            (value, trained) = trained.step(step, self.shards, &self.workers, rate, &loss);
            trained = trained.averaged(step, self.averaging);
            step += 1;
            let kept = step.is_multiple_of(self.checkpoint_every) || step == self.steps;
            if step == first || step.is_multiple_of(LOSS_EVERY) || kept {
                let value: f64 = value.into_iter().map(|part| f64::from(part.into_scalar::<f32>())).sum();
                // Before anything is kept: a checkpoint never holds weights that are no numbers.
                if !value.is_finite() {
                    return Err(TrainError::Diverged { stage: self.name, step });
                }
                self.run.metric(step, &format!("{}_loss", self.name), value)?;
                told = format!("loss {value:.4}");
                if let Some(speedometer) = &mut speedometer {
                    let (clips_per_s, utilisation) = speedometer.look(step);
                    self.run.metric(step, &format!("{}_clips_per_s", self.name), clips_per_s)?;
                    self.run.metric(step, &format!("{}_mfu", self.name), utilisation)?;
                    told.push_str(&format!(", {clips_per_s:.0} clips/s, MFU {:.0}%", 100.0 * utilisation));
                }
            }
            progress.set(step, &told);
            if kept {
                self.save(step, &trained)?;
                watch(step, &trained.average, self.run)?;
            }
        }
        progress.finish(format!("{step} steps, {told}"));
        Ok(trained.average)
    }

    fn restore<M: Module>(
        &self,
        module: M,
        groups: impl FnOnce(&M) -> Vec<Group>,
    ) -> Result<(u64, Trained<M>), TrainError> {
        let Some((step, path)) = self.checkpoints.latest()? else {
            let groups = groups(&module);
            return Ok((0, Trained::new(module, groups)));
        };
        tracing::info!(stage = self.name, step, "going on from a checkpoint");
        let average = load_module(module.valid(), &path.join("average"))?;
        let module = load_module(module, &path.join("module"))?;
        // The parameters' ids are the checkpoint's now: groups are made of these.
        let groups = groups(&module).into_iter().enumerate().map(|(index, group)| {
            let optimizer = load_optimizer(group.optimizer, &optimizer_path(&path, index))?;
            Ok(Group { optimizer, ..group })
        });
        let groups = groups.collect::<Result<_, TrainError>>()?;
        Ok((step, Trained { module, average, groups }))
    }

    fn save<M: Module>(&self, step: u64, trained: &Trained<M>) -> Result<(), TrainError> {
        self.checkpoints.save(step, |directory| {
            save_module(&trained.module, &directory.join("module"))?;
            save_module(&trained.average, &directory.join("average"))?;
            for (index, group) in trained.groups.iter().enumerate() {
                save_optimizer(&group.optimizer, &optimizer_path(directory, index))?;
            }
            Ok(())
        })?;
        Ok(())
    }
}

fn optimizer_path(directory: &Path, index: usize) -> std::path::PathBuf {
    directory.join(format!("optimizer-{index}"))
}

/// The learning rate's share of its peak: up, along, and down to a thirtieth.
fn rate(step: u64, steps: u64) -> f64 {
    let (step, steps) = (step as f64, steps as f64);
    let rise = ((step + 1.0) / WARM_UP.min(steps * 0.1 + 1.0)).min(1.0);
    let fall = ((steps - step) / (steps * COOL_DOWN)).min(1.0);
    rise * fall.max(1.0 / 30.0)
}

/// Parameters of a module with their paths.
pub(crate) fn parameters<M: Module>(module: &M) -> Vec<(ParamId, String)> {
    #[derive(Default)]
    struct Paths {
        path: Vec<String>,
        found: Vec<(ParamId, String)>,
    }
    impl ModuleVisitor for Paths {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.found.push((param.id, self.path.join(".")));
        }
    }
    let mut paths = Paths::default();
    module.visit(&mut paths);
    paths.found
}

/// `average` moved towards the weights of `module`, keeping `decay` of itself.
fn toward<M: Module>(average: M, module: &M, decay: f64) -> M {
    struct Collect(GradientsParams);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.register(param.id, param.val().inner());
        }
    }
    struct Mix {
        weights: GradientsParams,
        decay: f64,
    }
    impl ModuleMapper for Mix {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(weights) = self.weights.remove::<D>(param.id) else { return param };
            let decay = self.decay;
            param.map(|average| average.mul_scalar(decay).add(weights.mul_scalar(1.0 - decay)))
        }
    }
    let mut collect = Collect(GradientsParams::new());
    module.visit(&mut collect);
    average.map(&mut Mix { weights: collect.0, decay })
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;
    use kinora_harness::seed::seeded;

    use super::*;

    #[test]
    fn the_rate_rises_and_falls() {
        assert!(rate(0, 1000) < 0.05);
        assert!((rate(300, 1000) - 1.0).abs() < 1e-9);
        assert!(rate(999, 1000) < 0.05);
    }

    #[test]
    fn the_average_lies_between_old_and_new() {
        let device = Device::flex();
        let linear = |seed| -> Linear { seeded(&device, seed, || LinearConfig::new(2, 2).init(&device)) };
        let values = |linear: &Linear| linear.weight.val().try_into_vec_as::<f32>().unwrap();
        let module = linear(1);
        let mut average = module.clone();
        average.weight = average.weight.map(|weight| weight.add_scalar(1.0));
        let before = values(&average);
        let after = values(&toward(average, &module, 0.75));
        for ((after, before), new) in after.iter().zip(before).zip(values(&module)) {
            assert!((after - (0.75 * before + 0.25 * new)).abs() < 1e-6);
        }
    }
}
