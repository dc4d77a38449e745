-- What a creator published, reached and won, week by week (weeks begin on Monday, UTC), and all followers until then.
select
    creator_id, cast(cast(to_timestamp_millis(week * 604800000 + 345600000) as date) as varchar) as week,
    sum(published) as published, sum(impressions) as impressions, sum(viewers) as viewers,
    sum(follows) as follows,
    sum(sum(follows)) over (
        partition by creator_id order by week rows between unbounded preceding and current row
    ) as follows_so_far
from (
    select
        creator_id, (event_time_ms - 345600000) / 604800000 as week, 0 as published,
        count(*) as impressions, count(distinct user_id) as viewers,
        count(*) filter (where followed) as follows
    from impression_outcomes where creator_id is not null
    group by creator_id, (event_time_ms - 345600000) / 604800000
    union all
    select creator_id, (created_time_ms - 345600000) / 604800000, count(*), 0, 0, 0
    from videos_latest where creator_id is not null and created_time_ms is not null
    group by creator_id, (created_time_ms - 345600000) / 604800000
) group by creator_id, week
