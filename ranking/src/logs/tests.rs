//! A small log in `KuaiRand`'s columns, made here, through the whole journey.

use std::fs;
use std::path::{Path, PathBuf};

use kinora_harness::interrupt::Interrupt;
use kinora_harness::progress::Mode;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::catalogue::Catalogue;
use super::evaluate::evaluate_log;
use super::impression::{Impression, Log, Outcome};
use super::ranker::LogRanker;
use super::state::State;
use super::train::{LogTrainOptions, see, train_log};

const HEADER: &str = "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,\
                      long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab";
const DAY_MS: i64 = 86_400_000;
/// Midnight of 25 April 2022 in China.
const FIRST_MS: i64 = 1_650_816_000_000;

/// Log lines of one day: people like clips of their own parity.
fn lines(day: i64, rows: usize) -> Vec<String> {
    let mut rng = ChaCha8Rng::seed_from_u64(day as u64);
    (0..rows)
        .map(|row| {
            let (user, video) = (rng.random_range(0..30_u32), rng.random_range(0..40_u32));
            let likes = rng.random_bool(if user % 2 == video % 2 { 0.85 } else { 0.1 });
            let click = u8::from(likes);
            let play = if likes { 20_000 + 100 * i64::from(video) } else { 900 };
            let time = FIRST_MS + day * DAY_MS + row as i64 * 1000;
            let duration = 15_000 + 1000 * i64::from(video);
            format!("{user},{video},0,0,{time},{click},{click},0,0,0,0,{click},{play},{duration},0,0,0,0,1")
        })
        .collect()
}

fn write(path: &Path, lines: &[String]) {
    fs::write(path, format!("{HEADER}\n{}\n", lines.join("\n"))).unwrap();
}

/// The files of a small log of four days, and of a fifth to test on.
fn files(root: &Path) -> LogTrainOptions {
    let first: Vec<String> = (0..2).flat_map(|day| lines(day, 300)).collect();
    let second: Vec<String> = (2..4).flat_map(|day| lines(day, 300)).collect();
    write(&root.join("a.csv"), &first);
    write(&root.join("b.csv"), &second);
    write(&root.join("test.csv"), &lines(4, 300));
    let histories: Vec<String> = (0..30)
        .map(|user| {
            let watched: Vec<String> = (0..8).map(|clip| (clip * 2 + user % 2).to_string()).collect();
            let watched = watched.join(" ");
            format!("{user},8,{},[{watched}],[],[{watched}]", FIRST_MS - DAY_MS)
        })
        .collect();
    fs::write(
        root.join("history.csv"),
        format!(
            "user_id,history_len,last_time_ms,watch_seq,like_seq,long_watch_seq\n{}\n",
            histories.join("\n")
        ),
    )
    .unwrap();
    let users: Vec<String> = (0..30).map(|user| format!("{user},full_active,{user}")).collect();
    fs::write(
        root.join("users.csv"),
        format!("user_id,user_active_degree,register_days\n{}\n", users.join("\n")),
    )
    .unwrap();
    let videos: Vec<String> = (0..40)
        .map(|video| {
            format!(
                "{video},{},NORMAL,2022-04-1{},\"{},7\",{}",
                video % 5,
                video % 9,
                video % 2,
                15_000 + 1000 * video
            )
        })
        .collect();
    fs::write(
        root.join("videos.csv"),
        format!("video_id,author_id,video_type,upload_dt,tag,video_duration\n{}\n", videos.join("\n")),
    )
    .unwrap();
    LogTrainOptions {
        impressions: vec![root.join("b.csv"), root.join("a.csv")],
        history: Some(root.join("history.csv")),
        users: Some(root.join("users.csv")),
        videos: Some(root.join("videos.csv")),
        out: root.join("model"),
        runs: root.join("runs"),
        seed: 1,
        interrupt: Interrupt::new(),
        progress: Mode::Silent,
    }
}

#[test]
fn files_become_a_ranker_that_predicts_a_later_day() {
    let root = tempfile::tempdir().unwrap();
    let options = files(root.path());
    let trained = train_log(&options).unwrap().unwrap();
    assert_eq!((trained.rows, trained.skipped_rows, trained.days), (1200, 0, 4));

    let test = [root.path().join("test.csv")];
    let report = evaluate_log(&options.out, &test, 1).unwrap();
    let click = &report.figures.tasks["click"];
    assert!(click.figures.auc.unwrap() > 0.8, "{click:?}");
    // Ten bins of thirty rows are uncertain by half of this already.
    assert!(click.figures.calibration_error.unwrap() < 0.15, "{click:?}");
    let interval = click.intervals.auc.unwrap();
    assert!(interval.low < click.figures.auc.unwrap() && click.figures.auc.unwrap() < interval.high);
    assert_eq!(report.figures.tasks["not_interested"].figures.auc, None);
    assert!(
        report.figures.watch.xauc.unwrap() > 0.6 && report.figures.watch.mae_s.unwrap() < 9.0,
        "{report:?}"
    );
    assert_eq!(report.figures.watch_by_duration.iter().map(|bucket| bucket.watch.rows).sum::<usize>(), 300);
    assert_eq!(report.figures.creator_groups.iter().map(|group| group.rows).sum::<usize>(), 300);
    assert_eq!(report, evaluate_log(&options.out, &test, 1).unwrap());

    // One impression scores the same alone and among others, and after another training.
    let ranker = LogRanker::load(&options.out).unwrap();
    let shown = Log::read(&test).unwrap().impressions;
    let together = ranker.score(&shown[..20]).unwrap();
    train_log(&LogTrainOptions { out: root.path().join("again"), ..options }).unwrap();
    let again = LogRanker::load(&root.path().join("again")).unwrap();
    for (shown, together) in shown.iter().zip(&together) {
        for ranker in [&ranker, &again] {
            let alone = ranker.score(std::slice::from_ref(shown)).unwrap()[0];
            for (alone, together) in alone.probabilities.iter().zip(together.probabilities) {
                assert!((alone - together).abs() < 1e-5);
            }
            assert!((alone.watch_ms - together.watch_ms).abs() < 1.0);
        }
    }
    // Nobody and nothing known: scored, not refused.
    let strange =
        Impression { user_id: -5, video_id: i64::MAX, time_ms: -1, duration_ms: f32::NAN, tab: u32::MAX };
    let prediction = ranker.score(&[strange]).unwrap()[0];
    assert!(prediction.probabilities.iter().all(|p| (0.0..=1.0).contains(p)) && prediction.watch_ms >= 0.0);
    assert!(ranker.score(&[]).unwrap().is_empty());

    spoilt_models_are_one_line(root.path());
}

fn spoilt_models_are_one_line(root: &Path) {
    let model = root.join("model");
    let error = || {
        let error = LogRanker::load(&model).unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    };
    for file in ["model.json", "state.json.gz", "trees.json.gz", "weights.safetensors"] {
        let path = model.join(file);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(error().contains(file), "{}", error());
        fs::write(&path, whole).unwrap();
    }
    let card = fs::read_to_string(model.join("model.json")).unwrap();
    fs::write(model.join("model.json"), card.replace("kinora-log-ranker", "kinora-ranker")).unwrap();
    assert!(error().contains("it is a `kinora-ranker`"));
    fs::write(model.join("model.json"), card.replace("\"hour\"", "\"minute\"")).unwrap();
    assert!(error().contains("does not fit"));
    fs::remove_file(model.join("model.json")).unwrap();
    assert!(error().contains("kinora train ranker"));
}

#[test]
fn a_bad_row_is_counted_and_a_bad_file_is_named() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("log.csv");
    let good = lines(0, 3);
    let bad = [
        good[0].replacen(&good[0][..good[0].find(',').unwrap()], "someone", 1),
        good[1].rsplit_once(',').unwrap().0.to_owned(),
        good[2].replace(",1650", ",NaN"),
        String::from("1,,,,,,,,,,,,,,,,,,"),
    ];
    write(&path, &[&good[..], &bad[..]].concat());
    let log = Log::read(std::slice::from_ref(&path)).unwrap();
    assert_eq!((log.len(), log.skipped), (3, 4));

    let error = |path: &Path| {
        let error = Log::read(&[PathBuf::from(path)]).unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    };
    fs::write(&path, "user_id,video_id,tab\n1,2,3\n").unwrap();
    assert!(error(&path).contains("`time_ms`") && error(&path).contains("log.csv"));
    fs::write(&path, "").unwrap();
    assert!(error(&path).contains("empty"), "{}", error(&path));
    write(&path, &[]);
    assert!(error(&path).contains("no impressions"), "{}", error(&path));
    fs::write(root.path().join("log.parquet"), "no parquet").unwrap();
    assert!(error(&root.path().join("log.parquet")).contains("log.parquet"));
    assert!(error(&root.path().join("none.csv")).contains("none.csv"));
}

/// A row of a log: a person, a clip, a time within four days, a surface and what came of it.
fn any_row() -> impl Strategy<Value = (Impression, Outcome)> {
    (0_i64..5, 0_i64..6, 0..4 * DAY_MS, 1.0e3_f32..1.0e5, 0_u32..3, 0_u16..256, 0.0_f32..1.0e5).prop_map(
        |(user_id, video_id, time, duration_ms, tab, tasks, watch_ms)| {
            let time_ms = FIRST_MS + time;
            (Impression { user_id, video_id, time_ms, duration_ms, tab }, Outcome { tasks, watch_ms })
        },
    )
}

fn features_of(rows: &[(Impression, Outcome)]) -> Vec<Vec<u32>> {
    let (impressions, outcomes) = rows.iter().copied().unzip();
    let log = Log { impressions, outcomes, skipped: 0 };
    let mut catalogue = Catalogue::default();
    // Everyone is known beforehand: numbering is no feature.
    catalogue.number_all((0..6).map(|id| (id, id)));
    let mut state = State::of_histories(catalogue, 1);
    let table = see(&mut state, &log, &log.days());
    (0..table.rows()).map(|row| table.row(row).iter().map(|value| value.to_bits()).collect()).collect()
}

proptest! {
    /// Features of a row do not change with what came of any row of its day or later, itself
    /// included, nor with the rows that were shown then.
    #[test]
    fn features_know_nothing_of_their_own_day_or_later(
        mut rows in prop::collection::vec(any_row(), 2..40),
        others in prop::collection::vec(any_row(), 40),
        at in 0_usize..40,
    ) {
        rows.sort_by_key(|(shown, _)| shown.time_ms);
        let at = at % rows.len();
        let day = rows[at].0.day();
        let before = features_of(&rows);
        let mut changed = rows.clone();
        for (row, (shown, outcome)) in changed.iter_mut().zip(others) {
            if row.0.day() >= day {
                row.1 = outcome;
                if row.0 != rows[at].0 {
                    (row.0.user_id, row.0.video_id, row.0.tab) = (shown.user_id, shown.video_id, shown.tab);
                }
            }
        }
        let after = features_of(&changed);
        prop_assert_eq!(&before[at], &after[at]);
        for row in 0..rows.len() {
            if rows[row].0.day() < day {
                prop_assert_eq!(&before[row], &after[row]);
            }
        }
    }
}
