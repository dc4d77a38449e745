//! Weights as diffusers publishes them: a directory of `safetensors`, whole or in shards, enters; a module that
//! holds them leaves.
//!
//! INVARIANT: a module comes back only if the files hold each of its tensors, in its shape, and no other.
//! Shapes are compared before a weight is read, and weights are read one at a time: a module needs its own
//! size in memory, not twice that.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::store::burn_pack::Tensor as StoredTensor;
use burn::store::{
    ApplyResult, FloatCastAdapter, ModuleAdapter, ModuleSnapshot, ModuleStore, PyTorchToBurnAdapter,
    SafetensorsStore,
};
use burn::tensor::{DType, Tensor};
use kinora_harness::publish::FileError;
use serde::Deserialize;

use super::WanError;

const WEIGHTS_FILE: &str = "diffusion_pytorch_model.safetensors";
const INDEX_FILE: &str = "diffusion_pytorch_model.safetensors.index.json";

/// Parts of names, in the files and in these modules. All other parts are the same in both.
const NAMES: [(&str, &str); 9] = [
    (".to_out.0.", ".to_out."),
    (".norm_q.weight", ".norm_q.gamma"),
    (".norm_k.weight", ".norm_k.gamma"),
    (".norm2.weight", ".text_norm.gamma"),
    (".norm2.bias", ".text_norm.beta"),
    (".ffn.net.0.proj.", ".ffn_in."),
    (".ffn.net.2.", ".ffn_out."),
    (".resample.1.", ".resample."),
    (".upsamplers.0.", ".upsampler."),
];

/// A name in the files as these modules call it.
fn ours(key: &str) -> String {
    NAMES.iter().fold(key.to_owned(), |name, (theirs, ours)| name.replace(theirs, ours))
}

/// The inverse of [`ours`].
fn theirs(name: &str) -> String {
    NAMES.iter().fold(name.to_owned(), |key, (theirs, ours)| key.replace(ours, theirs))
}

/// Tensors by their names in the files, each with the file that it lies in.
type Stored = BTreeMap<String, (StoredTensor, PathBuf)>;

/// Reads the weights in `directory` into `module`, whatever their precision, as f32.
pub(super) fn load<M: Module>(mut module: M, directory: &Path) -> Result<M, WanError> {
    let (stored, whole) = read_directory(directory)?;
    compare(&stored, &expected(&module), &whole)?;
    let tensors = stored.into_iter().map(|(key, (mut tensor, _))| {
        tensor.name = ours(&key);
        tensor
    });
    let adapter = PyTorchToBurnAdapter.chain(FloatCastAdapter::to(DType::F32));
    let ApplyResult { errors, missing, .. } =
        module.apply(tensors.collect(), None, Some(Box::new(adapter)), true);
    if let Some(error) = errors.first() {
        return Err(WanError::tensors(&whole, error));
    }
    match missing.first() {
        Some((name, _)) => Err(WanError::MissingKey { key: theirs(name), path: whole }),
        None => Ok(module),
    }
}

fn compare(stored: &Stored, expected: &BTreeMap<String, Vec<usize>>, whole: &Path) -> Result<(), WanError> {
    for (key, shape) in expected {
        let Some((tensor, path)) = stored.get(key) else {
            return Err(WanError::MissingKey { key: key.clone(), path: whole.to_owned() });
        };
        let (key, path) = (key.clone(), path.clone());
        if !tensor.dtype.is_float() {
            return Err(WanError::KeyType { key, path, found: tensor.dtype });
        }
        if tensor.shape.as_slice() != shape.as_slice() {
            let found = tensor.shape.to_vec();
            return Err(WanError::KeyShape { key, path, expected: shape.clone(), found });
        }
    }
    match stored.iter().find(|(key, _)| !expected.contains_key(*key)) {
        Some((key, (_, path))) => Err(WanError::ForeignKey { key: key.clone(), path: path.clone() }),
        None => Ok(()),
    }
}

/// The tensors of one `safetensors` file; none is read yet.
pub(super) fn read_file(path: &Path) -> Result<BTreeMap<String, StoredTensor>, WanError> {
    if !path.is_file() {
        return Err(WanError::Missing { path: path.to_owned() });
    }
    let mut store = SafetensorsStore::from_file(path);
    store.get_all_tensors().cloned().map_err(|error| WanError::tensors(path, &error))
}

/// All tensors of a directory, and the file that is to hold them or to say where they are.
fn read_directory(directory: &Path) -> Result<(Stored, PathBuf), WanError> {
    let index_path = directory.join(INDEX_FILE);
    if !index_path.is_file() {
        let path = directory.join(WEIGHTS_FILE);
        let tensors = read_file(&path)?.into_iter();
        return Ok((tensors.map(|(key, tensor)| (key, (tensor, path.clone()))).collect(), path));
    }
    let index = read_index(&index_path)?;
    let mut shards = BTreeMap::new();
    let mut stored = Stored::new();
    for (key, file) in index.weight_map {
        let path = directory.join(&file);
        let shard = match shards.entry(file) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert(read_file(&path)?),
        };
        let Some(tensor) = shard.remove(&key) else {
            return Err(WanError::MissingKey { key, path });
        };
        stored.insert(key, (tensor, path));
    }
    // What the index does not list is in no model that diffusers would read, so it is not read here.
    Ok((stored, index_path))
}

/// `diffusion_pytorch_model.safetensors.index.json`: which file holds which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

fn read_index(path: &Path) -> Result<Index, WanError> {
    let json = fs::read(path).map_err(FileError::at("read", path))?;
    let index: Index =
        serde_json::from_slice(&json).map_err(|source| WanError::Config { path: path.to_owned(), source })?;
    // A shard lies beside its index: a name that leads elsewhere is not followed.
    let is_plain = |file: &str| Path::new(file).file_name().is_some_and(|name| name == file);
    match index.weight_map.values().find(|file| !is_plain(file)) {
        Some(file) => Err(WanError::Shard { path: path.to_owned(), file: file.clone() }),
        None => Ok(index),
    }
}

/// The names and shapes that a module's tensors have in the files, without drawing a weight.
fn expected<M: Module>(module: &M) -> BTreeMap<String, Vec<usize>> {
    let mut expected = Expected::default();
    module.visit(&mut expected);
    expected.shapes
}

#[derive(Default)]
struct Expected {
    /// Where the visit is: names, each with the type that contains it.
    path: Vec<(String, String)>,
    shapes: BTreeMap<String, Vec<usize>>,
}

impl ModuleVisitor for Expected {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push((name.to_owned(), container.to_owned()));
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let names = self.path.iter().filter(|(_, container)| !container.starts_with("Enum:"));
        let names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
        let mut shape = param.lazy_shape().to_vec();
        // PyTorch keeps a linear layer's weights as [out, in], Burn as [in, out].
        if self.path.last().is_some_and(|(name, container)| name == "weight" && container == "Struct:Linear")
        {
            shape.reverse();
        }
        self.shapes.insert(theirs(&names.join(".")), shape);
    }
}

impl WanError {
    /// The reason may be several lines; the error is one.
    pub(super) fn tensors(path: &Path, reason: &dyn Display) -> Self {
        let reason = reason.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        Self::Tensors { path: path.to_owned(), reason }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::wan::config::WanConfig;
    use crate::wan::tests::{copied_fixtures, fixtures};
    use crate::wan::transformer::WanTransformer;
    use crate::wan::vae::WanVae;

    fn load_transformer(directory: &Path) -> Result<WanTransformer, WanError> {
        let config = WanConfig::read(directory)?.transformer;
        load(WanTransformer::new(&config, &Device::flex()), &directory.join("transformer"))
    }

    fn load_vae(directory: &Path) -> Result<WanVae, WanError> {
        let config = WanConfig::read(directory)?.vae;
        load(WanVae::new(&config, &Device::flex()), &directory.join("vae"))
    }

    fn refusal<T: std::fmt::Debug>(outcome: Result<T, WanError>, parts: &[&str]) {
        let error = outcome.unwrap_err().to_string();
        assert!(!error.contains('\n') && parts.iter().all(|part| error.contains(part)), "{error}");
    }

    #[test]
    fn names_lead_there_and_back() {
        for part in ["transformer", "vae"] {
            let (stored, _) = read_directory(&fixtures().join(part)).unwrap();
            for key in stored.keys() {
                assert_eq!(theirs(&ours(key)), *key);
            }
        }
    }

    #[test]
    fn a_missing_tensor_is_named_with_its_file() {
        let root = copied_fixtures();
        let index = root.path().join("transformer").join(INDEX_FILE);
        let listed = fs::read_to_string(&index).unwrap();
        let key = "blocks.1.ffn.net.0.proj.bias";
        let without = listed.lines().filter(|line| !line.contains(key)).collect::<Vec<_>>().join("\n");
        assert_ne!(listed, without);
        fs::write(&index, without).unwrap();
        refusal(load_transformer(root.path()), &[key, "index.json"]);

        // Listed, but not where the index says.
        fs::write(&index, listed.replacen("00002-of", "00001-of", 1)).unwrap();
        refusal(load_transformer(root.path()), &["is missing", "00001-of"]);
    }

    #[test]
    fn a_missing_shard_and_one_that_lies_elsewhere_are_refused() {
        let root = copied_fixtures();
        let index = root.path().join("transformer").join(INDEX_FILE);
        let listed = fs::read_to_string(&index).unwrap();
        fs::write(&index, listed.replace("diffusion_pytorch_model-00001", "lost-00001")).unwrap();
        refusal(load_transformer(root.path()), &["lost-00001"]);
        fs::write(&index, listed.replace("diffusion_pytorch_model-00001", "../shard-00001")).unwrap();
        refusal(load_transformer(root.path()), &["../shard-00001"]);
        fs::write(&index, &listed[..listed.len() / 2]).unwrap();
        refusal(load_transformer(root.path()), &[INDEX_FILE]);
    }

    #[test]
    fn a_tensor_of_another_shape_is_named_in_the_files_terms() {
        let root = copied_fixtures();
        let path = root.path().join("transformer/config.json");
        let config = fs::read_to_string(&path).unwrap();
        fs::write(&path, config.replace("\"ffn_dim\": 32", "\"ffn_dim\": 44")).unwrap();
        let key = "blocks.0.ffn.net.0.proj.weight";
        let weights = root.path().join("transformer");
        let error = load_transformer(root.path()).unwrap_err();
        let WanError::KeyShape { path, expected, found, .. } = &error else { panic!("{error}") };
        assert!(path.starts_with(weights));
        let fits = (expected.as_slice(), found.as_slice());
        assert!([(&[44][..], &[32][..]), (&[44, 24], &[32, 24])].contains(&fits), "{error}");
        assert!(error.to_string().contains(&key[..key.len() - 6]), "{error}");
    }

    #[test]
    fn a_tensor_too_many_is_named() {
        let root = copied_fixtures();
        let path = root.path().join("transformer/config.json");
        let config = fs::read_to_string(&path).unwrap();
        fs::write(&path, config.replace("\"num_layers\": 2", "\"num_layers\": 1")).unwrap();
        refusal(load_transformer(root.path()), &["blocks.1.", ".safetensors"]);
    }

    #[test]
    fn a_damaged_file_is_one_line() {
        let root = copied_fixtures();
        let path = root.path().join("vae").join(WEIGHTS_FILE);
        let whole = fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() / 2], &whole[..100], &[], b"no tensors"] {
            fs::write(&path, damaged).unwrap();
            refusal(load_vae(root.path()), &[WEIGHTS_FILE]);
        }
        fs::remove_file(&path).unwrap();
        refusal(load_vae(root.path()), &[WEIGHTS_FILE]);
    }

    /// Names and shapes of the published model, as diffusers lists them; see `tests/peers/wan/parity.py`.
    #[test]
    #[ignore = "reads the directory that `KINORA_WAN_FIXTURES` names"]
    fn the_published_model_is_of_these_names_and_shapes() {
        let directory = std::env::var_os("KINORA_WAN_FIXTURES").unwrap();
        let directory = Path::new(&directory).join("published");
        let config = WanConfig::read(&directory).unwrap();
        let device = Device::flex();
        let listed = |part: &str| -> BTreeMap<String, Vec<usize>> {
            serde_json::from_slice(&fs::read(directory.join(part).join("shapes.json")).unwrap()).unwrap()
        };
        assert_eq!(expected(&WanTransformer::new(&config.transformer, &device)), listed("transformer"));
        assert_eq!(expected(&WanVae::new(&config.vae, &device)), listed("vae"));
    }
}
