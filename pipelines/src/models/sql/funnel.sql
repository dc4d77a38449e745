-- From being shown a clip to making another of it: a person and a clip count once a day, at the furthest. A remix
-- counts for the days on which the clip had been shown to the person by then.
select
    event_date, count(*) as shown,
    count(*) filter (where clicked) as clicked,
    count(*) filter (where watched) as watched,
    count(*) filter (where long_viewed) as long_viewed,
    count(*) filter (where liked) as liked,
    count(*) filter (where shared) as shared,
    count(*) filter (where remixed) as remixed
from (
    select
        o.event_date, o.user_id, o.video_id,
        bool_or(o.click) as clicked, bool_or(o.watch_ms > 0) as watched, bool_or(o.long_view) as long_viewed,
        bool_or(o.liked) as liked, bool_or(o.shared) as shared,
        bool_or(r.event_time_ms is not null and r.event_time_ms >= o.event_time_ms) as remixed
    from impression_outcomes o
    left join (
        select user_id, video_id, max(event_time_ms) as event_time_ms from events where kind = 'remix'
        group by user_id, video_id
    ) r on r.user_id = o.user_id and r.video_id = o.video_id
    group by o.event_date, o.user_id, o.video_id
) group by event_date
