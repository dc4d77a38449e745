use std::fs;
use std::ops::ControlFlow;

use super::*;
use crate::generate::Generator;
use crate::grid::config::tests::tiny;
use crate::grid::generate::GridGenerator;
use crate::media::{EncodeOptions, encode_mp4};
use crate::world::Corpus;

/// A training of a few steps.
fn options(root: &Path, name: &str) -> GridTrainOptions {
    GridTrainOptions {
        model: tiny(),
        plan: GridPlan { picture_crop: [16, 16, 5], ..GridPlan::smoke() },
        device: DeviceChoice::Cpu,
        ..GridTrainOptions::new(
            GridSize::Micro,
            Footage::World { seed: 3, clips: 3 },
            root.join(name),
            root.join("runs"),
        )
    }
}

fn weights(options: &GridTrainOptions) -> Vec<u8> {
    fs::read(options.out_dir.join("weights.safetensors")).unwrap()
}

/// Brings a finished training to where a kill would have left it: stages lack their last steps or parts.
fn kill(options: &GridTrainOptions, stages: &[&str]) {
    let checkpoints = options.out_dir.join("checkpoints");
    for stage in stages {
        let newest = Checkpoints::open(checkpoints.join(stage)).unwrap().latest().unwrap().unwrap().1;
        fs::remove_dir_all(newest).unwrap();
    }
    fs::remove_file(options.out_dir.join("weights.safetensors")).unwrap();
}

#[test]
fn a_training_that_was_stopped_ends_with_the_same_weights() {
    let root = tempfile::tempdir().unwrap();
    let whole = options(root.path(), "whole");
    let report = train(&whole).unwrap();
    assert_eq!((report.takes, report.skipped), (12, 0));
    assert!(report.parameters > 10_000);

    let mut stopped = options(root.path(), "stopped");
    stopped.interrupt.set();
    let error = train(&stopped).unwrap_err();
    assert!(error.is_interruption(), "{error}");
    stopped.interrupt = Interrupt::new();
    train(&stopped).unwrap();
    assert!(weights(&whole) == weights(&stopped), "a stop before the first step changed the weights");

    kill(&stopped, &["flow"]);
    train(&stopped).unwrap();
    assert!(weights(&whole) == weights(&stopped), "a stop between steps changed the weights");

    kill(&stopped, &["picture", "sound", "flow"]);
    fs::remove_dir_all(stopped.out_dir.join("checkpoints/latents")).unwrap();
    train(&stopped).unwrap();
    assert!(weights(&whole) == weights(&stopped), "a stop in every stage changed the weights");

    let other = GridTrainOptions { seed: 1, ..options(root.path(), "other") };
    train(&other).unwrap();
    assert!(weights(&whole) != weights(&other), "the seed decides nothing");
    let error = train(&GridTrainOptions { seed: 2, ..other }).unwrap_err().to_string();
    assert!(error.contains("other options"), "{error}");
}

#[test]
fn a_damaged_latent_is_told_before_anything_is_learned_from_it() {
    let root = tempfile::tempdir().unwrap();
    let options = options(root.path(), "model");
    train(&options).unwrap();
    kill(&options, &["flow"]);
    let part = options.out_dir.join("checkpoints/latents/part-000000.latents");
    let mut bytes = fs::read(&part).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&part, bytes).unwrap();
    let error = train(&options).unwrap_err().to_string();
    assert!(error.contains("part-000000") && !error.contains('\n'), "{error}");
}

#[test]
fn anyones_clips_are_learned_and_what_cannot_be_read_is_told() {
    let root = tempfile::tempdir().unwrap();
    let clips = root.path().join("clips");
    fs::create_dir(&clips).unwrap();
    let mut clip = Corpus::new(5, 40).sample(0).clip;
    clip.frames.truncate(10 * 40 * 40 * 3);
    clip.samples.clear();
    let silent = encode_mp4(&clip, EncodeOptions { size: (40, 40), ..EncodeOptions::default() }).unwrap();
    fs::write(clips.join("still.mp4"), silent).unwrap();
    fs::write(clips.join("still.txt"), "Ein roter Ball springt").unwrap();
    fs::write(clips.join("broken.mp4"), b"no film").unwrap();
    fs::write(clips.join("broken.txt"), "nothing").unwrap();
    fs::write(clips.join("untold.mp4"), b"no film").unwrap();
    let options =
        GridTrainOptions { footage: Footage::Folder(clips.clone()), ..options(root.path(), "model") };
    let report = train(&options).unwrap();
    assert_eq!((report.takes, report.skipped), (1, 2));
    assert!(report.reasons.iter().any(|reason| reason.starts_with("broken.mp4: ")), "{report:?}");
    let record = options.runs_dir.join(&report.run_id);
    assert!(fs::read_to_string(record.join("skipped.txt")).unwrap().contains("untold.mp4"));
    assert!(fs::read_to_string(record.join("metrics.jsonl")).unwrap().contains("skipped_clips"));
    let generator = GridGenerator::load(&options.out_dir, DeviceChoice::Cpu).unwrap();
    assert_eq!(generator.unknown_words("ein blauer Ball"), ["blauer"]);

    fs::remove_file(clips.join("still.mp4")).unwrap();
    let hopeless = GridTrainOptions { out_dir: root.path().join("hopeless"), ..options };
    let error = train(&hopeless).unwrap_err().to_string();
    assert!(error.contains("no clip that can be read") && !error.contains('\n'), "{error}");
    let nowhere = GridTrainOptions { footage: Footage::Folder(root.path().join("nowhere")), ..hopeless };
    let error = train(&nowhere).unwrap_err().to_string();
    assert!(error.contains("nowhere") && !error.contains('\n'), "{error}");
}

#[test]
fn wrong_options_are_one_line() {
    let root = tempfile::tempdir().unwrap();
    let mut wrong = options(root.path(), "model");
    wrong.model.clip.frames = 8;
    assert!(matches!(train(&wrong).unwrap_err(), GridError::Sizes));
    let mut wrong = options(root.path(), "model");
    wrong.footage = Footage::PhyWorld { seed: 0, clips: 3, gravity: 9.8 };
    assert!(matches!(train(&wrong).unwrap_err(), GridError::PhyWorldShape { .. }));
    let empty =
        GridTrainOptions { footage: Footage::World { seed: 0, clips: 0 }, ..options(root.path(), "e") };
    assert!(matches!(train(&empty).unwrap_err(), GridError::Empty));
}

#[test]
fn a_model_of_the_other_kind_or_a_broken_one_is_one_clear_line() {
    let root = tempfile::tempdir().unwrap();
    let options = options(root.path(), "model");
    train(&options).unwrap();
    let error = Generator::load(&options.out_dir, DeviceChoice::Cpu).unwrap_err().to_string();
    assert!(error.contains("pixel model") && !error.contains('\n'), "{error}");

    let load = || GridGenerator::load(&options.out_dir, DeviceChoice::Cpu).map(drop);
    load().unwrap();
    let config = options.out_dir.join("config.json");
    let text = fs::read_to_string(&config).unwrap();
    for broken in [
        "{".to_owned(),
        text.replace("\"format\": 1", "\"format\": 9"),
        text.replace("\"heads\": 2", "\"heads\": 0"),
        text.replace("\"layers\": 1", "\"layers\": 2"),
    ] {
        assert_ne!(broken, text);
        fs::write(&config, broken).unwrap();
        let error = load().unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
    }
    fs::write(&config, include_bytes!("../../../weights/nano/config.json")).unwrap();
    let error = load().unwrap_err().to_string();
    assert!(error.contains("is of a world model"), "{error}");
    fs::write(&config, &text).unwrap();
    let path = options.out_dir.join("weights.safetensors");
    let whole = weights(&options);
    for broken in [&whole[..whole.len() / 2], b"no weights", b""] {
        fs::write(&path, broken).unwrap();
        let error = load().unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
    }
    fs::remove_file(&path).unwrap();
    assert!(load().unwrap_err().to_string().contains("weights.safetensors"));
}

/// The first and the last losses of a stage.
fn losses(runs_dir: &Path, id: &str, name: &str) -> (f64, f64) {
    let lines = fs::read_to_string(runs_dir.join(id).join("metrics.jsonl")).unwrap();
    let values: Vec<f64> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|metric| metric["name"] == name)
        .filter_map(|metric| metric["value"].as_f64())
        .collect();
    (values[0], values[values.len() - 1])
}

#[test]
fn a_few_clips_are_learned_by_heart() {
    let root = tempfile::tempdir().unwrap();
    let mut options = options(root.path(), "model");
    options.model.clip.frames = 5;
    options.footage = Footage::World { seed: 3, clips: 1 };
    options.plan = GridPlan {
        pool: 4,
        picture_steps: 60,
        picture_batch: 2,
        picture_crop: [32, 32, 5],
        sound_steps: 60,
        autoencoder_rate: 5e-3,
        flow_steps: 60,
        flow_batch: 8,
        checkpoint_every: 1000,
        ..options.plan
    };
    let report = train(&options).unwrap();
    for name in ["picture_loss", "sound_loss", "flow_loss"] {
        let (first, last) = losses(&options.runs_dir, &report.run_id, name);
        assert!(last < 0.5 * first, "{name} went from {first} to {last}");
    }
}

#[test]
fn a_phyworld_model_predicts_through_the_protocol() {
    use crate::grid::phyworld::{PhyWorldSampling, evaluate_autoencoder, evaluate_model};
    use crate::phyworld::Protocol;
    let root = tempfile::tempdir().unwrap();
    let mut options = options(root.path(), "model");
    options.model.sound = None;
    options.model.flow.references = 0;
    options.model.clip.frames = SHOWN_FRAMES;
    options.model.clip.fps = 10;
    options.footage = Footage::PhyWorld { seed: 0, clips: 3, gravity: 9.8 };
    train(&options).unwrap();
    let generator = GridGenerator::load(&options.out_dir, DeviceChoice::Cpu).unwrap();
    let protocol = Protocol { episodes: 1, side: 32, ..Protocol::default() };
    let sampling = PhyWorldSampling { steps: 2, ..PhyWorldSampling::default() };
    let report = evaluate_model(&generator, &protocol, sampling).unwrap();
    assert_eq!(report.rows.len(), 12);
    assert_eq!(report, evaluate_model(&generator, &protocol, sampling).unwrap());
    assert_eq!(evaluate_autoencoder(&generator, &protocol).unwrap().rows.len(), 12);
    let wrong = Protocol { side: 30, ..protocol };
    let error = evaluate_model(&generator, &wrong, sampling).unwrap_err().to_string();
    assert!(error.contains("30x30"), "{error}");
    let clip = generator
        .generate(&generator.request("phyworld parabola", 1), &mut |_, _| ControlFlow::Continue(()))
        .unwrap();
    assert!(clip.samples.is_empty() && clip.frame_count() == SHOWN_FRAMES);
}
