-- Credits and the daily allotment. Both tables are append-only: a balance is a sum.

CREATE TABLE credit_entries (
    entry_id   TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES people (user_id),
    kind       TEXT NOT NULL CHECK (kind IN ('grant', 'charge', 'refund')),
    -- Signed: grants and refunds add, charges subtract.
    credits    INTEGER NOT NULL,
    -- The job of a charge or refund, or the idempotency key of a grant: one entry of a kind each.
    reference  TEXT NOT NULL,
    note       TEXT NOT NULL DEFAULT '',
    created_ms INTEGER NOT NULL,
    UNIQUE (user_id, kind, reference)
) STRICT;

CREATE TRIGGER credit_entries_are_final BEFORE UPDATE ON credit_entries
BEGIN SELECT raise(ABORT, 'credit entries are append-only'); END;
CREATE TRIGGER credit_entries_stay BEFORE DELETE ON credit_entries
BEGIN SELECT raise(ABORT, 'credit entries are append-only'); END;

-- One row a job: how it was paid for.
CREATE TABLE reservations (
    job_id      TEXT PRIMARY KEY,
    user_id     TEXT NOT NULL REFERENCES people (user_id),
    basis       TEXT NOT NULL CHECK (basis IN ('allotment', 'off_peak', 'credits')),
    credits     INTEGER NOT NULL,
    -- The accepted quote; one quote pays for one job.
    quote_id    TEXT UNIQUE,
    -- UTC days since the epoch.
    day         INTEGER NOT NULL,
    reserved_ms INTEGER NOT NULL,
    refunded_ms INTEGER
) STRICT;

CREATE INDEX reservations_by_user ON reservations (user_id, day);

-- Keys that this installation made for itself.
CREATE TABLE installation_keys (
    name TEXT PRIMARY KEY,
    key  BLOB NOT NULL
) STRICT;
