-- A policy that is part of an experiment is called `recipe+experiment:arm/model`.
select
    split_part(split_part(split_part(policy, '/', 1), '+', 2), ':', 1) as experiment,
    split_part(split_part(policy, '/', 1), ':', 2) as arm,
    user_id, count(*) as impressions,
    avg(cast(click as double)) as click_rate,
    avg(cast(long_view as double)) as long_view_rate,
    avg(cast(liked as double)) as like_rate,
    avg(cast(followed as double)) as follow_rate,
    avg(cast(shared as double)) as share_rate,
    avg(cast(not_interested as double)) as not_interested_rate,
    sum(watch_ms) / 1000.0 as watch_s
from impression_outcomes where policy like '%+%:%/%' group by 1, 2, user_id
