//! What a generation costs: nothing within the daily allotment, nothing beyond it while capacity
//! is idle, and a price in credits beyond it while demand peaks, quoted before it is charged.
//!
//! INVARIANT: a job is paid for at most once and refunded at most once, nobody is charged more
//! than a quote that they sent back, and no balance goes below zero.

mod quote;
#[cfg(test)]
mod tests;

use axum::extract::State;
use axum::http::StatusCode;
use kinora_schema::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

pub(crate) use quote::prepare_key;
pub use quote::{Quote, QuoteId};

use crate::app::App;
use crate::auth::{Admin, Viewer};
use crate::clock::utc_day;
use crate::config::GenerationConfig;
use crate::db::Conn;
use crate::error::{ApiError, ApiResult, Json, Problem};
use crate::people;

/// The most credits in one grant.
const MAX_GRANT: i64 = 1_000_000;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(quote_generation)).routes(routes!(balance)).routes(routes!(grant))
}

/// How busy generation is at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Jobs that wait to be rendered.
    pub queue_depth: u64,
}

impl Demand {
    /// Reads the queue on the caller's connection.
    pub async fn now(conn: &mut Conn) -> ApiResult<Self> {
        let queued: i64 =
            sqlx::query_scalar("SELECT count(*) FROM jobs WHERE state = 'queued'").fetch_one(conn).await?;
        Ok(Self { queue_depth: u64::try_from(queued).unwrap_or(0) })
    }

    fn peaks(self, tariff: &GenerationConfig) -> bool {
        self.queue_depth > tariff.peak_queue_depth
    }
}

/// What a job is to be paid with.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    pub user_id: &'a UserId,
    pub job_id: &'a str,
    /// The quote that the person accepted, if they sent one.
    pub quote_id: Option<&'a QuoteId>,
    pub demand: Demand,
    pub tariff: &'a GenerationConfig,
    pub now_ms: i64,
}

/// How a job was paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// One of the day's free generations.
    Allotment,
    /// Beyond the allotment, while capacity was idle.
    OffPeak,
    /// Beyond the allotment, at the price of an accepted quote.
    Credits,
}

impl Basis {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Allotment => "allotment",
            Self::OffPeak => "off_peak",
            Self::Credits => "credits",
        }
    }
}

/// A paid job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    pub basis: Basis,
    pub credits: i64,
}

/// Pays for a job, in the transaction that enqueues it. Paying again for the same job answers
/// what was paid. At peak, beyond the allotment and without an accepted quote, the answer is 402
/// with the quote to accept.
pub async fn reserve(conn: &mut Conn, charge: &Charge<'_>) -> ApiResult<Reservation> {
    if let Some(made) = reserved(conn, charge.job_id).await? {
        return Ok(made);
    }
    let terms = Terms::now(conn, charge.user_id, charge.demand, charge.tariff, charge.now_ms).await?;
    let reservation = match terms.basis() {
        Basis::Credits => {
            let key = quote::key(conn).await?;
            let accepted = charge
                .quote_id
                .and_then(|quote_id| quote::open(&key, quote_id, charge.user_id, charge.now_ms))
                // A quote from before the peak was for nothing and promises nothing now.
                .filter(|accepted| accepted.credits > 0);
            let Some(accepted) = accepted else {
                let quote = quote::issue(&key, charge.user_id, &terms, charge.now_ms)?;
                return Err(ApiError::PaymentRequired(Box::new(quote)));
            };
            if quote_used(conn, &accepted.quote_id).await? {
                let quote = quote::issue(&key, charge.user_id, &terms, charge.now_ms)?;
                return Err(ApiError::PaymentRequired(Box::new(quote)));
            }
            let credits = accepted.credits.min(terms.price);
            let balance = balance_of(conn, charge.user_id).await?;
            if balance < credits {
                return Err(ApiError::InsufficientCredits { needed: credits, balance });
            }
            let entry = Entry { kind: "charge", credits: -credits, reference: charge.job_id, note: "" };
            append(conn, charge.user_id, entry, charge.now_ms).await?;
            Reservation { basis: Basis::Credits, credits }
        }
        basis => Reservation { basis, credits: 0 },
    };
    // The quote is spent by the charge that it priced, and only by it.
    let spent_quote = charge.quote_id.filter(|_| reservation.basis == Basis::Credits);
    sqlx::query(
        "INSERT INTO reservations (job_id, user_id, basis, credits, quote_id, day, reserved_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(charge.job_id)
    .bind(charge.user_id.as_str())
    .bind(reservation.basis.as_str())
    .bind(reservation.credits)
    .bind(spent_quote.map(QuoteId::as_str))
    .bind(utc_day(charge.now_ms))
    .bind(charge.now_ms)
    .execute(conn)
    .await?;
    Ok(reservation)
}

/// Gives back what a job was paid with, credits or free generation, when it comes to nothing.
/// Refunding again, or a job that was never paid for, changes nothing.
pub async fn refund(conn: &mut Conn, job_id: &str, now_ms: i64) -> ApiResult<()> {
    let refunded: Option<(String, i64)> = sqlx::query_as(
        "UPDATE reservations SET refunded_ms = ? WHERE job_id = ? AND refunded_ms IS NULL
         RETURNING user_id, credits",
    )
    .bind(now_ms)
    .bind(job_id)
    .fetch_optional(&mut *conn)
    .await?;
    if let Some((user_id, credits)) = refunded
        && credits > 0
    {
        let entry =
            Entry { kind: "refund", credits, reference: job_id, note: "the generation came to nothing" };
        append(conn, &UserId::new(user_id), entry, now_ms).await?;
    }
    Ok(())
}

/// What the next generation would cost a person.
#[derive(Clone, Copy, Debug)]
struct Terms {
    free_left: u32,
    peak: bool,
    /// Credits for one generation, were they to be charged.
    price: i64,
}

impl Terms {
    async fn now(
        conn: &mut Conn,
        user_id: &UserId,
        demand: Demand,
        tariff: &GenerationConfig,
        now_ms: i64,
    ) -> ApiResult<Self> {
        // Only what came out of the allotment uses it up: paid and off-peak jobs come on top.
        let used: u32 = sqlx::query_scalar(
            "SELECT count(*) FROM reservations
             WHERE user_id = ? AND day = ? AND basis = 'allotment' AND refunded_ms IS NULL",
        )
        .bind(user_id.as_str())
        .bind(utc_day(now_ms))
        .fetch_one(conn)
        .await?;
        Ok(Self {
            free_left: tariff.daily_allotment.saturating_sub(used),
            peak: demand.peaks(tariff),
            price: i64::from(tariff.credit_price),
        })
    }

    fn basis(&self) -> Basis {
        if self.free_left > 0 {
            Basis::Allotment
        } else if self.peak && self.price > 0 {
            Basis::Credits
        } else {
            Basis::OffPeak
        }
    }

    fn credits(&self) -> i64 {
        if self.basis() == Basis::Credits { self.price } else { 0 }
    }
}

async fn reserved(conn: &mut Conn, job_id: &str) -> ApiResult<Option<Reservation>> {
    let row: Option<(String, i64)> =
        sqlx::query_as("SELECT basis, credits FROM reservations WHERE job_id = ?")
            .bind(job_id)
            .fetch_optional(conn)
            .await?;
    Ok(row.map(|(basis, credits)| {
        let basis = match basis.as_str() {
            "allotment" => Basis::Allotment,
            "off_peak" => Basis::OffPeak,
            _ => Basis::Credits,
        };
        Reservation { basis, credits }
    }))
}

async fn quote_used(conn: &mut Conn, quote_id: &QuoteId) -> ApiResult<bool> {
    let row: Option<i64> = sqlx::query_scalar("SELECT 1 FROM reservations WHERE quote_id = ?")
        .bind(quote_id.as_str())
        .fetch_optional(conn)
        .await?;
    Ok(row.is_some())
}

/// The sum of a person's entries.
pub async fn balance_of(conn: &mut Conn, user_id: &UserId) -> ApiResult<i64> {
    Ok(sqlx::query_scalar("SELECT coalesce(sum(credits), 0) FROM credit_entries WHERE user_id = ?")
        .bind(user_id.as_str())
        .fetch_one(conn)
        .await?)
}

struct Entry<'a> {
    kind: &'static str,
    credits: i64,
    reference: &'a str,
    note: &'a str,
}

/// Appends an entry, or leaves the one that is there. Answers whether it is new.
async fn append(conn: &mut Conn, user_id: &UserId, entry: Entry<'_>, now_ms: i64) -> ApiResult<bool> {
    let appended = sqlx::query(
        "INSERT INTO credit_entries (entry_id, user_id, kind, credits, reference, note, created_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_id, kind, reference) DO NOTHING",
    )
    .bind(format!("cre_{}", Uuid::now_v7().simple()))
    .bind(user_id.as_str())
    .bind(entry.kind)
    .bind(entry.credits)
    .bind(entry.reference)
    .bind(entry.note)
    .bind(now_ms)
    .execute(conn)
    .await?;
    Ok(appended.rows_affected() == 1)
}

/// Ask what the next generation costs. Sending the quote back with it accepts the price.
#[utoipa::path(
    post, path = "/v1/generations/quote", tag = "credits",
    responses((status = 200, body = Quote)), security(("bearer" = []))
)]
async fn quote_generation(State(app): State<App>, viewer: Viewer) -> ApiResult<Json<Quote>> {
    let now_ms = app.clock.now_ms();
    let mut conn = app.db.read().acquire().await?;
    let demand = Demand::now(&mut conn).await?;
    let terms = Terms::now(&mut conn, &viewer.user_id, demand, &app.config.generation, now_ms).await?;
    let key = quote::key(&mut conn).await?;
    Ok(Json(quote::issue(&key, &viewer.user_id, &terms, now_ms)?))
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct Balance {
    credits: i64,
    /// Free generations left today.
    free_left: u32,
    daily_allotment: u32,
    /// Whether demand peaks now, so that generations beyond the allotment cost credits.
    peak: bool,
}

/// The viewer's credits and what is left of today's allotment.
#[utoipa::path(
    get, path = "/v1/credits", tag = "credits",
    responses((status = 200, body = Balance)), security(("bearer" = []))
)]
async fn balance(State(app): State<App>, viewer: Viewer) -> ApiResult<Json<Balance>> {
    let mut conn = app.db.read().acquire().await?;
    Ok(Json(Balance::now(&mut conn, &app, &viewer.user_id).await?))
}

impl Balance {
    async fn now(conn: &mut Conn, app: &App, user_id: &UserId) -> ApiResult<Self> {
        let tariff = &app.config.generation;
        let demand = Demand::now(conn).await?;
        let terms = Terms::now(conn, user_id, demand, tariff, app.clock.now_ms()).await?;
        Ok(Self {
            credits: balance_of(conn, user_id).await?,
            free_left: terms.free_left,
            daily_allotment: tariff.daily_allotment,
            peak: terms.peak,
        })
    }
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewGrant {
    user_id: String,
    credits: i64,
    /// The purchase or decision that this grant stands for: granting it again changes nothing.
    reference: String,
    #[serde(default)]
    note: String,
}

/// Grant a person credits, once for each reference.
#[utoipa::path(
    post, path = "/v1/credits/grants", tag = "credits", request_body = NewGrant,
    responses((status = 201, body = Balance), (status = 200, body = Balance), (status = 404, body = Problem)),
    security(("bearer" = []))
)]
async fn grant(
    State(app): State<App>,
    _admin: Admin,
    Json(new): Json<NewGrant>,
) -> ApiResult<(StatusCode, Json<Balance>)> {
    if !(1..=MAX_GRANT).contains(&new.credits) {
        return Err(ApiError::bad_request("credits", format!("`credits` must be 1 to {MAX_GRANT}")));
    }
    if new.reference.is_empty() {
        return Err(ApiError::bad_request("reference", "`reference` is empty"));
    }
    let user_id = UserId::new(new.user_id);
    let mut tx = app.db.write().await?;
    people::load(&mut tx, &user_id).await?;
    let entry = Entry { kind: "grant", credits: new.credits, reference: &new.reference, note: &new.note };
    let appended = append(&mut tx, &user_id, entry, app.clock.now_ms()).await?;
    let balance = Balance::now(&mut tx, &app, &user_id).await?;
    tx.commit().await?;
    Ok((if appended { StatusCode::CREATED } else { StatusCode::OK }, Json(balance)))
}
