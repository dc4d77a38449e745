-- People, their tokens, whom they follow and block, and what the server tells them.
-- Times are UTC milliseconds.

CREATE TABLE people (
    user_id              TEXT PRIMARY KEY,
    handle               TEXT NOT NULL UNIQUE COLLATE NOCASE,
    display_name         TEXT NOT NULL DEFAULT '',
    bio                  TEXT NOT NULL DEFAULT '',
    -- Unknown until recorded; once recorded, only an admin changes it.
    birth_year           INTEGER,
    -- The person's own wishes. What is in force is these, narrowed by age and guardians.
    personalisation      INTEGER NOT NULL DEFAULT 1 CHECK (personalisation IN (0, 1)),
    location             INTEGER NOT NULL DEFAULT 1 CHECK (location IN (0, 1)),
    conversation_history INTEGER NOT NULL DEFAULT 1 CHECK (conversation_history IN (0, 1)),
    sensitive            INTEGER NOT NULL DEFAULT 0 CHECK (sensitive IN (0, 1)),
    messages_from        TEXT NOT NULL DEFAULT 'everyone'
                         CHECK (messages_from IN ('nobody', 'followed', 'everyone')),
    -- A whole day (1440) is no limit.
    daily_scroll_minutes INTEGER NOT NULL DEFAULT 1440 CHECK (daily_scroll_minutes BETWEEN 0 AND 1440),
    -- Coarse place for `near you`, as the person gave it; never derived.
    place                TEXT,
    -- Version of the switches, for If-Match.
    version              INTEGER NOT NULL DEFAULT 1,
    created_ms           INTEGER NOT NULL
) STRICT;

CREATE TABLE tokens (
    token_id     TEXT PRIMARY KEY,
    token_sha256 BLOB NOT NULL UNIQUE,
    user_id      TEXT NOT NULL REFERENCES people (user_id),
    role         TEXT NOT NULL CHECK (role IN ('user', 'moderator', 'analyst', 'admin')),
    name         TEXT NOT NULL,
    created_ms   INTEGER NOT NULL,
    expires_ms   INTEGER,
    revoked_ms   INTEGER
) STRICT;

CREATE TABLE follows (
    follower_id TEXT NOT NULL REFERENCES people (user_id),
    followed_id TEXT NOT NULL REFERENCES people (user_id),
    created_ms  INTEGER NOT NULL,
    PRIMARY KEY (follower_id, followed_id),
    CHECK (follower_id <> followed_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX follows_by_followed ON follows (followed_id);

CREATE TABLE blocks (
    blocker_id TEXT NOT NULL REFERENCES people (user_id),
    blocked_id TEXT NOT NULL REFERENCES people (user_id),
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (blocker_id, blocked_id),
    CHECK (blocker_id <> blocked_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX blocks_by_blocked ON blocks (blocked_id);

CREATE TABLE notifications (
    notification_id TEXT PRIMARY KEY,
    user_id         TEXT NOT NULL REFERENCES people (user_id),
    kind            TEXT NOT NULL,
    text            TEXT NOT NULL,
    created_ms      INTEGER NOT NULL,
    read_ms         INTEGER
) STRICT;

CREATE INDEX notifications_by_user ON notifications (user_id, created_ms);
