//! How fast the ranker is on this machine: the size of a page enters, times leave.
//!
//! Weights, people and clips are drawn, so that nothing needs to be trained first; `tests/peers/ranker` times the
//! same network in `PyTorch` and `ONNX Runtime`.

use std::collections::HashSet;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use kinora_harness::seed::seeded;
use kinora_schema::ranking::{DENSE, Engagement, HistoryItem, MAX_HISTORY, Person, RankingInput, TASKS};
use kinora_schema::{CreatorId, UserId, VideoId};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::artifact::{CardParts, ModelCard, Trained};
use crate::calibrate::Platt;
use crate::error::{RankingError, Result};
use crate::feed::recipe::{Recipe, rank};
use crate::feed::{AgeBand, CameoConsent, Candidate, FeedQuery, Inputs, Moderation, Steering};
use crate::model::{self, HEADS, Lookup, PLACES, RankerConfig};
use crate::normalise::{BINS, Normaliser};
use crate::rows::{Counters, Rows, Vocabularies};
use crate::scorer::Ranker;
use crate::train::{Hyperparameters, read_floats};
use crate::vocabulary::Vocabulary;
use crate::watch::WatchQuantiles;

/// Tokens of a person, a clip and a moment, as the feed's are.
const TOKENS: [usize; 3] = [6, 14, 2];
/// Clips and words that the ranker knows.
const VIDEOS: usize = 20_000;
const WORDS: usize = 4_000;
/// Calls that are not timed: memory is allocated in them.
const WARM_UP: usize = 5;
const NOW_MS: i64 = 1_700_000_000_000;
/// Items on a page of the feed.
const PAGE: usize = 10;

/// What is timed.
#[derive(Clone, Copy, Debug)]
pub struct BenchmarkOptions {
    /// Clips that a page is chosen from.
    pub candidates: usize,
    /// Clips in the person's history.
    pub history: usize,
    /// Calls of each kind that are timed.
    pub pages: usize,
    /// Pages made at the same time under load.
    pub threads: usize,
}

/// Times of the ranker. Pages are timed on one core each; training takes all.
#[derive(Clone, Debug, Serialize)]
pub struct BenchmarkReport {
    pub shape: Shape,
    pub parameters: usize,
    pub candidates: usize,
    pub history: usize,
    /// Longest history that the network has places for.
    pub max_history: usize,
    /// Numbered rows to logits.
    pub network: Times,
    /// Features to calibrated predictions.
    pub score: Times,
    /// The whole recipe: sources, filters, scores, selection, reasons.
    pub page: Times,
    pub load: Load,
    pub train: Training,
}

/// What another implementation needs to build the same network.
#[derive(Clone, Debug, Serialize)]
pub struct Shape {
    pub dense: usize,
    pub bins: usize,
    pub bins_width: usize,
    pub embedding: usize,
    pub experts: usize,
    pub hidden: usize,
    pub expert: usize,
    pub tower: usize,
    pub heads: usize,
    pub tasks: usize,
    pub places: usize,
    pub token_rows: usize,
    pub video_rows: usize,
    pub user_tokens: usize,
    pub video_tokens: usize,
    pub context_tokens: usize,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Times {
    pub median_ms: f64,
    pub p99_ms: f64,
}

/// Pages made by several threads at once, a core each.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Load {
    pub threads: usize,
    pub pages_per_s: f64,
    pub median_ms: f64,
    pub p99_ms: f64,
}

/// Steps of training; each row has a history of its own.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Training {
    pub batch: usize,
    pub history: usize,
    pub step_ms: f64,
    pub examples_per_s: f64,
}

/// Times a ranker of the default widths on the CPU.
///
/// # Errors
///
/// Options that nothing can be timed with, and threads that cannot be started.
pub fn benchmark(options: BenchmarkOptions) -> Result<BenchmarkReport> {
    check(options)?;
    let BenchmarkOptions { candidates, history, pages, threads } = options;
    let device = Device::flex();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let inputs = inputs(&mut rng, candidates, history);
    let ranker = ranker(&inputs, &device)?;
    let shape = shape(&ranker);
    let parameters = ranker.model.num_params();

    let mut rows = Rows::default();
    for input in &inputs {
        rows.push(input, &mut &ranker.card.vocabularies);
    }
    let by_id: Inputs = inputs.iter().map(|input| (input.video_id.clone(), input.clone())).collect();
    let (query, clips) = (query(), clips(&mut rng, &inputs));
    let page = || rank(&query, clips.clone(), &by_id, Some(&ranker), &Recipe::default());

    let core = core()?;
    let network = Times::of(core.install(|| timed(pages, || ranker.logits(&rows))));
    let score = Times::of(core.install(|| timed(pages, || ranker.score(&inputs))));
    let whole = Times::of(core.install(|| timed(pages, page)));
    let load = load(threads, pages, &page)?;
    let train = training(&inputs, history, pages.min(20), &device)?;
    Ok(BenchmarkReport {
        shape,
        parameters,
        candidates,
        history,
        max_history: MAX_HISTORY,
        network,
        score,
        page: whole,
        load,
        train,
    })
}

fn check(options: BenchmarkOptions) -> Result<()> {
    let refuse =
        |name, value: usize, accepted| Err(RankingError::Option { name, value: value.to_string(), accepted });
    let BenchmarkOptions { candidates, history, pages, threads } = options;
    match options {
        _ if !(1..=VIDEOS).contains(&candidates) => refuse("candidates", candidates, "1 to 20000"),
        _ if history > MAX_HISTORY => refuse("history", history, "0 to 200"),
        _ if !(1..=1_000_000).contains(&pages) => refuse("pages", pages, "1 to 1000000"),
        _ if !(1..=1024).contains(&threads) => refuse("threads", threads, "1 to 1024"),
        _ => Ok(()),
    }
}

/// A pool of one thread: what runs in it keeps to one core.
fn core() -> Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .map_err(|error| RankingError::Threads { reason: error.to_string() })
}

/// Milliseconds of each call.
fn timed<T>(calls: usize, call: impl Fn() -> T) -> Vec<f64> {
    let mut times_ms = Vec::with_capacity(calls);
    for number in 0..calls + WARM_UP {
        let started = Instant::now();
        black_box(call());
        if number >= WARM_UP {
            times_ms.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    times_ms
}

impl Times {
    fn of(mut times_ms: Vec<f64>) -> Self {
        times_ms.sort_by(f64::total_cmp);
        let at = |share: f64| times_ms.get((share * times_ms.len() as f64) as usize).copied().unwrap_or(0.0);
        Self { median_ms: at(0.5), p99_ms: at(0.99) }
    }
}

fn load<T>(threads: usize, pages: usize, page: &(impl Fn() -> T + Sync)) -> Result<Load> {
    let cores: Vec<rayon::ThreadPool> = (0..threads).map(|_| core()).collect::<Result<_>>()?;
    let started = Instant::now();
    let times_ms: Vec<f64> = std::thread::scope(|scope| {
        let workers: Vec<_> = cores
            .iter()
            .map(|core| scope.spawn(move || core.install(|| timed(pages, || drop(black_box(page()))))))
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    });
    let made = threads * (pages + WARM_UP);
    let pages_per_s = made as f64 / started.elapsed().as_secs_f64();
    let Times { median_ms, p99_ms } = Times::of(times_ms);
    Ok(Load { threads, pages_per_s, median_ms, p99_ms })
}

/// Steps as training takes them.
fn training(inputs: &[RankingInput], history: usize, steps: usize, device: &Device) -> Result<Training> {
    let device = device.clone().autodiff();
    let batch = Hyperparameters::default().batch;
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut counters = Counters::default();
    let mut rows = Rows::default();
    for row in 0..batch {
        let person = Arc::new(person(&mut rng, history));
        let input = RankingInput { person, ..inputs[row % inputs.len()].clone() };
        rows.push(&input, &mut counters);
    }
    let all: Vec<usize> = (0..batch).collect();
    rows.count(&all, &mut counters);
    let (_, token_rows) = counters.tokens.into_vocabulary(1);
    let (_, video_rows) = counters.videos.into_vocabulary(1);
    rows.renumber(&token_rows, &video_rows);
    let normaliser = Normaliser::fit(&rows.dense().iter());
    let mut model = seeded(&device, 1, || RankerConfig::default().init(WORDS, VIDEOS, &device));
    let mut optimizer = AdamWConfig::new().init();
    let targets = vec![0.1_f32; batch * HEADS];
    let places: Vec<i32> = (0..batch as u16).map(|row| model::place(Some(row % 10))).collect();
    let mut times_ms = Vec::with_capacity(steps);
    for step in 0..steps + WARM_UP {
        let started = Instant::now();
        let batch_rows = rows.batch(&all, &normaliser, None, &device);
        let targets = Tensor::<2>::from_data(TensorData::new(targets.clone(), [batch, HEADS]), &device);
        let places = Tensor::from_data(TensorData::new(places.clone(), [batch, 1]), &device);
        let loss = model::loss(model.forward(batch_rows) + model.of_places(places), targets);
        let value = loss.clone().detach();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-3, model, gradients);
        black_box(read_floats(value)?);
        if step >= WARM_UP {
            times_ms.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    let step_ms = Times::of(times_ms).median_ms;
    Ok(Training { batch, history, step_ms, examples_per_s: 1e3 * batch as f64 / step_ms })
}

fn shape(ranker: &Ranker) -> Shape {
    let RankerConfig { embedding, bins, experts, hidden, expert, tower } = RankerConfig::default();
    let Vocabularies { tokens, videos } = &ranker.card.vocabularies;
    let [user_tokens, video_tokens, context_tokens] = TOKENS;
    Shape {
        dense: DENSE,
        bins: DENSE * BINS,
        bins_width: bins,
        embedding,
        experts,
        hidden,
        expert,
        tower,
        heads: HEADS,
        tasks: TASKS,
        places: PLACES,
        token_rows: tokens.rows(),
        video_rows: videos.rows(),
        user_tokens,
        video_tokens,
        context_tokens,
    }
}

/// A ranker with drawn weights that knows what the inputs may name.
fn ranker(inputs: &[RankingInput], device: &Device) -> Result<Ranker> {
    let config = RankerConfig::default();
    let tokens = Vocabulary::from((0..WORDS).map(word).collect::<Vec<_>>());
    let videos = Vocabulary::from((0..VIDEOS).map(video).collect::<Vec<_>>());
    let model = seeded(device, 1, || config.init(tokens.rows(), videos.rows(), device));
    let watches: Vec<(f32, f32)> = (0..64).map(|n| (n as f32 / 10.0, 100.0 * n as f32)).collect();
    let card = ModelCard::new(CardParts {
        config,
        normaliser: Normaliser::fit(&inputs.iter().map(|input| &input.dense)),
        watch: WatchQuantiles::fit(&watches, 8),
        calibration: [Platt::default(); TASKS],
        vocabularies: Vocabularies { tokens, videos },
        trained: Trained {
            hyperparameters: Hyperparameters::default(),
            seed: 1,
            steps: 0,
            rows: 0,
            calibration_rows: 0,
            from_ms: 0,
            until_ms: 0,
            dataset_sha256: String::new(),
            run_id: "drawn".to_owned(),
            from_run_id: None,
        },
    });
    Ok(Ranker { lookup: Lookup::of(&model)?, model, card, device: device.clone() })
}

fn word(number: usize) -> String {
    format!("word=w{number}")
}

fn video(number: usize) -> String {
    format!("v{number:06}")
}

fn words(rng: &mut ChaCha8Rng, count: usize) -> Vec<String> {
    (0..count).map(|_| word(rng.random_range(0..WORDS))).collect()
}

fn person(rng: &mut ChaCha8Rng, history: usize) -> Person {
    let item = |rng: &mut ChaCha8Rng| HistoryItem {
        video_id: VideoId::new(video(rng.random_range(0..VIDEOS))),
        outcomes: rng.random_range(0..1 << TASKS),
    };
    Person { tokens: words(rng, TOKENS[0]), history: (0..history).map(|_| item(rng)).collect() }
}

fn inputs(rng: &mut ChaCha8Rng, candidates: usize, history: usize) -> Vec<RankingInput> {
    let person = Arc::new(person(rng, history));
    let context_tokens: Arc<[String]> = words(rng, TOKENS[2]).into();
    (0..candidates)
        .map(|number| RankingInput {
            video_id: VideoId::new(video(number % VIDEOS)),
            dense: std::array::from_fn(|_| rng.random_range(-1.0..1.0)),
            person: Arc::clone(&person),
            video_tokens: words(rng, TOKENS[1]).into(),
            context_tokens: Arc::clone(&context_tokens),
        })
        .collect()
}

fn clips(rng: &mut ChaCha8Rng, inputs: &[RankingInput]) -> Vec<Candidate> {
    let clip = |(number, input): (usize, &RankingInput)| Candidate {
        video_id: input.video_id.clone(),
        creator_id: CreatorId::new(format!("c{}", number % 300)),
        created_ms: NOW_MS - rng.random_range(0..30 * 86_400_000),
        duration_ms: 8_000,
        topic: Some(format!("topic{}", number % 20)),
        caption: words(rng, 8).join(" "),
        location: None,
        moderation: Moderation::Cleared,
        cameo: CameoConsent::NotUsed,
        audience: AgeBand::Teen,
        sensitive: false,
        engagement: Engagement {
            impressions: rng.random_range(0.0..2000.0),
            clicks: rng.random_range(0.0..500.0),
            long_views: rng.random_range(0.0..400.0),
            likes: rng.random_range(0.0..50.0),
        },
    };
    inputs.iter().enumerate().map(clip).collect()
}

fn query() -> FeedQuery {
    FeedQuery {
        user_id: UserId::new("u"),
        now_ms: NOW_MS,
        personalised: true,
        age: AgeBand::Adult,
        sensitive: false,
        blocked: HashSet::new(),
        following: HashSet::new(),
        seen: HashSet::new(),
        scrolled: HashSet::new(),
        location: None,
        retrieved: Vec::new(),
        alike: Vec::new(),
        steering: Steering::default(),
        less: Vec::new(),
        limit: PAGE,
        seed: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_page_is_timed_and_what_cannot_be_is_refused() {
        let options = BenchmarkOptions { candidates: 20, history: 4, pages: 2, threads: 2 };
        let report = benchmark(options).unwrap();
        assert!(report.network.median_ms > 0.0 && report.page.p99_ms > 0.0, "{report:?}");
        assert!(report.load.pages_per_s > 0.0 && report.train.examples_per_s > 0.0, "{report:?}");
        for wrong in [
            BenchmarkOptions { candidates: 0, ..options },
            BenchmarkOptions { history: MAX_HISTORY + 1, ..options },
            BenchmarkOptions { pages: 0, ..options },
            BenchmarkOptions { threads: 0, ..options },
        ] {
            assert!(!benchmark(wrong).unwrap_err().to_string().contains('\n'));
        }
    }
}
