//! The rows of people: who they are, whom they follow and block. Every function runs on the
//! caller's connection, so that a handler decides what is one transaction.

use std::collections::HashSet;
use std::path::Path;

use kinora_schema::UserId;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::FromRow;
use uuid::Uuid;

use crate::cameos;
use crate::clock::utc_year;
use crate::db::{Conn, Db, DbError};
use crate::error::{ApiError, ApiResult};
use crate::guardians::{AgeBand, Settings};

/// The youngest whom the platform admits.
const MINIMUM_AGE: i64 = 13;
const MAX_HANDLE_CHARS: usize = 30;

#[derive(Clone, Debug, FromRow)]
pub struct Person {
    pub user_id: String,
    pub handle: String,
    pub display_name: String,
    pub bio: String,
    pub birth_year: Option<i64>,
    pub place: Option<String>,
    pub version: i64,
    /// The person's own wishes, before age and guardians narrow them.
    #[sqlx(flatten)]
    pub wishes: Settings,
}

impl Person {
    pub fn band(&self, now_ms: i64) -> AgeBand {
        AgeBand::of(self.birth_year, utc_year(now_ms))
    }
}

/// The person, or 404.
pub async fn load(conn: &mut Conn, user_id: &UserId) -> ApiResult<Person> {
    sqlx::query_as("SELECT * FROM people WHERE user_id = ?")
        .bind(user_id.as_str())
        .fetch_optional(conn)
        .await?
        .ok_or(ApiError::NotFound("person"))
}

/// The person that a path names: `@handle`, or a user id.
pub async fn resolve(conn: &mut Conn, name: &str) -> ApiResult<Person> {
    let query = match name.strip_prefix('@') {
        Some(handle) => sqlx::query_as("SELECT * FROM people WHERE handle = ?").bind(handle),
        None => sqlx::query_as("SELECT * FROM people WHERE user_id = ?").bind(name),
    };
    query.fetch_optional(conn).await?.ok_or(ApiError::NotFound("person"))
}

/// Makes the account where it does not exist, with a handle derived from the id.
pub async fn create_if_missing(conn: &mut Conn, user_id: &UserId, now_ms: i64) -> ApiResult<()> {
    let known: Option<i64> = sqlx::query_scalar("SELECT 1 FROM people WHERE user_id = ?")
        .bind(user_id.as_str())
        .fetch_optional(&mut *conn)
        .await?;
    if known.is_some() {
        return Ok(());
    }
    let mut handle = derived_handle(user_id.as_str());
    if handle_taken(conn, &handle, user_id).await? {
        let digest = Sha256::digest(user_id.as_str().as_bytes());
        let suffix = format!("{:08x}", u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]));
        handle.truncate(MAX_HANDLE_CHARS - suffix.len() - 1);
        handle = format!("{handle}_{suffix}");
    }
    sqlx::query("INSERT INTO people (user_id, handle, created_ms) VALUES (?, ?, ?)")
        .bind(user_id.as_str())
        .bind(handle)
        .bind(now_ms)
        .execute(conn)
        .await?;
    Ok(())
}

fn derived_handle(user_id: &str) -> String {
    let handle: String = user_id
        .chars()
        .filter(|character| character.is_ascii_alphanumeric() || *character == '_')
        .map(|character| character.to_ascii_lowercase())
        .take(MAX_HANDLE_CHARS)
        .collect();
    if handle.len() < 2 { format!("person{handle}") } else { handle }
}

/// Whether someone else has the handle.
pub(super) async fn handle_taken(conn: &mut Conn, handle: &str, user_id: &UserId) -> ApiResult<bool> {
    let taken: Option<i64> = sqlx::query_scalar("SELECT 1 FROM people WHERE handle = ? AND user_id <> ?")
        .bind(handle)
        .bind(user_id.as_str())
        .fetch_optional(conn)
        .await?;
    Ok(taken.is_some())
}

/// Refuses a handle that could not be told apart or typed.
pub(super) fn check_handle(handle: &str) -> ApiResult<()> {
    let plain = handle.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain && (2..=MAX_HANDLE_CHARS).contains(&handle.len()) {
        Ok(())
    } else {
        Err(ApiError::bad_request(
            "handle",
            format!("`handle` must be 2 to {MAX_HANDLE_CHARS} letters, digits or underscores"),
        ))
    }
}

/// Records the year of birth, whatever was recorded before, with what follows from it for the
/// person's cameos. Whoever may do that is the caller's question; that nobody under 13 has an
/// account is this function's.
pub async fn record_birth_year(
    conn: &mut Conn,
    user_id: &UserId,
    birth_year: i64,
    now_ms: i64,
) -> ApiResult<()> {
    let year = utc_year(now_ms);
    if !(year - 130..=year).contains(&birth_year) {
        return Err(ApiError::bad_request(
            "birth_year",
            format!("`birth_year` {birth_year} is not plausible"),
        ));
    }
    // With only the year known, whoever turns 13 this year may still be 12.
    if year - birth_year <= MINIMUM_AGE {
        return Err(ApiError::forbidden("accounts open in January of the year after the 13th birthday"));
    }
    sqlx::query("UPDATE people SET birth_year = ?, version = version + 1 WHERE user_id = ?")
        .bind(birth_year)
        .bind(user_id.as_str())
        .execute(&mut *conn)
        .await?;
    match AgeBand::of(Some(birth_year), year) {
        AgeBand::Teen => cameos::became_teen(conn, user_id, now_ms).await,
        AgeBand::Adult | AgeBand::Unknown => cameos::resume_guarded(conn, user_id, now_ms).await,
    }
}

/// Whether `follower` follows `followed`.
pub async fn follows(conn: &mut Conn, follower: &str, followed: &str) -> ApiResult<bool> {
    let row: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM follows WHERE follower_id = ? AND followed_id = ?")
            .bind(follower)
            .bind(followed)
            .fetch_optional(conn)
            .await?;
    Ok(row.is_some())
}

/// Whether each follows the other.
pub async fn mutuals(conn: &mut Conn, one: &str, other: &str) -> ApiResult<bool> {
    Ok(follows(conn, one, other).await? && follows(conn, other, one).await?)
}

/// Whether either blocks the other.
pub async fn blocked(conn: &mut Conn, one: &str, other: &str) -> ApiResult<bool> {
    let row: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM blocks
         WHERE (blocker_id = ?1 AND blocked_id = ?2) OR (blocker_id = ?2 AND blocked_id = ?1)",
    )
    .bind(one)
    .bind(other)
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

/// Whom the person follows.
pub async fn following(conn: &mut Conn, user_id: &UserId) -> ApiResult<Vec<UserId>> {
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT followed_id FROM follows WHERE follower_id = ? ORDER BY followed_id")
            .bind(user_id.as_str())
            .fetch_all(conn)
            .await?;
    Ok(ids.into_iter().map(UserId::new).collect())
}

/// Everyone whom the person blocks or who blocks the person.
pub async fn blocked_either_way(conn: &mut Conn, user_id: &UserId) -> ApiResult<Vec<UserId>> {
    let ids: Vec<String> = sqlx::query_scalar(
        "SELECT blocked_id FROM blocks WHERE blocker_id = ?1
         UNION SELECT blocker_id FROM blocks WHERE blocked_id = ?1 ORDER BY 1",
    )
    .bind(user_id.as_str())
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(UserId::new).collect())
}

/// Something that the server tells a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    GuardianLinked,
    GuardianUnlinked,
    LimitsChanged,
    CameoOffered,
    CameoRevoked,
    CameoUsed,
    ModerationDecision,
    AppealDecided,
}

impl Notice {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GuardianLinked => "guardian_linked",
            Self::GuardianUnlinked => "guardian_unlinked",
            Self::LimitsChanged => "limits_changed",
            Self::CameoOffered => "cameo_offered",
            Self::CameoRevoked => "cameo_revoked",
            Self::CameoUsed => "cameo_used",
            Self::ModerationDecision => "moderation_decision",
            Self::AppealDecided => "appeal_decided",
        }
    }
}

/// Tells a person something, in the transaction of what it tells.
pub async fn notify(
    conn: &mut Conn,
    user_id: &str,
    notice: Notice,
    text: &str,
    now_ms: i64,
) -> ApiResult<()> {
    sqlx::query(
        "INSERT INTO notifications (notification_id, user_id, kind, text, created_ms) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(format!("ntf_{}", Uuid::now_v7().simple()))
    .bind(user_id)
    .bind(notice.as_str())
    .bind(text)
    .bind(now_ms)
    .execute(conn)
    .await?;
    Ok(())
}

/// Everybody whose feed is not personalised, by their own wish or their guardian's: what they do
/// may not train a model either. Empty where there is no state yet.
pub async fn opted_out_of_personalisation(state: &Path) -> Result<HashSet<UserId>, DbError> {
    if !state.exists() {
        return Ok(HashSet::new());
    }
    let db = Db::open(state).await?;
    let users: Vec<String> = sqlx::query_scalar(
        "SELECT user_id FROM people WHERE personalisation = 0
         UNION SELECT teen_id FROM guardian_links WHERE state = 'active' AND personalisation = 0",
    )
    .fetch_all(db.read())
    .await
    .map_err(|source| DbError::Read { path: state.to_owned(), source })?;
    db.close().await;
    Ok(users.into_iter().map(UserId::new).collect())
}
