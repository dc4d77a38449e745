//! Appeals against decisions, free of charge, for the owner of the video and for those who
//! reported it: a statement and an objection enter, a moderator's second look leaves.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::ToSchema;
use uuid::Uuid;

use super::moderation::Statement;
use super::{audit, moderation};
use crate::app::App;
use crate::auth::{Moderator, Viewer};
use crate::error::{ApiError, ApiResult, Json, Path, Problem};
use crate::people::{self, Notice};

const MAX_TEXT_CHARS: usize = 5000;

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAppeal {
    /// The `puid` of the statement of reasons.
    statement_id: String,
    text: String,
}

#[derive(Clone, Debug, Serialize, FromRow, ToSchema)]
pub(super) struct Appeal {
    appeal_id: String,
    statement_id: String,
    text: String,
    /// `open`, `upheld` (the decision stands) or `overturned`.
    state: String,
    reasons: Option<String>,
    created_ms: i64,
    decided_ms: Option<i64>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Appeals {
    appeals: Vec<Appeal>,
}

/// An appeal beside the decision that it objects to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct OpenAppeal {
    #[serde(flatten)]
    appeal: Appeal,
    statement: Statement,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct OpenAppeals {
    appeals: Vec<OpenAppeal>,
}

/// What becomes of the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// The decision stands.
    Upheld,
    /// The decision is undone.
    Overturned,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AppealDecision {
    outcome: Outcome,
    reasons: String,
}

/// Your appeals and what became of them, the newest first.
#[utoipa::path(
    get, path = "/v1/appeals", tag = "safety",
    responses((status = 200, body = Appeals)), security(("bearer" = []))
)]
pub(super) async fn own_appeals(State(app): State<App>, viewer: Viewer) -> ApiResult<Json<Appeals>> {
    let appeals = sqlx::query_as(
        "SELECT * FROM appeals WHERE appellant_id = ? ORDER BY created_ms DESC, appeal_id DESC LIMIT ?",
    )
    .bind(viewer.user_id.as_str())
    .bind(app.config.limits.page_size_max)
    .fetch_all(app.db.read())
    .await?;
    Ok(Json(Appeals { appeals }))
}

/// Appeal against a decision. Sending the same appeal again answers the first.
#[utoipa::path(
    post, path = "/v1/appeals", tag = "safety", request_body = NewAppeal,
    responses((status = 201, body = Appeal), (status = 403, body = Problem), (status = 404, body = Problem)),
    security(("bearer" = []))
)]
pub(super) async fn appeal(
    State(app): State<App>,
    viewer: Viewer,
    Json(new): Json<NewAppeal>,
) -> ApiResult<(StatusCode, Json<Appeal>)> {
    let text = checked("text", &new.text)?;
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.write().await?;
    let statement = moderation::load_statement(&mut tx, &new.statement_id).await?;
    let owner_id: Option<String> =
        sqlx::query_scalar("SELECT owner_id FROM moderation_cases WHERE case_id = ?")
            .bind(&statement.case_id)
            .fetch_one(&mut *tx)
            .await?;
    let concerned = moderation::concerned(&mut tx, &statement.case_id, owner_id).await?;
    if !concerned.iter().any(|person| person == viewer.user_id.as_str()) {
        return Err(ApiError::NotFound("statement"));
    }
    if now_ms >= statement.appeal_until_ms {
        return Err(ApiError::forbidden("the time for an appeal against this decision is over"));
    }
    let inserted = sqlx::query(
        "INSERT INTO appeals (appeal_id, statement_id, appellant_id, text, state, created_ms)
         VALUES (?, ?, ?, ?, 'open', ?) ON CONFLICT (statement_id, appellant_id) DO NOTHING",
    )
    .bind(format!("app_{}", Uuid::now_v7().simple()))
    .bind(&statement.statement_id)
    .bind(viewer.user_id.as_str())
    .bind(text)
    .bind(now_ms)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    let appeal: Appeal = sqlx::query_as("SELECT * FROM appeals WHERE statement_id = ? AND appellant_id = ?")
        .bind(&statement.statement_id)
        .bind(viewer.user_id.as_str())
        .fetch_one(&mut *tx)
        .await?;
    if inserted > 0 {
        audit(&mut tx, "decision_appealed", &statement.statement_id, now_ms).await?;
    }
    tx.commit().await?;
    Ok((if inserted > 0 { StatusCode::CREATED } else { StatusCode::OK }, Json(appeal)))
}

/// The appeals that wait for a second look, the oldest first, each with the decision.
#[utoipa::path(
    get, path = "/v1/moderation/appeals", tag = "safety",
    responses((status = 200, body = OpenAppeals), (status = 403, body = Problem)), security(("bearer" = []))
)]
pub(super) async fn open_appeals(
    State(app): State<App>,
    _moderator: Moderator,
) -> ApiResult<Json<OpenAppeals>> {
    let mut tx = app.db.read().begin().await?;
    let open: Vec<Appeal> =
        sqlx::query_as("SELECT * FROM appeals WHERE state = 'open' ORDER BY created_ms, appeal_id LIMIT ?")
            .bind(app.config.limits.page_size_max)
            .fetch_all(&mut *tx)
            .await?;
    let mut appeals = Vec::with_capacity(open.len());
    for appeal in open {
        let statement = moderation::load_statement(&mut tx, &appeal.statement_id).await?.into();
        appeals.push(OpenAppeal { appeal, statement });
    }
    Ok(Json(OpenAppeals { appeals }))
}

/// Decide on an appeal against another moderator's decision. Overturning undoes the decision;
/// where it was to keep the video, the case is opened again.
#[utoipa::path(
    post, path = "/v1/moderation/appeals/{appeal_id}/decision", tag = "safety",
    params(("appeal_id" = String, Path)), request_body = AppealDecision,
    responses(
        (status = 200, body = Appeal), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem)
    ),
    security(("bearer" = []))
)]
pub(super) async fn decide_appeal(
    State(app): State<App>,
    moderator: Moderator,
    Path(appeal_id): Path<String>,
    Json(decision): Json<AppealDecision>,
) -> ApiResult<Json<Appeal>> {
    let reasons = checked("reasons", &decision.reasons)?;
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.write().await?;
    let (statement_id, appellant_id, state): (String, String, String) =
        sqlx::query_as("SELECT statement_id, appellant_id, state FROM appeals WHERE appeal_id = ?")
            .bind(&appeal_id)
            .fetch_optional(&mut *tx)
            .await?
            .ok_or(ApiError::NotFound("appeal"))?;
    if state != "open" {
        return Err(ApiError::Conflict(format!("the appeal is decided already: {state}")));
    }
    let statement = moderation::load_statement(&mut tx, &statement_id).await?;
    if statement.decided_by == moderator.0.user_id.as_str() {
        return Err(ApiError::forbidden(
            "you took the decision that is appealed; another moderator decides on the appeal",
        ));
    }
    let state = match decision.outcome {
        Outcome::Upheld => "upheld",
        Outcome::Overturned => {
            moderation::undo(&mut tx, &statement).await?;
            if statement.action == "keep" {
                // A newer case on the same video takes the place of this one.
                sqlx::query(
                    "UPDATE moderation_cases SET state = 'open', decided_ms = NULL WHERE case_id = ?1
                        AND NOT EXISTS (SELECT 1 FROM moderation_cases AS other
                            WHERE other.video_id = moderation_cases.video_id AND other.state = 'open')",
                )
                .bind(&statement.case_id)
                .execute(&mut *tx)
                .await?;
            }
            "overturned"
        }
    };
    sqlx::query("UPDATE appeals SET state = ?, reasons = ?, decided_ms = ? WHERE appeal_id = ?")
        .bind(state)
        .bind(reasons)
        .bind(now_ms)
        .bind(&appeal_id)
        .execute(&mut *tx)
        .await?;
    audit(&mut tx, "appeal_decided", &appeal_id, now_ms).await?;
    let text = format!("your appeal was decided: {state}");
    people::notify(&mut tx, &appellant_id, Notice::AppealDecided, &text, now_ms).await?;
    let appeal: Appeal = sqlx::query_as("SELECT * FROM appeals WHERE appeal_id = ?")
        .bind(&appeal_id)
        .fetch_one(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Json(appeal))
}

fn checked<'a>(param: &str, text: &'a str) -> ApiResult<&'a str> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > MAX_TEXT_CHARS {
        return Err(ApiError::bad_request(
            param,
            format!("`{param}` must have 1 to {MAX_TEXT_CHARS} characters"),
        ));
    }
    Ok(text)
}
