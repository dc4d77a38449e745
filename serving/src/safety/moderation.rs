//! Deciding on cases: an open case and a moderator's decision enter, the decision takes effect
//! and a statement of reasons leaves, for the video's owner and for those who reported it.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::audit;
use super::reports::Reason;
use crate::app::App;
use crate::auth::{Moderator, Viewer};
use crate::clock::DAY_MS;
use crate::db::Conn;
use crate::error::{ApiError, ApiResult, Json, Path, Problem, Query};
use crate::people::{self, Notice};

const MAX_FACTS_CHARS: usize = 5000;

/// What becomes of a video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    /// It stays, or comes back if it was withheld.
    Keep,
    /// Withheld until decided otherwise.
    Quarantine,
    /// Withheld for good, unless an appeal overturns it.
    Remove,
}

impl Action {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Quarantine => "quarantine",
            Self::Remove => "remove",
        }
    }
}

/// Why, in the terms of the Digital Services Act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ground {
    IllegalContent,
    IncompatibleWithTerms,
}

impl Ground {
    const fn as_str(self) -> &'static str {
        match self {
            Self::IllegalContent => "illegal_content",
            Self::IncompatibleWithTerms => "incompatible_with_terms",
        }
    }
}

#[derive(Clone, Debug, Serialize, FromRow, ToSchema)]
struct CaseReport {
    report_id: String,
    reason: String,
    details: String,
    created_ms: i64,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Case {
    case_id: String,
    video_id: String,
    owner_id: Option<String>,
    state: String,
    /// 1 to 3; 3 is looked at first.
    severity: i64,
    /// The video's state, where it still exists.
    video_state: Option<String>,
    prompt: Option<String>,
    opened_ms: i64,
    decided_ms: Option<i64>,
    reports: Vec<CaseReport>,
}

#[derive(FromRow)]
struct CaseRow {
    case_id: String,
    video_id: String,
    owner_id: Option<String>,
    state: String,
    severity: i64,
    video_state: Option<String>,
    prompt: Option<String>,
    opened_ms: i64,
    decided_ms: Option<i64>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Cases {
    cases: Vec<Case>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum CaseState {
    #[default]
    Open,
    Decided,
}

#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct CasesQuery {
    /// `open` (the default) or `decided`.
    #[serde(default)]
    #[param(inline)]
    state: CaseState,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Decision {
    action: Action,
    ground: Ground,
    /// What was found, in words for the owner.
    facts: String,
    /// What it falls under; by default the gravest report's reason.
    #[serde(default)]
    category: Option<String>,
}

/// Why a decision was taken, and how to object to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Statement {
    /// Platform-wide unique id.
    puid: String,
    case_id: String,
    video_id: String,
    action: String,
    /// What the decision does to the video's visibility.
    decision_visibility: String,
    decision_ground: String,
    decision_facts: String,
    category: String,
    content_type: Vec<&'static str>,
    content_date_ms: Option<i64>,
    application_date_ms: i64,
    /// The decision follows from reports of users.
    source_type: &'static str,
    automated_detection: bool,
    automated_decision: bool,
    /// Until when `POST /v1/appeals` is open, to the owner and to those who reported.
    appeal_until_ms: i64,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Statements {
    statements: Vec<Statement>,
}

#[derive(Clone, Debug, FromRow)]
pub(super) struct StatementRow {
    pub statement_id: String,
    pub case_id: String,
    pub video_id: String,
    pub action: String,
    pub decision_ground: String,
    pub decision_facts: String,
    pub category: String,
    pub decided_by: String,
    pub automated_detection: bool,
    pub automated_decision: bool,
    pub decided_ms: i64,
    pub appeal_until_ms: i64,
    #[sqlx(default)]
    pub content_date_ms: Option<i64>,
}

impl From<StatementRow> for Statement {
    fn from(row: StatementRow) -> Self {
        let decision_visibility = match row.action.as_str() {
            "keep" => "none",
            "quarantine" => "content_disabled",
            _ => "content_removed",
        };
        Self {
            decision_visibility: decision_visibility.to_owned(),
            puid: row.statement_id,
            case_id: row.case_id,
            video_id: row.video_id,
            action: row.action,
            decision_ground: row.decision_ground,
            decision_facts: row.decision_facts,
            category: row.category,
            content_type: vec!["video"],
            content_date_ms: row.content_date_ms,
            application_date_ms: row.decided_ms,
            source_type: "notice",
            automated_detection: row.automated_detection,
            automated_decision: row.automated_decision,
            appeal_until_ms: row.appeal_until_ms,
        }
    }
}

/// The moderators' queue: the gravest first, then the oldest.
#[utoipa::path(
    get, path = "/v1/moderation/cases", tag = "safety", params(CasesQuery),
    responses((status = 200, body = Cases), (status = 403, body = Problem)), security(("bearer" = []))
)]
pub(super) async fn cases(
    State(app): State<App>,
    _moderator: Moderator,
    Query(query): Query<CasesQuery>,
) -> ApiResult<Json<Cases>> {
    let mut tx = app.db.read().begin().await?;
    let rows: Vec<CaseRow> = sqlx::query_as(
        "SELECT case_id, video_id, moderation_cases.owner_id, moderation_cases.state, severity,
            assets.state AS video_state, jobs.prompt, opened_ms, decided_ms
         FROM moderation_cases LEFT JOIN assets ON assets.id = video_id LEFT JOIN jobs ON jobs.id = video_id
         WHERE moderation_cases.state = ? ORDER BY severity DESC, opened_ms, case_id LIMIT ?",
    )
    .bind(match query.state {
        CaseState::Open => "open",
        CaseState::Decided => "decided",
    })
    .bind(app.config.limits.page_size_max)
    .fetch_all(&mut *tx)
    .await?;
    let mut cases = Vec::with_capacity(rows.len());
    for row in rows {
        let reports = sqlx::query_as(
            "SELECT report_id, reason, details, created_ms FROM reports WHERE case_id = ? ORDER BY created_ms, report_id",
        )
        .bind(&row.case_id)
        .fetch_all(&mut *tx)
        .await?;
        cases.push(Case {
            case_id: row.case_id,
            video_id: row.video_id,
            owner_id: row.owner_id,
            state: row.state,
            severity: row.severity,
            video_state: row.video_state,
            prompt: row.prompt,
            opened_ms: row.opened_ms,
            decided_ms: row.decided_ms,
            reports,
        });
    }
    Ok(Json(Cases { cases }))
}

/// Decide on a case. The decision takes effect at once, and everyone concerned is told.
#[utoipa::path(
    post, path = "/v1/moderation/cases/{case_id}/decision", tag = "safety",
    params(("case_id" = String, Path)), request_body = Decision,
    responses((status = 201, body = Statement), (status = 404, body = Problem), (status = 409, body = Problem)),
    security(("bearer" = []))
)]
pub(super) async fn decide(
    State(app): State<App>,
    moderator: Moderator,
    Path(case_id): Path<String>,
    Json(decision): Json<Decision>,
) -> ApiResult<(StatusCode, Json<Statement>)> {
    let facts = decision.facts.trim();
    if facts.is_empty() || facts.chars().count() > MAX_FACTS_CHARS {
        let detail = format!("`facts` must have 1 to {MAX_FACTS_CHARS} characters");
        return Err(ApiError::bad_request("facts", detail));
    }
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.write().await?;
    let (video_id, owner_id, state): (String, Option<String>, String) =
        sqlx::query_as("SELECT video_id, owner_id, state FROM moderation_cases WHERE case_id = ?")
            .bind(&case_id)
            .fetch_optional(&mut *tx)
            .await?
            .ok_or(ApiError::NotFound("case"))?;
    if state != "open" {
        return Err(ApiError::Conflict("the case is decided already; an appeal can reopen it".to_owned()));
    }
    let category = match decision.category {
        Some(category) => category,
        None => gravest_reason(&mut tx, &case_id).await?.to_owned(),
    };
    apply(&mut tx, &video_id, decision.action).await?;
    let statement_id = format!("sor_{}", Uuid::now_v7().simple());
    sqlx::query(
        "INSERT INTO statements (statement_id, case_id, video_id, action, decision_ground, decision_facts,
            category, decided_by, decided_ms, appeal_until_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&statement_id)
    .bind(&case_id)
    .bind(&video_id)
    .bind(decision.action.as_str())
    .bind(decision.ground.as_str())
    .bind(facts)
    .bind(category)
    .bind(moderator.0.user_id.as_str())
    .bind(now_ms)
    .bind(now_ms + i64::from(app.config.safety.appeal_days) * DAY_MS)
    .execute(&mut *tx)
    .await?;
    sqlx::query("UPDATE moderation_cases SET state = 'decided', decided_ms = ? WHERE case_id = ?")
        .bind(now_ms)
        .bind(&case_id)
        .execute(&mut *tx)
        .await?;
    audit(&mut tx, "case_decided", &case_id, now_ms).await?;
    let text =
        format!("a moderator decided on a report ({}); statement {statement_id}", decision.action.as_str());
    for person in concerned(&mut tx, &case_id, owner_id).await? {
        people::notify(&mut tx, &person, Notice::ModerationDecision, &text, now_ms).await?;
    }
    let statement = load_statement(&mut tx, &statement_id).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(statement.into())))
}

/// The statements of reasons that concern you: on your videos, and on what you reported.
#[utoipa::path(
    get, path = "/v1/statements", tag = "safety",
    responses((status = 200, body = Statements)), security(("bearer" = []))
)]
pub(super) async fn statements(State(app): State<App>, viewer: Viewer) -> ApiResult<Json<Statements>> {
    let rows: Vec<StatementRow> = sqlx::query_as(
        "SELECT statements.*, assets.created_ms AS content_date_ms
         FROM statements LEFT JOIN assets ON assets.id = video_id
         WHERE case_id IN (SELECT case_id FROM moderation_cases WHERE owner_id = ?1
             UNION SELECT case_id FROM reports WHERE reporter_id = ?1)
         ORDER BY decided_ms DESC, statement_id DESC LIMIT ?2",
    )
    .bind(viewer.user_id.as_str())
    .bind(app.config.limits.page_size_max)
    .fetch_all(app.db.read())
    .await?;
    Ok(Json(Statements { statements: rows.into_iter().map(Statement::from).collect() }))
}

pub(super) async fn load_statement(conn: &mut Conn, statement_id: &str) -> ApiResult<StatementRow> {
    sqlx::query_as(
        "SELECT statements.*, assets.created_ms AS content_date_ms
         FROM statements LEFT JOIN assets ON assets.id = video_id WHERE statement_id = ?",
    )
    .bind(statement_id)
    .fetch_optional(conn)
    .await?
    .ok_or(ApiError::NotFound("statement"))
}

/// The owner and everyone who reported.
pub(super) async fn concerned(
    conn: &mut Conn,
    case_id: &str,
    owner_id: Option<String>,
) -> ApiResult<Vec<String>> {
    let mut people: Vec<String> =
        sqlx::query_scalar("SELECT DISTINCT reporter_id FROM reports WHERE case_id = ?")
            .bind(case_id)
            .fetch_all(conn)
            .await?;
    people.extend(owner_id);
    people.sort();
    people.dedup();
    Ok(people)
}

async fn gravest_reason(conn: &mut Conn, case_id: &str) -> ApiResult<&'static str> {
    // The last comes first: of equally grave ones `max_by_key` takes the last.
    let reasons: Vec<String> = sqlx::query_scalar(
        "SELECT reason FROM reports WHERE case_id = ? ORDER BY created_ms DESC, report_id DESC",
    )
    .bind(case_id)
    .fetch_all(conn)
    .await?;
    let gravest =
        reasons.iter().filter_map(|reason| Reason::parse(reason)).max_by_key(|reason| reason.severity());
    Ok(gravest.unwrap_or(Reason::Other).as_str())
}

/// Brings the video into the state that the action asks for. What its owner erased, or a revoked
/// cameo took down, stays down.
async fn apply(conn: &mut Conn, video_id: &str, action: Action) -> ApiResult<()> {
    let update = match action {
        Action::Keep => {
            "UPDATE assets SET state = iif(EXISTS (
                 SELECT 1 FROM posts WHERE video_id = assets.id AND posts.state = 'published'), 'published', 'draft')
             WHERE id = ? AND state = 'quarantined'"
        }
        Action::Quarantine => {
            "UPDATE assets SET state = 'quarantined' WHERE id = ? AND state IN ('draft', 'published')"
        }
        Action::Remove => {
            "UPDATE assets SET state = 'tombstoned' WHERE id = ? AND state IN ('draft', 'published', 'quarantined')"
        }
    };
    sqlx::query(update).bind(video_id).execute(conn).await?;
    Ok(())
}

/// Undoes a decision after a successful appeal: what the decisions that still stand ask for holds
/// again, and where there is none the video is in the feed only if its post is. Unless something
/// else took the video down since.
pub(super) async fn undo(conn: &mut Conn, statement: &StatementRow) -> ApiResult<()> {
    let set_by_decision = match statement.action.as_str() {
        "quarantine" => "quarantined",
        "remove" => "tombstoned",
        _ => return Ok(()),
    };
    // A removal stands whatever was decided after it; otherwise the last decision counts.
    let standing: Option<String> = sqlx::query_scalar(
        "SELECT action FROM statements WHERE video_id = ? AND statement_id <> ?
             AND NOT EXISTS (SELECT 1 FROM appeals
                 WHERE appeals.statement_id = statements.statement_id AND appeals.state = 'overturned')
         ORDER BY action = 'remove' DESC, decided_ms DESC, statement_id DESC LIMIT 1",
    )
    .bind(&statement.video_id)
    .bind(&statement.statement_id)
    .fetch_optional(&mut *conn)
    .await?;
    if standing.as_deref() == Some("remove") {
        return Ok(());
    }
    sqlx::query(
        "UPDATE assets SET state = CASE WHEN ?1 THEN 'quarantined'
                WHEN EXISTS (SELECT 1 FROM posts WHERE video_id = ?2 AND posts.state = 'published') THEN 'published'
                ELSE 'draft' END
         WHERE id = ?2 AND state = ?3
            AND NOT EXISTS (SELECT 1 FROM asset_cameos JOIN cameos USING (cameo_id)
                WHERE asset_id = ?2 AND asset_cameos.epoch < cameos.visible_from_epoch)",
    )
    .bind(standing.as_deref() == Some("quarantine"))
    .bind(&statement.video_id)
    .bind(set_by_decision)
    .execute(conn)
    .await?;
    Ok(())
}
