use std::fmt::Write as _;
use std::fs;

use super::*;
use crate::retrieval::model::RetrieverConfig;

/// People who walk in circles of four items: what comes next is certain.
fn circles(people: usize) -> String {
    let mut text = String::new();
    for person in 0..people {
        for step in 0..12 {
            let item = 4 * (person % 3) + (person + step) % 4;
            writeln!(text, "person-{person} item-{item}").unwrap();
        }
    }
    text
}

fn prepared() -> (tempfile::TempDir, TrainOptions) {
    let root = tempfile::tempdir().unwrap();
    let sequences = root.path().join("log.txt");
    fs::write(&sequences, circles(30)).unwrap();
    let options = TrainOptions {
        sequences,
        out: root.path().join("model"),
        runs: root.path().join("runs"),
        hyperparameters: Hyperparameters {
            model: RetrieverConfig { width: 16, blocks: 1, heads: 2, hidden: 32, length: 8 },
            epochs: 3,
            positions: 100,
            learning_rate: 0.01,
            ..Hyperparameters::default()
        },
        seed: 3,
        device: DeviceChoice::Cpu,
        time_limit: None,
        resume: true,
        interrupt: Interrupt::new(),
        progress: Mode::Silent,
    };
    (root, options)
}

fn finished(options: &TrainOptions) -> TrainReport {
    match train(options).unwrap() {
        TrainOutcome::Finished(report) => report,
        interrupted @ TrainOutcome::Interrupted { .. } => panic!("{interrupted:?}"),
    }
}

fn weights(options: &TrainOptions) -> Vec<u8> {
    fs::read(options.out.join("weights.safetensors")).unwrap()
}

#[test]
fn what_always_comes_next_is_learnt() {
    let (root, mut options) = prepared();
    let text: String = (0..40)
        .flat_map(|person| (0..6).map(move |step| format!("p{person} i{}\n", (person + step) % 12)))
        .collect();
    fs::write(root.path().join("log.txt"), text).unwrap();
    options.hyperparameters.epochs = 60;
    // No longer than what is trained on: places further back would be new to the model.
    options.hyperparameters.model.length = 3;
    options.hyperparameters.averaging = 0.9;
    for loss in [LossKind::Full, LossKind::Sampled] {
        options.hyperparameters.loss = loss;
        let report = finished(&options);
        assert_eq!((report.users, report.items), (40, 12));
        assert!(report.validation_ndcg > 0.95, "{loss:?}: {report:?}");
        let judged =
            crate::retrieval::evaluate(&options.out, &options.sequences, 1, DeviceChoice::Cpu).unwrap();
        assert!(judged.training_histories && judged.people == 40 && judged.people_left_out == 0);
        let hits = |name| judged.rankings[name].at[&1].hit_rate.value;
        assert!(hits("model") > 0.95, "{loss:?}: {}", hits("model"));
        assert!(hits("last_item") > 0.95 && hits("popularity") < 0.5);
        assert!(judged.index.recall_10.value > 0.99);
    }
}

#[test]
fn the_same_seed_gives_the_same_weights_and_another_gives_others() {
    let (_root, mut options) = prepared();
    finished(&options);
    let first = weights(&options);
    finished(&options);
    assert_eq!(weights(&options), first);
    options.seed += 1;
    finished(&options);
    assert_ne!(weights(&options), first);
}

#[test]
fn an_interrupted_training_resumes_to_the_weights_of_an_uninterrupted_one() {
    for loss in [LossKind::Full, LossKind::Sampled] {
        let (_root, mut options) = prepared();
        options.hyperparameters.loss = loss;
        let whole = finished(&options);
        let uninterrupted = weights(&options);
        fs::remove_dir_all(&options.out).unwrap();

        // Stopped after each step: every place within an epoch and between two is passed through.
        options.interrupt.set();
        let mut stops = 0;
        let report = loop {
            match train(&options).unwrap() {
                TrainOutcome::Finished(report) => break report,
                TrainOutcome::Interrupted { step, .. } => {
                    stops += 1;
                    assert_eq!(step, stops);
                    assert!(!options.out.exists(), "half a training left a model");
                }
            }
        };
        assert!(stops > 3);
        assert_eq!(weights(&options), uninterrupted);
        assert_eq!((report.epochs, report.best_epoch), (whole.epochs, whole.best_epoch));
    }
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let (_root, mut options) = prepared();
    options.interrupt.set();
    train(&options).unwrap();
    options.hyperparameters.dropout = 0.3;
    options.seed = 9;
    let error = train(&options).unwrap_err().to_string();
    assert!(error.contains("the seed, the hyperparameters differ"), "{error}");
    options.resume = false;
    assert!(matches!(train(&options).unwrap(), TrainOutcome::Interrupted { .. }));
}

#[test]
fn a_time_limit_leaves_a_model_and_training_that_diverges_does_not() {
    let (_root, mut options) = prepared();
    options.time_limit = Some(Duration::ZERO);
    assert_eq!(finished(&options).epochs, 1);
    fs::remove_dir_all(&options.out).unwrap();
    options.time_limit = None;
    options.hyperparameters.learning_rate = 1e30;
    assert!(matches!(train(&options), Err(RankingError::Diverged { .. })));
    assert!(!options.out.exists());
}

#[test]
fn hyperparameters_out_of_range_are_named() {
    let (_root, options) = prepared();
    let refused = |change: fn(&mut Hyperparameters)| {
        let mut options = options.clone();
        change(&mut options.hyperparameters);
        train(&options).unwrap_err().to_string()
    };
    assert!(refused(|hyper| hyper.dropout = 1.0).contains("`dropout` is 1"));
    assert!(refused(|hyper| hyper.model.heads = 3).contains("`width` is 16"));
    assert!(refused(|hyper| hyper.positions = 0).contains("`positions` is 0"));
    assert!(refused(|hyper| hyper.learning_rate = f64::NAN).contains("`learning rate` is NaN"));
}

#[test]
fn a_broken_model_is_one_clear_line() {
    let (_root, options) = prepared();
    finished(&options);
    let device = Device::flex();
    let fault = || artifact::load(&options.out, &device).unwrap_err().to_string();
    assert!(artifact::load(&options.out, &device).is_ok());
    let graph = options.out.join("graph.usearch");
    let mut bytes = fs::read(&graph).unwrap();
    bytes[70] ^= 1;
    fs::write(&graph, bytes).unwrap();
    assert!(fault().contains("graph.usearch"), "{}", fault());
    fs::write(options.out.join("config.json"), "{}").unwrap();
    assert!(fault().contains("not a retrieval model"), "{}", fault());
    fs::remove_dir_all(&options.out).unwrap();
    assert!(fault().contains("kinora train retrieval"), "{}", fault());
}
