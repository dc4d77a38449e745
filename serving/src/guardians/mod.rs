//! Guardians of teens. A guardian offers a link and gets a code, the teen accepts with it; from
//! then on the guardian's limits bind the teen until either ends the link, of which the other is
//! told.
//!
//! INVARIANT: only [`effective`] combines wishes, age and limits; the teen's own requests are
//! judged against the ceiling that it gives.

mod effective;
mod scroll;
#[cfg(test)]
mod tests;

use axum::extract::State;
use axum::http::StatusCode;
use kinora_schema::UserId;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sqlx::FromRow;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

pub use effective::{AgeBand, MessagesFrom, NO_SCROLL_LIMIT, Settings, ceiling, effective};
pub use scroll::{check_scroll, page_served};

use crate::app::App;
use crate::auth::Viewer;
use crate::clock::DAY_MS;
use crate::config::Config;
use crate::db::Conn;
use crate::error::{ApiError, ApiResult, Json, Path, Problem};
use crate::people::{self, Notice};
use crate::{cameos, secret};

/// How long an offered code can be accepted.
const OFFER_MS: i64 = DAY_MS;
const CODE_CHARS: usize = 10;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(links, offer))
        .routes(routes!(accept))
        .routes(routes!(set_limits))
        .routes(routes!(end))
}

/// What is in force for a person, and the most that it could be.
#[derive(Clone, Copy, Debug)]
pub struct InForce {
    pub settings: Settings,
    pub ceiling: Settings,
    pub band: AgeBand,
}

impl InForce {
    /// Names of the settings that the person cannot widen to the full.
    pub fn locked(&self) -> Vec<&'static str> {
        Settings::UNLIMITED.beyond(&self.ceiling)
    }
}

/// Reads what is in force for a person now. Every slice that asks about a setting asks here.
pub async fn in_force(conn: &mut Conn, config: &Config, user_id: &UserId, now_ms: i64) -> ApiResult<InForce> {
    let person = people::load(conn, user_id).await?;
    let limits: Vec<Settings> =
        sqlx::query_as("SELECT * FROM guardian_links WHERE teen_id = ? AND state = 'active'")
            .bind(user_id.as_str())
            .fetch_all(conn)
            .await?;
    let band = person.band(now_ms);
    let ceiling = ceiling(band, &limits, config.safety.teen_daily_scroll_minutes);
    Ok(InForce { settings: effective(person.wishes, ceiling), ceiling, band })
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct Offer {
    link_id: String,
    /// Given to the teen by word of mouth; shown once.
    code: String,
    expires_ms: i64,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Acceptance {
    code: String,
}

/// The most that each setting may be; what is left out is not limited.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Limits {
    personalisation: Option<bool>,
    location: Option<bool>,
    conversation_history: Option<bool>,
    sensitive: Option<bool>,
    messages_from: Option<MessagesFrom>,
    /// 0 to 1440; 1440 is no limit.
    daily_scroll_minutes: Option<u32>,
}

#[derive(Clone, Debug, Serialize, FromRow, ToSchema)]
struct Link {
    link_id: String,
    guardian_id: String,
    teen_id: Option<String>,
    state: String,
    #[sqlx(flatten)]
    limits: Settings,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct Links {
    links: Vec<Link>,
}

/// The viewer's links, as guardian and as teen; ended ones are left out.
#[utoipa::path(
    get, path = "/v1/guardians/links", tag = "guardians",
    responses((status = 200, body = Links)), security(("bearer" = []))
)]
async fn links(State(app): State<App>, viewer: Viewer) -> ApiResult<Json<Links>> {
    let links = sqlx::query_as(
        "SELECT * FROM guardian_links
         WHERE (guardian_id = ?1 OR teen_id = ?1) AND (state = 'active' OR (state = 'offered' AND expires_ms > ?2))
         ORDER BY offered_ms, link_id",
    )
    .bind(viewer.user_id.as_str())
    .bind(app.clock.now_ms())
    .fetch_all(app.db.read())
    .await?;
    Ok(Json(Links { links }))
}

/// Offer to be a teen's guardian. The code is for the teen to accept with.
#[utoipa::path(
    post, path = "/v1/guardians/links", tag = "guardians",
    responses((status = 201, body = Offer), (status = 403, body = Problem)), security(("bearer" = []))
)]
async fn offer(State(app): State<App>, viewer: Viewer) -> ApiResult<(StatusCode, Json<Offer>)> {
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.write().await?;
    match people::load(&mut tx, &viewer.user_id).await?.band(now_ms) {
        AgeBand::Adult => {}
        AgeBand::Teen => return Err(ApiError::forbidden("a guardian is an adult")),
        AgeBand::Unknown => {
            return Err(ApiError::forbidden(
                "a guardian is an adult; record your `birth_year` with PUT /v1/me first",
            ));
        }
    }
    let offer = Offer {
        link_id: format!("link_{}", Uuid::now_v7().simple()),
        code: secret::code(CODE_CHARS),
        expires_ms: now_ms + OFFER_MS,
    };
    sqlx::query(
        "INSERT INTO guardian_links (link_id, guardian_id, code_sha256, state, offered_ms, expires_ms)
         VALUES (?, ?, ?, 'offered', ?, ?)",
    )
    .bind(&offer.link_id)
    .bind(viewer.user_id.as_str())
    .bind(digest(&offer.code))
    .bind(now_ms)
    .bind(offer.expires_ms)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(offer)))
}

/// Accept a guardian's offer, as the teen.
#[utoipa::path(
    post, path = "/v1/guardians/links/accept", tag = "guardians", request_body = Acceptance,
    responses((status = 200, body = Link), (status = 403, body = Problem), (status = 404, body = Problem)),
    security(("bearer" = []))
)]
async fn accept(
    State(app): State<App>,
    viewer: Viewer,
    Json(acceptance): Json<Acceptance>,
) -> ApiResult<Json<Link>> {
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.write().await?;
    let teen = people::load(&mut tx, &viewer.user_id).await?;
    match teen.band(now_ms) {
        AgeBand::Teen => {}
        AgeBand::Adult => return Err(ApiError::forbidden("only a teen's account takes a guardian")),
        AgeBand::Unknown => {
            return Err(ApiError::forbidden(
                "only a teen's account takes a guardian; record your `birth_year` with PUT /v1/me first",
            ));
        }
    }
    let offered: Link = sqlx::query_as(
        "SELECT * FROM guardian_links WHERE code_sha256 = ? AND state = 'offered' AND expires_ms > ?",
    )
    .bind(digest(acceptance.code.trim()))
    .bind(now_ms)
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(ApiError::NotFound("offer; codes are good once and for a day"))?;
    // One guardian has one link to a teen: a new one replaces the old, and its limits stay.
    sqlx::query(
        "UPDATE guardian_links AS new SET personalisation = old.personalisation, location = old.location,
             conversation_history = old.conversation_history, sensitive = old.sensitive,
             messages_from = old.messages_from, daily_scroll_minutes = old.daily_scroll_minutes
         FROM guardian_links AS old
         WHERE new.link_id = ? AND old.guardian_id = new.guardian_id AND old.teen_id = ?
             AND old.state = 'active'",
    )
    .bind(&offered.link_id)
    .bind(&teen.user_id)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE guardian_links SET state = 'ended', ended_ms = ?
         WHERE guardian_id = ? AND teen_id = ? AND state = 'active'",
    )
    .bind(now_ms)
    .bind(&offered.guardian_id)
    .bind(&teen.user_id)
    .execute(&mut *tx)
    .await?;
    sqlx::query("UPDATE guardian_links SET state = 'active', teen_id = ?, accepted_ms = ? WHERE link_id = ?")
        .bind(&teen.user_id)
        .bind(now_ms)
        .bind(&offered.link_id)
        .execute(&mut *tx)
        .await?;
    settings_changed(&mut tx, &teen.user_id).await?;
    cameos::resume_guarded(&mut tx, &viewer.user_id, now_ms).await?;
    let text = format!("@{} accepted you as guardian", teen.handle);
    people::notify(&mut tx, &offered.guardian_id, Notice::GuardianLinked, &text, now_ms).await?;
    let link = load_link(&mut tx, &offered.link_id).await?;
    tx.commit().await?;
    Ok(Json(link))
}

/// Set the limits, as the guardian. They bind from the next request on.
#[utoipa::path(
    put, path = "/v1/guardians/links/{link_id}/limits", tag = "guardians",
    params(("link_id" = String, Path)), request_body = Limits,
    responses((status = 200, body = Link), (status = 403, body = Problem), (status = 404, body = Problem)),
    security(("bearer" = []))
)]
async fn set_limits(
    State(app): State<App>,
    viewer: Viewer,
    Path(link_id): Path<String>,
    Json(limits): Json<Limits>,
) -> ApiResult<Json<Link>> {
    let daily_scroll_minutes = limits.daily_scroll_minutes.unwrap_or(NO_SCROLL_LIMIT);
    if daily_scroll_minutes > NO_SCROLL_LIMIT {
        return Err(ApiError::bad_request(
            "daily_scroll_minutes",
            "`daily_scroll_minutes` must be 0 to 1440",
        ));
    }
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.write().await?;
    let link = own_link(&mut tx, &viewer, &link_id).await?;
    let (true, Some(teen_id)) = (link.guardian_id == viewer.user_id.as_str(), link.teen_id) else {
        return Err(ApiError::forbidden("only the guardian of an accepted link sets its limits"));
    };
    sqlx::query(
        "UPDATE guardian_links SET personalisation = ?, location = ?, conversation_history = ?,
            sensitive = ?, messages_from = ?, daily_scroll_minutes = ?
         WHERE link_id = ?",
    )
    .bind(limits.personalisation.unwrap_or(true))
    .bind(limits.location.unwrap_or(true))
    .bind(limits.conversation_history.unwrap_or(true))
    .bind(limits.sensitive.unwrap_or(true))
    .bind(limits.messages_from.unwrap_or(MessagesFrom::Everyone).as_str())
    .bind(daily_scroll_minutes)
    .bind(&link_id)
    .execute(&mut *tx)
    .await?;
    settings_changed(&mut tx, &teen_id).await?;
    people::notify(&mut tx, &teen_id, Notice::LimitsChanged, "your guardian changed your limits", now_ms)
        .await?;
    let link = load_link(&mut tx, &link_id).await?;
    tx.commit().await?;
    Ok(Json(link))
}

/// End a link, as either side. The other is told; a teen falls back to the teen defaults.
#[utoipa::path(
    delete, path = "/v1/guardians/links/{link_id}", tag = "guardians", params(("link_id" = String, Path)),
    responses((status = 204), (status = 404, body = Problem)), security(("bearer" = []))
)]
async fn end(State(app): State<App>, viewer: Viewer, Path(link_id): Path<String>) -> ApiResult<StatusCode> {
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.write().await?;
    let link = own_link(&mut tx, &viewer, &link_id).await?;
    sqlx::query("UPDATE guardian_links SET state = 'ended', ended_ms = ? WHERE link_id = ?")
        .bind(now_ms)
        .bind(&link_id)
        .execute(&mut *tx)
        .await?;
    if let Some(teen_id) = &link.teen_id {
        settings_changed(&mut tx, teen_id).await?;
        let teen = UserId::new(teen_id.as_str());
        // Whoever has come of age meanwhile needs no guardian.
        if people::load(&mut tx, &teen).await?.band(now_ms) == AgeBand::Teen {
            cameos::suspend_unguarded(&mut tx, &teen, now_ms).await?;
        }
        let by_guardian = link.guardian_id == viewer.user_id.as_str();
        let ended_by = people::load(&mut tx, &viewer.user_id).await?.handle;
        let (told, text) = if by_guardian {
            (teen_id, format!("@{ended_by} is no longer your guardian; the teen defaults apply"))
        } else {
            (&link.guardian_id, format!("@{ended_by} ended your guardianship; the teen defaults apply"))
        };
        people::notify(&mut tx, told, Notice::GuardianUnlinked, &text, now_ms).await?;
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A link that has not ended and that the viewer is a side of.
async fn own_link(conn: &mut Conn, viewer: &Viewer, link_id: &str) -> ApiResult<Link> {
    let link = load_link(conn, link_id).await?;
    let viewer = viewer.user_id.as_str();
    let side = link.guardian_id == viewer || link.teen_id.as_deref() == Some(viewer);
    if side && link.state != "ended" { Ok(link) } else { Err(ApiError::NotFound("link")) }
}

async fn load_link(conn: &mut Conn, link_id: &str) -> ApiResult<Link> {
    sqlx::query_as("SELECT * FROM guardian_links WHERE link_id = ?")
        .bind(link_id)
        .fetch_optional(conn)
        .await?
        .ok_or(ApiError::NotFound("link"))
}

/// What is in force changed, so that an `If-Match` from before must not match.
async fn settings_changed(conn: &mut Conn, user_id: &str) -> ApiResult<()> {
    sqlx::query("UPDATE people SET version = version + 1 WHERE user_id = ?")
        .bind(user_id)
        .execute(conn)
        .await?;
    Ok(())
}

fn digest(code: &str) -> Vec<u8> {
    Sha256::digest(code.to_ascii_uppercase().as_bytes()).to_vec()
}
