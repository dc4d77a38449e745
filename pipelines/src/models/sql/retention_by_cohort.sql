-- People by the week in which they came, and how many of them were there some weeks later. Weeks begin on Monday,
-- UTC: 5 January 1970 was one. A week that has not ended yet counts what there is of it.
select
    cast(cast(to_timestamp_millis(cohort * 604800000 + 345600000) as date) as varchar) as cohort_week,
    week - cohort as weeks_later, max(size) as cohort_size, count(*) as active,
    cast(count(*) as double) / max(size) as retention
from (
    select a.user_id, a.week, f.cohort, s.size
    from (
        select distinct user_id, (event_time_ms - 345600000) / 604800000 as week from events
    ) a
    join (
        select user_id, (min(event_time_ms) - 345600000) / 604800000 as cohort from events group by user_id
    ) f on f.user_id = a.user_id
    join (
        select cohort, count(*) as size from (
            select user_id, (min(event_time_ms) - 345600000) / 604800000 as cohort from events group by user_id
        ) group by cohort
    ) s on s.cohort = f.cohort
) group by cohort, week
