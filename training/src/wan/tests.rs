//! The import against diffusers: fixtures that `tests/peers/wan/parity.py` wrote enter.
//!
//! A tiny model lies beside the code. A larger one is read, in ignored tests, where `KINORA_WAN_FIXTURES` names its
//! directory.

use std::collections::BTreeMap;
use std::fs;

use super::*;

/// A relative error above this is no rounding.
const TOLERANCE: f32 = 1e-4;

pub(super) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/wan/fixtures")
}

/// The tiny model where it may be damaged.
pub(super) fn copied_fixtures() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for part in ["transformer", "vae"] {
        fs::create_dir(root.path().join(part)).unwrap();
        for file in fs::read_dir(fixtures().join(part)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), root.path().join(part).join(file.file_name())).unwrap();
        }
    }
    root
}

fn go_on(_: usize, _: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Inputs, and what diffusers made of them.
struct Cases {
    tensors: BTreeMap<String, TensorData>,
    device: Device,
}

impl Cases {
    fn read(directory: &Path) -> Self {
        let stored = convert::read_file(&directory.join("cases.safetensors")).unwrap();
        let tensors = stored.iter().map(|(name, tensor)| (name.clone(), bridge::to_data(tensor).unwrap()));
        Self { tensors: tensors.collect(), device: Device::flex() }
    }

    fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        Tensor::from_data(self.tensors[name].clone(), &self.device)
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.tensors[name].clone().try_to_vec().unwrap()
    }

    /// The largest difference from what diffusers gave, relative to its largest value.
    fn error(&self, name: &str, found: Tensor<5>) -> f32 {
        assert_eq!(found.dims().as_slice(), self.tensors[name].shape().as_slice(), "{name}");
        let found: Vec<f32> = found.into_data().try_to_vec().unwrap();
        let expected = self.floats(name);
        let pairs = found.iter().zip(&expected);
        let difference = pairs.map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max);
        assert!(found.iter().all(|value| value.is_finite()), "{name}");
        difference / expected.iter().map(|value| value.abs()).fold(0.0, f32::max)
    }
}

fn load(directory: &Path) -> WanPipeline {
    WanPipeline::load(directory, DeviceChoice::Cpu).unwrap()
}

fn embeddings(directory: &Path) -> [TextEmbeddings; 2] {
    ["prompt", "negative"]
        .map(|name| TextEmbeddings::read(&directory.join(name).with_extension("safetensors")).unwrap())
}

fn tiny(seed: u64) -> WanRequest {
    WanRequest { height: 16, width: 32, frames: 5, steps: 3, guidance: 4.0, seed }
}

fn transformer_error(pipeline: &WanPipeline, cases: &Cases) -> f32 {
    let velocity = pipeline.transformer().forward(
        cases.tensor("transformer.latents"),
        cases.tensor("transformer.timesteps"),
        cases.tensor("transformer.text"),
    );
    cases.error("transformer.expected", velocity.unwrap())
}

fn encoder_error(pipeline: &WanPipeline, cases: &Cases) -> f32 {
    let posterior = pipeline.vae().encode(&cases.tensor("vae.video")).unwrap();
    let mean = cases.error("vae.mean", posterior.mean);
    mean.max(cases.error("vae.log_variance", posterior.log_variance))
}

fn decoder_error(pipeline: &WanPipeline, cases: &Cases) -> f32 {
    cases.error("vae.decoded", pipeline.vae().decode(cases.tensor("vae.latents")).unwrap())
}

fn sampler_error(pipeline: &WanPipeline, cases: &Cases, [prompt, negative]: &[TextEmbeddings; 2]) -> f32 {
    let latents = pipeline
        .sample(cases.tensor("pipeline.noise"), prompt, Some(negative), &tiny(0), &mut go_on)
        .unwrap();
    let clip = pipeline.render(latents.clone(), &tiny(0)).unwrap();
    let expected: Vec<u8> = cases.tensors["pipeline.frames"].clone().try_to_vec().unwrap();
    assert_eq!(clip.frames.len(), expected.len());
    assert!(clip.frames.iter().zip(&expected).all(|(found, expected)| found.abs_diff(*expected) <= 1));
    cases.error("pipeline.latents", latents)
}

fn agrees(directory: &Path) {
    let (pipeline, cases) = (load(directory), Cases::read(directory));
    let sampled = sampler_error(&pipeline, &cases, &embeddings(directory));
    let errors = [
        ("transformer", transformer_error(&pipeline, &cases)),
        ("encoder", encoder_error(&pipeline, &cases)),
        ("decoder", decoder_error(&pipeline, &cases)),
        ("sampler", sampled),
    ];
    assert!(errors.iter().all(|(_, error)| *error < TOLERANCE), "{errors:?}");
}

#[test]
fn the_tiny_model_agrees_with_diffusers() {
    agrees(&fixtures());
}

#[test]
#[ignore = "reads the directory that `KINORA_WAN_FIXTURES` names"]
fn the_named_model_agrees_with_diffusers() {
    agrees(Path::new(&std::env::var_os("KINORA_WAN_FIXTURES").unwrap()));
}

#[test]
fn noise_levels_are_those_of_diffusers() {
    let expected = Cases::read(&fixtures()).floats("pipeline.sigmas");
    let levels = schedule::noise_levels(expected.len() - 1, schedule::shift_for(832, 480));
    assert!(
        levels.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < 1e-6),
        "{levels:?}"
    );
}

#[test]
fn a_video_decodes_chunk_by_chunk_to_the_same() {
    let (pipeline, cases) = (load(&fixtures()), Cases::read(&fixtures()));
    let latents = cases.tensor::<5>("vae.latents");
    for sizes in [[1, 1, 1].as_slice(), &[2, 1], &[1, 2]] {
        let mut decoding = pipeline.vae().decoding();
        let mut start = 0;
        let chunks = sizes.iter().map(|&size| {
            start += size;
            decoding.decode_next(latents.clone().narrow(2, start - size, size)).unwrap()
        });
        let decoded = Tensor::cat(chunks.collect(), 2);
        assert!(cases.error("vae.decoded", decoded) < TOLERANCE, "{sizes:?}");
    }
}

#[test]
fn no_frame_depends_on_a_later_one() {
    let (pipeline, cases) = (load(&fixtures()), Cases::read(&fixtures()));
    let bytes = |tensor: Tensor<5>| tensor.into_data();
    let video = cases.tensor::<5>("vae.video");
    let whole = pipeline.vae().encode(&video).unwrap().mean;
    let start = pipeline.vae().encode(&video.narrow(2, 0, 5)).unwrap().mean;
    assert_eq!(bytes(whole.narrow(2, 0, 2)), bytes(start));
}

#[test]
fn the_transformer_knows_latents_of_zero_mean_and_unit_variance() {
    let (pipeline, cases) = (load(&fixtures()), Cases::read(&fixtures()));
    let vae = pipeline.vae();
    let latents = cases.tensor::<5>("vae.mean");
    let there = vae.standardise(latents.clone());
    assert!(cases.error("vae.mean", there.clone()) > 0.1);
    assert!(cases.error("vae.mean", vae.unstandardise(there)) < 1e-6);
    let mean =
        Tensor::from_data(TensorData::new(vae.config().latents_mean.clone(), [1, 4, 1, 1, 1]), &cases.device);
    let zero: Vec<f32> = vae.standardise(mean).into_data().try_to_vec().unwrap();
    assert_eq!(zero, [0.0; 4]);
}

#[test]
fn the_seed_decides_the_clip() {
    let pipeline = load(&fixtures());
    let [prompt, negative] = embeddings(&fixtures());
    let generate =
        |request: &WanRequest| pipeline.generate(&prompt, Some(&negative), request, &mut go_on).unwrap();
    let clip = generate(&tiny(1));
    assert_eq!((clip.width, clip.height, clip.frame_count(), clip.fps), (32, 16, 5, 16));
    assert_eq!(clip, generate(&tiny(1)));
    assert_ne!(clip, generate(&tiny(2)));
    assert_ne!(clip, generate(&WanRequest { guidance: 1.0, ..tiny(1) }));
}

#[test]
fn a_cancelled_generation_stops_at_the_next_step() {
    let pipeline = load(&fixtures());
    let [prompt, negative] = embeddings(&fixtures());
    let mut steps = Vec::new();
    let mut cancel = |done, total| {
        steps.push((done, total));
        if done == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let outcome = pipeline.generate(&prompt, Some(&negative), &tiny(1), &mut cancel);
    assert!(matches!(outcome, Err(WanError::Cancelled)));
    assert_eq!(steps, [(1, 3), (2, 3)]);
}

#[test]
fn what_cannot_be_generated_is_one_clear_line() {
    let pipeline = load(&fixtures());
    let [prompt, negative] = embeddings(&fixtures());
    let narrow = TextEmbeddings { values: vec![0.0; 6], tokens: 2 };
    let refused = [
        (&prompt, Some(&negative), WanRequest { height: 24, ..tiny(1) }),
        (&prompt, Some(&negative), WanRequest { width: 0, ..tiny(1) }),
        (&prompt, Some(&negative), WanRequest { width: 16 * 1025, ..tiny(1) }),
        (&prompt, Some(&negative), WanRequest { frames: 0, ..tiny(1) }),
        (&prompt, Some(&negative), WanRequest { frames: 4, ..tiny(1) }),
        (&prompt, Some(&negative), WanRequest { frames: 4 * 1024 + 1, ..tiny(1) }),
        (&prompt, Some(&negative), WanRequest { height: 16 * 1024, width: 16 * 1024, ..tiny(1) }),
        (&prompt, Some(&negative), WanRequest { frames: usize::MAX, ..tiny(1) }),
        (&prompt, Some(&negative), WanRequest { steps: 0, ..tiny(1) }),
        (&prompt, Some(&negative), WanRequest { guidance: f32::NAN, ..tiny(1) }),
        (&prompt, None, tiny(1)),
        (&narrow, Some(&negative), tiny(1)),
        (&prompt, Some(&narrow), tiny(1)),
    ];
    for (prompt, negative, request) in refused {
        let error = pipeline.generate(prompt, negative, &request, &mut go_on).unwrap_err().to_string();
        assert!(!error.contains('\n') && error.len() > 10, "{error}");
    }
}

#[test]
fn tensors_of_other_shapes_are_refused() {
    let pipeline = load(&fixtures());
    let device = Device::flex();
    let zeros = |dims: [usize; 5]| Tensor::<5>::zeros(dims, &device);
    for dims in [[1, 3, 4, 8, 8], [1, 1, 5, 8, 8], [1, 3, 5, 12, 8], [1, 3, 0, 8, 8], [1, 3, 5, 8, 0]] {
        assert!(matches!(pipeline.vae().encode(&zeros(dims)), Err(WanError::Shape { .. })), "{dims:?}");
    }
    let mut decoding = pipeline.vae().decoding();
    assert!(decoding.decode_next(zeros([1, 3, 1, 2, 2])).is_err());
    assert!(decoding.decode_next(zeros([1, 4, 1, 2, 2])).is_ok());
    assert!(decoding.decode_next(zeros([1, 4, 1, 2, 3])).is_err());
    let text = |width| Tensor::<3>::zeros([1, 5, width], &device);
    let forward = |dims, text| pipeline.transformer().forward(zeros(dims), Tensor::zeros([1], &device), text);
    assert!(forward([1, 4, 1, 2, 2], text(16)).is_ok());
    for (dims, width) in
        [([1, 4, 1, 3, 2], 16), ([1, 3, 1, 2, 2], 16), ([1, 4, 1, 2, 2], 15), ([2, 4, 1, 2, 2], 16)]
    {
        assert!(matches!(forward(dims, text(width)), Err(WanError::Shape { .. })), "{dims:?}");
    }
}

#[test]
fn embeddings_are_one_matrix_of_floats() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("prompt.safetensors");
    let refusal = || TextEmbeddings::read(&path).unwrap_err().to_string();
    assert!(refusal().contains("there is no file"), "{}", refusal());
    fs::copy(fixtures().join("cases.safetensors"), &path).unwrap();
    assert!(refusal().contains("one tensor"), "{}", refusal());
    let header = |dtype: &str, shape: &str, bytes: usize| {
        let json =
            format!("{{\"text\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[0,{bytes}]}}}}");
        let mut file = (json.len() as u64).to_le_bytes().to_vec();
        file.extend(json.into_bytes());
        file.extend(vec![0; bytes]);
        fs::write(&path, file).unwrap();
    };
    for (dtype, shape, bytes) in
        [("I32", "[1,4]", 16), ("F32", "[4]", 16), ("F32", "[513,1]", 2052), ("F32", "[0,4]", 0)]
    {
        header(dtype, shape, bytes);
        assert!(refusal().contains("holds no text embeddings"), "{}", refusal());
    }
    header("BF16", "[2,4]", 16);
    assert_eq!(TextEmbeddings::read(&path).unwrap(), TextEmbeddings { values: vec![0.0; 8], tokens: 2 });
}

#[test]
fn an_option_that_is_not_supported_is_named() {
    let changes = [
        ("transformer", "\"image_dim\": null", "\"image_dim\": 1280", "image_dim"),
        ("transformer", "\"added_kv_proj_dim\": null", "\"added_kv_proj_dim\": 24", "added_kv_proj_dim"),
        ("transformer", "rms_norm_across_heads", "rms_norm", "qk_norm"),
        ("transformer", "WanTransformer3DModel", "WanVACETransformer3DModel", "_class_name"),
        ("transformer", "\"in_channels\": 4", "\"in_channels\": 36", "in_channels"),
        ("transformer", "\"num_layers\": 2", "\"num_layers\": 0", "num_layers"),
        ("transformer", "\"attention_head_dim\": 12", "\"attention_head_dim\": 13", "attention_head_dim"),
        ("transformer", "\"text_dim\": 16", "\"text_width\": 16", "text_dim"),
        ("transformer", "\"text_dim\": 16", "\"window\": 4, \"text_dim\": 16", "window"),
        ("vae", "\"is_residual\": false", "\"is_residual\": true", "is_residual"),
        ("vae", "\"patch_size\": null", "\"patch_size\": 2", "patch_size"),
        ("vae", "\"attn_scales\": []", "\"attn_scales\": [0.5]", "attn_scales"),
        ("vae", "\"scale_factor_spatial\": 8", "\"scale_factor_spatial\": 16", "scale_factor_spatial"),
        ("vae", "\"z_dim\": 4", "\"z_dim\": 5", "latents_mean"),
        ("vae", "true,\n    true", "true,\n    false", "temperal_downsample"),
        ("vae", "\"base_dim\": 4", "\"base_dim\": 5", "base_dim"),
    ];
    for (part, from, to, option) in changes {
        let root = copied_fixtures();
        let path = root.path().join(part).join("config.json");
        let config = fs::read_to_string(&path).unwrap();
        assert!(config.contains(from), "{from}");
        fs::write(&path, config.replacen(from, to, 1)).unwrap();
        let error = WanConfig::read(root.path()).unwrap_err().to_string();
        assert!(error.contains(option) && error.contains("config.json") && !error.contains('\n'), "{error}");
    }
    let root = copied_fixtures();
    fs::remove_file(root.path().join("vae/config.json")).unwrap();
    assert!(WanConfig::read(root.path()).unwrap_err().to_string().contains("vae/config.json"));
}
