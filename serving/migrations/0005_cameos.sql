-- Cameos: consented likenesses. The picture itself is never kept; what the model needs of it is a
-- small template, encrypted under a key of its own. Destroying the key's row is the erasure.

CREATE TABLE cameos (
    cameo_id           TEXT PRIMARY KEY,
    owner_id           TEXT NOT NULL REFERENCES people (user_id),
    name               TEXT NOT NULL,
    state              TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'revoked', 'purged')),
    audience           TEXT NOT NULL CHECK (audience IN ('only_me', 'approved', 'mutuals', 'everyone')),
    -- Fencing token: every revocation and suspension takes the next.
    epoch              INTEGER NOT NULL DEFAULT 1,
    -- What was made under an earlier epoch than this is no longer shown.
    visible_from_epoch INTEGER NOT NULL DEFAULT 1,
    created_ms         INTEGER NOT NULL,
    revoked_ms         INTEGER
) STRICT;

CREATE INDEX cameos_by_owner ON cameos (owner_id);

CREATE TRIGGER cameo_epochs_are_monotone BEFORE UPDATE ON cameos
WHEN new.epoch < old.epoch OR new.visible_from_epoch < old.visible_from_epoch
BEGIN SELECT raise(ABORT, 'the epoch of a cameo never goes back'); END;

CREATE TRIGGER cameo_ends_absorb BEFORE UPDATE OF state ON cameos
WHEN (old.state = 'purged' AND new.state <> 'purged')
  OR (old.state = 'revoked' AND new.state NOT IN ('revoked', 'purged'))
BEGIN SELECT raise(ABORT, 'a cameo that was revoked stays revoked'); END;

-- The encrypted template, and apart from it the key that opens it.
CREATE TABLE cameo_templates (
    cameo_id TEXT PRIMARY KEY REFERENCES cameos (cameo_id),
    sealed   BLOB NOT NULL
) STRICT;

CREATE TABLE cameo_keys (
    cameo_id TEXT PRIMARY KEY REFERENCES cameos (cameo_id),
    key      BLOB NOT NULL
) STRICT;

-- What the person agreed to, in the words that they were shown, kept as the proof of consent.
CREATE TABLE consent_receipts (
    receipt_id TEXT PRIMARY KEY,
    cameo_id   TEXT NOT NULL REFERENCES cameos (cameo_id),
    person_id  TEXT NOT NULL REFERENCES people (user_id),
    statement  TEXT NOT NULL,
    given_ms   INTEGER NOT NULL,
    withdrawn_ms INTEGER
) STRICT;

-- Permission for one person, beyond the audience. A new grant is a new row with a new id.
CREATE TABLE cameo_grants (
    grant_id   TEXT PRIMARY KEY,
    cameo_id   TEXT NOT NULL REFERENCES cameos (cameo_id),
    user_id    TEXT NOT NULL REFERENCES people (user_id),
    state      TEXT NOT NULL CHECK (state IN ('offered', 'active', 'declined', 'revoked')),
    -- After this time the grant allows no new use.
    expires_ms INTEGER,
    offered_ms INTEGER NOT NULL,
    decided_ms INTEGER
) STRICT;

CREATE INDEX cameo_grants_by_cameo ON cameo_grants (cameo_id, user_id);
CREATE INDEX cameo_grants_by_user ON cameo_grants (user_id, state);

CREATE TRIGGER cameo_grants_ends_absorb BEFORE UPDATE OF state ON cameo_grants
WHEN old.state IN ('declined', 'revoked') AND new.state <> old.state
BEGIN SELECT raise(ABORT, 'a grant that ended stays ended'); END;
