-- Generations: the queue, what it made, and which likenesses each thing rests on.
-- Times are UTC milliseconds. `jobs.id` is the video's id, and `assets.id` equals it.

CREATE TABLE jobs (
    id             TEXT PRIMARY KEY,
    user_id        TEXT NOT NULL,
    model          TEXT NOT NULL,
    prompt         TEXT NOT NULL,
    seconds        INTEGER NOT NULL,
    width          INTEGER NOT NULL,
    height         INTEGER NOT NULL,
    seed           INTEGER NOT NULL,
    -- The video that this one remixes. Its cameos are inherited and can never be dropped.
    remixed_from   TEXT,
    state          TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    progress       INTEGER NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),
    error_code     TEXT,
    error_message  TEXT,
    attempts       INTEGER NOT NULL DEFAULT 0,
    -- Fencing token: each claim takes the next; only the holder of the latest may commit.
    fence          INTEGER NOT NULL DEFAULT 0,
    lease_owner    TEXT,
    lease_until_ms INTEGER,
    created_ms     INTEGER NOT NULL,
    completed_ms   INTEGER,
    deleted_ms     INTEGER
) STRICT;

CREATE INDEX jobs_by_state ON jobs (state, created_ms);
CREATE INDEX jobs_by_user ON jobs (user_id, created_ms);

-- The cameos that a job was admitted with, at the epoch that consent was given for.
CREATE TABLE job_cameos (
    job_id   TEXT NOT NULL REFERENCES jobs (id),
    cameo_id TEXT NOT NULL,
    epoch    INTEGER NOT NULL,
    grant_id TEXT,
    PRIMARY KEY (job_id, cameo_id)
) STRICT;

CREATE INDEX job_cameos_by_cameo ON job_cameos (cameo_id);

-- One retry-safe creation per (person, key). The digest tells a retry from a different request.
CREATE TABLE idempotency (
    user_id    TEXT NOT NULL,
    key        TEXT NOT NULL,
    digest     TEXT NOT NULL,
    job_id     TEXT NOT NULL REFERENCES jobs (id),
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (user_id, key)
) STRICT;

-- Finished videos. `fence` is that of the claim that committed it.
CREATE TABLE assets (
    id          TEXT PRIMARY KEY REFERENCES jobs (id),
    owner_id    TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('draft', 'published', 'quarantined', 'tombstoned', 'erased')),
    -- Prefix of its objects in the media store.
    object      TEXT NOT NULL,
    bytes       INTEGER NOT NULL,
    sha256      TEXT NOT NULL,
    duration_ms INTEGER NOT NULL,
    width       INTEGER NOT NULL,
    height      INTEGER NOT NULL,
    fence       INTEGER NOT NULL,
    created_ms  INTEGER NOT NULL
) STRICT;

CREATE INDEX assets_by_owner ON assets (owner_id, created_ms);

-- Every cameo in the asset's ancestry, not only the asset's own: visibility needs all of them.
CREATE TABLE asset_cameos (
    asset_id TEXT NOT NULL REFERENCES assets (id),
    cameo_id TEXT NOT NULL,
    epoch    INTEGER NOT NULL,
    grant_id TEXT,
    PRIMARY KEY (asset_id, cameo_id)
) STRICT;

CREATE INDEX asset_cameos_by_cameo ON asset_cameos (cameo_id);

-- Remix edges, child to parent.
CREATE TABLE derivations (
    child_id  TEXT NOT NULL REFERENCES assets (id),
    parent_id TEXT NOT NULL REFERENCES assets (id),
    PRIMARY KEY (child_id, parent_id)
) STRICT;

CREATE INDEX derivations_by_parent ON derivations (parent_id);
