-- The same rows, joined the same way, as the labels of a training set. A watch is long at the
-- clip's end or at 18 s, whichever comes first, as in `kinora_schema::ranking::is_long_view`;
-- a clip of unknown length has no end.
select
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
)
