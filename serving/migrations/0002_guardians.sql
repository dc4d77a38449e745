-- Guardians of teens, the limits they set, and the feed time the server counted.

CREATE TABLE guardian_links (
    link_id              TEXT PRIMARY KEY,
    guardian_id          TEXT NOT NULL REFERENCES people (user_id),
    -- Unknown until the teen accepts.
    teen_id              TEXT REFERENCES people (user_id),
    code_sha256          BLOB NOT NULL UNIQUE,
    state                TEXT NOT NULL CHECK (state IN ('offered', 'active', 'ended')),
    -- The most that each setting may be while the link is active.
    personalisation      INTEGER NOT NULL DEFAULT 1 CHECK (personalisation IN (0, 1)),
    location             INTEGER NOT NULL DEFAULT 1 CHECK (location IN (0, 1)),
    conversation_history INTEGER NOT NULL DEFAULT 1 CHECK (conversation_history IN (0, 1)),
    sensitive            INTEGER NOT NULL DEFAULT 1 CHECK (sensitive IN (0, 1)),
    messages_from        TEXT NOT NULL DEFAULT 'everyone'
                         CHECK (messages_from IN ('nobody', 'followed', 'everyone')),
    daily_scroll_minutes INTEGER NOT NULL DEFAULT 1440 CHECK (daily_scroll_minutes BETWEEN 0 AND 1440),
    offered_ms           INTEGER NOT NULL,
    expires_ms           INTEGER NOT NULL,
    accepted_ms          INTEGER,
    ended_ms             INTEGER,
    CHECK (state <> 'active' OR teen_id IS NOT NULL),
    CHECK (teen_id IS NULL OR teen_id <> guardian_id)
) STRICT;

CREATE INDEX guardian_links_by_teen ON guardian_links (teen_id, state);
CREATE INDEX guardian_links_by_guardian ON guardian_links (guardian_id, state);

CREATE TABLE feed_usage (
    user_id TEXT NOT NULL REFERENCES people (user_id),
    -- UTC days since the epoch.
    day     INTEGER NOT NULL,
    used_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    PRIMARY KEY (user_id, day)
) STRICT, WITHOUT ROWID;
