-- An impression that a ranker in the shadow scored too has `shadow:VERSION` and its predictions among
-- its features, beside those of the champion that showed it. Ranks of equal predictions share
-- their mean, so that the AUC counts them half.
select
    shadow, task, count(*) as impressions, sum(happened) as positives,
    -avg(happened * ln(greatest(live, 1e-7)) + (1 - happened) * ln(greatest(1 - live, 1e-7)))
        as champion_log_loss,
    -avg(happened * ln(greatest(tried, 1e-7)) + (1 - happened) * ln(greatest(1 - tried, 1e-7)))
        as shadow_log_loss,
    (sum(happened * live_rank) - sum(happened) * (sum(happened) + 1) / 2.0)
        / nullif(sum(happened) * sum(1 - happened), 0) as champion_auc,
    (sum(happened * tried_rank) - sum(happened) * (sum(happened) + 1) / 2.0)
        / nullif(sum(happened) * sum(1 - happened), 0) as shadow_auc
from (
    select *,
        rank() over (partition by shadow, task order by live)
            + (count(*) over (partition by shadow, task, live) - 1) / 2.0 as live_rank,
        rank() over (partition by shadow, task order by tried)
            + (count(*) over (partition by shadow, task, tried) - 1) / 2.0 as tried_rank
    from (
        select
            regexp_match(e.features, '"shadow:([^"]+)"')[1] as shadow, t.task,
            cast(regexp_match(e.features, '"predicted_' || t.task || '":([-+.0-9eE]+)')[1] as double)
                as live,
            cast(regexp_match(e.features, '"shadow_predicted_' || t.task || '":([-+.0-9eE]+)')[1]
                as double) as tried,
            case when case t.task when 'click' then o.click when 'long_view' then o.long_view
                else o.liked end then 1.0 else 0.0 end as happened
        from events e
        join impression_outcomes o on o.impression_id = e.event_id and o.user_id = e.user_id
            and o.video_id = e.video_id
        cross join (values ('click'), ('long_view'), ('like')) as t(task)
        where e.kind = 'impression' and e.features like '%"shadow:%'
    ) where live is not null and tried is not null
) group by shadow, task
