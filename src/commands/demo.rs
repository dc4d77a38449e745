//! `kinora demo`: the whole platform on one machine, from nothing, through the same doors as
//! everything else: the lake, the trainer and the public API.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use kinora_harness::device::DeviceChoice;
use kinora_harness::progress::Progress;
use kinora_pipelines::dataset::splits_by_time;
use kinora_pipelines::simulate::prompts::default_prompts;
use kinora_pipelines::simulate::{Simulation, SimulationConfig, load_simulation, simulate};
use kinora_pipelines::{DatasetOptions, build_ranking};
use kinora_ranking::{Hyperparameters, TrainOptions, TrainOutcome, train};
use kinora_schema::CreatorId;
use kinora_serving::auth::{NewToken, Role, create_token};
use kinora_serving::{App, Clock, listen, router, serve};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::dataset::DAY_MS;
use super::lake::{open_lake, shown};
use crate::output::Output;
use crate::{Context, interrupt};

/// Run the whole platform on this machine, from an empty directory to a feed in the browser.
///
/// Simulates a platform, fills the lake, trains the ranker, generates clips with the shipped weights,
/// publishes them and serves. Started again, it goes on with what is there.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Port of 127.0.0.1 to serve at; 0 takes a free one.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Clips to generate and publish.
    #[arg(long, default_value_t = 12)]
    clips: usize,
    /// Seed of the simulation, the training and the clips.
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

const STEPS: usize = 5;

/// What is done already, kept in the data directory.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Done {
    seed: Option<u64>,
    /// First day of the simulation, UTC milliseconds.
    start_ms: Option<i64>,
    simulated: bool,
    trained: bool,
    /// Prompts whose clips are published.
    published: Vec<String>,
}

pub(crate) async fn run(args: Args, mut context: Context) -> anyhow::Result<()> {
    let started = Instant::now();
    let address = SocketAddr::from(([127, 0, 0, 1], args.port));
    context.config.server.bind = address;
    let listener = listen(address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let data_dir = context.data_dir().to_owned();
    context
        .config
        .storage
        .create_data_dir()
        .with_context(|| format!("cannot create {}", data_dir.display()))?;
    let mut journal = Journal::open(data_dir.join("demo.json"))?;
    let seed = *journal.done.seed.get_or_insert(args.seed);
    anyhow::ensure!(
        seed == args.seed,
        "{} holds the demo of seed {seed}; choose another --data-dir for seed {}",
        data_dir.display(),
        args.seed
    );

    let simulation = tokio::select! {
        prepared = async {
            let simulation = simulate_platform(&args, &context, &mut journal).await?;
            train_ranker(&args, &context, &mut journal).await?;
            anyhow::Ok(simulation)
        } => prepared?,
        // Training looks at its own flag, and saves; the steps before it begin again.
        () = interrupt::signal() => return Err(interrupt::Interrupted::Resumable.into()),
    };

    step(&context, 3, "opening the server");
    let output = context.output;
    let mut config = context.config.clone();
    // The demo's people publish a day's worth at once.
    config.generation.daily_allotment = config.generation.daily_allotment.max(1000);
    let app = App::open(config, Clock::system()).await?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(serve(app.clone(), listener, async {
        let _ = stopped.await;
    }));

    let published = tokio::select! {
        published = publish_clips(&args, &context, &app, &simulation, &mut journal) => published,
        () = interrupt::signal() => Err(interrupt::Interrupted::Resumable.into()),
    };
    if published.is_ok() {
        step(&context, 5, &format!("ready after {:.0} s", started.elapsed().as_secs_f64()));
        Output::line(&invitation(&context, &app, &simulation, &url).await?)?;
        interrupt::signal().await;
    }
    interrupt::leave_at_the_next(output);
    let _ = stop.send(());
    server.await??;
    published
}

fn step(context: &Context, number: usize, what: &str) {
    context.output.note(&format!("[{number}/{STEPS}] {what}"));
}

/// Steps of an earlier run of the demo, so that the next one goes on after them.
struct Journal {
    path: PathBuf,
    done: Done,
}

impl Journal {
    fn open(path: PathBuf) -> anyhow::Result<Self> {
        let done = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!("{} is not a demo's journal; choose another --data-dir", path.display())
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Done::default(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        Ok(Self { path, done })
    }

    fn record(&mut self, change: impl FnOnce(&mut Done)) -> anyhow::Result<()> {
        change(&mut self.done);
        kinora_harness::publish::write_file(&self.path, &serde_json::to_vec_pretty(&self.done)?)?;
        Ok(())
    }
}

/// Step 1: a week of a platform, ending yesterday, in the lake.
async fn simulate_platform(
    args: &Args,
    context: &Context,
    journal: &mut Journal,
) -> anyhow::Result<Simulation> {
    let now_ms = Clock::system().now_ms();
    let start_ms = journal.done.start_ms.unwrap_or_else(|| (now_ms.div_euclid(DAY_MS) - 7) * DAY_MS);
    journal.record(|done| done.start_ms = Some(start_ms))?;
    let simulation = simulate(&SimulationConfig::new(args.seed, start_ms))?;
    if journal.done.simulated {
        step(context, 1, "the simulated platform is in the lake");
        return Ok(simulation);
    }
    step(context, 1, &format!("simulating a platform of {} people", simulation.users.len()));
    let lake = open_lake(context).await?;
    load_simulation(&lake, &simulation, now_ms).await?;
    journal.record(|done| done.simulated = true)?;
    Ok(simulation)
}

/// Step 2: a training set from the lake, a ranker from the training set.
async fn train_ranker(args: &Args, context: &Context, journal: &mut Journal) -> anyhow::Result<()> {
    if journal.done.trained {
        step(context, 2, "the ranker is trained");
        return Ok(());
    }
    step(context, 2, "training the ranker");
    let lake = open_lake(context).await?;
    let dataset = context.data_dir().join("datasets/ranking");
    let options = DatasetOptions { splits: splits_by_time(&lake, 0.15).await?, ..DatasetOptions::default() };
    shown("dataset", context.output.progress(), async |progress| {
        build_ranking(&lake, &dataset, &options, progress).await
    })
    .await?;
    let rankers = context.rankers();
    let options = TrainOptions {
        dataset: dataset.clone(),
        out: rankers.path("v1"),
        runs: context.runs_dir(),
        hyperparameters: Hyperparameters::default(),
        from: None,
        seed: args.seed,
        device: DeviceChoice::Auto,
        checkpoint_every: 100,
        resume: true,
        interrupt: interrupt::flag(),
        progress: context.output.progress(),
    };
    match tokio::task::block_in_place(|| train(&options))? {
        TrainOutcome::Interrupted { .. } => return Err(interrupt::Interrupted::Resumable.into()),
        TrainOutcome::Finished(_) => {
            rankers.promote("v1")?;
            journal.record(|done| done.trained = true)?;
        }
    }
    let report = tokio::task::block_in_place(|| {
        kinora_ranking::evaluate(&options.out, &dataset, "eval", options.seed)
    })?;
    if let Some(auc) = report.figures.tasks.get("click").and_then(|click| click.figures.auc) {
        context.output.note(&format!("      click AUC on the last days, which it did not see: {auc:.3}"));
    }
    Ok(())
}

/// Step 4: simulated creators ask for clips and publish them, through the public API.
async fn publish_clips(
    args: &Args,
    context: &Context,
    app: &App,
    simulation: &Simulation,
    journal: &mut Journal,
) -> anyhow::Result<()> {
    let prompts = default_prompts();
    let stride = (prompts.len() / args.clips.max(1)).max(1);
    let chosen: Vec<&str> =
        prompts.iter().step_by(stride).take(args.clips).map(|p| p.caption.as_str()).collect();
    // A clip's number, and with it its creator and seed, is its own however often the demo is interrupted.
    let missing: Vec<(usize, &str)> = chosen
        .into_iter()
        .enumerate()
        .filter(|(_, caption)| !journal.done.published.iter().any(|done| done == caption))
        .collect();
    if missing.is_empty() {
        step(context, 4, "the clips are published");
        return Ok(());
    }
    step(context, 4, &format!("generating and publishing {} clips", missing.len()));
    let creators: Vec<String> =
        simulation.videos.iter().filter_map(|v| v.creator_id.clone()).map(CreatorId::into_string).collect();
    let mut bar = Progress::new("clips", missing.len() as u64, context.output.progress());
    for (done, (number, caption)) in missing.into_iter().enumerate() {
        bar.set(done as u64, caption);
        let creator = creators.get(number * 7 % creators.len().max(1)).map_or("creator", String::as_str);
        let api = Api::of(app, creator, Role::User).await?;
        let seed = args.seed + number as u64;
        let video =
            api.call(Method::POST, "/v1/videos", Some(json!({ "prompt": caption, "seed": seed }))).await?;
        let id = api.finished(video).await?;
        api.call(Method::POST, "/v1/posts", Some(json!({ "video_id": id, "caption": caption }))).await?;
        journal.record(|done| done.published.push(caption.to_owned()))?;
    }
    bar.finish("published");
    Ok(())
}

/// The public API in this process, as one person.
struct Api {
    router: Router,
    token: String,
}

impl Api {
    async fn of(app: &App, user: &str, role: Role) -> anyhow::Result<Self> {
        Ok(Self { router: router(app.clone()), token: token(app, user, role).await? })
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(body.map_or_else(Body::empty, |body| Body::from(body.to_string())))?;
        let response = self.router.clone().oneshot(request).await?;
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 1 << 20).await?;
        anyhow::ensure!(status.is_success(), "{path} answered {status}: {}", String::from_utf8_lossy(&bytes));
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Waits until a video is rendered and returns its id.
    async fn finished(&self, mut video: Value) -> anyhow::Result<String> {
        let id = video["id"].as_str().context("a video has an id")?.to_owned();
        loop {
            match video["status"].as_str() {
                Some("completed") => return Ok(id),
                Some("queued" | "in_progress") => tokio::time::sleep(Duration::from_millis(100)).await,
                _ => anyhow::bail!("a clip could not be generated: {}", video["error"]["message"]),
            }
            video = self.call(Method::GET, &format!("/v1/videos/{id}"), None).await?;
        }
    }
}

async fn token(app: &App, user: &str, role: Role) -> anyhow::Result<String> {
    let ttl_ms = Some(30 * DAY_MS);
    let new = NewToken { name: "demo".to_owned(), ttl_ms, ..NewToken::new(user.into(), role) };
    Ok(create_token(&app.db, new, app.clock.now_ms()).await?.token)
}

/// What to open, and what to try next.
async fn invitation(
    context: &Context,
    app: &App,
    simulation: &Simulation,
    url: &str,
) -> anyhow::Result<String> {
    // The person whose tastes are strongest: theirs is the feed on which ranking shows most.
    let strength = |taste: &kinora_pipelines::simulate::Taste| {
        taste.topics.values().fold(0.0_f64, |max, w| max.max(w.abs()))
    };
    let (viewer, taste) = simulation
        .truth
        .users
        .iter()
        .max_by(|(_, a), (_, b)| strength(a).total_cmp(&strength(b)))
        .context("the simulation has people")?;
    let likes = taste.topics.iter().max_by(|a, b| a.1.total_cmp(b.1)).map_or("", |(topic, _)| topic.as_str());
    let user_token = token(app, viewer.as_str(), Role::User).await?;
    let analyst_token = token(app, "analyst", Role::Analyst).await?;
    let data_dir = context.data_dir().display();
    if context.output.is_json() {
        let ready =
            json!({ "listening": url, "user": viewer, "token": user_token, "analyst_token": analyst_token });
        return Ok(ready.to_string());
    }
    Ok(format!(
        r#"
Open the feed as {viewer}, a simulated person who likes "{likes}" clips:

    {url}/#token={user_token}

The dashboard, as an analyst:

    {url}/#token={analyst_token}

Ask for a clip with curl:

    export TOKEN={user_token}
    curl -s {url}/v1/videos -H "Authorization: Bearer $TOKEN" -F prompt="a red ball bounces twice"

or with OpenAI's Python client (pip install openai):

    from openai import OpenAI
    client = OpenAI(base_url="{url}/v1", api_key="{user_token}")
    video = client.videos.create_and_poll(prompt="a blue ball is thrown into the hoop", model="kinora-nano")
    client.videos.download_content(video.id).write_to_file("clip.mp4")

Ask the lake in SQL:

    kinora sql --data-dir {data_dir} "SELECT * FROM daily_engagement ORDER BY 1"

The API is described at {url}/openapi.json. Ctrl-C stops; the same command goes on from here."#
    ))
}
