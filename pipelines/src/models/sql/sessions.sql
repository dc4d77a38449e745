-- A person's events without a pause of half an hour between two of them.
select
    user_id || ':' || cast(min(event_time_ms) as varchar) as session_id, user_id,
    min(event_time_ms) as started_ms, max(event_time_ms) as ended_ms, min(event_date) as session_date,
    count(*) as events,
    count(*) filter (where kind = 'impression') as impressions,
    count(distinct video_id) as videos,
    coalesce(sum(watch_ms) filter (where kind = 'watch'), 0) as watch_ms,
    count(*) filter (where kind = 'like') as likes,
    count(*) filter (where kind in ('create', 'remix')) as creations
from (
    select *,
        sum(begins) over (
            partition by user_id order by event_time_ms, event_id rows between unbounded preceding and current row
        ) as number
    from (
        select *,
            case when event_time_ms - lag(event_time_ms) over (
                partition by user_id order by event_time_ms, event_id
            ) < 1800000 then 0 else 1 end as begins
        from events
    )
) group by user_id, number
