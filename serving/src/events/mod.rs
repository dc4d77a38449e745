//! Interactions over HTTP: rows come in as JSON, each is answered on its own, and what is answered
//! `accepted` is on the disk. The loop closes through data: what is taken here trains the ranker
//! tomorrow and moves the features of the feed at once.
//!
//! INVARIANT: a person's token can only report what that person did. What the server itself
//! witnesses (impressions with their propensity, publishing, remixing) cannot be claimed.

use std::collections::{BTreeMap, HashMap};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use kinora_pipelines::QuarantinedRow;
use kinora_schema::{Event, EventId, EventKind, SCHEMA_VERSION, UserId, VideoId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::{Role, Viewer};
use crate::db::Conn;
use crate::error::{ApiError, ApiResult, Json, Problem};
use crate::feed;
pub use interactions::{Interactions, InteractionsError};

pub mod columns;
pub mod compactor;
mod erasure;
mod interactions;
pub mod outbox;
mod refused;

#[cfg(test)]
mod tests;

const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";
/// Most rows in one request.
const ROWS_MAX: usize = 10_000;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(take))
        .routes(routes!(erasure::erase))
        .routes(routes!(erasure::traces))
}

/// What became of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RowStatus {
    /// Stored; it will not be lost.
    Accepted,
    /// Stored before, under the same `event_id`.
    Duplicate,
    /// Not a valid event; kept aside with the reason.
    Quarantined,
    /// Not this token's to report.
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RowAnswer {
    /// Zero-based row of the request.
    pub row: usize,
    pub status: RowStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer, row by row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventsAnswer {
    pub accepted: usize,
    pub duplicates: usize,
    pub quarantined: usize,
    pub refused: usize,
    pub results: Vec<RowAnswer>,
}

/// A row on its way.
enum Row {
    Valid(Event),
    Bad(QuarantinedRow),
    Refused(String),
}

/// Report what people did: one event, an array of events, one a line (NDJSON), or an Arrow IPC stream with
/// columns named as the fields (texts, whole numbers and fractions, uncompressed). Sending a row again with the same `event_id` stores it once. The `user_id` is the token's; only an admin's
/// token may report for others.
#[utoipa::path(
    post, path = "/v1/events", tag = "events",
    request_body(content(
        (Vec<Object> = "application/json"),
        (String = "application/x-ndjson"),
        (Vec<u8> = "application/vnd.apache.arrow.stream")
    )),
    responses((status = 200, body = EventsAnswer), (status = 400, body = Problem), (status = 429, body = Problem)),
    security(("bearer" = []))
)]
async fn take(
    State(app): State<App>,
    viewer: Viewer,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult<Json<EventsAnswer>> {
    let is_arrow = headers.get(CONTENT_TYPE).is_some_and(|kind| kind == ARROW_STREAM);
    let values = if is_arrow { columns::rows_of(&body)? } else { rows_of(&body)? };
    let now_ms = app.clock.now_ms();
    let mut rows: Vec<Row> = values.into_iter().map(|value| row_of(value, &viewer, now_ms)).collect();
    let mut conn = app.db.read().acquire().await?;
    complete(&mut conn, &mut rows).await?;
    drop(conn);

    let mut events = Vec::new();
    let mut refused = Vec::new();
    let mut results = Vec::with_capacity(rows.len());
    let mut places = Vec::new();
    for (row, value) in rows.into_iter().enumerate() {
        let (status, reason) = match value {
            Row::Valid(event) => {
                events.push(event);
                places.push(row);
                (RowStatus::Accepted, None)
            }
            Row::Bad(bad) => {
                let reason = bad.reason.clone();
                refused.push(bad);
                (RowStatus::Quarantined, Some(reason))
            }
            Row::Refused(reason) => (RowStatus::Refused, Some(reason)),
        };
        results.push(RowAnswer { row, status, reason });
    }
    app.interactions.quarantine(refused).await?;
    see_less(&app, &events).await?;
    let fresh = app.interactions.append(events).await?;
    for (place, fresh) in places.into_iter().zip(fresh) {
        if !fresh {
            results[place].status = RowStatus::Duplicate;
        }
    }
    let count = |status| results.iter().filter(|answer| answer.status == status).count();
    let answer = EventsAnswer {
        accepted: count(RowStatus::Accepted),
        duplicates: count(RowStatus::Duplicate),
        quarantined: count(RowStatus::Quarantined),
        refused: count(RowStatus::Refused),
        results,
    };
    metrics::counter!("kinora_events_total", "outcome" => "accepted").increment(answer.accepted as u64);
    metrics::counter!("kinora_events_total", "outcome" => "quarantined").increment(answer.quarantined as u64);
    Ok(Json(answer))
}

/// What people want to see less like holds from the next page on, before the lake knows.
async fn see_less(app: &App, events: &[Event]) -> ApiResult<()> {
    let asked: Vec<&Event> = events.iter().filter(|event| event.kind == EventKind::NotInterested).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let mut tx = app.db.write().await?;
    for event in asked {
        feed::see_less(&mut tx, &event.user_id, &event.video_id, event.event_time_ms).await?;
    }
    Ok(tx.commit().await?)
}

/// The rows of a body: JSON, where the whole of it is JSON, otherwise one a line.
fn rows_of(body: &[u8]) -> ApiResult<Vec<Result<Value, String>>> {
    let text = std::str::from_utf8(body)
        .map_err(|_| ApiError::BadRequest { param: None, detail: "the body is not UTF-8 text".to_owned() })?;
    let rows: Vec<Result<Value, String>> = match serde_json::from_str(text) {
        Ok(Value::Array(rows)) => rows.into_iter().map(Ok).collect(),
        Ok(row) => vec![Ok(row)],
        Err(_) => text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| serde_json::from_str(line).map_err(|_| line.to_owned()))
            .collect(),
    };
    check_count(rows.len())?;
    Ok(rows)
}

fn check_count(rows: usize) -> ApiResult<()> {
    match rows {
        0 => Err(ApiError::BadRequest { param: None, detail: "the body holds no events".to_owned() }),
        1..=ROWS_MAX => Ok(()),
        more => Err(ApiError::TooLarge(format!("{more} events in one request; send at most {ROWS_MAX}"))),
    }
}

fn row_of(value: Result<Value, String>, viewer: &Viewer, now_ms: i64) -> Row {
    let bad = |reason: &str, raw| Row::Bad(QuarantinedRow::new(reason.to_owned(), raw));
    let mut fields = match value {
        Ok(Value::Object(fields)) => fields,
        // An event can be read from an array too, by position, and then says itself whose it is.
        Ok(other) => return bad("not a valid event: a row is a JSON object", other.to_string()),
        Err(raw) => return bad("not a valid event: the line is not JSON", raw),
    };
    let trusted = viewer.has(Role::Admin);
    if !(trusted && fields.contains_key("user_id")) {
        fields.insert("user_id".to_owned(), Value::from(viewer.user_id.as_str()));
    }
    let value = Value::Object(fields);
    let mut event = match Event::deserialize(&value) {
        Ok(event) => event,
        Err(error) => return bad(&format!("not a valid event: {error}"), value.to_string()),
    };
    if let Err(rejection) = event.validate(now_ms) {
        return bad(&rejection.to_string(), value.to_string());
    }
    if !trusted {
        if matches!(event.kind, EventKind::Impression | EventKind::Create | EventKind::Remix) {
            return Row::Refused(format!("`{}` is recorded by the server itself", event.kind.as_str()));
        }
        event.policy = None;
        event.propensity = None;
        event.features.clear();
    }
    Row::Valid(event)
}

/// Fills in the creator and the length of clips that this server published, whatever the client
/// says of them.
async fn complete(conn: &mut Conn, rows: &mut [Row]) -> ApiResult<()> {
    let mut known: HashMap<VideoId, Option<(String, i64)>> = HashMap::new();
    for row in rows {
        let Row::Valid(event) = row else { continue };
        if !known.contains_key(&event.video_id) {
            let facts: Option<(String, i64)> = sqlx::query_as(
                "SELECT p.creator_id, a.duration_ms FROM posts p JOIN assets a ON a.id = p.video_id
                 WHERE p.video_id = ?",
            )
            .bind(event.video_id.as_str())
            .fetch_optional(&mut *conn)
            .await?;
            known.insert(event.video_id.clone(), facts);
        }
        if let Some(Some((creator_id, duration_ms))) = known.get(&event.video_id) {
            event.creator_id = Some(creator_id.as_str().into());
            event.duration_ms = Some(*duration_ms);
        }
    }
    Ok(())
}

/// An event that the server witnessed. What is particular to its kind is for the caller to fill in.
pub fn server_event(
    event_id: EventId,
    kind: EventKind,
    event_time_ms: i64,
    user_id: &UserId,
    video_id: &VideoId,
) -> Event {
    Event {
        event_id,
        schema_version: SCHEMA_VERSION,
        kind,
        event_time_ms,
        user_id: user_id.clone(),
        video_id: video_id.clone(),
        creator_id: None,
        impression_id: None,
        watch_ms: None,
        duration_ms: None,
        position: None,
        surface: None,
        policy: None,
        propensity: None,
        features: BTreeMap::new(),
    }
}
