//! The application as a value: [`App::open`] gathers what an installation consists of,
//! [`router`] lays the slices over it in reading order, [`serve`] runs it until told to stop.
//!
//! INVARIANT: a shutdown answers or ends every request, stops the workers between steps and
//! compacts the log, in that order; nothing acknowledged depends on it having been orderly.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware;
use axum::{Json, Router, routing};
use kinora_pipelines::{Lake, PipelineError};
use kinora_training::generate::GenerateError;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate as _};
use tower_http::timeout::TimeoutLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::analytics::{Desk, Endpoint, EndpointError, Protocol};
use crate::clock::{Clock, utc_year};
use crate::config::Config;
use crate::db::{Db, DbError};
use crate::error::ApiError;
use crate::events::{Interactions, InteractionsError, compactor};
use crate::feed::{FeedError, FeedState};
use crate::generations::{assets, journey::Engine, worker};
use crate::media::{MediaError, MediaStore};
use crate::signing::{ContentSigner, SigningError};
use crate::{
    analytics, auth, cameos, credits, events, feed, generations, guardians, messages, openapi, ops, people,
    posts, private, safety, videos, web,
};

/// All that a handler may need. Cloning is cheap; the parts are shared.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// The parts of an [`App`].
#[derive(Debug)]
pub struct Parts {
    pub config: Config,
    pub clock: Clock,
    pub db: Db,
    /// Interactions at rest.
    pub lake: Lake,
    /// The event log and the features that follow it.
    pub interactions: Arc<Interactions>,
    pub media: MediaStore,
    pub signer: Arc<ContentSigner>,
    /// The video+audio model.
    pub engine: Engine,
    pub feed: FeedState,
    /// Where analysts ask, whatever the protocol.
    pub desk: Desk,
    /// Woken when a generation is enqueued.
    pub queue_wake: Notify,
    /// Cancelled when the server is asked to stop: streams, long polls and workers end on it.
    pub shutdown: CancellationToken,
    /// The compactor or a worker ended while the server runs.
    background_died: AtomicBool,
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("data_dir", &self.config.storage.data_dir).finish_non_exhaustive()
    }
}

/// Why an installation could not be opened or served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AppError {
    #[error("cannot create the data directory {}", path.display())]
    DataDir { path: PathBuf, source: io::Error },
    #[error(transparent)]
    State(#[from] DbError),
    #[error("cannot write to the state at {}", path.display())]
    Prepare { path: PathBuf, source: sqlx::Error },
    #[error(transparent)]
    Lake(#[from] PipelineError),
    #[error(transparent)]
    Interactions(#[from] InteractionsError),
    #[error(transparent)]
    Media(#[from] MediaError),
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error(transparent)]
    Sweep(#[from] ApiError),
    #[error("cannot load the video model")]
    Engine(#[from] GenerateError),
    #[error("loading the video model was interrupted")]
    Interrupted(#[from] JoinError),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("address {address} is in use; stop the other program or choose another port")]
    PortInUse { address: SocketAddr },
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("the server stopped unexpectedly")]
    Serve { source: io::Error },
}

impl App {
    /// Opens everything under the data directory, creating what is absent.
    pub async fn open(config: Config, clock: Clock) -> Result<Self, AppError> {
        let models_dir = config.storage.models();
        let engine = tokio::task::spawn_blocking(move || Engine::load(&models_dir)).await??;
        Box::pin(Self::open_with(config, clock, engine)).await
    }

    /// [`App::open`] with a model that is loaded already.
    pub async fn open_with(config: Config, clock: Clock, engine: Engine) -> Result<Self, AppError> {
        let data_dir = &config.storage.data_dir;
        private::create_dir(data_dir)
            .map_err(|source| AppError::DataDir { path: data_dir.clone(), source })?;
        let state = config.storage.state();
        let db = Db::open(&state).await?;
        credits::prepare_key(&db).await.map_err(|source| AppError::Prepare { path: state, source })?;
        let now_ms = clock.now_ms();
        let lake = Lake::open(config.storage.lake()).await?;
        let log_bytes = config.limits.event_log_bytes;
        let interactions = Interactions::open(&lake, &config.storage.log(), log_bytes, now_ms).await?;
        let media = MediaStore::open(&config.storage.media())?;
        let signer = ContentSigner::open(&config.storage.keys(), utc_year(now_ms) as i32)?;
        let (models_dir, cities) = (config.storage.models(), config.server.cities.as_deref());
        let feed = FeedState::load(&models_dir, cities, &interactions.features())?;
        assets::sweep(&db, &media).await?;
        Ok(Self(Arc::new(Parts {
            desk: Desk::new(&config.analytics),
            config,
            clock,
            db,
            lake,
            interactions: Arc::new(interactions),
            media,
            signer: Arc::new(signer),
            engine,
            feed,
            queue_wake: Notify::new(),
            shutdown: CancellationToken::new(),
            background_died: AtomicBool::new(false),
        })))
    }

    /// Each thing that requests need, with `ok` or what is wrong with it.
    pub(crate) async fn readiness(&self) -> Vec<(String, String)> {
        let state = match sqlx::query("SELECT 1").execute(self.db.read()).await {
            Ok(_) => "ok",
            Err(_) => "does not answer",
        };
        let lake = if self.lake.root().is_dir() { "ok" } else { "its directory is gone" };
        let died = self.background_died.load(Ordering::Relaxed);
        let background = if died { "a worker or the compactor died; restart the server" } else { "ok" };
        [("state", state), ("lake", lake), ("background", background)]
            .map(|(name, result)| (name.to_owned(), result.to_owned()))
            .into()
    }
}

/// Every route, in reading order, under the layers that all of them share.
pub fn router(app: App) -> Router {
    let (router, document) = OpenApiRouter::with_openapi(openapi::document())
        .merge(auth::routes())
        .merge(people::routes())
        .merge(guardians::routes())
        .merge(messages::routes())
        .merge(cameos::routes())
        .merge(credits::routes())
        .merge(safety::routes())
        .merge(videos::routes())
        .merge(generations::routes())
        .merge(posts::routes())
        .merge(feed::routes())
        .merge(events::routes())
        .merge(analytics::routes())
        .merge(ops::routes())
        .split_for_parts();

    let compressible = DefaultPredicate::new()
        .and(NotForContentType::const_new("video/"))
        .and(NotForContentType::const_new("application/vnd.apache.arrow"));
    let timeout = Duration::from_millis(app.config.server.request_timeout_ms);
    let body_limit = DefaultBodyLimit::max(app.config.limits.body_bytes);
    // Read once: the first request must not find the recorder missing.
    ops::recorder();

    let document = openapi::complete(document);
    router
        .route("/openapi.json", routing::get(move || async move { Json(document) }))
        .fallback(web::file)
        .with_state(app)
        .layer(body_limit)
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, timeout))
        .layer(middleware::from_fn(ops::request::layer))
        .layer(CompressionLayer::new().compress_when(compressible))
}

/// Listens where the configuration says.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, AppError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => AppError::PortInUse { address },
        _ => AppError::Listen { address, source },
    })
}

/// Serves until `shutdown` completes, then drains: no new connections, streams ended, requests in
/// flight finished within the grace period, workers stopped, the state closed.
pub async fn serve(
    app: App,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), AppError> {
    let stopping = app.shutdown.clone();
    tokio::spawn(async move {
        shutdown.await;
        stopping.cancel();
    });

    let mut background = JoinSet::new();
    for protocol in [Protocol::Postgres, Protocol::FlightSql] {
        let Some(endpoint) = Endpoint::open(protocol, &app.config.analytics).await? else { continue };
        tracing::info!(address = ?endpoint.listener.local_addr(), "listening for {protocol} connections");
        background.spawn(watched(app.clone(), endpoint.serve(app.clone())));
    }
    background.spawn(watched(app.clone(), compactor::run(app.clone())));
    for number in 0..app.config.generation.workers {
        let name = format!("{}-{number}", std::process::id());
        background.spawn(watched(app.clone(), worker::run(app.clone(), name)));
    }

    let drained = app.shutdown.clone().cancelled_owned();
    let service = router(app.clone()).into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, service).with_graceful_shutdown(drained);
    let grace = Duration::from_millis(app.config.server.shutdown_grace_ms);
    let overdue = async {
        app.shutdown.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    let served = tokio::select! {
        served = server.into_future() => served.map_err(|source| AppError::Serve { source }),
        () = overdue => {
            tracing::warn!(grace_ms = grace.as_millis() as u64, "requests still open after the grace period were cut off");
            Ok(())
        }
    };
    app.shutdown.cancel();
    // A rendering stops between two steps and its job goes back to the queue.
    while let Some(ended) = background.join_next().await {
        if let Err(error) = ended {
            tracing::error!(error = %error, "a background task died");
        }
    }
    compactor::settle(&app).await;
    app.db.close().await;
    served
}

/// Runs a background task. However it ends before the server does, the server is no longer ready.
async fn watched(app: App, task: impl Future<Output = ()>) {
    struct Watch(App);
    impl Drop for Watch {
        fn drop(&mut self) {
            if !self.0.shutdown.is_cancelled() {
                tracing::error!("a background task died; restart the server");
                self.0.background_died.store(true, Ordering::Relaxed);
            }
        }
    }
    let _watch = Watch(app);
    task.await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    use super::*;
    use crate::testing::TestApp;

    #[tokio::test]
    async fn a_server_answers_until_it_is_told_to_stop_and_then_closes_its_state() {
        let test = TestApp::new().await;
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(test.app.clone(), listener, async { stopped.await.unwrap() }));

        // A connection that stays open does not hold the shutdown up.
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(b"GET /healthz HTTP/1.1\r\nhost: kinora\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        connection.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");

        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
        assert!(test.app.shutdown.is_cancelled());
        assert!(test.app.db.read().is_closed());
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn a_server_whose_background_died_is_not_ready() {
        let test = TestApp::new().await;
        test.get("/readyz", "").await.expect(200);
        let task = tokio::spawn(watched(test.app.clone(), async { panic!("dies") }));
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(test.get("/readyz", "").await.expect(503)["ready"], false);
    }

    #[tokio::test]
    async fn a_port_in_use_is_one_clear_line() {
        let taken = listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = taken.local_addr().unwrap();
        let message = listen(address).await.unwrap_err().to_string();
        assert_eq!(
            message,
            format!("address {address} is in use; stop the other program or choose another port")
        );
    }
}
