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
    position   INTEGER NOT NULL,
    source     TEXT NOT NULL,
    policy     TEXT NOT NULL,
    score      REAL NOT NULL,
    propensity REAL NOT NULL,
    -- JSON object of name to number.
    features   TEXT NOT NULL,
    served_ms  INTEGER NOT NULL
) STRICT;

CREATE INDEX impressions_by_user ON impressions (user_id, served_ms);
