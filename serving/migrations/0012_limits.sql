-- What a guardian's limits reach: the place on a teen's posts, and the time that counts as feed.

-- Playing time of the last page that was served, as far as it has not been counted.
ALTER TABLE feed_usage ADD COLUMN page_ms INTEGER NOT NULL DEFAULT 0;

DROP VIEW post_details;

-- A post as it is shown.
CREATE VIEW post_details AS
SELECT
    p.id, p.video_id, p.creator_id, coalesce(h.handle, p.creator_id) AS creator_handle,
    p.caption, p.topic, p.state, p.published_ms,
    a.state AS asset_state, a.duration_ms, a.width, a.height,
    j.prompt, j.remixed_from AS remixed_from_video_id,
    -- The coarse place that the creator gave, unless they or a guardian switched location off.
    CASE WHEN h.location = 1 AND NOT EXISTS (
        SELECT 1 FROM guardian_links g
        WHERE g.teen_id = p.creator_id AND g.state = 'active' AND g.location = 0
    ) THEN h.place END AS place,
    '/v1/posts/' || p.id || '/video' AS video_url,
    '/v1/posts/' || p.id || '/thumbnail' AS thumbnail_url
FROM posts p
JOIN assets a ON a.id = p.video_id
JOIN jobs j ON j.id = p.video_id
LEFT JOIN people h ON h.user_id = p.creator_id;
