//! Reporting a video: a report enters, is on disk, and joins the video's open case or opens one.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::audit;
use crate::app::App;
use crate::auth::Viewer;
use crate::db::Conn;
use crate::error::{ApiError, ApiResult, Json, Problem};

const MAX_DETAILS_CHARS: usize = 5000;

/// What a video is reported for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reason {
    MinorSafety,
    /// Someone's likeness without their consent.
    Likeness,
    SelfHarm,
    Sexual,
    Violence,
    Hate,
    Harassment,
    Illegal,
    Misinformation,
    IntellectualProperty,
    Spam,
    Other,
}

impl Reason {
    const ALL: [Self; 12] = [
        Self::MinorSafety,
        Self::Likeness,
        Self::SelfHarm,
        Self::Sexual,
        Self::Violence,
        Self::Hate,
        Self::Harassment,
        Self::Illegal,
        Self::Misinformation,
        Self::IntellectualProperty,
        Self::Spam,
        Self::Other,
    ];

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::MinorSafety => "minor_safety",
            Self::Likeness => "likeness",
            Self::SelfHarm => "self_harm",
            Self::Sexual => "sexual",
            Self::Violence => "violence",
            Self::Hate => "hate",
            Self::Harassment => "harassment",
            Self::Illegal => "illegal",
            Self::Misinformation => "misinformation",
            Self::IntellectualProperty => "intellectual_property",
            Self::Spam => "spam",
            Self::Other => "other",
        }
    }

    /// 3 is looked at first.
    pub(super) const fn severity(self) -> i64 {
        match self {
            Self::MinorSafety | Self::Likeness | Self::SelfHarm => 3,
            Self::Sexual | Self::Violence | Self::Hate | Self::Harassment | Self::Illegal => 2,
            Self::Misinformation | Self::IntellectualProperty | Self::Spam | Self::Other => 1,
        }
    }
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewReport {
    /// The video, or the post that shows it.
    video_id: String,
    reason: Reason,
    #[serde(default)]
    details: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Report {
    report_id: String,
    case_id: String,
    video_id: String,
    reason: Reason,
    created_ms: i64,
}

/// Report a video. Once answered, the report is on record and in the moderators' queue. Sending it
/// again, for the same reason, answers the first.
#[utoipa::path(
    post, path = "/v1/reports", tag = "safety", request_body = NewReport,
    responses((status = 201, body = Report), (status = 200, body = Report), (status = 404, body = Problem)),
    security(("bearer" = []))
)]
pub(super) async fn report(
    State(app): State<App>,
    viewer: Viewer,
    Json(new): Json<NewReport>,
) -> ApiResult<(StatusCode, Json<Report>)> {
    if new.details.chars().count() > MAX_DETAILS_CHARS {
        let detail = format!("`details` is longer than {MAX_DETAILS_CHARS} characters");
        return Err(ApiError::bad_request("details", detail));
    }
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.write().await?;
    let (video_id, owner_id) = reported_video(&mut tx, &new.video_id).await?;
    let case_id = join_case(&mut tx, &video_id, &owner_id, new.reason.severity(), now_ms).await?;
    let inserted = sqlx::query(
        "INSERT INTO reports (report_id, case_id, reporter_id, reason, details, created_ms)
         VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (case_id, reporter_id, reason) DO NOTHING",
    )
    .bind(format!("rpt_{}", Uuid::now_v7().simple()))
    .bind(&case_id)
    .bind(viewer.user_id.as_str())
    .bind(new.reason.as_str())
    .bind(new.details)
    .bind(now_ms)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    let (report_id, created_ms): (String, i64) = sqlx::query_as(
        "SELECT report_id, created_ms FROM reports WHERE case_id = ? AND reporter_id = ? AND reason = ?",
    )
    .bind(&case_id)
    .bind(viewer.user_id.as_str())
    .bind(new.reason.as_str())
    .fetch_one(&mut *tx)
    .await?;
    if inserted > 0 {
        audit(&mut tx, "video_reported", &case_id, now_ms).await?;
    }
    tx.commit().await?;
    let status = if inserted > 0 { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Report { report_id, case_id, video_id, reason: new.reason, created_ms })))
}

/// The video that an id names, directly or through its post, and whose it is.
async fn reported_video(conn: &mut Conn, id: &str) -> ApiResult<(String, String)> {
    sqlx::query_as(
        "SELECT id, owner_id FROM assets
         WHERE id = ?1 OR id = (SELECT video_id FROM posts WHERE posts.id = ?1)",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?
    .ok_or(ApiError::NotFound("video"))
}

/// The video's open case, opened where there is none; the gravest report sets its severity.
async fn join_case(
    conn: &mut Conn,
    video_id: &str,
    owner_id: &str,
    severity: i64,
    now_ms: i64,
) -> ApiResult<String> {
    Ok(sqlx::query_scalar(
        "INSERT INTO moderation_cases (case_id, video_id, owner_id, state, severity, opened_ms)
         VALUES (?, ?, ?, 'open', ?, ?)
         ON CONFLICT (video_id) WHERE state = 'open'
         DO UPDATE SET severity = max(severity, excluded.severity) RETURNING case_id",
    )
    .bind(format!("case_{}", Uuid::now_v7().simple()))
    .bind(video_id)
    .bind(owner_id)
    .bind(severity)
    .bind(now_ms)
    .fetch_one(conn)
    .await?)
}
