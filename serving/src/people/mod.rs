//! A person's own account: profile, switches, follows, blocks and notifications.
//!
//! INVARIANT: a switch is answered as it is in force, after age and guardians; a person can
//! always narrow their own settings and never widen them beyond what those leave.

mod person;
#[cfg(test)]
mod tests;
mod ties;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use kinora_schema::UserId;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use person::{
    Notice, Person, blocked, blocked_either_way, create_if_missing, following, follows, load, mutuals,
    notify, opted_out_of_personalisation, record_birth_year, resolve,
};

use crate::app::App;
use crate::auth::{Role, Viewer};
use crate::db::Conn;
use crate::error::{ApiError, ApiResult, Json, Path, Problem};
use crate::guardians::{self, AgeBand, InForce, MessagesFrom, Settings};

const MAX_DISPLAY_NAME_CHARS: usize = 60;
const MAX_BIO_CHARS: usize = 300;
const MAX_PLACE_CHARS: usize = 60;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(me, update_me))
        .routes(routes!(switches, update_switches))
        .routes(routes!(notifications))
        .routes(routes!(profile))
        .routes(routes!(ties::follow, ties::unfollow))
        .routes(routes!(ties::block, ties::unblock))
}

/// The viewer's own account.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Me {
    user_id: String,
    handle: String,
    display_name: String,
    bio: String,
    role: Role,
    birth_year: Option<i64>,
    age_band: AgeBand,
    place: Option<String>,
    /// The switches as they are in force.
    switches: Settings,
    /// Switches that age or a guardian holds narrower than the person's own wish could make them.
    locked: Vec<&'static str>,
    following: Vec<String>,
    blocked: Vec<String>,
    unread_notifications: i64,
}

/// The switches as they are in force, and which of them the person cannot widen.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Switches {
    #[serde(flatten)]
    in_force: Settings,
    locked: Vec<&'static str>,
}

impl From<&InForce> for Switches {
    fn from(in_force: &InForce) -> Self {
        Self { in_force: in_force.settings, locked: in_force.locked() }
    }
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProfileUpdate {
    handle: Option<String>,
    display_name: Option<String>,
    bio: Option<String>,
    /// Can be given once; after that only an admin changes it.
    birth_year: Option<i64>,
    /// A coarse place for `near you`; empty forgets it.
    place: Option<String>,
}

/// Switches to set; those left out stay as they are.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SwitchesUpdate {
    personalisation: Option<bool>,
    location: Option<bool>,
    conversation_history: Option<bool>,
    sensitive: Option<bool>,
    messages_from: Option<MessagesFrom>,
    /// 0 to 1440; 1440 is no limit.
    daily_scroll_minutes: Option<u32>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct Profile {
    user_id: String,
    handle: String,
    display_name: String,
    bio: String,
    followers: i64,
    follows: i64,
    /// Whether the viewer follows this person.
    followed_by_you: bool,
    follows_you: bool,
    blocked_by_you: bool,
}

#[derive(Clone, Debug, Serialize, FromRow, ToSchema)]
struct Notification {
    notification_id: String,
    kind: String,
    text: String,
    created_ms: i64,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct Notifications {
    notifications: Vec<Notification>,
}

/// The viewer's own account, with the version of its settings as the `ETag`.
#[utoipa::path(get, path = "/v1/me", tag = "people", responses((status = 200, body = Me)), security(("bearer" = [])))]
async fn me(State(app): State<App>, viewer: Viewer) -> ApiResult<Response> {
    let mut conn = app.db.read().acquire().await?;
    me_response(&app, &mut conn, &viewer).await
}

/// Change the profile. Fields left out stay as they are.
#[utoipa::path(
    put, path = "/v1/me", tag = "people", request_body = ProfileUpdate,
    responses((status = 200, body = Me), (status = 409, body = Problem), (status = 412, body = Problem)),
    security(("bearer" = []))
)]
async fn update_me(
    State(app): State<App>,
    viewer: Viewer,
    headers: HeaderMap,
    Json(update): Json<ProfileUpdate>,
) -> ApiResult<Response> {
    let mut tx = app.db.write().await?;
    let person = load(&mut tx, &viewer.user_id).await?;
    check_version(&headers, &person)?;
    if let Some(handle) = &update.handle {
        person::check_handle(handle)?;
        if person::handle_taken(&mut tx, handle, &viewer.user_id).await? {
            return Err(ApiError::Conflict(format!("the handle `{handle}` is taken")));
        }
    }
    check_chars("display_name", update.display_name.as_deref(), MAX_DISPLAY_NAME_CHARS)?;
    check_chars("bio", update.bio.as_deref(), MAX_BIO_CHARS)?;
    check_chars("place", update.place.as_deref(), MAX_PLACE_CHARS)?;
    if let Some(birth_year) = update.birth_year
        && person.birth_year != Some(birth_year)
    {
        if person.birth_year.is_some() {
            return Err(ApiError::forbidden(
                "the year of birth is recorded already; ask an admin to correct it",
            ));
        }
        record_birth_year(&mut tx, &viewer.user_id, birth_year, app.clock.now_ms()).await?;
    }
    sqlx::query(
        "UPDATE people SET handle = coalesce(?, handle), display_name = coalesce(?, display_name),
            bio = coalesce(?, bio), place = nullif(coalesce(?, place), ''), version = version + 1
         WHERE user_id = ?",
    )
    .bind(update.handle)
    .bind(update.display_name)
    .bind(update.bio)
    .bind(update.place)
    .bind(viewer.user_id.as_str())
    .execute(&mut *tx)
    .await?;
    let response = me_response(&app, &mut tx, &viewer).await?;
    tx.commit().await?;
    Ok(response)
}

/// The switches as they are in force.
#[utoipa::path(
    get, path = "/v1/me/switches", tag = "people",
    responses((status = 200, body = Switches)), security(("bearer" = []))
)]
async fn switches(State(app): State<App>, viewer: Viewer) -> ApiResult<Response> {
    let mut conn = app.db.read().acquire().await?;
    switches_response(&app, &mut conn, &viewer).await
}

/// Set switches. Narrowing is always possible; widening beyond what age and guardians leave is
/// refused, naming the switch.
#[utoipa::path(
    put, path = "/v1/me/switches", tag = "people", request_body = SwitchesUpdate,
    responses((status = 200, body = Switches), (status = 403, body = Problem), (status = 412, body = Problem)),
    security(("bearer" = []))
)]
async fn update_switches(
    State(app): State<App>,
    viewer: Viewer,
    headers: HeaderMap,
    Json(update): Json<SwitchesUpdate>,
) -> ApiResult<Response> {
    let mut tx = app.db.write().await?;
    let person = load(&mut tx, &viewer.user_id).await?;
    check_version(&headers, &person)?;
    let in_force = guardians::in_force(&mut tx, &app.config, &viewer.user_id, app.clock.now_ms()).await?;
    update.check(&in_force.ceiling)?;
    let wishes = update.over(person.wishes);
    sqlx::query(
        "UPDATE people SET personalisation = ?, location = ?, conversation_history = ?, sensitive = ?,
            messages_from = ?, daily_scroll_minutes = ?, version = version + 1
         WHERE user_id = ?",
    )
    .bind(wishes.personalisation)
    .bind(wishes.location)
    .bind(wishes.conversation_history)
    .bind(wishes.sensitive)
    .bind(wishes.messages_from.as_str())
    .bind(wishes.daily_scroll_minutes)
    .bind(viewer.user_id.as_str())
    .execute(&mut *tx)
    .await?;
    let response = switches_response(&app, &mut tx, &viewer).await?;
    tx.commit().await?;
    Ok(response)
}

impl SwitchesUpdate {
    fn over(&self, wishes: Settings) -> Settings {
        Settings {
            personalisation: self.personalisation.unwrap_or(wishes.personalisation),
            location: self.location.unwrap_or(wishes.location),
            conversation_history: self.conversation_history.unwrap_or(wishes.conversation_history),
            sensitive: self.sensitive.unwrap_or(wishes.sensitive),
            messages_from: self.messages_from.unwrap_or(wishes.messages_from),
            daily_scroll_minutes: self.daily_scroll_minutes.unwrap_or(wishes.daily_scroll_minutes),
        }
    }

    /// Refuses what lies beyond `ceiling`. Only what the update asks for is judged.
    fn check(&self, ceiling: &Settings) -> ApiResult<()> {
        if self.daily_scroll_minutes.is_some_and(|minutes| minutes > guardians::NO_SCROLL_LIMIT) {
            return Err(ApiError::bad_request(
                "daily_scroll_minutes",
                "`daily_scroll_minutes` must be 0 to 1440",
            ));
        }
        match self.over(*ceiling).beyond(ceiling).as_slice() {
            [] => Ok(()),
            beyond => Err(ApiError::forbidden(format!(
                "a guardian or the teen defaults hold `{}`; it can be narrowed, not widened",
                beyond.join("`, `")
            ))),
        }
    }
}

/// The latest notifications, newest first; reading them marks them as read.
#[utoipa::path(
    get, path = "/v1/notifications", tag = "people",
    responses((status = 200, body = Notifications)), security(("bearer" = []))
)]
async fn notifications(State(app): State<App>, viewer: Viewer) -> ApiResult<Json<Notifications>> {
    let mut tx = app.db.write().await?;
    let notifications = sqlx::query_as(
        "SELECT notification_id, kind, text, created_ms FROM notifications
         WHERE user_id = ? ORDER BY created_ms DESC, notification_id DESC LIMIT ?",
    )
    .bind(viewer.user_id.as_str())
    .bind(app.config.limits.page_size_max)
    .fetch_all(&mut *tx)
    .await?;
    sqlx::query("UPDATE notifications SET read_ms = ? WHERE user_id = ? AND read_ms IS NULL")
        .bind(app.clock.now_ms())
        .bind(viewer.user_id.as_str())
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Json(Notifications { notifications }))
}

/// A person's profile, by `@handle` or user id. Whoever is blocked by the person sees nothing.
#[utoipa::path(
    get, path = "/v1/people/{person}", tag = "people",
    params(("person" = String, Path, description = "`@handle`, or a user id")),
    responses((status = 200, body = Profile), (status = 404, body = Problem)), security(("bearer" = []))
)]
async fn profile(
    State(app): State<App>,
    viewer: Viewer,
    Path(name): Path<String>,
) -> ApiResult<Json<Profile>> {
    let mut conn = app.db.read().acquire().await?;
    let person = resolve(&mut conn, &name).await?;
    let you = viewer.user_id.as_str();
    let blocked_by_you = blocks(&mut conn, you, &person.user_id).await?;
    if !blocked_by_you && blocked(&mut conn, you, &person.user_id).await? {
        return Err(ApiError::NotFound("person"));
    }
    let (followers, follows_count): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM follows WHERE followed_id = ?1),
                (SELECT count(*) FROM follows WHERE follower_id = ?1)",
    )
    .bind(&person.user_id)
    .fetch_one(&mut *conn)
    .await?;
    Ok(Json(Profile {
        followed_by_you: follows(&mut conn, you, &person.user_id).await?,
        follows_you: follows(&mut conn, &person.user_id, you).await?,
        blocked_by_you,
        followers,
        follows: follows_count,
        user_id: person.user_id,
        handle: person.handle,
        display_name: person.display_name,
        bio: person.bio,
    }))
}

async fn blocks(conn: &mut Conn, blocker: &str, blocked: &str) -> ApiResult<bool> {
    let row: Option<i64> = sqlx::query_scalar("SELECT 1 FROM blocks WHERE blocker_id = ? AND blocked_id = ?")
        .bind(blocker)
        .bind(blocked)
        .fetch_optional(conn)
        .await?;
    Ok(row.is_some())
}

async fn me_response(app: &App, conn: &mut Conn, viewer: &Viewer) -> ApiResult<Response> {
    let now_ms = app.clock.now_ms();
    let person = load(conn, &viewer.user_id).await?;
    let in_force = guardians::in_force(conn, &app.config, &viewer.user_id, now_ms).await?;
    let followed = following(conn, &viewer.user_id).await?;
    let blocked: Vec<String> =
        sqlx::query_scalar("SELECT blocked_id FROM blocks WHERE blocker_id = ? ORDER BY blocked_id")
            .bind(viewer.user_id.as_str())
            .fetch_all(&mut *conn)
            .await?;
    let unread_notifications: i64 =
        sqlx::query_scalar("SELECT count(*) FROM notifications WHERE user_id = ? AND read_ms IS NULL")
            .bind(viewer.user_id.as_str())
            .fetch_one(&mut *conn)
            .await?;
    let version = person.version;
    let body = Me {
        age_band: person.band(now_ms),
        role: viewer.role,
        switches: in_force.settings,
        locked: in_force.locked(),
        following: followed.into_iter().map(UserId::into_string).collect(),
        blocked,
        unread_notifications,
        user_id: person.user_id,
        handle: person.handle,
        display_name: person.display_name,
        bio: person.bio,
        birth_year: person.birth_year,
        place: person.place,
    };
    Ok(versioned(version, body))
}

async fn switches_response(app: &App, conn: &mut Conn, viewer: &Viewer) -> ApiResult<Response> {
    let person = load(conn, &viewer.user_id).await?;
    let in_force = guardians::in_force(conn, &app.config, &viewer.user_id, app.clock.now_ms()).await?;
    Ok(versioned(person.version, Switches::from(&in_force)))
}

/// A body with the version of the settings that it shows, for `If-Match`.
fn versioned(version: i64, body: impl Serialize) -> Response {
    ([(header::ETAG, etag_of(version))], Json(body)).into_response()
}

fn etag_of(version: i64) -> HeaderValue {
    // Digits and quotes are always a valid header value.
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Holds `If-Match`, where it was sent, against the current version.
fn check_version(headers: &HeaderMap, person: &Person) -> ApiResult<()> {
    let current = etag_of(person.version);
    match headers.get(header::IF_MATCH) {
        Some(expected) if expected != "*" && expected != current => Err(ApiError::PreconditionFailed(
            "the settings were changed in between; read them again".to_owned(),
        )),
        _ => Ok(()),
    }
}

fn check_chars(param: &str, text: Option<&str>, most: usize) -> ApiResult<()> {
    match text {
        Some(text) if text.chars().count() > most => {
            Err(ApiError::bad_request(param, format!("`{param}` is longer than {most} characters")))
        }
        _ => Ok(()),
    }
}
