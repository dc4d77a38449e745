//! The daily feed limit. Each feed request enters with its time; the server counts how long the
//! person has been in the feed today and refuses once the limit in force is used up.
//!
//! What counts is the time since the request before, up to the playing time of the page that it
//! was answered with: who lays the phone away, or sleeps, does not watch. INVARIANT: the count is
//! the server's own: nothing that a client sends or leaves out lowers it.

use kinora_schema::UserId;

use super::{NO_SCROLL_LIMIT, in_force};
use crate::clock::{next_utc_day_ms, utc_day};
use crate::config::Config;
use crate::db::{Conn, Db};
use crate::error::{ApiError, ApiResult};

/// Counts a feed request at `now_ms`, and refuses it when the day's limit is used up.
pub async fn check_scroll(db: &Db, config: &Config, user_id: &UserId, now_ms: i64) -> ApiResult<()> {
    let mut conn = db.read().acquire().await?;
    let limit_minutes = in_force(&mut conn, config, user_id, now_ms).await?.settings.daily_scroll_minutes;
    drop(conn);
    if limit_minutes >= NO_SCROLL_LIMIT {
        return Ok(());
    }
    let mut tx = db.write().await?;
    // What is counted is taken off the page, so that requests which fail do not count it again.
    let used_ms: i64 = sqlx::query_scalar(
        "INSERT INTO feed_usage (user_id, day, used_ms, last_ms) VALUES (?1, ?2, 0, ?3)
         ON CONFLICT (user_id, day) DO UPDATE SET
             used_ms = used_ms + max(0, min(?3 - last_ms, page_ms)),
             page_ms = page_ms - max(0, min(?3 - last_ms, page_ms)),
             last_ms = max(last_ms, ?3)
         RETURNING used_ms",
    )
    .bind(user_id.as_str())
    .bind(utc_day(now_ms))
    .bind(now_ms)
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    if used_ms >= i64::from(limit_minutes) * 60_000 {
        return Err(ApiError::FeedLimitReached { limit_minutes, resets_at_ms: next_utc_day_ms(now_ms) });
    }
    Ok(())
}

/// Records the playing time of the page that a counted request was answered with.
pub async fn page_served(conn: &mut Conn, user_id: &UserId, page_ms: i64, now_ms: i64) -> ApiResult<()> {
    sqlx::query("UPDATE feed_usage SET page_ms = ? WHERE user_id = ? AND day = ?")
        .bind(page_ms)
        .bind(user_id.as_str())
        .bind(utc_day(now_ms))
        .execute(conn)
        .await?;
    Ok(())
}
