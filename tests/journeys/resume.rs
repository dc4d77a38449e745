//! An interrupted `train` ends in the same weights as one that was left alone.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::program::{kinora, succeed, turn};

/// Starts `command`, stops it once something is saved under `checkpoints`, and says whether it was
/// stopped before it was done.
fn interrupt_after_first_checkpoint(command: &mut Command, checkpoints: &Path) -> bool {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !holds_a_checkpoint(checkpoints) {
        if let Some(status) = child.try_wait().unwrap() {
            panic!("training ended with {status} before its first checkpoint");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    child.wait().unwrap().code() == Some(130)
}

fn holds_a_checkpoint(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            entry.file_name().to_string_lossy().starts_with("step-") || holds_a_checkpoint(&entry.path())
        })
    })
}

#[test]
fn train_ranker_resumes_to_the_same_weights() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    succeed(
        kinora(here).args(["simulate", "--users", "120", "--videos", "80", "--days", "3", "--seed", "5"]),
    );
    let dataset = here.join("set");
    succeed(kinora(here).args(["dataset", "ranking", "--out"]).arg(&dataset));
    let train = |out: &Path| {
        let mut command = kinora(here);
        command.args(["train", "ranker", "--seed", "3", "--checkpoint-every", "5", "--dataset"]);
        command.arg(&dataset).arg("--out").arg(out);
        command
    };

    let whole = here.join("whole");
    succeed(&mut train(&whole));
    let broken = here.join("broken");
    let interrupted = interrupt_after_first_checkpoint(&mut train(&broken), &here.join("broken.checkpoints"));
    assert!(interrupted, "training was over before it could be interrupted: give it more to do");
    assert!(!broken.join("weights.safetensors").exists(), "half a training must not look like a model");
    succeed(&mut train(&broken));
    assert_same_weights(&whole, &broken);
}

#[test]
fn train_video_resumes_to_the_same_weights() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let train = |out: &Path| {
        let mut command = kinora(here);
        command.args([
            "train",
            "video",
            "--size",
            "nano",
            "--smoke",
            "--seed",
            "3",
            "--checkpoint-every",
            "2",
        ]);
        command.arg("--out").arg(out);
        command
    };
    let whole = here.join("whole");
    succeed(&mut train(&whole));
    let broken = here.join("broken");
    let interrupted = interrupt_after_first_checkpoint(&mut train(&broken), &broken.join("checkpoints"));
    assert!(interrupted, "training was over before it could be interrupted: give it more to do");
    succeed(&mut train(&broken));
    assert_same_weights(&whole, &broken);
}

fn assert_same_weights(a: &Path, b: &Path) {
    let read = |dir: &Path| fs::read(dir.join("weights.safetensors")).unwrap();
    assert!(read(a) == read(b), "the weights differ");
}
