-- A report that is sent again is the one that there is. The ids are UUIDv7: the least came first.
DROP TRIGGER reports_stay;

DELETE FROM reports WHERE report_id NOT IN (
    SELECT min(report_id) FROM reports GROUP BY case_id, reporter_id, reason
);

CREATE UNIQUE INDEX one_report_a_reason ON reports (case_id, reporter_id, reason);

CREATE TRIGGER reports_stay BEFORE DELETE ON reports
BEGIN SELECT raise(ABORT, 'reports are append-only'); END;

-- What an overturned decision leaves follows from the decisions that stand and from the post.
ALTER TABLE statements DROP COLUMN state_before;

CREATE INDEX statements_by_video ON statements (video_id);
