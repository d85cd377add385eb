-- Whole partitions go after their rows are where other policies of the table move them, whatever the schedules.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET orchestry.now = '2026-06-15 12:00:00+00';
SET client_min_messages = warning;
CREATE SCHEMA kept_order;
SET search_path = kept_order;
SELECT setval('orchestry.job_job_id_seq', 7701, false), setval('orchestry.hold_hold_id_seq', 6701, false);
CREATE TABLE ev (at timestamptz NOT NULL, v int, done_at timestamptz) PARTITION BY RANGE (at);
SELECT format('CREATE TABLE ev_%s PARTITION OF ev FOR VALUES FROM (%L) TO (%L)', m, make_date(2026, m, 1), make_date(2026, m + 1, 1))
FROM generate_series(1, 6) m \gexec
INSERT INTO ev SELECT at, extract(month FROM at), at FROM generate_series(timestamptz '2026-01-01', '2026-06-10', '1 day') at;
CREATE TABLE ev_archive (LIKE ev);
CREATE VIEW places AS
SELECT (SELECT count(*) FROM ev) AS in_table, (SELECT count(*) FROM ev_archive) AS in_archive,
    (SELECT string_agg(inhrelid::regclass::text, ' ' ORDER BY inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'ev'::regclass) AS partitions;

-- the policy for partitions is the older job, has the shorter time and runs first: nothing goes that is not archived
SELECT orchestry.add_retention_policy('ev', '2 months', grace => '0') AS whole \gset
SELECT orchestry.add_retention_policy('ev', '4 months', archive_to => 'ev_archive') AS archive \gset
SELECT action, object, blocked_by FROM orchestry.plan('ev') WHERE job_id = :whole;
CALL orchestry.run_job(:whole);
TABLE places;
-- what the archive has taken goes, and what it takes later waits: it is younger than the archive's time
CALL orchestry.run_job(:archive);
SELECT action, regexp_replace(object, '[0-9]{4,}', 'OID') AS object, reason, blocked_by FROM orchestry.plan('ev') WHERE job_id = :whole;
CALL orchestry.run_job(:whole);
TABLE places;
-- in a round of all jobs the archive comes first
SET orchestry.now = '2026-07-10 12:00:00+00';
CALL orchestry.run('ev');
TABLE places;
-- a paused archive is waited for as well
SELECT orchestry.pause_job(:archive);
INSERT INTO ev VALUES ('2026-04-01');
SELECT action, object, blocked_by FROM orchestry.plan('ev') WHERE job_id = :whole AND action = 'leave';
SELECT orchestry.resume_job(:archive);

-- only rows that the archive is to have are waited for, and those whatever their time says
SELECT orchestry.remove_policy(:archive);
INSERT INTO ev VALUES ('2026-04-02', 42, NULL);
SELECT orchestry.add_retention_policy('ev', '4 months', time_column => 'done_at', "where" => 'v = 42', archive_to => 'ev_archive') AS archive \gset
CALL orchestry.run('ev');
SELECT action, object, blocked_by FROM orchestry.plan('ev') WHERE job_id = :whole;
UPDATE ev SET done_at = at WHERE v = 42;
SET orchestry.now = '2026-08-10 12:00:00+00';
CALL orchestry.run('ev');
SELECT at, v FROM ev_archive ORDER BY at DESC LIMIT 1;
TABLE places;
-- what cannot be found out is waited for: a column was renamed
ALTER TABLE ev RENAME v TO w;
CREATE TABLE ev_10 PARTITION OF ev FOR VALUES FROM ('2026-10-01') TO ('2026-11-01');
SET orchestry.now = '2026-10-10 12:00:00+00';
CALL orchestry.run_job(:whole);
SELECT s.action, s.object, s.state FROM orchestry.run_steps s WHERE s.run_id = (SELECT last_run_id FROM orchestry.jobs WHERE job_id = :whole);
TABLE places;
ALTER TABLE ev RENAME w TO v;
CALL orchestry.run_job(:whole);
TABLE places;

-- a policy on a partition that is partitioned itself, or on what the table is a partition of, counts as well
CREATE TABLE top (region text NOT NULL, at timestamptz NOT NULL) PARTITION BY LIST (region);
CREATE TABLE north PARTITION OF top FOR VALUES IN ('n') PARTITION BY RANGE (at);
CREATE TABLE north_1 PARTITION OF north FOR VALUES FROM ('2026-01-01') TO ('2026-02-01') PARTITION BY RANGE (at);
CREATE TABLE north_1_all PARTITION OF north_1 DEFAULT;
CREATE TABLE north_9 PARTITION OF north FOR VALUES FROM ('2026-09-01') TO ('2026-11-01');
INSERT INTO top VALUES ('n', '2026-01-05');
CREATE TABLE top_archive (LIKE top);
SELECT orchestry.add_retention_policy('north', '3 months', grace => '0') AS north \gset
SELECT orchestry.add_retention_policy('top', interval '1 year', time_column => 'at', archive_to => 'top_archive') AS top \gset
SELECT action, object, blocked_by FROM orchestry.plan('north') WHERE job_id = :north;
SELECT orchestry.remove_policy(:top);
SELECT orchestry.add_retention_policy('north_1', interval '1 year', time_column => 'at', archive_to => 'top_archive') AS part \gset
SELECT action, object, blocked_by FROM orchestry.plan('north') WHERE job_id = :north;
SELECT orchestry.remove_policy(:part);
SELECT action, object, blocked_by FROM orchestry.plan('north') WHERE job_id = :north;

RESET orchestry.now;
SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'kept_order';
SET search_path = public;
DROP SCHEMA kept_order CASCADE;
