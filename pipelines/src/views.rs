//! The analysts' views over the lake's tables, declared once, as SQL.
//!
//! Each view reads tables or the views above it. A row of `impression_outcomes` is an impression
//! with what the same person did with it, so that rates are plain averages.

use datafusion::prelude::SessionContext;

use crate::error::{PipelineError, Result};

/// Views by name, in the order in which they must be created.
pub const VIEWS: [(&str, &str); 8] = [
    (
        "users_latest",
        "select user_id, attributes, ingested_time_ms from (
            select *, row_number() over (partition by user_id order by ingested_time_ms desc, attributes) as age
            from users
        ) where age = 1",
    ),
    (
        "videos_latest",
        "select video_id, creator_id, duration_ms, created_time_ms, topic, caption, attributes, ingested_time_ms
        from (
            select *, row_number() over (partition by video_id order by ingested_time_ms desc, attributes) as age
            from videos
        ) where age = 1",
    ),
    (
        "impression_outcomes",
        // The same rows, joined the same way, as the labels of a training set. A watch is long at the
        // clip's end or at 18 s, whichever comes first, as in `kinora_schema::ranking::is_long_view`;
        // a clip of unknown length has no end.
        "select
            impression_id, event_time_ms, event_date, user_id, video_id, creator_id, surface, policy,
            position, propensity, duration_ms, watch_ms,
            watch_ms > 0 and watch_ms >= least(coalesce(duration_ms, 18000), 18000) as long_view,
            click, liked, followed, commented, shared, profile_entered, not_interested, reported
        from (
            select
                i.event_id as impression_id, i.event_time_ms, i.event_date, i.user_id, i.video_id,
                i.creator_id, i.surface, i.policy, i.position, i.propensity,
                coalesce(nullif(o.duration_ms, 0), nullif(i.duration_ms, 0), nullif(v.duration_ms, 0))
                    as duration_ms,
                coalesce(o.watch_ms, 0) as watch_ms,
                coalesce(o.click, false) as click,
                coalesce(o.liked, false) as liked,
                coalesce(o.followed, false) as followed,
                coalesce(o.commented, false) as commented,
                coalesce(o.shared, false) as shared,
                coalesce(o.profile_entered, false) as profile_entered,
                coalesce(o.not_interested, false) as not_interested,
                coalesce(o.reported, false) as reported
            from events i
            left join (
                select
                    impression_id, user_id, video_id,
                    max(watch_ms) filter (where kind = 'watch') as watch_ms,
                    max(duration_ms) as duration_ms,
                    bool_or(kind = 'click') as click,
                    bool_or(kind = 'like') as liked,
                    bool_or(kind = 'follow') as followed,
                    bool_or(kind = 'comment') as commented,
                    bool_or(kind = 'share') as shared,
                    bool_or(kind = 'profile_enter') as profile_entered,
                    bool_or(kind = 'not_interested') as not_interested,
                    bool_or(kind = 'report') as reported
                from events where impression_id is not null and kind <> 'impression'
                group by impression_id, user_id, video_id
            ) o on o.impression_id = i.event_id and o.user_id = i.user_id and o.video_id = i.video_id
            left join videos_latest v on v.video_id = i.video_id
            where i.kind = 'impression'
        )",
    ),
    (
        "daily_engagement",
        "select
            event_date, count(*) as impressions, count(distinct user_id) as viewers,
            count(distinct video_id) as videos,
            avg(cast(click as double)) as click_rate,
            avg(cast(long_view as double)) as long_view_rate,
            avg(cast(liked as double)) as like_rate,
            avg(cast(followed as double)) as follow_rate,
            avg(cast(shared as double)) as share_rate,
            avg(cast(not_interested as double)) as not_interested_rate,
            sum(watch_ms) / 1000.0 as watch_s,
            sum(watch_ms) / 1000.0 / count(distinct user_id) as watch_s_per_viewer
        from impression_outcomes group by event_date",
    ),
    (
        "video_engagement",
        "select
            o.video_id, max(v.topic) as topic, max(v.creator_id) as creator_id,
            count(*) as impressions, count(distinct o.user_id) as viewers,
            avg(cast(o.click as double)) as click_rate,
            avg(cast(o.long_view as double)) as long_view_rate,
            avg(cast(o.liked as double)) as like_rate,
            avg(o.watch_ms) as mean_watch_ms
        from impression_outcomes o left join videos_latest v on v.video_id = o.video_id
        group by o.video_id",
    ),
    (
        "experiment_people",
        // A policy that is part of an experiment is called `recipe+experiment:arm/model`.
        "select
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
        from impression_outcomes where policy like '%+%:%/%' group by 1, 2, user_id",
    ),
    (
        "experiment_results",
        // People are what was drawn, so people are what is averaged over. The interval may be looked at
        // as often as one likes: it holds at all times at once, with 97.5% (an asymptotic confidence
        // sequence, Waudby-Smith and others 2021, narrowest at a thousand people). Two arms whose
        // intervals do not meet differ with 95%.
        "select
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
        )",
    ),
    (
        "shadow_results",
        // An impression that a ranker in the shadow scored too has `shadow:VERSION` and its predictions among
        // its features, beside those of the champion that showed it. Ranks of equal predictions share
        // their mean, so that the AUC counts them half.
        "select
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
                    regexp_match(e.features, '\"shadow:([^\"]+)\"')[1] as shadow, t.task,
                    cast(regexp_match(e.features, '\"predicted_' || t.task || '\":([-+.0-9eE]+)')[1] as double)
                        as live,
                    cast(regexp_match(e.features, '\"shadow_predicted_' || t.task || '\":([-+.0-9eE]+)')[1]
                        as double) as tried,
                    case when case t.task when 'click' then o.click when 'long_view' then o.long_view
                        else o.liked end then 1.0 else 0.0 end as happened
                from events e
                join impression_outcomes o on o.impression_id = e.event_id and o.user_id = e.user_id
                    and o.video_id = e.video_id
                cross join (values ('click'), ('long_view'), ('like')) as t(task)
                where e.kind = 'impression' and e.features like '%\"shadow:%'
            ) where live is not null and tried is not null
        ) group by shadow, task",
    ),
];

/// Registers every view in a session that has the tables.
pub(crate) async fn register(context: &SessionContext) -> Result<()> {
    for (name, sql) in VIEWS {
        let plan = context.sql(sql).await.map_err(PipelineError::Read)?.into_view();
        context.register_table(name, plan).map_err(PipelineError::Read)?;
    }
    Ok(())
}
