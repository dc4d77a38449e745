-- Rows that are of use for a while only are found by their age.
CREATE INDEX impressions_by_time ON impressions (served_ms);
CREATE INDEX idempotency_by_time ON idempotency (created_ms);
