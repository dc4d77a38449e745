-- What each person did so far.
select
    user_id, count(*) as impressions, count(distinct video_id) as videos,
    count(distinct event_date) as active_days,
    min(event_time_ms) as first_ms, max(event_time_ms) as last_ms,
    avg(cast(click as double)) as click_rate,
    avg(cast(long_view as double)) as long_view_rate,
    avg(cast(liked as double)) as like_rate,
    avg(cast(not_interested as double)) as not_interested_rate,
    avg(watch_ms) as mean_watch_ms
from impression_outcomes group by user_id
