-- Reports, the cases they open, what moderators decide, and the audit log.

-- A case is everything that was reported about one video while it is open.
CREATE TABLE moderation_cases (
    case_id    TEXT PRIMARY KEY,
    video_id   TEXT NOT NULL,
    -- Whose video it is; unknown for a video that this installation does not hold.
    owner_id   TEXT,
    state      TEXT NOT NULL CHECK (state IN ('open', 'decided')),
    -- The highest of its reports; a higher one is looked at first.
    severity   INTEGER NOT NULL,
    opened_ms  INTEGER NOT NULL,
    decided_ms INTEGER
) STRICT;

CREATE UNIQUE INDEX one_open_case_a_video ON moderation_cases (video_id) WHERE state = 'open';
CREATE INDEX moderation_cases_by_age ON moderation_cases (state, severity, opened_ms);

CREATE TABLE reports (
    report_id   TEXT PRIMARY KEY,
    case_id     TEXT NOT NULL REFERENCES moderation_cases (case_id),
    reporter_id TEXT NOT NULL REFERENCES people (user_id),
    reason      TEXT NOT NULL,
    details     TEXT NOT NULL,
    created_ms  INTEGER NOT NULL
) STRICT;

CREATE INDEX reports_by_case ON reports (case_id, created_ms);
CREATE INDEX reports_by_reporter ON reports (reporter_id, created_ms);

CREATE TRIGGER reports_are_final BEFORE UPDATE ON reports
BEGIN SELECT raise(ABORT, 'reports are append-only'); END;
CREATE TRIGGER reports_stay BEFORE DELETE ON reports
BEGIN SELECT raise(ABORT, 'reports are append-only'); END;

-- The statement of reasons of each decision, in the terms of the Digital Services Act.
CREATE TABLE statements (
    statement_id        TEXT PRIMARY KEY,
    case_id             TEXT NOT NULL REFERENCES moderation_cases (case_id),
    video_id            TEXT NOT NULL,
    action              TEXT NOT NULL CHECK (action IN ('keep', 'quarantine', 'remove')),
    decision_ground     TEXT NOT NULL CHECK (decision_ground IN ('illegal_content', 'incompatible_with_terms')),
    decision_facts      TEXT NOT NULL,
    category            TEXT NOT NULL,
    -- What the asset was before, so that an appeal can restore it.
    state_before        TEXT,
    automated_detection INTEGER NOT NULL DEFAULT 0,
    automated_decision  INTEGER NOT NULL DEFAULT 0,
    decided_by          TEXT NOT NULL REFERENCES people (user_id),
    decided_ms          INTEGER NOT NULL,
    appeal_until_ms     INTEGER NOT NULL
) STRICT;

CREATE INDEX statements_by_case ON statements (case_id);

CREATE TABLE appeals (
    appeal_id    TEXT PRIMARY KEY,
    statement_id TEXT NOT NULL REFERENCES statements (statement_id),
    appellant_id TEXT NOT NULL REFERENCES people (user_id),
    text         TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('open', 'upheld', 'overturned')),
    reasons      TEXT,
    created_ms   INTEGER NOT NULL,
    decided_ms   INTEGER,
    UNIQUE (statement_id, appellant_id)
) STRICT;

-- What happened to what, never to whom: ids of things and times only.
CREATE TABLE audit_log (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    at_ms   INTEGER NOT NULL
) STRICT;

CREATE TRIGGER audit_log_is_final BEFORE UPDATE ON audit_log
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_log_stays BEFORE DELETE ON audit_log
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
