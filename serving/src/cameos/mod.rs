//! Cameos: a person enrols their likeness with their consent on record, says who may use it, sees
//! every use, and withdraws it in one step.
//!
//! INVARIANT: only the owner widens permission, and every withdrawal is complete when it is
//! acknowledged: its transaction holds the new epoch and all that follows from it.

mod consent;
mod enrolment;
mod likeness;
mod revocation;
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

pub use consent::{Audience, Pinned, consent, owner_of, still_permitted, still_visible};
pub use likeness::{TEMPLATE_BYTES, TEMPLATE_SIDE, Template, template};
pub use revocation::Scope;

use crate::app::App;
use crate::auth::Viewer;
use crate::db::Conn;
use crate::error::{ApiError, ApiResult, Json, Path, Problem};
use crate::guardians::AgeBand;
use crate::people::{self, Notice, Person};
use crate::safety;
use revocation::Revoked;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, enrolment::enrol))
        .routes(routes!(get))
        .routes(routes!(set_audience))
        .routes(routes!(grants, offer))
        .routes(routes!(accept))
        .routes(routes!(decline))
        .routes(routes!(revoke_grant))
        .routes(routes!(revoke))
        .routes(routes!(uses))
}

/// A cameo as the viewer may see it.
#[derive(Clone, Debug, Serialize, FromRow, ToSchema)]
struct Cameo {
    cameo_id: String,
    owner_id: String,
    owner_handle: String,
    name: String,
    /// `active`, `suspended` (no guardian), `revoked` or `purged`.
    state: String,
    audience: String,
    epoch: i64,
    created_ms: i64,
    /// Whether the viewer may use it in a generation now.
    #[sqlx(default)]
    usable: bool,
    /// Whether it is the viewer's own likeness.
    #[sqlx(default)]
    mine: bool,
}

/// The viewer's own cameos, those that they may use, and the grants that wait for their answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Cameos {
    cameos: Vec<Cameo>,
    offers: Vec<Grant>,
}

#[derive(Clone, Debug, Serialize, FromRow, ToSchema)]
struct Grant {
    grant_id: String,
    cameo_id: String,
    cameo_name: String,
    owner_id: String,
    owner_handle: String,
    user_id: String,
    user_handle: String,
    /// `offered`, `active`, `declined`, `revoked` or `expired`.
    state: String,
    expires_ms: Option<i64>,
    offered_ms: i64,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct Grants {
    grants: Vec<Grant>,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAudience {
    audience: Audience,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewGrant {
    /// `@handle`, or a user id.
    user: String,
    /// After this time the grant allows no new use; absent means no end.
    #[serde(default)]
    expires_ms: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct Revocation {
    scope: Scope,
}

/// A video, finished or not, that uses the cameo.
#[derive(Clone, Debug, Serialize, FromRow, ToSchema)]
struct Use {
    video_id: String,
    user_id: String,
    user_handle: String,
    prompt: String,
    /// The video's state (`draft`, `published`, ...), or the job's while there is no video.
    state: String,
    created_ms: i64,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct Uses {
    uses: Vec<Use>,
}

const SELECT_GRANT: &str = "SELECT grant_id, cameo_id, cameos.name AS cameo_name, cameos.owner_id,
        owner.handle AS owner_handle, cameo_grants.user_id, holder.handle AS user_handle,
        iif(cameo_grants.state IN ('offered', 'active') AND expires_ms <= ?1, 'expired', cameo_grants.state)
            AS state,
        expires_ms, offered_ms
     FROM cameo_grants JOIN cameos USING (cameo_id)
         JOIN people AS owner ON owner.user_id = cameos.owner_id
         JOIN people AS holder ON holder.user_id = cameo_grants.user_id
     WHERE (?2 IS NULL OR cameo_id = ?2) AND (?3 IS NULL OR grant_id = ?3)
         AND (?4 IS NULL OR cameo_grants.user_id = ?4) AND (?5 IS NULL OR cameo_grants.state = ?5)
     ORDER BY offered_ms, grant_id";

/// Which grants to read; what is left out does not matter.
#[derive(Clone, Copy, Debug, Default)]
struct GrantQuery<'a> {
    cameo_id: Option<&'a str>,
    grant_id: Option<&'a str>,
    holder_id: Option<&'a str>,
    state: Option<&'a str>,
}

async fn load_grants(conn: &mut Conn, query: GrantQuery<'_>, now_ms: i64) -> ApiResult<Vec<Grant>> {
    Ok(sqlx::query_as(SELECT_GRANT)
        .bind(now_ms)
        .bind(query.cameo_id)
        .bind(query.grant_id)
        .bind(query.holder_id)
        .bind(query.state)
        .fetch_all(conn)
        .await?)
}

/// Your cameos, those that you may use, and the grants offered to you.
#[utoipa::path(
    get, path = "/v1/cameos", tag = "cameos", responses((status = 200, body = Cameos)), security(("bearer" = []))
)]
async fn list(State(app): State<App>, viewer: Viewer) -> ApiResult<Json<Cameos>> {
    let now_ms = app.clock.now_ms();
    let you = viewer.user_id.as_str();
    let mut tx = app.db.read().begin().await?;
    // Candidates only; `consent` decides on each.
    let candidates: Vec<Cameo> = sqlx::query_as(
        "SELECT cameo_id, owner_id, handle AS owner_handle, name, state, audience, epoch, cameos.created_ms
         FROM cameos JOIN people ON user_id = owner_id
         WHERE owner_id = ?1 OR (state = 'active' AND (
             audience = 'everyone'
             OR (audience = 'mutuals' AND owner_id IN (SELECT followed_id FROM follows WHERE follower_id = ?1))
             OR cameo_id IN (SELECT cameo_id FROM cameo_grants WHERE user_id = ?1 AND state = 'active')))
         ORDER BY owner_id = ?1 DESC, cameos.created_ms DESC, cameo_id LIMIT ?2",
    )
    .bind(you)
    .bind(app.config.limits.page_size_max)
    .fetch_all(&mut *tx)
    .await?;
    let mut cameos = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let cameo = judged(&mut tx, candidate, &viewer, now_ms).await?;
        if cameo.mine || cameo.usable {
            cameos.push(cameo);
        }
    }
    let query = GrantQuery { holder_id: Some(you), state: Some("offered"), ..GrantQuery::default() };
    let mut offers = load_grants(&mut tx, query, now_ms).await?;
    offers.retain(|offer| offer.state == "offered");
    Ok(Json(Cameos { cameos, offers }))
}

/// One cameo of yours, or one that you may use.
#[utoipa::path(
    get, path = "/v1/cameos/{cameo_id}", tag = "cameos", params(("cameo_id" = String, Path)),
    responses((status = 200, body = Cameo), (status = 404, body = Problem)), security(("bearer" = []))
)]
async fn get(State(app): State<App>, viewer: Viewer, Path(cameo_id): Path<String>) -> ApiResult<Json<Cameo>> {
    let mut tx = app.db.read().begin().await?;
    let cameo = load(&mut tx, &cameo_id).await?;
    let cameo = judged(&mut tx, cameo, &viewer, app.clock.now_ms()).await?;
    if cameo.mine || cameo.usable { Ok(Json(cameo)) } else { Err(ApiError::NotFound("cameo")) }
}

/// Say who may use your cameo without being granted it. Narrowing takes effect at once, also on
/// what was made before.
#[utoipa::path(
    put, path = "/v1/cameos/{cameo_id}/audience", tag = "cameos",
    params(("cameo_id" = String, Path)), request_body = NewAudience,
    responses((status = 200, body = Cameo), (status = 403, body = Problem), (status = 404, body = Problem)),
    security(("bearer" = []))
)]
async fn set_audience(
    State(app): State<App>,
    viewer: Viewer,
    Path(cameo_id): Path<String>,
    Json(new): Json<NewAudience>,
) -> ApiResult<Json<Cameo>> {
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.write().await?;
    own(&mut tx, &viewer, &cameo_id).await?;
    let owner = people::load(&mut tx, &viewer.user_id).await?;
    check_audience(&owner, new.audience, now_ms)?;
    sqlx::query("UPDATE cameos SET audience = ? WHERE cameo_id = ?")
        .bind(new.audience.as_str())
        .bind(&cameo_id)
        .execute(&mut *tx)
        .await?;
    safety::audit(&mut tx, "cameo_audience_set", &cameo_id, now_ms).await?;
    let cameo = load(&mut tx, &cameo_id).await?;
    let cameo = judged(&mut tx, cameo, &viewer, now_ms).await?;
    tx.commit().await?;
    Ok(Json(cameo))
}

/// Everyone who was granted your cameo.
#[utoipa::path(
    get, path = "/v1/cameos/{cameo_id}/grants", tag = "cameos", params(("cameo_id" = String, Path)),
    responses((status = 200, body = Grants), (status = 404, body = Problem)), security(("bearer" = []))
)]
async fn grants(
    State(app): State<App>,
    viewer: Viewer,
    Path(cameo_id): Path<String>,
) -> ApiResult<Json<Grants>> {
    let mut conn = app.db.read().acquire().await?;
    own(&mut conn, &viewer, &cameo_id).await?;
    let query = GrantQuery { cameo_id: Some(&cameo_id), ..GrantQuery::default() };
    Ok(Json(Grants { grants: load_grants(&mut conn, query, app.clock.now_ms()).await? }))
}

/// Offer your cameo to a person. They may use it once they accept.
#[utoipa::path(
    post, path = "/v1/cameos/{cameo_id}/grants", tag = "cameos",
    params(("cameo_id" = String, Path)), request_body = NewGrant,
    responses((status = 201, body = Grant), (status = 403, body = Problem), (status = 409, body = Problem)),
    security(("bearer" = []))
)]
async fn offer(
    State(app): State<App>,
    viewer: Viewer,
    Path(cameo_id): Path<String>,
    Json(new): Json<NewGrant>,
) -> ApiResult<(StatusCode, Json<Grant>)> {
    let now_ms = app.clock.now_ms();
    if new.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
        return Err(ApiError::bad_request("expires_ms", "`expires_ms` is in the past"));
    }
    let mut tx = app.db.write().await?;
    let cameo = own(&mut tx, &viewer, &cameo_id).await?;
    if cameo.state != "active" {
        return Err(ApiError::Conflict(format!("the cameo is {}; it cannot be granted", cameo.state)));
    }
    if cameo.audience == Audience::OnlyMe.as_str() {
        return Err(ApiError::Conflict("the audience is `only_me`; widen it to `approved` first".to_owned()));
    }
    let holder = people::resolve(&mut tx, &new.user).await?;
    if holder.user_id == viewer.user_id.as_str() {
        return Err(ApiError::bad_request("user", "that is yourself"));
    }
    if people::blocked(&mut tx, viewer.user_id.as_str(), &holder.user_id).await? {
        return Err(ApiError::forbidden("one of you blocks the other"));
    }
    let query =
        GrantQuery { cameo_id: Some(&cameo_id), holder_id: Some(&holder.user_id), ..GrantQuery::default() };
    let earlier = load_grants(&mut tx, query, now_ms).await?;
    if earlier.iter().any(|grant| grant.state == "offered" || grant.state == "active") {
        return Err(ApiError::Conflict(format!("@{} has an open grant; revoke it first", holder.handle)));
    }
    let grant_id = format!("grt_{}", Uuid::now_v7().simple());
    sqlx::query(
        "INSERT INTO cameo_grants (grant_id, cameo_id, user_id, state, expires_ms, offered_ms)
         VALUES (?, ?, ?, 'offered', ?, ?)",
    )
    .bind(&grant_id)
    .bind(&cameo_id)
    .bind(&holder.user_id)
    .bind(new.expires_ms)
    .bind(now_ms)
    .execute(&mut *tx)
    .await?;
    safety::audit(&mut tx, "cameo_grant_offered", &grant_id, now_ms).await?;
    let text = format!("@{} offers you the cameo `{}`", cameo.owner_handle, cameo.name);
    people::notify(&mut tx, &holder.user_id, Notice::CameoOffered, &text, now_ms).await?;
    let grant = load_grant(&mut tx, &cameo_id, &grant_id, now_ms).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(grant)))
}

/// Accept a grant that was offered to you.
#[utoipa::path(
    post, path = "/v1/cameos/{cameo_id}/grants/{grant_id}/accept", tag = "cameos",
    params(("cameo_id" = String, Path), ("grant_id" = String, Path)),
    responses((status = 200, body = Grant), (status = 404, body = Problem), (status = 409, body = Problem)),
    security(("bearer" = []))
)]
async fn accept(
    State(app): State<App>,
    viewer: Viewer,
    Path((cameo_id, grant_id)): Path<(String, String)>,
) -> ApiResult<Json<Grant>> {
    answer(&app, &viewer, &cameo_id, &grant_id, "active").await
}

/// Decline a grant that was offered to you.
#[utoipa::path(
    post, path = "/v1/cameos/{cameo_id}/grants/{grant_id}/decline", tag = "cameos",
    params(("cameo_id" = String, Path), ("grant_id" = String, Path)),
    responses((status = 200, body = Grant), (status = 404, body = Problem), (status = 409, body = Problem)),
    security(("bearer" = []))
)]
async fn decline(
    State(app): State<App>,
    viewer: Viewer,
    Path((cameo_id, grant_id)): Path<(String, String)>,
) -> ApiResult<Json<Grant>> {
    answer(&app, &viewer, &cameo_id, &grant_id, "declined").await
}

async fn answer(
    app: &App,
    viewer: &Viewer,
    cameo_id: &str,
    grant_id: &str,
    state: &'static str,
) -> ApiResult<Json<Grant>> {
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.write().await?;
    let grant = load_grant(&mut tx, cameo_id, grant_id, now_ms).await?;
    if grant.user_id != viewer.user_id.as_str() {
        return Err(ApiError::NotFound("grant"));
    }
    // Answering the same again is no conflict: the first answer may have been lost on the way.
    if grant.state != "offered" && grant.state != state {
        return Err(ApiError::Conflict(format!("the grant is {}", grant.state)));
    }
    if grant.state == "offered" {
        sqlx::query("UPDATE cameo_grants SET state = ?, decided_ms = ? WHERE grant_id = ?")
            .bind(state)
            .bind(now_ms)
            .bind(grant_id)
            .execute(&mut *tx)
            .await?;
        safety::audit(&mut tx, "cameo_grant_answered", grant_id, now_ms).await?;
    }
    let grant = load_grant(&mut tx, cameo_id, grant_id, now_ms).await?;
    tx.commit().await?;
    Ok(Json(grant))
}

/// End a grant, as the owner or as its holder: jobs under it are cancelled, and videos under it
/// are no longer shown. Revoking it again changes nothing.
#[utoipa::path(
    delete, path = "/v1/cameos/{cameo_id}/grants/{grant_id}", tag = "cameos",
    params(("cameo_id" = String, Path), ("grant_id" = String, Path)),
    responses((status = 204), (status = 404, body = Problem)), security(("bearer" = []))
)]
async fn revoke_grant(
    State(app): State<App>,
    viewer: Viewer,
    Path((cameo_id, grant_id)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.write().await?;
    let grant = load_grant(&mut tx, &cameo_id, &grant_id, now_ms).await?;
    let viewer = viewer.user_id.as_str();
    if grant.owner_id != viewer && grant.user_id != viewer {
        return Err(ApiError::NotFound("grant"));
    }
    let ended = sqlx::query(
        "UPDATE cameo_grants SET state = 'revoked', decided_ms = ?
         WHERE grant_id = ? AND state IN ('offered', 'active')",
    )
    .bind(now_ms)
    .bind(&grant_id)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if ended > 0 {
        revocation::cancel_jobs(&mut tx, &cameo_id, Some(&grant_id), now_ms).await?;
        safety::audit(&mut tx, "cameo_grant_revoked", &grant_id, now_ms).await?;
        if grant.owner_id == viewer {
            let text =
                format!("@{} revoked your use of the cameo `{}`", grant.owner_handle, grant.cameo_name);
            people::notify(&mut tx, &grant.user_id, Notice::CameoRevoked, &text, now_ms).await?;
        }
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Withdraw your cameo. Without a body, what was made of it is withdrawn too.
#[utoipa::path(
    post, path = "/v1/cameos/{cameo_id}/revoke", tag = "cameos",
    params(("cameo_id" = String, Path)), request_body(content = Option<Revocation>),
    responses((status = 200, body = Revoked), (status = 404, body = Problem)), security(("bearer" = []))
)]
async fn revoke(
    State(app): State<App>,
    viewer: Viewer,
    Path(cameo_id): Path<String>,
    body: axum::body::Bytes,
) -> ApiResult<Json<Revoked>> {
    // A withdrawal takes no more steps than a grant: no body and no content type are needed.
    let revocation: Revocation = if body.is_empty() {
        Revocation::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| {
            ApiError::bad_request("scope", format!("the body is not `{{\"scope\": ...}}`: {error}"))
        })?
    };
    let mut tx = app.db.write().await?;
    let cameo = own(&mut tx, &viewer, &cameo_id).await?;
    let revoked =
        revocation::revoke(&mut tx, &cameo_id, &cameo.name, revocation.scope, app.clock.now_ms()).await?;
    tx.commit().await?;
    if revoked.erased {
        // The key must not linger in the write-ahead log either.
        app.db.checkpoint().await?;
    }
    Ok(Json(revoked))
}

/// Every video with your likeness, of everyone, drafts and waiting jobs included.
#[utoipa::path(
    get, path = "/v1/cameos/{cameo_id}/uses", tag = "cameos", params(("cameo_id" = String, Path)),
    responses((status = 200, body = Uses), (status = 404, body = Problem)), security(("bearer" = []))
)]
async fn uses(State(app): State<App>, viewer: Viewer, Path(cameo_id): Path<String>) -> ApiResult<Json<Uses>> {
    let mut conn = app.db.read().acquire().await?;
    own(&mut conn, &viewer, &cameo_id).await?;
    let uses = sqlx::query_as(
        "SELECT jobs.id AS video_id, jobs.user_id, handle AS user_handle, prompt,
            coalesce(assets.state, jobs.state) AS state, jobs.created_ms
         FROM jobs JOIN people USING (user_id) LEFT JOIN assets ON assets.id = jobs.id
         WHERE jobs.id IN (SELECT job_id FROM job_cameos WHERE cameo_id = ?1
             UNION SELECT asset_id FROM asset_cameos WHERE cameo_id = ?1)
         ORDER BY jobs.created_ms DESC, jobs.id DESC",
    )
    .bind(&cameo_id)
    .fetch_all(&mut *conn)
    .await?;
    Ok(Json(Uses { uses }))
}

/// A teen's likeness is for people they know; the whole platform is not that.
fn check_audience(owner: &Person, audience: Audience, now_ms: i64) -> ApiResult<()> {
    if audience == Audience::Everyone && owner.band(now_ms) == AgeBand::Teen {
        return Err(ApiError::forbidden("a teen's cameo can be for mutuals at most"));
    }
    Ok(())
}

async fn load(conn: &mut Conn, cameo_id: &str) -> ApiResult<Cameo> {
    sqlx::query_as(
        "SELECT cameo_id, owner_id, handle AS owner_handle, name, state, audience, epoch, cameos.created_ms
         FROM cameos JOIN people ON user_id = owner_id WHERE cameo_id = ?",
    )
    .bind(cameo_id)
    .fetch_optional(conn)
    .await?
    .ok_or(ApiError::NotFound("cameo"))
}

/// The cameo, if it is the viewer's own likeness.
async fn own(conn: &mut Conn, viewer: &Viewer, cameo_id: &str) -> ApiResult<Cameo> {
    let cameo = load(conn, cameo_id).await?;
    if cameo.owner_id == viewer.user_id.as_str() { Ok(cameo) } else { Err(ApiError::NotFound("cameo")) }
}

async fn judged(conn: &mut Conn, cameo: Cameo, viewer: &Viewer, now_ms: i64) -> ApiResult<Cameo> {
    let usable = match consent(conn, &cameo.cameo_id, &viewer.user_id, now_ms).await {
        Ok(_) => true,
        Err(ApiError::Forbidden(_)) => false,
        Err(error) => return Err(error),
    };
    Ok(Cameo { usable, mine: cameo.owner_id == viewer.user_id.as_str(), ..cameo })
}

async fn load_grant(conn: &mut Conn, cameo_id: &str, grant_id: &str, now_ms: i64) -> ApiResult<Grant> {
    let query = GrantQuery { cameo_id: Some(cameo_id), grant_id: Some(grant_id), ..GrantQuery::default() };
    load_grants(conn, query, now_ms).await?.pop().ok_or(ApiError::NotFound("grant"))
}

/// Suspends a teen's cameos when the last guardian is gone.
pub(crate) async fn suspend_unguarded(conn: &mut Conn, teen_id: &UserId, now_ms: i64) -> ApiResult<()> {
    let suspended: Vec<String> = sqlx::query_scalar(
        "UPDATE cameos SET state = 'suspended', epoch = epoch + 1 WHERE owner_id = ?1 AND state = 'active'
            AND NOT EXISTS (SELECT 1 FROM guardian_links WHERE teen_id = ?1 AND state = 'active')
         RETURNING cameo_id",
    )
    .bind(teen_id.as_str())
    .fetch_all(&mut *conn)
    .await?;
    for cameo_id in suspended {
        revocation::cancel_jobs(conn, &cameo_id, None, now_ms).await?;
        safety::audit(conn, "cameo_suspended", &cameo_id, now_ms).await?;
    }
    Ok(())
}

/// Lifts the suspension when a guardian is there again.
pub(crate) async fn resume_guarded(conn: &mut Conn, teen_id: &UserId, now_ms: i64) -> ApiResult<()> {
    let resumed: Vec<String> = sqlx::query_scalar(
        "UPDATE cameos SET state = 'active' WHERE owner_id = ? AND state = 'suspended' RETURNING cameo_id",
    )
    .bind(teen_id.as_str())
    .fetch_all(&mut *conn)
    .await?;
    for cameo_id in resumed {
        safety::audit(conn, "cameo_resumed", &cameo_id, now_ms).await?;
    }
    Ok(())
}
