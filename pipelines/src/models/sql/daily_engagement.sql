select
    event_date, count(*) as impressions, count(distinct user_id) as viewers,
    count(distinct video_id) as videos,
    avg(cast(click as double)) as click_rate,
    avg(cast(long_view as double)) as long_view_rate,
    avg(cast(liked as double)) as like_rate,
    avg(cast(followed as double)) as follow_rate,
    avg(cast(shared as double)) as share_rate,
    avg(cast(not_interested as double)) as not_interested_rate,
    sum(watch_ms) / 1000.0 as watch_s,
    sum(watch_ms) / 1000.0 / count(distinct user_id) as watch_s_per_viewer
from impression_outcomes group by event_date
