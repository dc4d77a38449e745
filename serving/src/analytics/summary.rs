//! The dashboard's numbers: a creator (or the platform) and a number of days go in; days, a funnel
//! and the best clips come out, each a plain aggregate of `impression_outcomes`.

use jiff::Timestamp;
use kinora_pipelines::query::Policy;
use kinora_schema::UserId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::ask;
use crate::app::App;
use crate::clock::DAY_MS;
use crate::error::{ApiError, ApiResult};

const TOP_CLIPS: usize = 10;

/// Engagement by day, as a funnel, and by clip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Summary {
    /// `mine` or `platform`.
    pub scope: String,
    /// Oldest first; days without impressions are left out.
    pub days: Vec<Day>,
    pub funnel: Funnel,
    /// Most played first.
    pub top_clips: Vec<Clip>,
}

/// One UTC day.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Day {
    /// `YYYY-MM-DD`.
    pub date: String,
    pub impressions: u64,
    pub viewers: u64,
    /// Impressions that were opened or watched.
    pub plays: u64,
    /// Plays watched to the end, or for 18 seconds.
    pub completions: u64,
    pub likes: u64,
    pub follows: u64,
    pub shares: u64,
    pub watch_s: f64,
}

/// How many of the impressions went how far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Funnel {
    pub impressions: u64,
    pub plays: u64,
    pub completions: u64,
    pub likes: u64,
    pub follows: u64,
    pub shares: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Clip {
    pub video_id: String,
    #[serde(default)]
    pub caption: Option<String>,
    #[serde(default)]
    pub topic: Option<String>,
    #[serde(default)]
    pub creator_id: Option<String>,
    pub impressions: u64,
    pub plays: u64,
    pub completions: u64,
    pub likes: u64,
    pub watch_s: f64,
}

pub(super) async fn summarise(app: &App, creator: Option<&UserId>, days: u32) -> ApiResult<Summary> {
    let since = day_of(app.clock.now_ms() - i64::from(days - 1) * DAY_MS);
    let mut condition = format!("event_date >= {}", literal(&since));
    if let Some(creator) = creator {
        condition = format!("{condition} and creator_id = {}", literal(creator.as_str()));
    }
    let by_day: Vec<Day> = rows(app, &days_sql(&condition), days as usize).await?;
    let top_clips = rows(app, &clips_sql(&condition), TOP_CLIPS).await?;
    let funnel = by_day.iter().fold(Funnel::default(), |total, day| Funnel {
        impressions: total.impressions + day.impressions,
        plays: total.plays + day.plays,
        completions: total.completions + day.completions,
        likes: total.likes + day.likes,
        follows: total.follows + day.follows,
        shares: total.shares + day.shares,
    });
    let scope = if creator.is_some() { "mine" } else { "platform" };
    Ok(Summary { scope: scope.to_owned(), days: by_day, funnel, top_clips })
}

fn days_sql(condition: &str) -> String {
    format!(
        "select event_date as date, count(*) as impressions, count(distinct user_id) as viewers,
            count(*) filter (where click or watch_ms > 0) as plays,
            count(*) filter (where long_view) as completions,
            count(*) filter (where liked) as likes,
            count(*) filter (where followed) as follows,
            count(*) filter (where shared) as shares,
            sum(watch_ms) / 1000.0 as watch_s
        from impression_outcomes where {condition}
        group by event_date order by event_date"
    )
}

fn clips_sql(condition: &str) -> String {
    format!(
        "select o.video_id, max(v.caption) as caption, max(v.topic) as topic,
            coalesce(max(v.creator_id), max(o.creator_id)) as creator_id,
            count(*) as impressions,
            count(*) filter (where o.click or o.watch_ms > 0) as plays,
            count(*) filter (where o.long_view) as completions,
            count(*) filter (where o.liked) as likes,
            sum(o.watch_ms) / 1000.0 as watch_s
        from (select * from impression_outcomes where {condition}) o
            left join videos_latest v on v.video_id = o.video_id
        group by o.video_id order by plays desc, likes desc, o.video_id limit {TOP_CLIPS}"
    )
}

async fn rows<T: serde::de::DeserializeOwned>(app: &App, sql: &str, max_rows: usize) -> ApiResult<Vec<T>> {
    // What this file asks is right or a defect: nothing of it came from the client.
    let result = ask(app, &Policy::default(), sql, max_rows).await.map_err(|error| match error {
        ApiError::BadRequest { detail, .. } => ApiError::internal(anyhow::anyhow!(detail)),
        other => other,
    })?;
    let rows = result.to_json_rows().map_err(ApiError::internal)?;
    serde_json::from_value(Value::Array(rows)).map_err(ApiError::internal)
}

/// A string literal of SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn day_of(ms: i64) -> String {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH).strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_an_id_stays_inside_the_literal() {
        assert_eq!(literal("o'hara' or 1=1 --"), "'o''hara'' or 1=1 --'");
    }

    #[test]
    fn days_are_utc_dates() {
        assert_eq!(day_of(0), "1970-01-01");
        assert_eq!(day_of(1_795_000_000_000), "2026-11-18");
    }
}
