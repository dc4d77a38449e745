-- What people did so far with the clips of each creator.
select
    creator_id, count(*) as impressions, count(distinct user_id) as viewers,
    count(distinct video_id) as videos,
    avg(cast(click as double)) as click_rate,
    avg(cast(long_view as double)) as long_view_rate,
    avg(cast(liked as double)) as like_rate,
    avg(cast(followed as double)) as follow_rate,
    avg(watch_ms) as mean_watch_ms
from impression_outcomes where creator_id is not null group by creator_id
