-- What people ask of their feed: in words, and by clips that they want to see less like.

CREATE TABLE steering (
    user_id    TEXT PRIMARY KEY,
    -- As it was typed; it is read anew for every page.
    text       TEXT NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE less_like (
    user_id       TEXT NOT NULL,
    video_id      TEXT NOT NULL,
    asked_ms      INTEGER NOT NULL,
    -- When it was taken back: what was asked before and arrives later does not count.
    taken_back_ms INTEGER,
    PRIMARY KEY (user_id, video_id)
) STRICT;

-- Why an item was where it was: a JSON object.
ALTER TABLE impressions ADD COLUMN why TEXT NOT NULL DEFAULT '{}';
