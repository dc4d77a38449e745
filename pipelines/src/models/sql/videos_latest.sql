select video_id, creator_id, duration_ms, created_time_ms, topic, caption, attributes, ingested_time_ms
from (
    select *, row_number() over (
        partition by video_id order by ingested_time_ms desc, attributes, caption, topic, creator_id,
        duration_ms, created_time_ms
    ) as age
    from videos
) where age = 1
