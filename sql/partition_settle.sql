-- What is known to have nothing to do is not looked at again; whatever changes it is noticed.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET orchestry.now = '2026-03-15 12:00:00+00';
CREATE SCHEMA settle;
SET search_path = settle;
CREATE TABLE events (id int, at timestamptz) PARTITION BY RANGE (at);
CREATE TABLE ids (id int) PARTITION BY RANGE (id);
SELECT orchestry.add_partition_policy('events', '1 month', '1 month') IS NOT NULL AS added;
SELECT orchestry.add_partition_policy('ids', 10, 10) IS NOT NULL AS added;
-- until when it is known that nothing is due: for a day at most, since rows come without being noticed
CREATE VIEW known AS SELECT j.target, s.settled_until FROM orchestry.job_state s JOIN orchestry.jobs j USING (job_id) WHERE j.target_schema = 'settle' ORDER BY 1;
-- takes a second away: a scheduled run that knows leaves it so, one that looks writes the time anew
CREATE PROCEDURE mark() LANGUAGE sql AS $$UPDATE orchestry.job_state s SET settled_until = settled_until - interval '1 second' FROM orchestry.jobs j WHERE j.job_id = s.job_id AND j.target_schema = 'settle'$$;
CREATE PROCEDURE due() LANGUAGE sql AS $$UPDATE orchestry.job_state s SET next_run_at = '2026-01-01 00:00:00+00' FROM orchestry.jobs j WHERE j.job_id = s.job_id AND j.target_schema = 'settle'$$;

SELECT * FROM known;
CALL orchestry.run('events');
CALL orchestry.run('ids');
-- keys that are no times may come to need partitions at any moment
SELECT * FROM known;
CALL mark();
CALL due();
CALL orchestry.run_due();
SELECT * FROM known WHERE target = 'events'::regclass;
SET orchestry.now = '2026-03-15 15:00:00+00';
CALL due();
CALL orchestry.run_due();
SELECT * FROM known WHERE target = 'events'::regclass;
-- whoever asks for a run gets one
CALL orchestry.run('events');
SELECT * FROM known WHERE target = 'events'::regclass;
-- time passed
SET orchestry.now = '2026-03-31 10:00:00+00';
CALL due();
CALL orchestry.run_due();
SELECT * FROM known WHERE target = 'events'::regclass;
-- the clock went back: the past that is wanted may begin earlier
CALL mark();
SET orchestry.now = '2026-03-15 11:59:59+00';
CALL due();
CALL orchestry.run_due();
SELECT * FROM known WHERE target = 'events'::regclass;
-- a partition is detached, or dropped, or attached
ALTER TABLE events DETACH PARTITION events_p202604;
DROP TABLE events_p202604;
CALL due();
CALL orchestry.run_due();
SELECT partition FROM orchestry.partitions WHERE parent = 'events'::regclass;
CALL mark();
CREATE TABLE far PARTITION OF events FOR VALUES FROM ('2026-06-01 00:00Z') TO ('2026-07-01 00:00Z');
CALL due();
CALL orchestry.run_due();
SELECT partition FROM orchestry.partitions WHERE parent = 'events'::regclass;
SELECT * FROM known WHERE target = 'events'::regclass;
-- the policy is changed
SELECT count(orchestry.alter_policy(job_id, '{"past": "1 month"}')) FROM orchestry.jobs WHERE target = 'events'::regclass;
SELECT * FROM known WHERE target = 'events'::regclass;
CALL due();
CALL orchestry.run_due();
SELECT partition FROM orchestry.partitions WHERE parent = 'events'::regclass;
-- shortly before something is due nothing is known any more
SET orchestry.now = '2026-05-31 21:00:00+00';
CALL due();
CALL orchestry.run_due();
SELECT * FROM known WHERE target = 'events'::regclass;
SELECT next_at FROM orchestry.explain('events') WHERE state = 'ok';
-- what is blocked is looked at each time
SET orchestry.now = '2026-07-01 00:00:00+00';
CREATE VIEW events_p202607 AS SELECT 1;
\set VERBOSITY sqlstate
CALL orchestry.run('events');
CALL orchestry.run('events');
\set VERBOSITY default
SELECT * FROM known WHERE target = 'events'::regclass;
SELECT object, state, next_action FROM orchestry.explain('events') WHERE state = 'blocked';

SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'settle';
SET client_min_messages = warning;
RESET search_path;
DROP SCHEMA settle CASCADE;
