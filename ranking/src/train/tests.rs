use std::fs;
use std::sync::Arc;

use burn::tensor::Device;
use kinora_harness::run;
use kinora_schema::ranking::{DENSE, Person, RankingExample};
use rand::Rng;

use super::*;
use crate::fixture;

fn prepared(rows: usize) -> (tempfile::TempDir, TrainOptions) {
    let root = tempfile::tempdir().unwrap();
    fixture::write_dataset(&root.path().join("dataset"), &[("train", &fixture::examples(rows, 2))]);
    let mut options = fixture::options(root.path());
    options.hyperparameters.minimum_steps = 12;
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
fn the_same_seed_gives_the_same_weights_and_another_gives_others() {
    let (_root, mut options) = prepared(300);
    let first = finished(&options);
    assert_eq!((first.rows, first.calibration_rows, first.steps), (270, 30, 12));
    let weights_of_first = weights(&options);
    finished(&options);
    assert_eq!(weights(&options), weights_of_first);
    options.seed += 1;
    finished(&options);
    assert_ne!(weights(&options), weights_of_first);
}

#[test]
fn an_interrupted_training_resumes_to_the_weights_of_an_uninterrupted_one() {
    let (_root, mut options) = prepared(300);
    options.hyperparameters.epochs = 3;
    finished(&options);
    let uninterrupted = weights(&options);
    fs::remove_dir_all(&options.out).unwrap();

    // Stopped after each step: every position within an epoch and between two is passed through.
    options.resume = true;
    options.interrupt.set();
    let mut stops = 0;
    let report = loop {
        match train(&options).unwrap() {
            TrainOutcome::Finished(report) => break report,
            TrainOutcome::Interrupted { step, run_id, .. } => {
                stops += 1;
                assert_eq!(step, stops);
                assert!(!options.out.exists(), "half a training left a model");
                let record = run::read(&options.runs.join(run_id)).unwrap();
                assert_eq!(record.status, Status::Interrupted);
            }
        }
    };
    assert_eq!((stops, report.steps), (14, 15));
    assert_eq!(weights(&options), uninterrupted);
}

#[test]
fn what_calibrates_is_not_learnt_from() {
    let root = tempfile::tempdir().unwrap();
    let hyper = Hyperparameters { token_minimum: 0, video_minimum: 0, ..Hyperparameters::default() };
    let data_of = |late: fn(&mut RankingExample)| {
        let mut examples = fixture::examples(300, 2);
        examples[270..].iter_mut().for_each(late);
        fixture::write_dataset(root.path(), &[("train", &examples)]);
        Data::read(&Dataset::open(root.path()).unwrap(), &hyper, None).unwrap()
    };
    let plain = data_of(|_| {});
    let strange = data_of(|example| {
        example.input.dense = [1e6; DENSE];
        let person = Person { tokens: vec!["late=1".to_owned()], ..(*example.input.person).clone() };
        example.input.person = person.into();
        example.input.video_id = "late".into();
        example.watch_ms = 80_000_000;
    });
    assert_eq!(plain.held_out, (270..300).collect::<Vec<_>>());
    assert_eq!(plain.vocabularies, strange.vocabularies);
    assert_eq!((plain.normaliser, plain.watch), (strange.normaliser, strange.watch));
}

#[test]
fn a_killed_training_resumes_from_its_last_checkpoint_to_the_same_weights() {
    let (root, mut options) = prepared(300);
    finished(&options);
    let uninterrupted = weights(&options);
    fs::remove_dir_all(&options.out).unwrap();

    // A kill leaves the last whole checkpoint and maybe half of the next.
    options.checkpoint_every = 5;
    options.resume = true;
    options.interrupt.set();
    train(&options).unwrap();
    let torn = root.path().join("ranker.checkpoints/.tmp-1-1-step-00000002");
    fs::create_dir(&torn).unwrap();
    fs::write(torn.join("state.json"), b"{").unwrap();
    options.interrupt = Interrupt::new();
    finished(&options);
    assert_eq!(weights(&options), uninterrupted);
    let left = fs::read_dir(root.path().join("ranker.checkpoints")).unwrap().count();
    assert_eq!(left, 0, "a finished training leaves no checkpoints");
}

#[test]
fn a_checkpoint_of_another_run_is_refused_by_name() {
    let (_root, mut options) = prepared(300);
    options.resume = true;
    options.interrupt.set();
    train(&options).unwrap();
    options.seed += 1;
    options.hyperparameters.batch += 1;
    let error = train(&options).unwrap_err().to_string();
    assert!(error.contains("the seed, the hyperparameters differ"), "{error}");
    options.resume = false;
    options.interrupt = Interrupt::new();
    finished(&options);
}

#[test]
fn a_loss_that_is_not_finite_is_seen() {
    let device = Device::flex();
    let mut losses = Losses::default();
    for value in [1.0_f32, 3.0] {
        losses.add(Tensor::from_data([value], &device));
    }
    assert_eq!(losses.read(), Some(2.0));
    losses.add(Tensor::from_data([f32::NAN], &device));
    losses.add(Tensor::from_data([1.0_f32], &device));
    assert_eq!(losses.read(), None);
}

#[test]
fn options_that_cannot_be_meant_are_named() {
    let (_root, options) = prepared(100);
    let with = |change: fn(&mut Hyperparameters)| {
        let mut options = options.clone();
        change(&mut options.hyperparameters);
        train(&options).unwrap_err().to_string()
    };
    assert!(with(|hyper| hyper.batch = 0).contains("`batch` is 0"));
    assert!(with(|hyper| hyper.epochs = 0).contains("`epochs`"));
    assert!(with(|hyper| hyper.learning_rate = f64::NAN).contains("`learning_rate`"));
    assert!(with(|hyper| hyper.model.embedding = 0).contains("`embedding`"));
    assert!(with(|hyper| hyper.forget_videos = 1.5).contains("`forget_videos`"));
}

#[test]
fn too_few_examples_are_an_error() {
    let (_root, options) = prepared(20);
    let error = train(&options).unwrap_err();
    assert!(matches!(error, RankingError::TooFew { rows: 20, .. }), "{error}");
}

#[test]
fn every_row_is_seen_once_an_epoch() {
    let rows: Vec<usize> = (10..35).collect();
    let mut order = Order::new(&rows, 1);
    let epochs: Vec<Vec<usize>> = (0..2)
        .map(|epoch| (0..4).flat_map(|number| order.batch(epoch, number, 8).to_vec()).collect())
        .collect();
    assert_ne!(epochs[0], epochs[1]);
    for mut epoch in epochs {
        epoch.sort_unstable();
        assert_eq!(epoch, rows);
    }
}

#[test]
fn a_refit_goes_on_from_what_an_earlier_ranker_knows() {
    let (root, _) = fixture::trained();
    let earlier = root.path().join("ranker");
    let (_, card) = artifact::load(&earlier, &Device::flex()).unwrap();

    // A few later examples, one clip of which is new.
    let later = tempfile::tempdir().unwrap();
    let mut examples = fixture::examples(2_000, 11).split_off(1_800);
    for example in examples.iter_mut().filter(|example| example.input.video_id.as_str() == "v3") {
        example.input.video_id = "new".into();
    }
    examples.extend(examples.clone());
    fixture::write_dataset(&later.path().join("dataset"), &[("train", &examples)]);
    let mut options = fixture::options(later.path());
    options.hyperparameters.minimum_steps = 10;
    options.hyperparameters.video_minimum = 1;

    let log_loss = |model: &Path| {
        let report = crate::evaluate(model, &root.path().join("dataset"), "test", 1).unwrap();
        report.figures.tasks["click"].figures.log_loss.unwrap()
    };
    finished(&options);
    let from_nothing = log_loss(&options.out);
    options.from = Some(earlier.clone());
    finished(&options);
    let refit = log_loss(&options.out);
    assert!(refit < from_nothing - 0.2, "{refit} and {from_nothing}");

    let (_, refitted) = artifact::load(&options.out, &Device::flex()).unwrap();
    assert_eq!(refitted.trained.from_run_id, Some(card.trained.run_id));
    assert_eq!(refitted.normaliser, card.normaliser);
    let [known, now] = [card.vocabularies.videos, refitted.vocabularies.videos].map(Vec::<String>::from);
    assert_eq!(now[..known.len()], known);
    assert!(now[known.len()..].contains(&"new".to_owned()), "{now:?}");

    options.hyperparameters.model.expert += 1;
    let refused = train(&options).unwrap_err().to_string();
    assert!(refused.contains("widths") && !refused.contains('\n'), "{refused}");
    options.from = Some(later.path().join("nowhere"));
    assert!(train(&options).unwrap_err().to_string().contains("no ranker"));
}

#[test]
fn attention_that_fades_down_the_page_is_not_taken_for_dislike() {
    // People like all clips alike and look at few that are far down, where one clip always is. Others are
    // anywhere.
    let root = tempfile::tempdir().unwrap();
    let mut examples = fixture::examples(4_000, 2);
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for example in &mut examples {
        let place = rng.random_range(0..10_u16);
        let clip = match (place, rng.random_bool(0.3)) {
            (0..3, true) => "top".to_owned(),
            (7.., true) => "deep".to_owned(),
            _ => format!("v{}", rng.random_range(0..8)),
        };
        example.position = Some(place);
        example.input.video_id = clip.as_str().into();
        example.input.video_tokens = [format!("clip={clip}")].into();
        example.input.dense = [0.0; DENSE];
        example.input.person = Arc::default();
        example.labels[Task::Click.index()] = rng.random_bool(0.8 - 0.075 * f64::from(place));
    }
    let of = |position: bool| {
        let mut examples = examples.clone();
        if !position {
            for example in &mut examples {
                example.position = None;
            }
        }
        fixture::write_dataset(&root.path().join("dataset"), &[("train", &examples)]);
        let mut options = fixture::options(root.path());
        options.hyperparameters.minimum_steps = 500;
        finished(&options);
        let ranker = crate::Ranker::load(&options.out).unwrap();
        let inputs: Vec<_> = ["top", "deep"]
            .map(|clip| examples.iter().find(|example| example.input.video_id.as_str() == clip).unwrap())
            .map(|example| example.input.clone())
            .into();
        let scores = ranker.score(&inputs).unwrap();
        let [top, deep] = [0, 1].map(|at: usize| f64::from(scores[at].probability(Task::Click)));
        top / deep
    };
    let (blind, aware) = (of(false), of(true));
    assert!(blind > 2.0, "what is seen less is clicked less: {blind}");
    assert!(aware < 1.0 + 0.75 * (blind - 1.0), "{aware} and {blind}");
}
