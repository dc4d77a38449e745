-- People are what was drawn, so people are what is averaged over. The interval may be looked at
-- as often as one likes: it holds at all times at once, with 97.5% (an asymptotic confidence
-- sequence, Waudby-Smith and others 2021, narrowest at a thousand people). Two arms whose
-- intervals do not meet differ with 95%.
select
    experiment, arm, metric, people, mean,
    mean - half as low, mean + half as high
from (
    select
        experiment, arm, metric, count(*) as people, avg(value) as mean,
        sqrt(var_samp(value) * 2 * (count(*) * 0.0095 + 1) / (count(*) * count(*) * 0.0095)
            * ln(sqrt(count(*) * 0.0095 + 1) / 0.025)) as half
    from (
        select experiment, arm, 'click_rate' as metric, click_rate as value from experiment_people
        union all select experiment, arm, 'long_view_rate', long_view_rate from experiment_people
        union all select experiment, arm, 'like_rate', like_rate from experiment_people
        union all select experiment, arm, 'follow_rate', follow_rate from experiment_people
        union all select experiment, arm, 'share_rate', share_rate from experiment_people
        union all select experiment, arm, 'not_interested_rate', not_interested_rate
            from experiment_people
        union all select experiment, arm, 'watch_s', watch_s from experiment_people
    ) group by experiment, arm, metric
)
