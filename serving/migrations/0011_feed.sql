-- Posts, and what the feed showed to whom.

-- A video in the feed. It is visible while the post is `published` and the asset is `published`.
CREATE TABLE posts (
    id           TEXT PRIMARY KEY,
    video_id     TEXT NOT NULL UNIQUE REFERENCES assets (id),
    creator_id   TEXT NOT NULL,
    caption      TEXT NOT NULL,
    topic        TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('published', 'withdrawn', 'deleted')),
    published_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX posts_by_time ON posts (state, published_ms);
CREATE INDEX posts_by_creator ON posts (creator_id, published_ms);

-- What was served, why, and with which probability: explains an item and keeps it from coming
-- back. The event log holds the same fact for the lake.
CREATE TABLE impressions (
    id         TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL,
    video_id   TEXT NOT NULL,
    -- The scroll that it was part of: its clips do not come again.
    scroll_id  TEXT NOT NULL,
    position   INTEGER NOT NULL,
    source     TEXT NOT NULL,
    reason     TEXT NOT NULL,
    policy     TEXT NOT NULL,
    -- Null where it could not be computed.
    score      REAL,
    propensity REAL NOT NULL,
    -- JSON object of name to number.
    features   TEXT NOT NULL,
    served_ms  INTEGER NOT NULL
) STRICT;

CREATE INDEX impressions_by_user ON impressions (user_id, served_ms);
CREATE INDEX impressions_by_scroll ON impressions (scroll_id);

-- A post as it is shown.
CREATE VIEW post_details AS
SELECT
    p.id, p.video_id, p.creator_id, coalesce(h.handle, p.creator_id) AS creator_handle,
    p.caption, p.topic, p.state, p.published_ms,
    a.state AS asset_state, a.duration_ms, a.width, a.height,
    j.prompt, j.remixed_from AS remixed_from_video_id,
    -- The coarse place that the creator gave, unless they switched location off.
    CASE WHEN h.location = 1 THEN h.place END AS place,
    '/v1/posts/' || p.id || '/video' AS video_url,
    '/v1/posts/' || p.id || '/thumbnail' AS thumbnail_url
FROM posts p
JOIN assets a ON a.id = p.video_id
JOIN jobs j ON j.id = p.video_id
LEFT JOIN people h ON h.user_id = p.creator_id;

-- What the lake has still to be told, written in the transaction of what it tells: events go to
-- the event log, rows of videos to the lake.
CREATE TABLE outbox (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT NOT NULL CHECK (kind IN ('event', 'video')),
    payload TEXT NOT NULL
) STRICT;
