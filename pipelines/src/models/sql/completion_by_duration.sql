-- How much of a clip is watched, by its length. Completion counts at most one: who watches twice has seen it once.
select
    from_s, until_s, count(*) as impressions,
    count(*) filter (where watch_ms > 0) as watches,
    avg(least(cast(watch_ms as double) / duration_ms, 1.0)) filter (where watch_ms > 0) as mean_completion,
    avg(case when watch_ms >= duration_ms then 1.0 else 0.0 end) filter (where watch_ms > 0) as completion_rate,
    avg(cast(long_view as double)) as long_view_rate,
    avg(watch_ms) filter (where watch_ms > 0) as mean_watch_ms
from impression_outcomes o
join (values
    (0, 5), (5, 10), (10, 15), (15, 20), (20, 30), (30, 60), (60, 120), (120, 300), (300, 86401)
) as buckets (from_s, until_s) on duration_ms >= from_s * 1000 and duration_ms < until_s * 1000
group by from_s, until_s
