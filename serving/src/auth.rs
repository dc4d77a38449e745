//! Bearer tokens and what they allow. A token enters as `Authorization: Bearer kn_...`; a
//! [`Viewer`] leaves, or a refusal. The signature of a handler shows what it demands: [`Viewer`],
//! [`Moderator`], [`Analyst`] or [`Admin`].
//!
//! INVARIANT: of a token only its SHA-256 is stored, and of one that may ask the lake a SCRAM verifier; neither can
//! be used in its place. The token itself is shown once.

use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kinora_schema::UserId;
use kinora_schema::id::MAX_ID_BYTES;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::analytics::Verifier;
use crate::app::App;
use crate::db::{Db, Tx};
use crate::error::{ApiError, ApiResult, Json};
use crate::{people, secret};

/// What a token may do. An admin may do everything; the others do not include each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Watch, create, publish, message.
    User,
    /// Decide on reports.
    Moderator,
    /// Ask questions of the lake.
    Analyst,
    /// Everything, and mint tokens for others.
    Admin,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::User, Self::Moderator, Self::Analyst, Self::Admin];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Moderator => "moderator",
            Self::Analyst => "analyst",
            Self::Admin => "admin",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// The person (or program) behind a request.
#[derive(Clone, Debug)]
pub struct Viewer {
    pub user_id: UserId,
    pub role: Role,
}

impl Viewer {
    /// Whether the token carries `role`, or is an admin's.
    pub fn has(&self, role: Role) -> bool {
        self.role == role || self.role == Role::Admin
    }
}

/// A viewer who may moderate.
#[derive(Clone, Debug)]
pub struct Moderator(pub Viewer);

/// A viewer who may query the lake.
#[derive(Clone, Debug)]
pub struct Analyst(pub Viewer);

/// A viewer who may do everything.
#[derive(Clone, Debug)]
pub struct Admin(pub Viewer);

impl FromRequestParts<App> for Viewer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        let header = parts.headers.get(AUTHORIZATION).ok_or(ApiError::Unauthorized(
            "send a token as `Authorization: Bearer kn_...`; `kinora token create` makes one",
        ))?;
        let token = header
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or(ApiError::Unauthorized("the Authorization header is not `Bearer kn_...`"))?;
        viewer_of(&app.db, token, app.clock.now_ms()).await
    }
}

impl FromRequestParts<App> for Moderator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        demand(parts, app, Role::Moderator).await.map(Self)
    }
}

impl FromRequestParts<App> for Analyst {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        demand(parts, app, Role::Analyst).await.map(Self)
    }
}

impl FromRequestParts<App> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        demand(parts, app, Role::Admin).await.map(Self)
    }
}

async fn demand(parts: &mut Parts, app: &App, role: Role) -> ApiResult<Viewer> {
    let viewer = Viewer::from_request_parts(parts, app).await?;
    if viewer.has(role) {
        Ok(viewer)
    } else {
        Err(ApiError::Forbidden(format!("this needs a token with the {} role", role.as_str())))
    }
}

/// The viewer a token stands for at `now_ms`.
pub async fn viewer_of(db: &Db, token: &str, now_ms: i64) -> ApiResult<Viewer> {
    Ok(token_of(db, token, now_ms).await?.1)
}

/// The id of a token, and the viewer it stands for at `now_ms`.
pub(crate) async fn token_of(db: &Db, token: &str, now_ms: i64) -> ApiResult<(String, Viewer)> {
    const REFUSED: ApiError = ApiError::Unauthorized("the token is unknown, expired or revoked");
    let row: Option<(String, String, String)> = sqlx::query_as(
        "SELECT token_id, user_id, role FROM tokens
         WHERE token_sha256 = ? AND revoked_ms IS NULL AND (expires_ms IS NULL OR expires_ms > ?)",
    )
    .bind(digest(token))
    .bind(now_ms)
    .fetch_optional(db.read())
    .await?;
    let (token_id, user_id, role) = row.ok_or(REFUSED)?;
    let role = Role::parse(&role).ok_or(REFUSED)?;
    Ok((token_id, Viewer { user_id: UserId::new(user_id), role }))
}

/// The viewer of the token with this id, at `now_ms`: for a connection that proved the token when it began.
pub(crate) async fn viewer_by_id(db: &Db, token_id: &str, now_ms: i64) -> ApiResult<Viewer> {
    const REFUSED: ApiError = ApiError::Unauthorized("the token is unknown, expired or revoked");
    let row: Option<(String, String)> = sqlx::query_as(
        "SELECT user_id, role FROM tokens
         WHERE token_id = ? AND revoked_ms IS NULL AND (expires_ms IS NULL OR expires_ms > ?)",
    )
    .bind(token_id)
    .bind(now_ms)
    .fetch_optional(db.read())
    .await?;
    let (user_id, role) = row.ok_or(REFUSED)?;
    let role = Role::parse(&role).ok_or(REFUSED)?;
    Ok(Viewer { user_id: UserId::new(user_id), role })
}

/// What the token with this id is proven by without being sent. A token that is unknown, no longer good or not for
/// asking the lake has a verifier that nothing fits.
pub(crate) async fn verifier_of(db: &Db, token_id: &str, now_ms: i64) -> ApiResult<Verifier> {
    let stored: Option<Option<Vec<u8>>> = sqlx::query_scalar(
        "SELECT scram FROM tokens
         WHERE token_id = ? AND revoked_ms IS NULL AND (expires_ms IS NULL OR expires_ms > ?)",
    )
    .bind(token_id)
    .bind(now_ms)
    .fetch_optional(db.read())
    .await?;
    let verifier = stored.flatten().and_then(|bytes| Verifier::from_bytes(&bytes));
    Ok(verifier.unwrap_or_else(Verifier::of_nobody))
}

fn digest(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

/// A token to be minted.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Whose token it is; the account is created where it does not exist.
    #[schema(value_type = String)]
    pub user_id: UserId,
    #[serde(default = "NewToken::default_role")]
    pub role: Role,
    /// What the token is for, in the admin's words.
    #[serde(default)]
    pub name: String,
    /// How long it is good for; absent means until revoked.
    #[serde(default)]
    pub ttl_ms: Option<i64>,
    /// The person's year of birth, where the app knows it; it replaces what was recorded.
    #[serde(default)]
    pub birth_year: Option<i64>,
}

impl NewToken {
    fn default_role() -> Role {
        Role::User
    }

    pub fn new(user_id: UserId, role: Role) -> Self {
        Self { user_id, role, name: String::new(), ttl_ms: None, birth_year: None }
    }
}

/// A minted token. This is the only time that it is shown.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MintedToken {
    pub token: String,
    pub token_id: String,
    #[schema(value_type = String)]
    pub user_id: UserId,
    pub role: Role,
    pub expires_ms: Option<i64>,
}

/// Mints a token, creating the person where they do not exist yet.
pub async fn create_token(db: &Db, new: NewToken, now_ms: i64) -> ApiResult<MintedToken> {
    let mut tx = db.write().await?;
    let minted = create_token_in(&mut tx, new, now_ms).await?;
    tx.commit().await?;
    Ok(minted)
}

async fn create_token_in(tx: &mut Tx, new: NewToken, now_ms: i64) -> ApiResult<MintedToken> {
    if new.user_id.as_str().is_empty() || new.user_id.as_str().len() > MAX_ID_BYTES {
        return Err(ApiError::bad_request(
            "user_id",
            format!("`user_id` must have 1 to {MAX_ID_BYTES} bytes"),
        ));
    }
    if new.user_id.as_str().contains('@') {
        return Err(ApiError::bad_request(
            "user_id",
            "`user_id` must not hold `@`: it goes into events and the lake; use an id that tells nothing of the person",
        ));
    }
    if new.ttl_ms.is_some_and(|ttl_ms| ttl_ms <= 0) {
        return Err(ApiError::bad_request("ttl_ms", "`ttl_ms` must be positive"));
    }
    people::create_if_missing(tx, &new.user_id, now_ms).await?;
    if let Some(birth_year) = new.birth_year {
        people::record_birth_year(tx, &new.user_id, birth_year, now_ms).await?;
    }
    let minted = MintedToken {
        token: format!("kn_{}", URL_SAFE_NO_PAD.encode(secret::random::<32>())),
        token_id: format!("tok_{}", uuid::Uuid::now_v7().simple()),
        user_id: new.user_id,
        role: new.role,
        expires_ms: new.ttl_ms.map(|ttl_ms| now_ms.saturating_add(ttl_ms)),
    };
    sqlx::query(
        "INSERT INTO tokens (token_id, token_sha256, user_id, role, name, created_ms, expires_ms, scram)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&minted.token_id)
    .bind(digest(&minted.token))
    .bind(minted.user_id.as_str())
    .bind(minted.role.as_str())
    .bind(new.name)
    .bind(now_ms)
    .bind(minted.expires_ms)
    .bind(matches!(minted.role, Role::Analyst | Role::Admin).then(|| Verifier::of(&minted.token).to_bytes()))
    .execute(&mut **tx)
    .await?;
    Ok(minted)
}

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(mint)).routes(routes!(revoke))
}

/// Mint a token for a person: apps do their own sign-in and ask for a token per person.
#[utoipa::path(
    post, path = "/v1/tokens", tag = "tokens", request_body = NewToken,
    responses((status = 201, body = MintedToken), (status = 403, body = crate::error::Problem)),
    security(("bearer" = []))
)]
async fn mint(
    State(app): State<App>,
    _admin: Admin,
    Json(new): Json<NewToken>,
) -> ApiResult<(StatusCode, Json<MintedToken>)> {
    let minted = create_token(&app.db, new, app.clock.now_ms()).await?;
    Ok((StatusCode::CREATED, Json(minted)))
}

/// Revoke a token by its id. Revoking it again changes nothing.
#[utoipa::path(
    delete, path = "/v1/tokens/{token_id}", tag = "tokens",
    params(("token_id" = String, Path)),
    responses((status = 204), (status = 404, body = crate::error::Problem)),
    security(("bearer" = []))
)]
async fn revoke(
    State(app): State<App>,
    _admin: Admin,
    crate::error::Path(token_id): crate::error::Path<String>,
) -> ApiResult<StatusCode> {
    let mut tx = app.db.write().await?;
    let known = sqlx::query("UPDATE tokens SET revoked_ms = coalesce(revoked_ms, ?) WHERE token_id = ?")
        .bind(app.clock.now_ms())
        .bind(token_id)
        .execute(&mut *tx)
        .await?
        .rows_affected();
    tx.commit().await?;
    if known == 0 { Err(ApiError::NotFound("token")) } else { Ok(StatusCode::NO_CONTENT) }
}
