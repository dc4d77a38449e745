//! Tensors on disk: a module or an optimizer enters, a file leaves, and back.
//!
//! Two formats for two needs. A finished model is `safetensors`, which anything can read. A
//! checkpoint is burnpack, which also keeps the parameter ids that tie an optimizer's state to
//! its parameters: without them a resumed run would not reach the same weights.

use std::fmt;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::{FloatCastAdapter, ModuleRecord, ModuleSnapshot, SafetensorsStore};
use burn::tensor::{Bytes, DType};
use thiserror::Error;

#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WeightsError {
    #[error("there are no weights at `{}`", path.display())]
    Missing { path: PathBuf },
    #[error("cannot write weights to `{}`: {reason}", path.display())]
    Write { path: PathBuf, reason: String },
    #[error("`{}` does not hold this model's weights: {reason}", path.display())]
    Foreign { path: PathBuf, reason: String },
}

impl WeightsError {
    fn write(path: &Path, reason: &dyn fmt::Display) -> Self {
        Self::Write { path: path.to_owned(), reason: one_line(&reason.to_string()) }
    }

    fn foreign(path: &Path, reason: &dyn fmt::Display) -> Self {
        Self::Foreign { path: path.to_owned(), reason: one_line(&reason.to_string()) }
    }
}

/// Number format of the weights in a `safetensors` file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    #[default]
    F32,
    F16,
    Bf16,
}

/// Writes a finished model's weights as `safetensors`. The same weights give the same bytes.
pub fn save_weights<M: Module>(module: &M, path: &Path, precision: Precision) -> Result<(), WeightsError> {
    let dtype = match precision {
        Precision::F32 => DType::F32,
        Precision::F16 => DType::F16,
        Precision::Bf16 => DType::BF16,
    };
    let mut store = SafetensorsStore::from_file(path)
        .clear_metadata()
        .overwrite(true)
        .with_to_adapter(FloatCastAdapter::to(dtype));
    module.save_into(&mut store).map_err(|error| WeightsError::write(path, &error))
}

/// Reads weights of any precision into `module` as f32. Every tensor must be there, with its
/// shape, and no other.
pub fn load_weights<M: Module>(mut module: M, path: &Path) -> Result<M, WeightsError> {
    require(path)?;
    let store = SafetensorsStore::from_file(path);
    load_from_store(&mut module, store, path)?;
    Ok(module)
}

/// Reads weights from memory, for those that are built into the program.
pub fn load_weights_from_bytes<M: Module>(mut module: M, bytes: Vec<u8>) -> Result<M, WeightsError> {
    let store = SafetensorsStore::from_bytes(Some(bytes));
    load_from_store(&mut module, store, Path::new("built-in weights"))?;
    Ok(module)
}

fn load_from_store<M: Module>(
    module: &mut M,
    store: SafetensorsStore,
    path: &Path,
) -> Result<(), WeightsError> {
    // Judged here rather than by the store, whose message is a table.
    let mut store =
        store.allow_partial(true).validate(false).with_from_adapter(FloatCastAdapter::to(DType::F32));
    let applied = module.load_from(&mut store).map_err(|error| WeightsError::foreign(path, &error))?;
    if let Some(error) = applied.errors.first() {
        return Err(WeightsError::foreign(path, &error));
    }
    if let Some((name, _)) = applied.missing.first() {
        return Err(WeightsError::foreign(path, &format_args!("tensor `{name}` is missing")));
    }
    match applied.unused.first() {
        Some(name) => {
            Err(WeightsError::foreign(path, &format_args!("tensor `{name}` is not one of its own")))
        }
        None => Ok(()),
    }
}

/// Writes a module for a checkpoint: f32 weights and parameter ids.
pub fn save_module<M: Module>(module: &M, path: &Path) -> Result<(), WeightsError> {
    let bytes =
        module.clone().into_record().into_bytes().map_err(|error| WeightsError::write(path, &error))?;
    std::fs::write(path, &*bytes).map_err(|error| WeightsError::write(path, &error))
}

/// Reads what [`save_module`] wrote.
pub fn load_module<M: Module>(module: M, path: &Path) -> Result<M, WeightsError> {
    let record =
        ModuleRecord::from_bytes(read(path)?).map_err(|error| WeightsError::foreign(path, &error))?;
    module.try_load_record(record).map_err(|error| WeightsError::foreign(path, &error))
}

/// Writes an optimizer's state for a checkpoint.
pub fn save_optimizer(optimizer: &ModuleOptimizer, path: &Path) -> Result<(), WeightsError> {
    let bytes = optimizer.into_bytes().map_err(|error| WeightsError::write(path, &error))?;
    std::fs::write(path, &*bytes).map_err(|error| WeightsError::write(path, &error))
}

/// Reads what [`save_optimizer`] wrote.
pub fn load_optimizer(optimizer: ModuleOptimizer, path: &Path) -> Result<ModuleOptimizer, WeightsError> {
    let record =
        OptimizerRecord::from_bytes(read(path)?).map_err(|error| WeightsError::foreign(path, &error))?;
    Ok(optimizer.load_record(record))
}

fn read(path: &Path) -> Result<Bytes, WeightsError> {
    require(path)?;
    let bytes = std::fs::read(path).map_err(|error| WeightsError::foreign(path, &error))?;
    Ok(Bytes::from_bytes_vec(bytes))
}

fn require(path: &Path) -> Result<(), WeightsError> {
    if path.is_file() { Ok(()) } else { Err(WeightsError::Missing { path: path.to_owned() }) }
}

fn one_line(reason: &str) -> String {
    reason.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::optim::{AdamWConfig, GradientsParams};
    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::seed::seeded;

    fn linear(inputs: usize, seed: u64, device: &Device) -> Linear {
        seeded(device, seed, || LinearConfig::new(inputs, 3).init(device))
    }

    fn values(linear: &Linear) -> Vec<f32> {
        linear.weight.val().into_data().try_to_vec().unwrap()
    }

    fn step(model: Linear, optimizer: &mut ModuleOptimizer, device: &Device) -> Linear {
        let loss = model.forward(Tensor::<2>::ones([4, 2], device)).square().mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        optimizer.step(0.1, model, gradients)
    }

    #[test]
    fn weights_come_back_from_each_precision() {
        let root = tempfile::tempdir().unwrap();
        let device = Device::flex();
        let model = linear(2, 1, &device);
        for (precision, tolerance) in [(Precision::F32, 0.0), (Precision::F16, 1e-3), (Precision::Bf16, 1e-2)]
        {
            let path = root.path().join("weights.safetensors");
            save_weights(&model, &path, precision).unwrap();
            let loaded = load_weights(linear(2, 2, &device), &path).unwrap();
            assert_eq!(loaded.weight.val().dtype(), DType::F32);
            for (saved, loaded) in values(&model).iter().zip(values(&loaded)) {
                assert!((saved - loaded).abs() <= tolerance, "{precision:?}: {saved} became {loaded}");
            }
        }
    }

    #[test]
    fn the_same_weights_give_the_same_bytes() {
        let root = tempfile::tempdir().unwrap();
        let model = linear(2, 1, &Device::flex());
        let [one, two] = ["one", "two"].map(|name| root.path().join(name));
        save_weights(&model, &one, Precision::F32).unwrap();
        save_weights(&model, &two, Precision::F32).unwrap();
        assert_eq!(std::fs::read(one).unwrap(), std::fs::read(two).unwrap());
    }

    #[test]
    fn weights_that_are_not_this_models_are_one_line() {
        let root = tempfile::tempdir().unwrap();
        let device = Device::flex();
        let path = root.path().join("weights.safetensors");
        let load = || load_weights(linear(2, 1, &device), &path).unwrap_err().to_string();

        assert!(load().contains("there are no weights"), "{}", load());
        save_weights(&linear(5, 1, &device), &path, Precision::F32).unwrap();
        assert!(load().contains("weight"), "{}", load());
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(!load().contains('\n'), "{}", load());
        std::fs::write(&path, b"not weights at all").unwrap();
        assert!(!load().contains('\n'), "{}", load());
    }

    #[test]
    fn a_checkpointed_optimizer_goes_on_to_the_same_weights() {
        let root = tempfile::tempdir().unwrap();
        let device = Device::flex().autodiff();
        let [module, state] = ["module", "optimizer"].map(|name| root.path().join(name));

        let mut optimizer = AdamWConfig::new().init();
        let model = step(linear(2, 1, &device), &mut optimizer, &device);
        save_module(&model, &module).unwrap();
        save_optimizer(&optimizer, &state).unwrap();
        let uninterrupted = step(model, &mut optimizer, &device);

        let mut optimizer = load_optimizer(AdamWConfig::new().init(), &state).unwrap();
        let model = load_module(linear(2, 9, &device), &module).unwrap();
        let resumed = step(model, &mut optimizer, &device);
        assert_eq!(values(&uninterrupted), values(&resumed));
    }

    #[test]
    fn a_truncated_checkpoint_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let device = Device::flex();
        let path = root.path().join("module");
        save_module(&linear(2, 1, &device), &path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(load_module(linear(2, 1, &device), &path).is_err());
    }
}
