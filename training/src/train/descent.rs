//! Gradient descent that can stop at any moment: a module, optimizers and a loss enter, the trained module
//! leaves, by way of checkpoints.
//!
//! INVARIANT: a step depends on the module, the optimizers' state and the step's number alone, so a run that
//! goes on from a checkpoint reaches the weights that it would have reached without stopping.

use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use kinora_harness::checkpoint::Checkpoints;
use kinora_harness::interrupt::Interrupt;
use kinora_harness::progress::{Mode, Progress};
use kinora_harness::run::Run;
use kinora_harness::weights::{load_module, load_optimizer, save_module, save_optimizer};

use super::TrainError;

/// Steps between two looks at the loss: reading it waits for the device.
const LOSS_EVERY: u64 = 10;
/// Steps between two updates of the averaged weights.
const AVERAGE_EVERY: u64 = 4;
/// Steps over which the learning rate rises.
const WARM_UP: f64 = 60.0;
/// Share of the steps, at the end, over which it falls.
const COOL_DOWN: f64 = 0.4;

/// Parameters that share an optimizer and a learning rate.
pub(super) struct Group {
    pub(super) optimizer: ModuleOptimizer,
    pub(super) params: Vec<ParamId>,
    pub(super) peak_rate: f64,
}

impl Group {
    /// `AdamW` without weight decay for `params`.
    pub(super) fn adamw(params: Vec<ParamId>, peak_rate: f64) -> Self {
        let optimizer = AdamWConfig::new().with_weight_decay(0.0).with_epsilon(1e-8).init();
        Self { optimizer, params, peak_rate }
    }

    /// The same for everything that `module` holds.
    pub(super) fn adamw_all<M: Module>(module: &M, peak_rate: f64) -> Self {
        Self::adamw(parameters(module).into_iter().map(|(id, _)| id).collect(), peak_rate)
    }
}

/// How long a part of the training runs, and what watches it.
pub(super) struct Descent<'a> {
    pub(super) name: &'static str,
    pub(super) steps: u64,
    pub(super) checkpoint_every: u64,
    /// Decay of the averaged weights a step.
    pub(super) averaging: f64,
    pub(super) checkpoints: Checkpoints,
    pub(super) run: &'a mut Run,
    pub(super) interrupt: &'a Interrupt,
    pub(super) progress: Mode,
}

/// A module being trained, with the average of its past weights.
struct Trained<M: Module> {
    module: M,
    average: M,
    groups: Vec<Group>,
}

impl Descent<'_> {
    /// Trains `module`, from the newest checkpoint where there is one, and returns the averaged weights.
    pub(super) fn run<M: Module>(
        self,
        module: M,
        groups: impl FnOnce(&M) -> Vec<Group>,
        mut loss: impl FnMut(&M, u64) -> Tensor<1>,
    ) -> Result<M, TrainError> {
        let (mut step, mut trained) = self.restore(module, groups)?;
        let first = step + 1;
        let mut progress = Progress::new(self.name, self.steps, self.progress);
        let mut told = String::from("done before");
        while step < self.steps {
            if self.interrupt.is_set() {
                self.save(step, &trained)?;
                progress.finish(format!("stopped at step {step}"));
                return Err(TrainError::Interrupted { stage: self.name, step });
            }
            let value = loss(&trained.module, step);
            trained = self.update(step, trained, &value);
            step += 1;
            if step == first || step.is_multiple_of(LOSS_EVERY) || step == self.steps {
                let loss = f64::from(value.into_scalar::<f32>());
                if !loss.is_finite() {
                    return Err(TrainError::Diverged { stage: self.name, step });
                }
                self.run.metric(step, &format!("{}_loss", self.name), loss)?;
                told = format!("loss {loss:.4}");
            }
            progress.set(step, &told);
            if step.is_multiple_of(self.checkpoint_every) || step == self.steps {
                self.save(step, &trained)?;
            }
        }
        progress.finish(format!("{step} steps, {told}"));
        Ok(trained.average)
    }

    fn update<M: Module>(&self, step: u64, trained: Trained<M>, loss: &Tensor<1>) -> Trained<M> {
        let Trained { mut module, mut average, mut groups } = trained;
        let rate = rate(step, self.steps);
        let mut gradients = loss.backward();
        for group in &mut groups {
            let part = GradientsParams::from_params(&mut gradients, &module, &group.params);
            module = group.optimizer.step(group.peak_rate * rate, module, part);
        }
        if (step + 1).is_multiple_of(AVERAGE_EVERY) {
            // Early weights are poor: the average forgets them faster.
            let decay = self.averaging.powi(AVERAGE_EVERY as i32).min(step as f64 / (step as f64 + 40.0));
            average = toward(average, &module, decay);
        }
        Trained { module, average, groups }
    }

    fn restore<M: Module>(
        &self,
        module: M,
        groups: impl FnOnce(&M) -> Vec<Group>,
    ) -> Result<(u64, Trained<M>), TrainError> {
        let Some((step, path)) = self.checkpoints.latest()? else {
            let average = module.valid();
            let groups = groups(&module);
            return Ok((0, Trained { module, average, groups }));
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
pub(super) fn parameters<M: Module>(module: &M) -> Vec<(ParamId, String)> {
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
