//! Direct messages: sent where the words pass the safety policy and the reader's settings, age,
//! guardians and blocks allow it, judged in the transaction that stores the message.
//!
//! INVARIANT: a message that was answered 201 is stored; one that was refused leaves no trace.

mod permission;
#[cfg(test)]
mod tests;

use axum::extract::State;
use axum::http::StatusCode;
use kinora_schema::UserId;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::auth::Viewer;
use crate::error::{ApiError, ApiResult, Json, Path, Problem};
use crate::people;
use crate::safety::{self, Verdict};

const MAX_TEXT_CHARS: usize = 2000;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(conversations, send)).routes(routes!(conversation))
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewMessage {
    /// `@handle`, or a user id.
    to: String,
    text: String,
}

#[derive(Clone, Debug, Serialize, FromRow, ToSchema)]
struct Message {
    message_id: String,
    sender_id: String,
    reader_id: String,
    text: String,
    sent_ms: i64,
}

#[derive(Clone, Debug, Serialize, FromRow, ToSchema)]
struct Conversation {
    with_user_id: String,
    with_handle: String,
    last_text: String,
    last_sent_ms: i64,
    unread: i64,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct Conversations {
    conversations: Vec<Conversation>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct Messages {
    messages: Vec<Message>,
}

/// Send a message.
#[utoipa::path(
    post, path = "/v1/messages", tag = "messages", request_body = NewMessage,
    responses(
        (status = 201, body = Message), (status = 400, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem)
    ),
    security(("bearer" = []))
)]
async fn send(
    State(app): State<App>,
    viewer: Viewer,
    Json(new): Json<NewMessage>,
) -> ApiResult<(StatusCode, Json<Message>)> {
    let text = new.text.trim();
    if text.is_empty() || text.chars().count() > MAX_TEXT_CHARS {
        return Err(ApiError::bad_request(
            "text",
            format!("`text` must have 1 to {MAX_TEXT_CHARS} characters"),
        ));
    }
    if let Verdict::Refused { category } = safety::screen(text) {
        return Err(ApiError::Moderated { param: "text", category });
    }
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.write().await?;
    let reader = UserId::new(people::resolve(&mut tx, &new.to).await?.user_id);
    if reader == viewer.user_id {
        return Err(ApiError::bad_request("to", "that is yourself"));
    }
    let facts = permission::gather(&mut tx, &app.config, &viewer.user_id, &reader, now_ms).await?;
    permission::judge(facts).map_err(|refusal| ApiError::forbidden(refusal.detail()))?;
    let message = Message {
        message_id: format!("msg_{}", Uuid::now_v7().simple()),
        sender_id: viewer.user_id.into_string(),
        reader_id: reader.into_string(),
        text: text.to_owned(),
        sent_ms: now_ms,
    };
    sqlx::query(
        "INSERT INTO messages (message_id, sender_id, reader_id, text, sent_ms) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(&message.message_id)
    .bind(&message.sender_id)
    .bind(&message.reader_id)
    .bind(&message.text)
    .bind(message.sent_ms)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(message)))
}

/// The viewer's conversations, the latest first.
#[utoipa::path(
    get, path = "/v1/messages", tag = "messages",
    responses((status = 200, body = Conversations)), security(("bearer" = []))
)]
async fn conversations(State(app): State<App>, viewer: Viewer) -> ApiResult<Json<Conversations>> {
    let conversations = sqlx::query_as(
        "WITH mine AS (
             SELECT *, iif(sender_id = ?1, reader_id, sender_id) AS other FROM messages
             WHERE sender_id = ?1 OR reader_id = ?1
         ), ranked AS (
             SELECT *, row_number() OVER (PARTITION BY other ORDER BY sent_ms DESC, message_id DESC) AS nth,
                    sum(reader_id = ?1 AND read_ms IS NULL) OVER (PARTITION BY other) AS unread
             FROM mine
         )
         SELECT other AS with_user_id, people.handle AS with_handle, text AS last_text,
                sent_ms AS last_sent_ms, unread
         FROM ranked JOIN people ON people.user_id = other
         WHERE nth = 1 ORDER BY sent_ms DESC, message_id DESC LIMIT ?2",
    )
    .bind(viewer.user_id.as_str())
    .bind(app.config.limits.page_size_max)
    .fetch_all(app.db.read())
    .await?;
    Ok(Json(Conversations { conversations }))
}

/// The latest messages with one person, oldest first; reading them marks them as read.
#[utoipa::path(
    get, path = "/v1/messages/{person}", tag = "messages",
    params(("person" = String, Path, description = "`@handle`, or a user id")),
    responses((status = 200, body = Messages), (status = 404, body = Problem)), security(("bearer" = []))
)]
async fn conversation(
    State(app): State<App>,
    viewer: Viewer,
    Path(name): Path<String>,
) -> ApiResult<Json<Messages>> {
    let mut tx = app.db.write().await?;
    let other = people::resolve(&mut tx, &name).await?.user_id;
    let mut messages: Vec<Message> = sqlx::query_as(
        "SELECT message_id, sender_id, reader_id, text, sent_ms FROM messages
         WHERE (sender_id = ?1 AND reader_id = ?2) OR (sender_id = ?2 AND reader_id = ?1)
         ORDER BY sent_ms DESC, message_id DESC LIMIT ?3",
    )
    .bind(viewer.user_id.as_str())
    .bind(&other)
    .bind(app.config.limits.page_size_max)
    .fetch_all(&mut *tx)
    .await?;
    messages.reverse();
    sqlx::query("UPDATE messages SET read_ms = ? WHERE reader_id = ? AND sender_id = ? AND read_ms IS NULL")
        .bind(app.clock.now_ms())
        .bind(viewer.user_id.as_str())
        .bind(&other)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Json(Messages { messages }))
}
