//! Why a clip was shown, and why one is not.

use std::collections::BTreeMap;

use axum::extract::State;
use kinora_ranking::feed::Why;
use kinora_schema::{UserId, VideoId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::gather::gather;
use super::{PAGE_SIZE, rank};
use crate::app::App;
use crate::auth::{Role, Viewer};
use crate::error::{ApiError, ApiResult, Json, Path, Problem, Query};

/// Stages of which a person is told no more than that a clip is not available: more would tell of other
/// people's blocks, consents and cases.
const NOT_TOLD: [&str; 4] = ["moderation", "cameo", "age", "blocked"];

/// Why an item was shown, with all that it was scored on.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Explanation {
    pub impression_id: String,
    pub video_id: String,
    pub served_ms: i64,
    pub position: i64,
    pub source: String,
    pub reason: String,
    pub policy: String,
    pub score: Option<f64>,
    /// Probability with which the policy showed it at this place.
    pub propensity: f64,
    /// What it was scored on, and what was predicted.
    pub features: BTreeMap<String, f32>,
    /// Sources that found it, filters that it passed, what the score is made of, and what decided.
    #[schema(value_type = Object)]
    pub why: Why,
}

#[derive(sqlx::FromRow)]
struct ImpressionRow {
    video_id: String,
    served_ms: i64,
    position: i64,
    source: String,
    reason: String,
    policy: String,
    score: Option<f64>,
    propensity: f64,
    features: String,
    why: String,
}

/// Why you were shown an item of your feed.
#[utoipa::path(
    get, path = "/v1/feed/explain/{impression_id}", tag = "feed", params(("impression_id" = String, Path)),
    responses((status = 200, body = Explanation), (status = 404, body = Problem)), security(("bearer" = []))
)]
pub(super) async fn explain(
    State(app): State<App>,
    viewer: Viewer,
    Path(impression_id): Path<String>,
) -> ApiResult<Json<Explanation>> {
    let row: Option<ImpressionRow> = sqlx::query_as("SELECT * FROM impressions WHERE id = ? AND user_id = ?")
        .bind(&impression_id)
        .bind(viewer.user_id.as_str())
        .fetch_optional(app.db.read())
        .await?;
    let row = row.ok_or(ApiError::NotFound("impression of yours"))?;
    Ok(Json(Explanation {
        impression_id,
        video_id: row.video_id,
        served_ms: row.served_ms,
        position: row.position,
        source: row.source,
        reason: row.reason,
        policy: row.policy,
        score: row.score,
        propensity: row.propensity,
        features: serde_json::from_str(&row.features).map_err(ApiError::internal)?,
        why: serde_json::from_str(&row.why).unwrap_or_default(),
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MissingParameters {
    /// Whose feed, for an admin; your own without it.
    user: Option<String>,
}

/// What becomes of a clip in a feed, as of now.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Missing {
    pub video_id: String,
    /// Whether a new scroll's first page has it.
    pub shown: bool,
    /// Zero-based place on that page, where it has.
    pub position: Option<usize>,
    /// The stage that drops it: a source, a filter or the choice for the page.
    pub stage: Option<String>,
    /// What would have to be otherwise for it to be shown.
    pub remedy: Option<String>,
    /// What it is worth on that page, where it comes as far as being chosen from.
    pub worth: Option<f32>,
    /// What the best clip that is not on the page is worth.
    pub runner_up: Option<f32>,
}

/// Why a clip is not in your feed. An admin may ask for anybody and is told every stage; others are told
/// only that a clip is not available, where more would tell of somebody else.
#[utoipa::path(
    get, path = "/v1/feed/missing/{video_id}", tag = "feed",
    params(("video_id" = String, Path), MissingParameters),
    responses((status = 200, body = Missing), (status = 403, body = Problem), (status = 404, body = Problem)),
    security(("bearer" = []))
)]
pub(super) async fn missing(
    State(app): State<App>,
    viewer: Viewer,
    Path(video_id): Path<String>,
    Query(parameters): Query<MissingParameters>,
) -> ApiResult<Json<Missing>> {
    let is_admin = viewer.has(Role::Admin);
    let user_id = match parameters.user {
        Some(user) if is_admin => UserId::new(user),
        Some(user) if user != viewer.user_id.as_str() => {
            return Err(ApiError::forbidden("only an admin may ask of another person's feed"));
        }
        _ => viewer.user_id,
    };
    let now_ms = app.clock.now_ms();
    let (asked, pool) = gather(&app, &user_id, None, None, PAGE_SIZE as usize, now_ms).await?;
    let page = rank(&app, &asked, &pool).await?.page;
    let video = VideoId::new(video_id.clone());
    let position = page.items.iter().position(|item| item.candidate.video_id == video);
    let fate = page.fates.get(&video).filter(|_| position.is_none()).copied();
    if position.is_none() && fate.is_none() {
        return Err(ApiError::NotFound("published video among the newest"));
    }
    let is_told = |stage: &str| is_admin || !NOT_TOLD.contains(&stage);
    let told = |stage: &str, words: &str, otherwise: &str| {
        if is_told(stage) { words.to_owned() } else { otherwise.to_owned() }
    };
    Ok(Json(Missing {
        video_id,
        shown: position.is_some(),
        position,
        stage: fate.map(|fate| told(fate.reason, fate.reason, "unavailable")),
        remedy: fate.map(|fate| told(fate.reason, fate.remedy(), "it is not available to you")),
        worth: fate.and_then(|fate| fate.worth),
        runner_up: page.runner_up,
    }))
}
