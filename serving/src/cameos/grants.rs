//! Grants: the owner offers a cameo to a person, who accepts or declines; either ends it at any time.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::ToSchema;
use uuid::Uuid;

use super::consent::Audience;
use super::own;
use super::revocation::{self, JobsOf};
use crate::app::App;
use crate::auth::Viewer;
use crate::db::Conn;
use crate::error::{ApiError, ApiResult, Json, Path, Problem};
use crate::people::{self, Notice};
use crate::safety;

#[derive(Clone, Debug, Serialize, FromRow, ToSchema)]
pub(super) struct Grant {
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
pub(super) struct Grants {
    grants: Vec<Grant>,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGrant {
    /// `@handle`, or a user id.
    user: String,
    /// After this time the grant allows no new use; absent means no end.
    #[serde(default)]
    expires_ms: Option<i64>,
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

/// The offers that wait for a person's answer.
pub(super) async fn offers_to(conn: &mut Conn, user_id: &str, now_ms: i64) -> ApiResult<Vec<Grant>> {
    let query = GrantQuery { holder_id: Some(user_id), state: Some("offered"), ..GrantQuery::default() };
    let mut offers = load_grants(conn, query, now_ms).await?;
    offers.retain(|offer| offer.state == "offered");
    Ok(offers)
}

/// Everyone who was granted your cameo.
#[utoipa::path(
    get, path = "/v1/cameos/{cameo_id}/grants", tag = "cameos", params(("cameo_id" = String, Path)),
    responses((status = 200, body = Grants), (status = 404, body = Problem)), security(("bearer" = []))
)]
pub(super) async fn grants(
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
pub(super) async fn offer(
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
pub(super) async fn accept(
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
pub(super) async fn decline(
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
pub(super) async fn revoke_grant(
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
        revocation::cancel_jobs(&mut tx, &cameo_id, JobsOf::Grant(&grant_id), now_ms).await?;
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

async fn load_grant(conn: &mut Conn, cameo_id: &str, grant_id: &str, now_ms: i64) -> ApiResult<Grant> {
    let query = GrantQuery { cameo_id: Some(cameo_id), grant_id: Some(grant_id), ..GrantQuery::default() };
    load_grants(conn, query, now_ms).await?.pop().ok_or(ApiError::NotFound("grant"))
}
