//! Safety after the words: reports that are never lost, cases for moderators, decisions with a
//! statement of reasons, appeals, and the audit log. (Before the words: [`screen`], [`clear`].)
//!
//! INVARIANT: a report that was answered 201 is on record and in a case; a decision takes effect
//! in the transaction that records it; the audit log names things, never people.

mod appeals;
mod moderation;
mod output;
mod policy;
mod reports;
#[cfg(test)]
mod tests;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use output::{RenderedFacts, clear};
pub use policy::{Verdict, screen};

use crate::app::App;
use crate::auth::Moderator;
use crate::db::Conn;
use crate::error::{ApiResult, Json, Query};

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(reports::report))
        .routes(routes!(moderation::cases))
        .routes(routes!(moderation::decide))
        .routes(routes!(moderation::statements))
        .routes(routes!(appeals::own_appeals, appeals::appeal))
        .routes(routes!(appeals::open_appeals))
        .routes(routes!(appeals::decide_appeal))
        .routes(routes!(audit_log))
}

/// Records that something happened to a thing, in the transaction of what happened. `subject` is
/// the id of a cameo, grant, case or video, never of a person.
pub async fn audit(conn: &mut Conn, action: &str, subject: &str, now_ms: i64) -> ApiResult<()> {
    sqlx::query("INSERT INTO audit_log (action, subject, at_ms) VALUES (?, ?, ?)")
        .bind(action)
        .bind(subject)
        .bind(now_ms)
        .execute(conn)
        .await?;
    Ok(())
}

#[derive(Clone, Debug, Serialize, FromRow, ToSchema)]
struct AuditEntry {
    seq: i64,
    action: String,
    subject: String,
    at_ms: i64,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct AuditLog {
    entries: Vec<AuditEntry>,
}

#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    /// Entries after this `seq`; 0 starts at the beginning.
    #[serde(default)]
    after: i64,
}

/// The audit log, oldest first, a page at a time.
#[utoipa::path(
    get, path = "/v1/audit", tag = "safety", params(AuditQuery),
    responses((status = 200, body = AuditLog)), security(("bearer" = []))
)]
async fn audit_log(
    State(app): State<App>,
    _moderator: Moderator,
    Query(query): Query<AuditQuery>,
) -> ApiResult<Json<AuditLog>> {
    let entries = sqlx::query_as(
        "SELECT seq, action, subject, at_ms FROM audit_log WHERE seq > ? ORDER BY seq LIMIT ?",
    )
    .bind(query.after)
    .bind(app.config.limits.page_size_max)
    .fetch_all(app.db.read())
    .await?;
    Ok(Json(AuditLog { entries }))
}
