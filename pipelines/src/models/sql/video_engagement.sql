select
    o.video_id, max(v.topic) as topic, max(v.creator_id) as creator_id,
    count(*) as impressions, count(distinct o.user_id) as viewers,
    avg(cast(o.click as double)) as click_rate,
    avg(cast(o.long_view as double)) as long_view_rate,
    avg(cast(o.liked as double)) as like_rate,
    avg(o.watch_ms) as mean_watch_ms
from impression_outcomes o left join videos_latest v on v.video_id = o.video_id
group by o.video_id
