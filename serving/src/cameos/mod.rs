//! Cameos: a person enrols their likeness with their consent on record, says who may use it, sees
//! every use, and withdraws it in one step.
//!
//! INVARIANT: only the owner widens permission, and every withdrawal is complete when it is
//! acknowledged: its transaction holds the new epoch and all that follows from it.

mod consent;
mod enrolment;
mod grants;
mod likeness;
mod revocation;
#[cfg(test)]
mod tests;

use axum::extract::State;
use kinora_schema::UserId;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use consent::{Audience, Pinned, consent, owner_of, still_permitted, still_visible};
pub use likeness::{TEMPLATE_BYTES, TEMPLATE_SIDE, Template, template};
pub use revocation::Scope;
pub(crate) use revocation::{became_teen, resume_guarded, sever, suspend_unguarded};

use crate::app::App;
use crate::auth::Viewer;
use crate::db::Conn;
use crate::error::{ApiError, ApiResult, Json, Path, Problem};
use crate::guardians::AgeBand;
use crate::people::{self, Notice, Person};
use crate::safety;
use grants::Grant;
use revocation::Revoked;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, enrolment::enrol))
        .routes(routes!(get))
        .routes(routes!(set_audience))
        .routes(routes!(grants::grants, grants::offer))
        .routes(routes!(grants::accept))
        .routes(routes!(grants::decline))
        .routes(routes!(grants::revoke_grant))
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

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAudience {
    audience: Audience,
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
    let offers = grants::offers_to(&mut tx, you, now_ms).await?;
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
    app.interactions.outbox_wake.notify_one();
    for object in &revoked.erased_objects {
        if let Err(error) = app.media.delete(object).await {
            tracing::error!(object, error = %error, "an erased clip is left for the next start to sweep");
        }
    }
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

/// Tells the owners of the likenesses in a new video that someone else made it.
pub(crate) async fn tell_owners(
    conn: &mut Conn,
    video_id: &str,
    maker_id: &UserId,
    now_ms: i64,
) -> ApiResult<()> {
    let uses: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT owner_id, name, maker.handle
         FROM asset_cameos JOIN cameos USING (cameo_id) JOIN people AS maker ON maker.user_id = ?2
         WHERE asset_id = ?1 AND owner_id <> ?2",
    )
    .bind(video_id)
    .bind(maker_id.as_str())
    .fetch_all(&mut *conn)
    .await?;
    for (owner_id, name, maker) in uses {
        let text = format!("@{maker} made a video with your cameo `{name}`");
        people::notify(conn, &owner_id, Notice::CameoUsed, &text, now_ms).await?;
    }
    Ok(())
}

/// A teen's likeness is for people they know; the whole platform is not that.
fn check_audience(owner: &Person, audience: Audience, now_ms: i64) -> ApiResult<()> {
    if audience == Audience::Everyone && owner.band(now_ms) != AgeBand::Adult {
        return Err(ApiError::forbidden("only an adult's cameo can be for everyone; choose `mutuals`"));
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
