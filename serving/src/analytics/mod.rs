//! Questions of the lake: SQL for analysts, and the numbers of the engagement dashboard for
//! everyone's own clips. Read only, bounded in rows, bytes, time and memory.
//!
//! INVARIANT: the lake has no column for an e-mail address, a network address or a biometric, and
//! no question reaches the text of a refused row, which may hold anything; a creator's dashboard
//! counts only impressions of that creator's clips.

use std::time::Duration;

use arrow::ipc::writer::StreamWriter;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use kinora_pipelines::query::{Policy, QueryError, QueryLimits, QueryResult, query};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::{Analyst, Role, Viewer};
use crate::error::{ApiError, ApiResult, Json, Problem, Query};

mod desk;
mod endpoint;
mod flight;
mod postgres;
mod scram;
mod summary;

#[cfg(test)]
mod access_tests;
#[cfg(test)]
mod tests;

pub use desk::Desk;
pub(crate) use endpoint::Endpoint;
pub use endpoint::{EndpointError, Protocol};
pub(crate) use scram::Verifier;
pub use summary::{Clip, Day, Funnel, Summary};

const ROWS_MAX: usize = 10_000;
/// As JSON values an answer takes several times as much.
const BYTES_MAX: usize = 16 << 20;
/// Shorter than the server's own limit on a request.
const DEADLINE: Duration = Duration::from_secs(20);
const DAYS_MAX: u32 = 90;
const DAYS: u32 = 14;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(sql)).routes(routes!(summary))
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// An object with the columns' names and the rows as objects.
    #[default]
    Json,
    /// An Arrow IPC stream.
    Arrow,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Question {
    /// One statement that reads: tables `events`, `users`, `videos`, `histories`, `quarantine`
    /// (the reasons only), and the views `impression_outcomes`, `daily_engagement`,
    /// `video_engagement`, `experiment_people`, `experiment_results`, `shadow_results`, `users_latest`,
    /// `videos_latest`.
    query: String,
    #[serde(default)]
    format: Format,
    /// Rows at most, up to 10000.
    #[serde(default)]
    max_rows: Option<usize>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Answer {
    columns: Vec<String>,
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Value>,
    /// There were more rows than were asked for.
    truncated: bool,
}

/// Ask the lake in SQL. For analysts.
#[utoipa::path(
    post, path = "/v1/sql", tag = "analytics", request_body = Question,
    responses(
        (status = 200, content((Answer = "application/json"), (Vec<u8> = "application/vnd.apache.arrow.stream"))),
        (status = 400, body = Problem), (status = 403, body = Problem), (status = 422, body = Problem)
    ),
    security(("bearer" = []))
)]
async fn sql(
    State(app): State<App>,
    Analyst(viewer): Analyst,
    Json(question): Json<Question>,
) -> ApiResult<Response> {
    let max_rows = question.max_rows.unwrap_or(ROWS_MAX).min(ROWS_MAX);
    let policy = app.desk.policy(viewer.role)?;
    let result = ask(&app, &policy, &question.query, max_rows).await?;
    match question.format {
        Format::Json => {
            let columns = result.schema.fields().iter().map(|field| field.name().clone()).collect();
            let rows = result.to_json_rows().map_err(|error| refusal(&error))?;
            Ok(Json(Answer { columns, rows, truncated: result.truncated }).into_response())
        }
        Format::Arrow => {
            let truncated = if result.truncated { "true" } else { "false" };
            let headers = [
                (header::CONTENT_TYPE, "application/vnd.apache.arrow.stream"),
                (header::HeaderName::from_static("x-kinora-truncated"), truncated),
            ];
            Ok((headers, ipc(&result)?).into_response())
        }
    }
}

async fn ask(app: &App, policy: &Policy, text: &str, max_rows: usize) -> ApiResult<QueryResult> {
    let _seat = app.desk.seat().await?;
    let session = app.lake.session_for(policy).await.map_err(ApiError::internal)?;
    let limits = QueryLimits { max_rows, max_bytes: BYTES_MAX, deadline: DEADLINE };
    query(&session, text, limits).await.map_err(|error| refusal(&error))
}

fn ipc(result: &QueryResult) -> ApiResult<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), &result.schema).map_err(ApiError::internal)?;
    for batch in &result.batches {
        writer.write(batch).map_err(ApiError::internal)?;
    }
    writer.into_inner().map_err(ApiError::internal)
}

fn refusal(error: &QueryError) -> ApiError {
    let detail = error.to_string();
    match error {
        QueryError::Refused(_) | QueryError::Failed(_) => ApiError::bad_request("query", detail),
        _ => ApiError::Rejected { status: StatusCode::UNPROCESSABLE_ENTITY, detail },
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SummaryQuery {
    /// Days back, 14 unless told, at most 90.
    days: Option<u32>,
    /// `mine` (default), or `platform` for analysts and admins.
    scope: Option<String>,
}

/// The numbers of the engagement dashboard: by day, as a funnel, and the clips that did best.
#[utoipa::path(
    get, path = "/v1/analytics/summary", tag = "analytics", params(SummaryQuery),
    responses((status = 200, body = Summary), (status = 403, body = Problem)), security(("bearer" = []))
)]
async fn summary(
    State(app): State<App>,
    viewer: Viewer,
    Query(asked): Query<SummaryQuery>,
) -> ApiResult<Json<Summary>> {
    let days = asked.days.unwrap_or(DAYS).clamp(1, DAYS_MAX);
    let creator = match asked.scope.as_deref() {
        None | Some("mine") => Some(&viewer.user_id),
        Some("platform") if viewer.has(Role::Analyst) => None,
        Some("platform") => {
            return Err(ApiError::forbidden(
                "the whole platform's numbers need a token with the analyst role",
            ));
        }
        Some(_) => return Err(ApiError::bad_request("scope", "`scope` must be `mine` or `platform`")),
    };
    Ok(Json(summary::summarise(&app, creator, days).await?))
}
