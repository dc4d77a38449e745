//! Synthetic ranking data for the tests of this crate: people who click clips of the topic
//! they like, short clips watched to the end.

use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use kinora_harness::device::DeviceChoice;
use kinora_harness::interrupt::Interrupt;
use kinora_harness::progress::Mode;
use kinora_schema::ranking::{
    DENSE_FEATURES, DatasetManifest, HistoryItem, MAX_HISTORY, Person, RankingExample, RankingInput,
    SplitManifest, Task, examples_to_batch,
};
use parquet::arrow::ArrowWriter;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::model::RankerConfig;
use crate::train::{self, Hyperparameters, TrainOptions, TrainOutcome};

const TOPICS: usize = 4;

/// `count` examples that follow from the seed.
pub(crate) fn examples(count: usize, seed: u64) -> Vec<RankingExample> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut histories: Vec<Vec<HistoryItem>> = vec![Vec::new(); 12];
    (0..count)
        .map(|row| {
            let user = rng.random_range(0..histories.len());
            let clip = rng.random_range(0..40_usize);
            let liked = user % TOPICS == clip % TOPICS;
            let clicked = rng.random_bool(if liked { 0.9 } else { 0.1 });
            let duration_ms = 3_000 + 1_000 * (clip as i64 % 7);
            let watch_ms = if clicked { duration_ms } else { rng.random_range(0..duration_ms / 2) };
            let mut dense = [0.0; DENSE_FEATURES.len()];
            for (value, name) in dense.iter_mut().zip(DENSE_FEATURES) {
                *value = match name {
                    "duration_log_s" => (duration_ms as f32 / 1000.0).ln_1p(),
                    _ => rng.random_range(-1.0..1.0),
                };
            }
            let history = histories[user].clone();
            let item = HistoryItem {
                video_id: format!("v{clip}").into(),
                outcomes: u16::from(clicked) << Task::Click.index(),
            };
            histories[user].push(item.clone());
            if histories[user].len() > MAX_HISTORY {
                histories[user].remove(0);
            }
            let mut labels = [false; Task::ALL.len()];
            labels[Task::Click.index()] = clicked;
            labels[Task::LongView.index()] = watch_ms >= duration_ms;
            labels[Task::Like.index()] = clicked && rng.random_bool(0.2);
            RankingExample {
                impression_id: format!("i{row}"),
                user_id: format!("u{user}"),
                event_time_ms: 1_700_000_000_000 + 1_000 * row as i64,
                position: Some((row % 10) as u16),
                input: RankingInput {
                    video_id: item.video_id,
                    dense,
                    person: Arc::new(Person {
                        tokens: vec![format!("taste={}", user % TOPICS), format!("user={user}")],
                        history,
                    }),
                    video_tokens: [format!("topic={}", clip % TOPICS)].into(),
                    context_tokens: ["surface=feed".to_owned()].into(),
                },
                labels,
                watch_ms,
                duration_ms,
            }
        })
        .collect()
}

/// Writes splits as a dataset directory.
pub(crate) fn write_dataset(directory: &Path, splits: &[(&str, &[RankingExample])]) {
    fs::create_dir_all(directory).unwrap();
    let splits = splits.iter().map(|(name, examples)| {
        let file = format!("{name}.parquet");
        let batch = examples_to_batch(examples).unwrap();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        fs::write(directory.join(&file), &bytes).unwrap();
        SplitManifest {
            name: (*name).to_owned(),
            file,
            from_ms: 0,
            until_ms: i64::MAX,
            logged_rows: 0,
            rows: examples.len() as u64,
            sha256: format!("{:x}", Sha256::digest(&bytes)),
        }
    });
    let manifest = DatasetManifest {
        format: 2,
        ingested_until_ms: None,
        table_versions: [("events".to_owned(), 1)].into(),
        code_version: "test".to_owned(),
        dense_features: DENSE_FEATURES.iter().map(ToString::to_string).collect(),
        tasks: Task::ALL.to_vec(),
        splits: splits.collect(),
    };
    fs::write(directory.join("manifest.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
}

/// Options for a small, quick ranker under `root`, from `root/dataset`.
pub(crate) fn options(root: &Path) -> TrainOptions {
    TrainOptions {
        dataset: root.join("dataset"),
        out: root.join("ranker"),
        runs: root.join("runs"),
        hyperparameters: Hyperparameters {
            model: RankerConfig { embedding: 8, bins: 8, experts: 2, hidden: 16, expert: 8, tower: 8 },
            minimum_steps: 250,
            batch: 64,
            learning_rate: 1e-2,
            ..Hyperparameters::default()
        },
        from: None,
        seed: 7,
        device: DeviceChoice::Cpu,
        checkpoint_every: 1000,
        resume: false,
        interrupt: Interrupt::new(),
        progress: Mode::Silent,
    }
}

/// A directory with a trained `ranker` and its `dataset`, and the examples of its test split.
pub(crate) fn trained() -> (&'static TempDir, Vec<RankingExample>) {
    static TRAINED: OnceLock<TempDir> = OnceLock::new();
    let test = examples(2_400, 11).split_off(1_800);
    let root = TRAINED.get_or_init(|| {
        let root = tempfile::tempdir().unwrap();
        let mut train = examples(2_400, 11);
        train.truncate(1_800);
        write_dataset(&root.path().join("dataset"), &[("train", &train), ("test", &test)]);
        let outcome = train::train(&options(root.path())).unwrap();
        assert!(matches!(outcome, TrainOutcome::Finished(_)), "{outcome:?}");
        root
    });
    (root, test)
}
