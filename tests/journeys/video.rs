//! Clips by the program: made, gone on with and changed, and models of anyone's clips.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::program::{fail, kinora, succeed, succeed_json, turn};

/// Runs `generate` and answers what it reports.
fn generate(here: &Path, out: &str, more: &[&str]) -> Value {
    let mut command = kinora(here);
    command.args(["generate", "--prompt", "a red ball bounces twice", "--out"]);
    command.arg(here.join(out)).args(more);
    succeed_json(&mut command)
}

#[test]
fn a_clip_is_made_gone_on_with_and_changed() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let small = ["--size", "128", "--steps", "4"];
    let clip = generate(here, "clip.mp4", &small);
    assert_eq!((&clip["frames"], &clip["width"]), (&96.into(), &128.into()));
    let of = |option: &'static str| {
        let path = here.join("clip.mp4").display().to_string();
        [&[option, &path][..], &small].concat().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for (option, frames) in [("--extend", 192), ("--edit", 96)] {
        let arguments = of(option);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let made = generate(here, "made.mp4", &arguments);
        assert_eq!(made["frames"], frames, "{option}");
    }
    let text = here.join("words.mp4");
    fs::write(&text, "no clip").unwrap();
    let mut command = kinora(here);
    command.args(["generate", "--prompt", "a red ball bounces", "--edit"]).arg(&text);
    let error = fail(&mut command);
    assert!(error.contains("words.mp4") && error.contains("MP4"), "{error}");
}

#[test]
fn a_model_of_ones_own_clips_is_trained_and_draws() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let (clips, model) = (here.join("clips"), here.join("mine"));
    fs::create_dir(&clips).unwrap();
    for name in ["one", "two"] {
        generate(here, &format!("clips/{name}.mp4"), &["--size", "128", "--steps", "2"]);
        fs::write(clips.join(format!("{name}.txt")), "a red ball bounces twice").unwrap();
    }
    fs::write(clips.join("torn.mp4"), b"\0\0\0\x20ftypisom").unwrap();
    fs::write(clips.join("torn.txt"), "a torn clip").unwrap();
    let mut train = kinora(here);
    train.args(["train", "clips", "--smoke", "--footage"]).arg(&clips).arg("--out").arg(&model);
    succeed(&mut train);
    let model = model.display().to_string();
    let made = generate(here, "made.mp4", &["--model", &model, "--steps", "2", "--seconds", "1"]);
    assert!(made["bytes"].as_u64().unwrap() > 1000, "{made}");
    let mut judge = kinora(here);
    judge.args(["eval", "video", "--model", &model, "--phyworld-episodes", "1", "--steps", "1"]);
    let error = fail(&mut judge);
    assert!(error.contains("--footage phyworld"), "{error}");

    fs::remove_file(clips.join("one.mp4")).unwrap();
    fs::remove_file(clips.join("two.mp4")).unwrap();
    let mut train = kinora(here);
    train.args(["train", "clips", "--smoke", "--footage"]).arg(&clips).arg("--out").arg(here.join("none"));
    let error = fail(&mut train);
    assert!(error.contains("torn.mp4"), "{error}");
}
