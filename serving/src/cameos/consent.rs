//! Who may use a likeness now. Facts of one cameo and one person enter, a [`Pinned`] permission or
//! a refusal leaves; the generation journey asks here at admission, at every lease renewal, at
//! commit and at every serve.
//!
//! INVARIANT: a permission is only ever good for the epoch that it was given at; what cannot be
//! read is denied.

use kinora_schema::UserId;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::ToSchema;

use crate::db::Conn;
use crate::error::{ApiError, ApiResult};
use crate::people;

/// Who may use a cameo without being granted it, from the narrowest to the widest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    OnlyMe,
    /// Those who accepted a grant.
    Approved,
    /// Those too who follow the owner and whom the owner follows.
    Mutuals,
    Everyone,
}

impl Audience {
    pub const ALL: [Self; 4] = [Self::OnlyMe, Self::Approved, Self::Mutuals, Self::Everyone];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnlyMe => "only_me",
            Self::Approved => "approved",
            Self::Mutuals => "mutuals",
            Self::Everyone => "everyone",
        }
    }

    /// A name that this version does not know is the narrowest audience.
    pub(super) fn parse(name: &str) -> Self {
        Self::ALL.into_iter().find(|audience| audience.as_str() == name).unwrap_or(Self::OnlyMe)
    }
}

/// A permission that was given, as of an epoch. Holding one proves nothing: it is checked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    pub cameo_id: String,
    pub epoch: i64,
    /// The grant that it rests on; none where the audience or ownership permits.
    pub grant_id: Option<String>,
    /// Who uses the likeness.
    pub user_id: UserId,
}

/// The facts of a cameo that permission rests on.
#[derive(Clone, Debug, FromRow)]
struct Standing {
    owner_id: String,
    state: String,
    audience: String,
    epoch: i64,
    visible_from_epoch: i64,
}

async fn standing(conn: &mut Conn, cameo_id: &str) -> ApiResult<Option<Standing>> {
    Ok(sqlx::query_as(
        "SELECT owner_id, state, audience, epoch, visible_from_epoch FROM cameos WHERE cameo_id = ?",
    )
    .bind(cameo_id)
    .fetch_optional(conn)
    .await?)
}

/// Asks for permission to use a cameo in something new. Refusals do not tell a cameo that is not
/// for this person from one that does not exist.
pub async fn consent(conn: &mut Conn, cameo_id: &str, user_id: &UserId, now_ms: i64) -> ApiResult<Pinned> {
    let refused = || ApiError::forbidden(format!("you do not have consent to use the cameo `{cameo_id}`"));
    let standing = standing(conn, cameo_id).await?.ok_or_else(refused)?;
    let grant_id: Option<String> = sqlx::query_scalar(
        "SELECT grant_id FROM cameo_grants
         WHERE cameo_id = ? AND user_id = ? AND state = 'active' AND (expires_ms IS NULL OR expires_ms > ?)
         ORDER BY offered_ms DESC LIMIT 1",
    )
    .bind(cameo_id)
    .bind(user_id.as_str())
    .bind(now_ms)
    .fetch_optional(&mut *conn)
    .await?;
    let pin =
        Pinned { cameo_id: cameo_id.to_owned(), epoch: standing.epoch, grant_id, user_id: user_id.clone() };
    if standing.state == "active" && relation_permits(conn, &standing, &pin).await? {
        Ok(pin)
    } else {
        Err(refused())
    }
}

/// Whether a permission still holds for something that is not finished: the cameo is active, no
/// permission was withdrawn since, and what the permission rests on is still there.
pub async fn still_permitted(conn: &mut Conn, pin: &Pinned) -> ApiResult<bool> {
    let Some(standing) = standing(conn, &pin.cameo_id).await? else { return Ok(false) };
    Ok(standing.state == "active"
        && standing.epoch == pin.epoch
        && relation_permits(conn, &standing, pin).await?)
}

/// Whether something finished under a permission may still be shown. It may outlive a revocation
/// that the owner limited to future uses, and nothing else.
pub async fn still_visible(conn: &mut Conn, pin: &Pinned) -> ApiResult<bool> {
    let Some(standing) = standing(conn, &pin.cameo_id).await? else { return Ok(false) };
    Ok(matches!(standing.state.as_str(), "active" | "revoked")
        && pin.epoch >= standing.visible_from_epoch
        && relation_permits(conn, &standing, pin).await?)
}

/// Whether owner and user stand to each other as the permission needs, now.
async fn relation_permits(conn: &mut Conn, standing: &Standing, pin: &Pinned) -> ApiResult<bool> {
    let user = pin.user_id.as_str();
    if standing.owner_id == user {
        return Ok(true);
    }
    let audience = Audience::parse(&standing.audience);
    if audience == Audience::OnlyMe || people::blocked(conn, &standing.owner_id, user).await? {
        return Ok(false);
    }
    if let Some(grant_id) = &pin.grant_id {
        // Its end date ends new uses, which `consent` saw to; its revocation ends all.
        let active: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM cameo_grants
             WHERE grant_id = ? AND cameo_id = ? AND user_id = ? AND state = 'active'",
        )
        .bind(grant_id)
        .bind(&pin.cameo_id)
        .bind(user)
        .fetch_optional(conn)
        .await?;
        return Ok(active.is_some());
    }
    match audience {
        Audience::Everyone => Ok(true),
        Audience::Mutuals => people::mutuals(conn, &standing.owner_id, user).await,
        Audience::OnlyMe | Audience::Approved => Ok(false),
    }
}

/// Whose likeness a cameo is.
pub async fn owner_of(conn: &mut Conn, cameo_id: &str) -> ApiResult<Option<UserId>> {
    let owner: Option<String> = sqlx::query_scalar("SELECT owner_id FROM cameos WHERE cameo_id = ?")
        .bind(cameo_id)
        .fetch_optional(conn)
        .await?;
    Ok(owner.map(UserId::new))
}
