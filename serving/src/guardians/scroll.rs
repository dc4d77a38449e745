//! The daily feed limit. Each feed request enters with its time; the server counts how long the
//! person has been in the feed today and refuses once the limit in force is used up.
//!
//! INVARIANT: the count is the server's own: nothing that a client sends or leaves out lowers it.

use kinora_schema::UserId;

use super::{NO_SCROLL_LIMIT, in_force};
use crate::clock::{DAY_MS, next_utc_day_ms, utc_day};
use crate::config::Config;
use crate::db::Db;
use crate::error::{ApiError, ApiResult};

/// The most that is counted between two requests: longer than a page of clips plays, so that
/// pausing is not counted as watching and asking rarely does not hide watching.
const MAX_COUNTED_GAP_MS: i64 = 5 * 60 * 1000;

/// Counts a feed request at `now_ms`, and refuses it when the day's limit is used up.
pub async fn check_scroll(db: &Db, config: &Config, user_id: &UserId, now_ms: i64) -> ApiResult<()> {
    let mut conn = db.read().acquire().await?;
    let limit_minutes = in_force(&mut conn, config, user_id, now_ms).await?.settings.daily_scroll_minutes;
    drop(conn);
    if limit_minutes >= NO_SCROLL_LIMIT {
        return Ok(());
    }
    let day = utc_day(now_ms);
    let mut tx = db.write().await?;
    let last_ms: Option<i64> = sqlx::query_scalar("SELECT max(last_ms) FROM feed_usage WHERE user_id = ?")
        .bind(user_id.as_str())
        .fetch_one(&mut *tx)
        .await?;
    // What was watched before midnight belongs to yesterday.
    let since_ms = last_ms.map_or(now_ms, |last_ms| last_ms.max(day * DAY_MS));
    let counted_ms = (now_ms - since_ms).clamp(0, MAX_COUNTED_GAP_MS);
    let used_ms: i64 = sqlx::query_scalar(
        "INSERT INTO feed_usage (user_id, day, used_ms, last_ms) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (user_id, day) DO UPDATE SET used_ms = used_ms + ?3, last_ms = max(last_ms, ?4)
         RETURNING used_ms",
    )
    .bind(user_id.as_str())
    .bind(day)
    .bind(counted_ms)
    .bind(now_ms)
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    if used_ms >= i64::from(limit_minutes) * 60_000 {
        return Err(ApiError::FeedLimitReached { limit_minutes, resets_at_ms: next_utc_day_ms(now_ms) });
    }
    Ok(())
}
