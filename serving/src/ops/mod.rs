//! What an operator looks at: liveness, readiness, metrics and the request layer that every
//! response leaves through. Nothing personal enters a log line or a metric.

pub mod request;

use std::sync::OnceLock;

use axum::extract::State;
use axum::http::StatusCode;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::error::Json;

/// Upper bounds of the histograms, all of them of times in seconds.
const BUCKETS_S: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz)).routes(routes!(metrics_text))
}

/// The process is up and answers.
#[utoipa::path(get, path = "/healthz", tag = "ops", responses((status = 200, body = String)))]
async fn healthz() -> &'static str {
    "ok"
}

/// Whether each thing that a request may need is there.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Readiness {
    ready: bool,
    /// `ok`, or what is missing.
    checks: Vec<(String, String)>,
}

/// Ready to serve: the state answers, the lake's directory is there, the workers and the compactor
/// run.
#[utoipa::path(
    get, path = "/readyz", tag = "ops",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness))
)]
async fn readyz(State(app): State<App>) -> (StatusCode, Json<Readiness>) {
    let checks = app.readiness().await;
    let ready = !app.shutdown.is_cancelled() && checks.iter().all(|(_, result)| result == "ok");
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, checks }))
}

/// Counters and histograms in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "ops", responses((status = 200, body = String)))]
async fn metrics_text() -> String {
    let handle = recorder();
    handle.run_upkeep();
    handle.render()
}

/// The process-wide recorder, installed on first use.
pub(crate) fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| {
        // Only a list without buckets is refused.
        let builder = PrometheusBuilder::new().set_buckets(&BUCKETS_S).unwrap_or_default();
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        // Another recorder in this process (an embedding program's) keeps its place; /metrics
        // then shows only what reaches ours.
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed; /metrics stays empty");
        }
        handle
    })
}
