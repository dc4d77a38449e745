//! The device a model runs on: what the person asked for enters, a Burn device leaves.
//!
//! A device that is not there is an error here, before any tensor exists: Burn would panic at
//! first use.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
use thiserror::Error;

/// The device asked for on the command line or in the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first CUDA device where there is one, else the CPU.
    #[default]
    Auto,
    Cpu,
    /// The CUDA device of this index.
    Cuda(usize),
    /// Every CUDA device: a training shares its batches out; what needs one takes the first.
    CudaAll,
}

/// Why a device cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DeviceError {
    #[error("unknown device `{0}`: use `auto`, `cpu`, `cuda:N` or `cuda:all`")]
    Unknown(String),
    #[error("device `cuda:{0}` needs a build with the `cuda` feature: use `cpu` or `auto`")]
    NotBuilt(usize),
    #[error("there is no device `cuda:{index}`: this machine has {available}")]
    Absent { index: usize, available: usize },
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown(text.to_owned());
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "cuda:all" => Ok(Self::CudaAll),
            _ => {
                let index = text.strip_prefix("cuda:").ok_or_else(unknown)?;
                index.parse().map(Self::Cuda).map_err(|_| unknown())
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::CudaAll => f.write_str("cuda:all"),
        }
    }
}

/// The Burn device for `choice`, without gradients; a trainer asks for them with
/// [`Device::autodiff`].
pub fn resolve(choice: DeviceChoice) -> Result<Device, DeviceError> {
    match choice {
        DeviceChoice::Cpu => Ok(Device::flex()),
        DeviceChoice::Auto => Ok(cuda(0).unwrap_or_else(|_| Device::flex())),
        DeviceChoice::Cuda(index) => cuda(index),
        DeviceChoice::CudaAll => cuda(0),
    }
}

/// The devices on which parts of one batch are worked on at the same time, of which there are `parts`: threads
/// of the CPU, or GPUs. On fewer devices than parts, each works on one part after another.
pub fn resolve_workers(choice: DeviceChoice, parts: usize) -> Result<Vec<Device>, DeviceError> {
    let mut workers = workers_of(resolve(choice)?, parts);
    if choice == DeviceChoice::CudaAll {
        workers.extend((1..parts).map_while(|index| cuda(index).ok()));
    }
    Ok(workers)
}

/// The same on one device: as many threads of the CPU as parts, or one GPU.
pub fn workers_of(device: Device, parts: usize) -> Vec<Device> {
    let at_once = if device == Device::flex() { parts.max(1) } else { 1 };
    vec![device; at_once]
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Result<Device, DeviceError> {
    let available = Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec().len();
    if index < available { Ok(Device::cuda(index)) } else { Err(DeviceError::Absent { index, available }) }
}

#[cfg(not(feature = "cuda"))]
fn cuda(index: usize) -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_parse_and_print_alike() {
        for text in ["auto", "cpu", "cuda:0", "cuda:3", "cuda:all"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
    }

    #[test]
    fn a_wrong_choice_is_named_in_the_error() {
        for text in ["gpu", "cuda:", "cuda:-1", "cuda:x", ""] {
            let error = text.parse::<DeviceChoice>().unwrap_err();
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn the_cpu_is_always_there() {
        assert!(resolve(DeviceChoice::Cpu).is_ok());
        assert!(resolve(DeviceChoice::Auto).is_ok());
        assert_eq!(resolve_workers(DeviceChoice::Cpu, 3).unwrap().len(), 3);
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn cuda_without_its_feature_is_an_error() {
        assert_eq!(resolve(DeviceChoice::Cuda(1)), Err(DeviceError::NotBuilt(1)));
    }
}
