-- Retention policies: what they refuse, what they take, and that a plan for later is what then happens.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
SET orchestry.now = '2026-06-15 12:00:00+00';
CREATE SCHEMA ret;
SET search_path = ret;
SELECT setval('orchestry.job_job_id_seq', 7001, false), setval('orchestry.hold_hold_id_seq', 7001, false);
-- OIDs are part of names in quarantine
CREATE FUNCTION mask(text) RETURNS text LANGUAGE sql RETURN regexp_replace($1, 'quarantine_\d+', 'quarantine_N', 'g');
CREATE PROCEDURE make_months(parent regclass) LANGUAGE plpgsql AS $$
BEGIN
    FOR m IN 1..6 LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF %s FOR VALUES FROM (%L) TO (%L)', parent::text || '_' || m, parent,
                       to_char(make_date(2026, m, 1), 'YYYY-MM-DD'), to_char(make_date(2026, m + 1, 1), 'YYYY-MM-DD'));
    END LOOP;
END $$;
CREATE FUNCTION planned(target regclass, as_of timestamptz DEFAULT now()) RETURNS TABLE (action text, object text, reason text, blocked_by text)
LANGUAGE sql BEGIN ATOMIC
    SELECT p.action, mask(p.object), mask(p.reason), mask(p.blocked_by) FROM orchestry.plan(target, as_of) p ORDER BY p.seq;
END;
CREATE FUNCTION history(target regclass) RETURNS TABLE (seq int, action text, object text, state text, message text)
LANGUAGE sql BEGIN ATOMIC
    SELECT s.seq, s.action, mask(s.object), s.state, mask(s.message) FROM orchestry.run_steps s
    WHERE s.run_id = (SELECT j.last_run_id FROM orchestry.jobs j WHERE j.target = history.target AND j.kind = 'retention') ORDER BY s.seq;
END;

CREATE TABLE ev (at timestamptz NOT NULL, v int) PARTITION BY RANGE (at);
CALL make_months('ev');

-- what is refused, with nothing changed
SELECT orchestry.add_retention_policy(NULL, interval '1 month');
SELECT orchestry.add_retention_policy('ev', NULL::interval);
SELECT orchestry.add_retention_policy('ev', '0 days');
SELECT orchestry.add_retention_policy('ev', '-1 days');
SELECT orchestry.add_retention_policy('ev', '1 month -1 day');
SELECT orchestry.add_retention_policy('ev', '7 days');
SELECT orchestry.add_retention_policy('ev', '10000 years');
SELECT orchestry.add_retention_policy('ev', 'for ever');
SELECT orchestry.add_retention_policy('ev', 1000);
SELECT orchestry.add_retention_policy('ev', '2 months', grace => '-1 day');
SELECT orchestry.add_retention_policy('ev', '2 months', grace => '1 day -1 hour');
SELECT orchestry.add_retention_policy('ev', '2 months', grace => '300000 years');
SELECT orchestry.add_retention_policy('ev', '2 months', grace => NULL);
SELECT orchestry.add_retention_policy('ev', '2 months', action => 'shred');
SELECT orchestry.add_retention_policy('ev', '2 months', batch_rows => 0);
SELECT orchestry.add_retention_policy('ev', '2 months', schedule => '61 * * * *');
SELECT orchestry.add_retention_policy('ev', '2 months', time_zone => 'Mars/Olympus');
SELECT orchestry.add_retention_policy('ev', '2 months', time_column => 'nope');
SELECT orchestry.add_retention_policy('ev', '2 months', time_column => 'v');
CREATE TABLE plain (at timestamptz);
SELECT orchestry.add_retention_policy('plain', '2 months');
CREATE TABLE by_list (at timestamptz) PARTITION BY LIST (at);
SELECT orchestry.add_retention_policy('by_list', '2 months');
CREATE TABLE by_two (at timestamptz, v int) PARTITION BY RANGE (at, v);
SELECT orchestry.add_retention_policy('by_two', '2 months');
CREATE TABLE ids (id int) PARTITION BY RANGE (id);
CREATE TABLE ids_0 PARTITION OF ids FOR VALUES FROM (0) TO (1000);
SELECT orchestry.add_retention_policy('ids', '2 months');
SELECT orchestry.add_retention_policy('ids', '2 months', key_unit => 'weeks');
SELECT orchestry.add_retention_policy('ids', 0);
SELECT orchestry.add_retention_policy('ids', '-5');
SELECT orchestry.add_retention_policy('ids', 999);
CREATE ROLE retention_stranger;
GRANT USAGE ON SCHEMA ret TO retention_stranger;
SET ROLE retention_stranger;
SELECT orchestry.add_retention_policy('ev', '2 months');
RESET ROLE;
SELECT count(*) FROM orchestry.jobs WHERE target_schema = 'ret';

-- setup removes nothing and says what is past its time; once more is a NOTICE, others are an error
SELECT orchestry.add_retention_policy('ev', '2 months', time_column => 'at', schedule => '0 3 * * *') AS job \gset
SELECT orchestry.add_retention_policy('ev', interval '2 months', time_column => 'at', schedule => '0 3 * * *') = :job AS same;
SELECT orchestry.add_retention_policy('ev', '3 months', time_column => 'at', schedule => '0 3 * * *');
SELECT kind, target, time_zone, next_run_at, settings FROM orchestry.jobs WHERE job_id = :job;
SELECT count(*) FROM pg_inherits WHERE inhparent = 'ev'::regclass;

-- the first removal is announced; partitions go oldest first, and what is needed is said
SELECT * FROM planned('ev');
SELECT action, mask(sql) AS sql, locks, destructive FROM orchestry.plan('ev');
CALL orchestry.run('ev');
SELECT * FROM history('ev');
SELECT mask(partition::text), former_name, parent, bounds, detached_at, drop_after FROM orchestry.quarantine ORDER BY former_name;
CALL orchestry.run('ev');
SELECT state, steps FROM orchestry.runs WHERE job_id = :job ORDER BY run_id;
-- the rest of the table is as before
INSERT INTO ev VALUES ('2026-04-01', 1);
INSERT INTO ev VALUES ('2026-01-01', 1);

-- the grace ends, and not before
SET orchestry.now = '2026-06-22 11:59:59+00';
CALL orchestry.run('ev');
SELECT count(*) FROM orchestry.quarantine;
SET orchestry.now = '2026-06-22 12:00:00+00';
SELECT * FROM planned('ev');
CALL orchestry.run('ev');
SELECT * FROM history('ev');
SELECT count(*) FROM orchestry.quarantine;
SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'ret'::regnamespace AND c.relname ~ 'quarantine' ;

-- a plan for a year ahead is what happens when the clock gets there, step for step
CREATE TABLE foreseen AS SELECT row_number() OVER (ORDER BY seq) AS seq, action, object, sql, reason FROM orchestry.plan('ev', '2027-06-22 12:00:00+00')
    WHERE action <> 'leave';
SELECT seq, action, object FROM foreseen;
SET orchestry.now = '2027-06-22 12:00:00+00';
-- but a clock that has leapt has to be confirmed first
CALL orchestry.run('ev');
SELECT action, state, message FROM history('ev');
SELECT count(*) FROM pg_inherits WHERE inhparent = 'ev'::regclass;
SELECT orchestry.resume_job(:job);
CALL orchestry.run('ev');
SELECT (SELECT array_agg((seq, action, object, sql, reason) ORDER BY seq) FROM foreseen)
     = (SELECT array_agg((s.seq::bigint, s.action, s.object, s.sql, s.reason) ORDER BY s.seq) FROM orchestry.run_steps s
        JOIN orchestry.jobs j ON j.last_run_id = s.run_id WHERE j.job_id = :job) AS as_foreseen;
SELECT * FROM planned('ev');
-- the last partition stays
SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'ev'::regclass;

-- runs that fail do not make the clock suspect, however many there are
SET orchestry.now = '2027-07-10 12:00:00+00';
CREATE TABLE stuck (at timestamptz PRIMARY KEY) PARTITION BY RANGE (at);
CREATE TABLE stuck_1 PARTITION OF stuck FOR VALUES FROM ('2027-01-01') TO ('2027-02-01');
CREATE TABLE stuck_2 PARTITION OF stuck FOR VALUES FROM ('2027-06-01') TO ('2027-07-01');
CREATE TABLE stuck_3 PARTITION OF stuck FOR VALUES FROM ('2027-07-01') TO ('2027-08-01');
INSERT INTO stuck VALUES ('2027-01-01');
CREATE TABLE sticks (at timestamptz REFERENCES stuck);
INSERT INTO sticks VALUES ('2027-01-01');
SELECT orchestry.add_retention_policy('stuck', '2 months') IS NOT NULL AS added;
CALL orchestry.run('stuck');
SET orchestry.now = '2027-08-05 12:00:00+00';
CALL orchestry.run('stuck');
SET orchestry.now = '2027-09-01 12:00:00+00';
CALL orchestry.run('stuck');
SELECT action, object, state, message FROM history('stuck');
DROP TABLE sticks;
SET orchestry.now = '2027-11-01 12:00:00+00';
CALL orchestry.run('stuck');
SELECT orchestry.remove_policy(job_id) FROM orchestry.jobs WHERE target = 'stuck'::regclass;
DO $$ BEGIN EXECUTE 'DROP TABLE ret.stuck, ' || (SELECT partition::text FROM orchestry.quarantine WHERE former_name = 'ret.stuck_2'); END $$;
SET orchestry.now = '2027-06-22 12:00:00+00';

-- changes of a policy
SET orchestry.now = '2027-06-23 12:00:00+00';
SELECT orchestry.alter_policy(:job, '{"keep": "1 week"}');
SELECT orchestry.alter_policy(:job, '{"keep": null}');
SELECT orchestry.alter_policy(:job, '{"where": "true"}');
SELECT orchestry.alter_policy(:job, '{"action": "detach", "keep": "40 days"}');
SELECT orchestry.alter_policy(:job, '{"grace": "1 day"}');
SELECT settings FROM orchestry.jobs WHERE job_id = :job;
SELECT * FROM planned('ev', '2028-01-01');
SELECT orchestry.alter_policy(:job, '{"action": "drop"}');
-- the grace counts from the detach, as long as it is now
SELECT action FROM planned('ev', '2027-06-23 11:59:59+00');
SELECT action, count(*) FROM planned('ev', '2027-06-23 12:00:00+00') GROUP BY 1 ORDER BY 1;
-- without its policy what is in quarantine stays
SELECT orchestry.remove_policy(:job);
SELECT count(*), count(drop_after) FROM orchestry.quarantine;
DROP TABLE ev;

-- every kind of key; the zone is that of the partition policy
SET orchestry.now = '2026-06-15 12:00:00+00';
CREATE TABLE by_timestamp (at timestamp) PARTITION BY RANGE (at);
CREATE TABLE by_date (day date) PARTITION BY RANGE (day);
CREATE TABLE by_zone (at timestamptz) PARTITION BY RANGE (at);
CALL make_months('by_timestamp');
CALL make_months('by_date');
SELECT orchestry.add_partition_policy('by_zone', '1 month', past => '5 months', time_zone => 'Asia/Tokyo') IS NOT NULL AS added;
CREATE TABLE by_epoch (at bigint) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('by_epoch', '1 month', past => '5 months', key_unit => 'ms') IS NOT NULL AS added;
CREATE TABLE by_uuid (id uuid) PARTITION BY RANGE (id);
SELECT orchestry.add_partition_policy('by_uuid', '1 month', past => '5 months') IS NOT NULL AS added;
SET client_min_messages = warning;
SELECT orchestry.add_retention_policy(t, interval '2 months') IS NOT NULL AS added, j.time_zone
FROM unnest('{by_timestamp,by_date,by_zone,by_epoch,by_uuid}'::regclass[]) WITH ORDINALITY u (t, n)
LEFT JOIN LATERAL (SELECT time_zone FROM orchestry.jobs WHERE target = t AND kind = 'partition') j ON true ORDER BY n;
RESET client_min_messages;
SELECT target, time_zone, settings ->> 'key_unit' AS key_unit FROM orchestry.jobs WHERE kind = 'retention' ORDER BY target::text;
-- 1 April in Tokyo is 15:00 of 31 March in UTC: two months after it, March is past
SELECT t, p.at, (SELECT count(*) FROM orchestry.plan(t, p.at) WHERE action = 'detach') AS due
FROM unnest('{by_timestamp,by_date,by_zone,by_epoch,by_uuid}'::regclass[]) t,
     (VALUES (timestamptz '2026-05-31 14:59:59+00'), ('2026-05-31 15:00:00+00'), ('2026-05-31 23:59:59+00'), ('2026-06-01 00:00:00+00')) p(at)
ORDER BY t::text, p.at;

-- integer keys count from their sequence, or from the start of the last partition that has rows
CREATE TABLE numbered (id bigint GENERATED ALWAYS AS IDENTITY, v int) PARTITION BY RANGE (id);
CREATE TABLE counted (id int, v int) PARTITION BY RANGE (id);
DO $$ BEGIN
    FOR n IN 0..4 LOOP
        EXECUTE format('CREATE TABLE numbered_%s PARTITION OF numbered FOR VALUES FROM (%s) TO (%s)', n, n * 100, (n + 1) * 100);
        EXECUTE format('CREATE TABLE counted_%s PARTITION OF counted FOR VALUES FROM (%s) TO (%s)', n, n * 100, (n + 1) * 100);
    END LOOP;
END $$;
SELECT orchestry.add_retention_policy('numbered', 150) IS NOT NULL, orchestry.add_retention_policy('counted', '150', action => 'detach') IS NOT NULL;
SELECT count(*) FROM planned('numbered');
INSERT INTO numbered (v) SELECT 1 FROM generate_series(1, 349);
SELECT action, object FROM planned('numbered');
INSERT INTO numbered (v) VALUES (1);
SELECT action, object FROM planned('numbered');
INSERT INTO counted SELECT 399, 1;
SELECT action, object FROM planned('counted');
CALL orchestry.run('counted');
SELECT mask(partition::text), bounds, drop_after FROM orchestry.quarantine WHERE parent = 'counted'::regclass ORDER BY 1;

-- no grace: dropped in the same run, and in a run of its own where it has partitions itself
CREATE TABLE fast (at timestamptz, v int) PARTITION BY RANGE (at);
CALL make_months('fast');
ALTER TABLE fast DETACH PARTITION fast_1;
DROP TABLE fast_1;
CREATE TABLE fast_1 PARTITION OF fast FOR VALUES FROM (MINVALUE) TO ('2026-02-01') PARTITION BY LIST (v);
CREATE TABLE fast_1_a PARTITION OF fast_1 FOR VALUES IN (1);
CREATE TABLE fast_1_b PARTITION OF fast_1 DEFAULT;
SELECT orchestry.add_retention_policy('fast', '2 months', grace => '0') IS NOT NULL AS added;
CREATE VIEW needs_fast_3 AS SELECT v FROM fast_3;
SELECT * FROM planned('fast');
DROP VIEW needs_fast_3;
CALL orchestry.run('fast');
SELECT * FROM history('fast');
CALL orchestry.run('fast');
SELECT * FROM history('fast');
SELECT count(*) FROM pg_class WHERE relnamespace = 'ret'::regnamespace AND relname ~ '^(fast_[123]|orchestry_quarantine.*fast)';

-- partitions of any name and width, MINVALUE, MAXVALUE and DEFAULT
CREATE TABLE odd (at timestamptz) PARTITION BY RANGE (at);
CREATE TABLE "Öld ""stuff""" PARTITION OF odd FOR VALUES FROM (MINVALUE) TO ('2025-01-01');
CREATE TABLE odd_y0_archive PARTITION OF odd FOR VALUES FROM ('2025-01-01') TO ('2026-04-20');
CREATE TABLE odd_new PARTITION OF odd FOR VALUES FROM ('2026-04-20') TO ('2026-05-01');
CREATE TABLE odd_rest PARTITION OF odd FOR VALUES FROM ('2026-05-01') TO (MAXVALUE);
CREATE TABLE odd_default PARTITION OF odd DEFAULT;
CREATE TABLE odd_y1_archive (at timestamptz); -- not a partition, whatever its name says
SELECT orchestry.add_retention_policy('odd', '2 months') IS NOT NULL AS added;
SELECT * FROM planned('odd');
SELECT action, object FROM planned('odd', '2026-06-20');
SELECT action, object FROM planned('odd', '2036-06-20');
CALL orchestry.run('odd');
SELECT mask(partition::text), former_name FROM orchestry.quarantine WHERE parent = 'odd'::regclass;

-- the partition job leaves the past to retention
CREATE TABLE both_ways (at timestamptz) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('both_ways', '1 month', '1 month', past => '5 months') IS NOT NULL AS added;
SELECT orchestry.add_retention_policy('both_ways', '2 months') IS NOT NULL AS added;
SELECT orchestry.hold('both_ways_p202601', 'kept back') AS hold \gset
CALL orchestry.run('both_ways');
SELECT kind, action, object FROM orchestry.plan('both_ways') p JOIN orchestry.jobs j USING (job_id) WHERE action <> 'analyze' ORDER BY kind, seq;
SELECT partition FROM orchestry.partitions WHERE parent = 'both_ways'::regclass ORDER BY lower_at;
SELECT orchestry.release_hold(:hold, 'test is over');

SELECT count(orchestry.remove_policy(job_id)) AS removed FROM orchestry.jobs WHERE target_schema = 'ret';
SET client_min_messages = warning;
DROP SCHEMA ret CASCADE;
DROP ROLE retention_stranger;
