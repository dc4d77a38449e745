//! Quotes that carry their own proof: price, person and expiry sealed under a key of the
//! installation, so that a refusal can hand out a quote from inside a transaction that is about
//! to be rolled back.
//!
//! INVARIANT: a quote opens only for the person it was issued to, and only until it expires.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kinora_schema::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Terms;
use crate::db::{Conn, Db};
use crate::error::{ApiError, ApiResult};
use crate::secret::{self, KEY_BYTES};

/// How long a price holds.
const VALID_MS: i64 = 5 * 60 * 1000;
const PREFIX: &str = "quo_";
const KEY_NAME: &str = "quotes";

/// Names a quote. Opaque to clients.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct QuoteId(String);

impl QuoteId {
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for QuoteId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The price of the next generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Quote {
    /// Send it with the generation to accept the price.
    pub quote_id: QuoteId,
    /// 0 while free generations are left or demand does not peak.
    pub credits: i64,
    /// Free generations left today.
    pub free_left: u32,
    /// Whether demand peaks now.
    pub peak: bool,
    pub expires_ms: i64,
}

/// A quote that was sent back and holds.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    pub quote_id: QuoteId,
    pub credits: i64,
}

/// Makes the installation's key for quotes where there is none yet. Done when the installation is
/// opened: a quote handed out by a transaction that rolls back must not take its key with it.
pub(crate) async fn prepare_key(db: &Db) -> Result<(), sqlx::Error> {
    let mut tx = db.write().await?;
    sqlx::query("INSERT INTO installation_keys (name, key) VALUES (?, ?) ON CONFLICT (name) DO NOTHING")
        .bind(KEY_NAME)
        .bind(secret::random::<KEY_BYTES>().as_slice())
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}

pub(super) async fn key(conn: &mut Conn) -> ApiResult<[u8; KEY_BYTES]> {
    let key: Vec<u8> = sqlx::query_scalar("SELECT key FROM installation_keys WHERE name = ?")
        .bind(KEY_NAME)
        .fetch_one(conn)
        .await?;
    key.try_into().map_err(|_| ApiError::internal(anyhow::anyhow!("the key for quotes has the wrong length")))
}

pub(super) fn issue(key: &[u8; KEY_BYTES], user_id: &UserId, terms: &Terms, now_ms: i64) -> ApiResult<Quote> {
    let credits = terms.credits();
    let expires_ms = now_ms + VALID_MS;
    let promise = [credits.to_le_bytes(), expires_ms.to_le_bytes()].concat();
    let sealed = secret::seal(key, user_id.as_str().as_bytes(), &promise).map_err(ApiError::internal)?;
    Ok(Quote {
        quote_id: QuoteId(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed))),
        credits,
        free_left: terms.free_left,
        peak: terms.peak,
        expires_ms,
    })
}

pub(super) fn open(
    key: &[u8; KEY_BYTES],
    quote_id: &QuoteId,
    user_id: &UserId,
    now_ms: i64,
) -> Option<Accepted> {
    let sealed = URL_SAFE_NO_PAD.decode(quote_id.as_str().strip_prefix(PREFIX)?).ok()?;
    let promise = secret::open(key, user_id.as_str().as_bytes(), &sealed).ok()?;
    let (credits, expires_ms) = promise.split_first_chunk::<8>()?;
    let expires_ms = i64::from_le_bytes(expires_ms.try_into().ok()?);
    (now_ms < expires_ms)
        .then(|| Accepted { quote_id: quote_id.clone(), credits: i64::from_le_bytes(*credits) })
}
