//! One step of gradient descent: weights and a batch enter, the next weights leave.
//!
//! A batch is split into shards whose gradients are computed side by side.
//! INVARIANT: a step follows from the weights, the seed and the step's number alone, so that a training
//! which goes on from a checkpoint reaches the weights of one that never stopped.

use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use kinora_harness::checkpoint::{self, Checkpoints};
use kinora_harness::seed::derive;
use kinora_harness::weights;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::batches::Window;
use super::hyperparameters::{Hyperparameters, LossKind};
use super::loss::{self, Negatives};
use super::model::{Histories, Retriever};
use crate::dropout::Dropout;
use crate::error::{RankingError, Result};

/// Parts of a batch, worked on side by side. Their number decides how sums are rounded, so it belongs to
/// the training, not to the machine.
pub(super) const SHARDS: usize = 2;
/// Steps over which the learning rate rises.
const WARM_UP: f64 = 100.0;

/// What ties a checkpoint to its run, and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) seed: u64,
    pub(super) hyperparameters: Hyperparameters,
    pub(super) sequences_sha256: String,
    pub(super) step: u64,
    pub(super) epoch: u64,
    /// Batches of the epoch that are done.
    pub(super) batch: usize,
    pub(super) best_epoch: u64,
    pub(super) best_ndcg: f64,
}

/// Everything that a training changes.
pub(super) struct Trained {
    pub(super) model: Retriever,
    /// Average of the latest weights.
    pub(super) average: Retriever,
    /// The average after the best epoch.
    pub(super) best: Retriever,
    pub(super) optimizer: ModuleOptimizer,
    pub(super) state: State,
}

impl Trained {
    /// After one more batch, and the sum of its positions' losses in nats.
    pub(super) fn step(mut self, batch: &[Window<'_>], items: usize, workers: &[Device]) -> (Self, f64) {
        let hyper = self.state.hyperparameters.clone();
        let (seed, step) = (self.state.seed, self.state.step);
        let positions: usize = batch.iter().map(|window| window.inputs.len()).sum();
        let negatives = (hyper.loss == LossKind::Sampled)
            .then(|| draw(items, hyper.negatives, derive(seed, &format!("negatives {step}"))));
        let negatives = negatives.as_ref();
        let work = |replica: Retriever, shard: usize| {
            let windows: Vec<Window<'_>> = batch.iter().skip(shard).step_by(SHARDS).copied().collect();
            let mut dropout = Dropout::new(hyper.dropout, derive(seed, &format!("dropout {step} {shard}")));
            let loss = window_loss(&replica, &windows, negatives, Some(&mut dropout));
            let gradients = (loss.surrogate / positions as f64).backward();
            (loss.nats.into_scalar::<f32>(), GradientsParams::from_grads(gradients, &replica))
        };
        let mut sum = GradientsAccumulator::new();
        let mut nats = 0.0;
        let shards: Vec<usize> = (0..SHARDS.min(batch.len())).collect();
        for wave in shards.chunks(workers.len()) {
            let worked: Vec<_> = thread::scope(|scope| {
                let started: Vec<_> = wave
                    .iter()
                    .zip(workers)
                    .map(|(&shard, device)| {
                        // A replica has leaves of its own: graphs that share none do not wait for each other.
                        let replica = self.model.clone().fork(device);
                        let work = &work;
                        scope.spawn(move || work(replica, shard))
                    })
                    .collect();
                started
                    .into_iter()
                    .map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
                    .collect()
            });
            for (part, gradients) in worked {
                nats += f64::from(part);
                sum.accumulate(&self.model, gradients.to_device(&workers[0], &self.model));
            }
        }
        let rate = hyper.learning_rate * ((step + 1) as f64 / WARM_UP).min(1.0);
        self.model = self.optimizer.step(rate, self.model, sum.grads());
        // Early weights are poor: the average forgets them faster.
        let decay = hyper.averaging.min(step as f64 / (step as f64 + 10.0));
        self.average = toward(self.average, &self.model, decay);
        self.state.step += 1;
        self.state.batch += 1;
        (self, nats)
    }

    pub(super) fn save(&self, checkpoints: &Checkpoints) -> Result<()> {
        checkpoints.save(self.state.step, |directory| {
            for (name, module) in [("average.bpk", &self.average), ("best.bpk", &self.best)] {
                weights::save_module(module, &directory.join(name))?;
            }
            weights::save_module(&self.model, &directory.join("model.bpk"))?;
            weights::save_optimizer(&self.optimizer, &directory.join("optimizer.bpk"))?;
            checkpoint::write_state(&directory.join("state.json"), &self.state)
        })?;
        Ok(())
    }

    pub(super) fn restore(self, path: &Path) -> Result<Self> {
        let state: State = checkpoint::read_state(&path.join("state.json"))?;
        let start = &self.state;
        // How long to go on may be asked anew; it changes no step.
        let endless = |hyper: &Hyperparameters| Hyperparameters { epochs: 0, patience: 0, ..hyper.clone() };
        let differing: Vec<&str> = [
            ("the seed", state.seed != start.seed),
            ("the hyperparameters", endless(&state.hyperparameters) != endless(&start.hyperparameters)),
            ("the data", state.sequences_sha256 != start.sequences_sha256),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect();
        if !differing.is_empty() {
            return Err(RankingError::OtherRun { path: path.to_owned(), differs: differing.join(", ") });
        }
        let hyperparameters = start.hyperparameters.clone();
        Ok(Self {
            model: weights::load_module(self.model, &path.join("model.bpk"))?,
            average: weights::load_module(self.average, &path.join("average.bpk"))?,
            best: weights::load_module(self.best, &path.join("best.bpk"))?,
            optimizer: weights::load_optimizer(self.optimizer, &path.join("optimizer.bpk"))?,
            state: State { hyperparameters, ..state },
        })
    }
}

/// The loss of every position of `windows`, summed.
pub(crate) fn window_loss(
    model: &Retriever,
    windows: &[Window<'_>],
    negatives: Option<&Negatives>,
    dropout: Option<&mut Dropout>,
) -> loss::Loss {
    let columns = windows.iter().map(|window| window.inputs.len()).max().unwrap_or(0);
    let places: Vec<i32> = windows
        .iter()
        .enumerate()
        .flat_map(|(row, window)| {
            (row * columns..row * columns + window.inputs.len()).map(|place| place as i32)
        })
        .collect();
    let targets: Vec<i32> =
        windows.iter().flat_map(|window| window.targets.iter().map(|&item| item as i32)).collect();
    let queries = model.queries(&Histories::new(windows), &places, dropout);
    match negatives {
        Some(negatives) => loss::sampled(queries, model.items(), &targets, negatives),
        None => loss::full(queries, model.items(), &targets),
    }
}

/// `count` items drawn uniformly, with replacement.
fn draw(items: usize, count: usize, seed: u64) -> Negatives {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let log_expected = (count as f32 / items as f32).ln();
    Negatives {
        items: (0..count).map(|_| rng.random_range(0..items as i32)).collect(),
        log_expected: vec![log_expected; count],
    }
}

/// `average` moved towards the weights of `module`, keeping `decay` of itself.
fn toward(average: Retriever, module: &Retriever, decay: f64) -> Retriever {
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
