-- Event compression: what it takes, what it makes of it, and what it refuses.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
SET orchestry.now = '2026-06-15 12:34:00+00';
CREATE SCHEMA evc;
SET search_path = evc;
SELECT setval('orchestry.job_job_id_seq', 8001, false), setval('orchestry.hold_hold_id_seq', 5001, false);
CREATE FUNCTION history(target regclass) RETURNS TABLE (seq int, action text, object text, state text, rows bigint, message text)
LANGUAGE sql BEGIN ATOMIC
    SELECT s.seq, s.action, s.object, s.state, s.rows, s.message FROM orchestry.run_steps s
    WHERE s.run_id = (SELECT j.last_run_id FROM orchestry.jobs j WHERE j.target = history.target AND j.kind = 'events') ORDER BY s.seq;
END;
-- What an event table must come to, whatever was compressed of it and in how many runs.
CREATE FUNCTION expected(copy regclass, horizon timestamptz, n int) RETURNS TABLE (bucket timestamptz, app text, type text, event_count bigint,
    severity_counts jsonb, sample_messages text[], first_at timestamptz, last_at timestamptz) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format($q$
    SELECT b.bucket, b.app, b.type, count(*),
           COALESCE((SELECT jsonb_object_agg(s.severity, s.n) FROM (SELECT severity, count(*) AS n FROM %1$s e
                     WHERE date_trunc('hour', at, 'UTC') = b.bucket AND (e.app, e.type) IS NOT DISTINCT FROM (b.app, b.type)
                       AND severity IS NOT NULL GROUP BY severity) s), '{}'),
           COALESCE((SELECT array_agg(m.message ORDER BY m.at DESC, m.message COLLATE "C") FROM (SELECT message, max(at) AS at FROM %1$s e
                     WHERE date_trunc('hour', at, 'UTC') = b.bucket AND (e.app, e.type) IS NOT DISTINCT FROM (b.app, b.type)
                       AND message IS NOT NULL GROUP BY message ORDER BY max(at) DESC, message COLLATE "C" LIMIT $2) m), '{}'),
           min(b.at), max(b.at)
    FROM (SELECT *, date_trunc('hour', at, 'UTC') AS bucket FROM %1$s WHERE isfinite(at) AND at < $1) b
    GROUP BY b.bucket, b.app, b.type$q$, copy) USING horizon, n;
END $$;

-- 3,000 events of five days, some without app, severity or message, and some without a finite time.
CREATE TABLE ev (at timestamptz, app text, type text, severity text, message text);
INSERT INTO ev SELECT '2026-06-01'::timestamptz + i * interval '144 s', CASE WHEN i % 7 = 0 THEN NULL ELSE 'app ' || i % 3 END, 'type ' || i % 2,
    (ARRAY['info', 'warning', NULL])[1 + i % 3], CASE WHEN i % 11 > 0 THEN 'message ' || i % 23 END FROM generate_series(1, 3000) i;
INSERT INTO ev VALUES (NULL, 'no time'), ('infinity', 'after'), ('-infinity', 'before');
CREATE TABLE copy_of_ev AS TABLE ev;
SELECT orchestry.add_event_compression_policy('ev', '10 days', group_by => '{app,type}', count_values_of => 'severity', sample_of => 'message');
\d ev_compressed
SELECT kind, target, schedule, time_zone, next_run_at, settings FROM orchestry.jobs WHERE job_id = 8001;
SELECT action, object, reason, locks, rows_estimate, destructive, blocked_by FROM orchestry.plan('ev');
SELECT sql FROM orchestry.plan('ev') WHERE action = 'compress';
CALL orchestry.run('ev');
SELECT * FROM history('ev');
-- What is left is younger, or has no finite time.
SELECT count(*), min(at) FILTER (WHERE isfinite(at)), count(*) FILTER (WHERE isfinite(at)) AS finite FROM ev;
SELECT * FROM ev_compressed WHERE bucket = '2026-06-01 00:00+00' ORDER BY app, type;
CREATE VIEW ours AS SELECT bucket, app, type, event_count, severity_counts, sample_messages, first_at, last_at FROM ev_compressed;
(TABLE ours EXCEPT ALL SELECT * FROM expected('copy_of_ev', '2026-06-05 12:00+00', 5))
UNION ALL (SELECT * FROM expected('copy_of_ev', '2026-06-05 12:00+00', 5) EXCEPT ALL TABLE ours);
-- Again: nothing to do.
CALL orchestry.run('ev');
SELECT state, rows, steps FROM orchestry.runs WHERE job_id = 8001 ORDER BY run_id DESC LIMIT 1;
SELECT action, reason FROM orchestry.plan('ev');

-- Late events go into the rows that are there, or make new ones; and the clock goes on.
CREATE TABLE late (LIKE ev);
INSERT INTO late VALUES
    ('2026-06-01 00:59:59+00', NULL, 'type 1', 'info', 'late and newest'), ('2026-06-01 00:00:01+00', NULL, 'type 1', 'fatal', 'late and oldest'),
    ('2026-06-01 00:30:00+00', NULL, 'type 1', '', 'message 2'), ('2026-06-01 00:31:00+00', NULL, 'type 1', NULL, NULL),
    ('2026-05-01 00:00:00+00', 'app 9', 'type 9', 'info', ''), ('2026-06-02 00:10:00+00', NULL, NULL, 'info', 'no group at all');
INSERT INTO ev TABLE late;
INSERT INTO copy_of_ev TABLE late;
SET orchestry.now = '2026-06-15 14:00:00+00';
SELECT action, reason, rows_estimate FROM orchestry.plan('ev');
CALL orchestry.run('ev');
SELECT state, rows FROM orchestry.runs WHERE job_id = 8001 ORDER BY run_id DESC LIMIT 1;
SELECT * FROM ev_compressed WHERE bucket = '2026-06-01 00:00+00' AND app IS NULL ORDER BY type;
(TABLE ours EXCEPT ALL SELECT * FROM expected('copy_of_ev', '2026-06-05 14:00+00', 5))
UNION ALL (SELECT * FROM expected('copy_of_ev', '2026-06-05 14:00+00', 5) EXCEPT ALL TABLE ours);
SELECT count(*) FROM orchestry.verify_event_compression('ev');
-- What others do to the numbers is found.
UPDATE ev_compressed SET event_count = 1 WHERE bucket = '2026-06-01 00:00+00' AND app = 'app 1' AND type = 'type 0';
UPDATE ev_compressed SET last_at = last_at + interval '1 hour' WHERE bucket = '2026-06-01 03:00+00' AND app IS NULL AND type = 'type 1';
SELECT * FROM orchestry.verify_event_compression('ev');

-- Asked for again, changed, removed.
SELECT orchestry.add_event_compression_policy('ev', '10 days', group_by => '{app,type}', count_values_of => 'severity', sample_of => 'message');
SELECT orchestry.add_event_compression_policy('ev', '11 days', group_by => '{app,type}', count_values_of => 'severity', sample_of => 'message');
SELECT orchestry.alter_policy(8001, '{"older_than": "5 days", "samples": 2, "schedule": "1 hour"}');
SELECT schedule, settings FROM orchestry.jobs WHERE job_id = 8001;
SELECT orchestry.alter_policy(8001, '{"samples": 0}');
SELECT orchestry.alter_policy(8001, '{"older_than": "-1 day"}');
SELECT orchestry.alter_policy(8001, '{"bucket": "1 day"}');
SELECT orchestry.alter_policy(8001, '{"keep": "1 day"}');
SELECT orchestry.remove_policy(8001);
SELECT count(*) > 0 AS stays FROM ev_compressed;
SELECT * FROM orchestry.verify_event_compression('ev');

-- Buckets of any width in any zone, without groups, counts and samples; a time without a zone is read as UTC.
CREATE TABLE plain (happened timestamp NOT NULL, n int);
INSERT INTO plain SELECT '2026-03-27'::timestamp + i * interval '30 min', i FROM generate_series(0, 239) i;
SELECT orchestry.add_event_compression_policy('plain', '0', into_table => 'plain_days', bucket => '1 day', time_zone => 'Europe/Berlin');
CALL orchestry.run('plain');
TABLE plain_days ORDER BY bucket;
SELECT count(*) FROM orchestry.verify_event_compression('plain');
CREATE TABLE weeks (LIKE plain);
INSERT INTO weeks SELECT '2026-03-01'::timestamp + i * interval '1 day', i FROM generate_series(0, 60) i;
SELECT orchestry.add_event_compression_policy('weeks', '0', bucket => '2 weeks', time_zone => 'America/New_York');
CALL orchestry.run('weeks');
TABLE weeks_compressed ORDER BY bucket;
CREATE TABLE quarters (LIKE plain);
INSERT INTO quarters SELECT '2025-01-01'::timestamp + i * interval '7 days', i FROM generate_series(0, 60) i;
SELECT orchestry.add_event_compression_policy('quarters', '1 month', bucket => '3 months', group_by => '{}');
CALL orchestry.run('quarters');
TABLE quarters_compressed ORDER BY bucket;
SELECT count(*) FROM quarters;
CREATE TABLE minutes (LIKE plain);
INSERT INTO minutes SELECT '2026-06-15'::timestamp + i * interval '1 min', i FROM generate_series(0, 59) i;
SELECT orchestry.add_event_compression_policy('minutes', '1 hour', bucket => '17 min', sample_of => 'n', count_values_of => 'n', samples => 1);
CALL orchestry.run('minutes');
SELECT bucket, event_count, sample_ns, first_at, last_at FROM minutes_compressed ORDER BY bucket;

-- Odd names and types; groups that are enums, numbers, booleans and texts of another collation.
CREATE TYPE level AS ENUM ('low', 'high');
CREATE TABLE "Odd ""table" ("when" timestamptz, "Gröup" level, "a""b" numeric(6, 2), flag boolean, "select" text COLLATE "C", "What?" jsonb);
INSERT INTO "Odd ""table" VALUES ('2026-01-01', 'low', 1.5, true, 'x', '{"a": 1}'), ('2026-01-01', 'low', 1.50, true, 'x', '{"a": 1}'), ('2026-01-01', NULL, NULL, NULL, NULL, NULL);
SELECT orchestry.add_event_compression_policy('"Odd ""table"', '1 day', into_table => 'evc."Sum of "" it"', group_by => '{Gröup,"a\"b",flag,select}', count_values_of => 'What?', sample_of => 'What?');
CALL orchestry.run('"Odd ""table"');
TABLE "Sum of "" it" ORDER BY event_count;
\d "Sum of "" it"
SELECT * FROM orchestry.verify_event_compression('"Odd ""table"');

-- Holds: all of a table, a part of time, some rows, one partition.
CREATE TABLE parts (at timestamptz NOT NULL, app text) PARTITION BY RANGE (at);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE parts_3 PARTITION OF parts DEFAULT;
INSERT INTO parts SELECT '2026-01-01'::timestamptz + i * interval '1 hour', 'app ' || i % 2 FROM generate_series(0, 24 * 90 - 1) i;
SELECT orchestry.add_event_compression_policy('parts', '1 day', bucket => '1 month', group_by => '{app}');
SELECT orchestry.hold('parts', 'everything');
SELECT action, reason, blocked_by FROM orchestry.plan('parts');
CALL orchestry.run('parts');
SELECT count(*) FROM parts_compressed;
SELECT orchestry.release_hold(5001, 'over');
SELECT orchestry.hold('parts', 'ten days', "from" => '2026-01-11', "to" => '2026-01-21'), orchestry.hold('parts', 'one app', "where" => 'app = ''app 1'' AND at < ''2026-01-02 00:00+00'''),
       orchestry.hold('parts_2', 'a partition');
CALL orchestry.run('parts');
TABLE parts_compressed ORDER BY bucket, app;
SELECT tableoid::regclass AS partition, app, count(*), min(at), max(at) FROM parts GROUP BY 1, 2 ORDER BY 1, 2;
SELECT orchestry.release_hold(h, 'over') FROM generate_series(5002, 5004) h;
CALL orchestry.run('parts');
TABLE parts_compressed ORDER BY bucket, app;
SELECT count(*) FROM parts;

-- Tables that inherit: what is above holds them, and so does what is beside.
CREATE TABLE base (at timestamptz NOT NULL, app text);
CREATE TABLE side (at timestamptz NOT NULL);
CREATE TABLE kin () INHERITS (base, side);
INSERT INTO base SELECT '2026-01-01'::timestamptz + i * interval '1 hour', 'base' FROM generate_series(0, 9) i;
INSERT INTO kin SELECT '2026-01-01'::timestamptz + i * interval '1 hour', 'kin' FROM generate_series(0, 9) i;
SELECT orchestry.add_event_compression_policy('base', '1 day', bucket => '1 month', group_by => '{app}');
SELECT orchestry.hold('side', 'beside', "to" => '2026-01-01 03:00+00');
CALL orchestry.run('base');
SELECT tableoid::regclass, count(*), min(at), max(at) FROM base GROUP BY 1;
SELECT orchestry.hold('base', 'above');
SELECT orchestry.add_event_compression_policy('kin', '1 day', bucket => '1 month', group_by => '{app}');
CALL orchestry.run('kin');
SELECT count(*) FROM kin;
SELECT orchestry.release_hold(h, 'over') FROM generate_series(5005, 5006) h;
CALL orchestry.run('kin');
SELECT count(*) FROM kin;

-- Nothing is dropped before it is compressed, whichever runs first; and what is compressed goes.
INSERT INTO parts SELECT '2026-01-15'::timestamptz + i * interval '1 hour', 'late' FROM generate_series(0, 9) i;
SELECT orchestry.add_retention_policy('parts', '60 days', grace => '0');
SELECT job_id AS retention FROM orchestry.jobs WHERE kind = 'retention' AND target = 'parts'::regclass \gset
CALL orchestry.run_job(:retention);
SELECT state, rows, message FROM orchestry.runs WHERE job_id = :retention ORDER BY run_id DESC LIMIT 1;
SELECT action, object, reason, blocked_by FROM orchestry.plan('parts') WHERE action NOT IN ('compress', 'announce') AND reason NOT LIKE 'to be%';
CALL orchestry.run('parts');
SELECT bucket, event_count FROM parts_compressed WHERE app = 'late';
CALL orchestry.run('parts');
SELECT relid::regclass FROM pg_partition_tree('parts') ORDER BY 1;

-- Rows that are to be compressed are not deleted by another policy.
INSERT INTO quarters VALUES ('2026-06-10', 1);
SELECT orchestry.add_retention_policy('quarters', '1 day', time_column => 'happened') AS rows_too \gset
SELECT action, regexp_replace(blocked_by, '\d+', 'N') AS blocked_by FROM orchestry.plan('quarters') WHERE job_id = :rows_too AND blocked_by <> '' AND action <> 'announce';
CALL orchestry.run_job(:rows_too);
SELECT count(*) FROM quarters;
SELECT orchestry.remove_policy(:rows_too);

-- A table that is there already: used when it fits, and refused with the command that mends it.
CREATE TABLE src (at timestamptz NOT NULL, app varchar(10) NOT NULL, kind text, message text);
INSERT INTO src VALUES ('2026-01-01 10:10+00', 'a', 'x', 'one'), ('2026-01-01 10:20+00', 'a', 'y', 'two');
CREATE TABLE dst (last_at timestamptz, bucket timestamptz, note text, event_count bigint, app varchar(10), kind_counts jsonb, sample_messages text[], first_at timestamptz);
CREATE FUNCTION add_src(into_table text DEFAULT 'dst') RETURNS bigint LANGUAGE sql
RETURN orchestry.add_event_compression_policy('src', '1 day', into_table => into_table, group_by => '{app}', count_values_of => 'kind', sample_of => 'message', samples => 2);
SELECT add_src();
ALTER TABLE dst ALTER bucket SET NOT NULL, ALTER event_count TYPE integer;
SELECT add_src();
ALTER TABLE dst ALTER event_count TYPE bigint, DROP app;
SELECT add_src();
ALTER TABLE dst ADD app varchar(10), ADD must text NOT NULL;
SELECT add_src();
ALTER TABLE dst DROP must;
CREATE UNIQUE INDEX ON dst (bucket, app) WHERE app IS NOT NULL;
CREATE UNIQUE INDEX ON dst (bucket, app);
CREATE UNIQUE INDEX ON dst (bucket, app, note) NULLS NOT DISTINCT;
SELECT add_src();
ALTER TABLE dst ALTER app SET NOT NULL;
SELECT add_src();
CALL orchestry.run('src');
SELECT bucket, app, event_count, kind_counts, sample_messages, first_at, last_at FROM dst;
-- Without the times of the samples, those of the later part of the bucket come first.
INSERT INTO src VALUES ('2026-01-01 10:30+00', 'a', 'x', 'three'), ('2026-01-01 10:31+00', 'a', NULL, 'three'), ('2026-01-01 10:05+00', 'a', NULL, 'before all');
CALL orchestry.run('src');
SELECT bucket, app, event_count, kind_counts, sample_messages, first_at, last_at FROM dst;
-- Gone from under the policy: the run says so, and nothing is lost.
INSERT INTO src VALUES ('2026-01-01 10:30+00', 'a', 'x', 'three');
ALTER TABLE dst RENAME TO elsewhere;
CALL orchestry.run('src');
CREATE TABLE dst (LIKE elsewhere);
CALL orchestry.run('src');
SELECT count(*) FROM src;
SELECT orchestry.remove_policy((SELECT job_id FROM orchestry.jobs WHERE target = 'src'::regclass));
SELECT add_src('src');
CREATE TEMP TABLE passing ();
SELECT add_src('pg_temp.passing');
CREATE VIEW looks AS TABLE src;
SELECT add_src('looks');
SELECT add_src('no.such.name.at.all');
SELECT add_src('');

-- Rows that others need are not taken.
CREATE TABLE needed (id int PRIMARY KEY, at timestamptz NOT NULL);
CREATE TABLE needs (id int REFERENCES needed ON DELETE CASCADE);
INSERT INTO needed VALUES (1, '2026-01-01');
INSERT INTO needs VALUES (1);
SELECT orchestry.add_event_compression_policy('needed', '1 day');
SELECT action, blocked_by FROM orchestry.plan('needed') WHERE action = 'compress';
CALL orchestry.run('needed');
ALTER TABLE needs DROP CONSTRAINT needs_id_fkey, ADD FOREIGN KEY (id) REFERENCES needed;
CALL orchestry.run('needed');
SELECT (SELECT count(*) FROM needed) AS needed, (SELECT count(*) FROM needs) AS needs, (SELECT count(*) FROM needed_compressed) AS compressed;

-- Bad input changes nothing.
CREATE TABLE bad (at timestamptz, other timestamp, day date, x xml, app text, event_count int, l text);
SELECT orchestry.add_event_compression_policy(NULL, '1 day');
SELECT orchestry.add_event_compression_policy('bad', NULL);
SELECT orchestry.add_event_compression_policy('bad', '-1 day', time_column => 'at');
SELECT orchestry.add_event_compression_policy('bad', '1 day');
SELECT orchestry.add_event_compression_policy('bad', '1 day', time_column => 'day');
SELECT orchestry.add_event_compression_policy('bad', '1 day', time_column => 'nope');
SELECT orchestry.add_event_compression_policy('bad', '1 day', time_column => 'at', bucket => '0');
SELECT orchestry.add_event_compression_policy('bad', '1 day', time_column => 'at', bucket => '1 month 1 day');
SELECT orchestry.add_event_compression_policy('bad', '1 day', time_column => 'at', group_by => '{nope}');
SELECT orchestry.add_event_compression_policy('bad', '1 day', time_column => 'at', group_by => '{x}');
SELECT orchestry.add_event_compression_policy('bad', '1 day', time_column => 'at', group_by => '{app,app}');
SELECT orchestry.add_event_compression_policy('bad', '1 day', time_column => 'at', group_by => '{event_count}');
SELECT orchestry.add_event_compression_policy('bad', '1 day', time_column => 'at', group_by => '{app,NULL}');
SELECT orchestry.add_event_compression_policy('bad', '1 day', time_column => 'at', count_values_of => 'nope');
SELECT orchestry.add_event_compression_policy('bad', '1 day', time_column => 'at', sample_of => 'l', samples => 1001);
SELECT orchestry.add_event_compression_policy('bad', '1 day', time_column => 'at', time_zone => 'Mars/Olympus');
SELECT orchestry.add_event_compression_policy('bad', '1 day', time_column => 'at', schedule => 'sometimes');
SELECT orchestry.add_event_compression_policy('bad', '400000 years', time_column => 'at');
SELECT orchestry.add_event_compression_policy('looks', '1 day');
\set VERBOSITY terse
SELECT orchestry.add_event_compression_policy('passing', '1 day');
\set VERBOSITY default
SELECT orchestry.add_event_compression_policy('parts_2', '1 day');
CREATE ROLE evc_stranger;
GRANT USAGE, CREATE ON SCHEMA evc TO evc_stranger;
SET ROLE evc_stranger;
SELECT orchestry.add_event_compression_policy('bad', '1 day', time_column => 'at');
SELECT * FROM orchestry.verify_event_compression('parts');
CREATE TABLE theirs (bucket timestamptz NOT NULL UNIQUE, event_count bigint, first_at timestamptz, last_at timestamptz);
RESET ROLE;
CREATE ROLE evc_owner;
GRANT USAGE, CREATE ON SCHEMA evc TO evc_owner;
ALTER TABLE bad OWNER TO evc_owner;
SET ROLE evc_owner;
SELECT orchestry.add_event_compression_policy('bad', '1 day', time_column => 'at', into_table => 'theirs');
RESET ROLE;
SELECT count(*) FROM orchestry.jobs WHERE target = 'bad'::regclass;
SELECT to_regclass('bad_compressed') IS NULL AS nothing_made;

-- The target of a partitioned table is partitioned: by months, or by buckets that are longer, back to the oldest partition
-- of the source; what is older has the DEFAULT partition. One that is there already may be partitioned in another way.
SET client_min_messages = warning;
CREATE TABLE old (at timestamptz NOT NULL, app text) PARTITION BY RANGE (at);
CREATE TABLE old_1 PARTITION OF old FOR VALUES FROM ('2026-03-10') TO ('2026-06-01');
CREATE TABLE old_2 PARTITION OF old DEFAULT;
INSERT INTO old SELECT '2026-03-10'::timestamptz + i * interval '12 hours', CASE WHEN i % 2 = 0 THEN 'app' END FROM generate_series(-100, 99) i;
SELECT orchestry.add_event_compression_policy('old', '1 day', bucket => '1 day', group_by => '{app}') IS NOT NULL AS added;
SELECT kind, schedule, settings FROM orchestry.jobs WHERE target = 'old_compressed'::regclass;
SELECT partition, lower_at, upper_at FROM orchestry.partitions WHERE parent = 'old_compressed'::regclass ORDER BY lower_at NULLS FIRST;
CALL orchestry.run('old');
INSERT INTO old VALUES ('2026-01-19 12:00+00', 'app'), ('2026-03-10 12:00+00', NULL), ('1000-01-01', NULL); -- late
CALL orchestry.run('old');
SELECT tableoid::regclass::text AS partition, count(*), sum(event_count), min(bucket), max(bucket), max(event_count) FROM old_compressed GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM old;
SELECT * FROM orchestry.verify_event_compression('old');
CREATE TABLE years (LIKE old) PARTITION BY LIST (app);
CREATE TABLE years_1 PARTITION OF years DEFAULT;
INSERT INTO years VALUES ('2024-05-01', 'app'), ('2025-05-01', 'app');
SELECT orchestry.add_event_compression_policy('years', '1 day', bucket => '1 year') IS NOT NULL AS added;
CALL orchestry.run('years');
SELECT partition, lower_at FROM orchestry.partitions WHERE parent = 'years_compressed'::regclass ORDER BY lower_at NULLS FIRST LIMIT 2;
SELECT tableoid::regclass, bucket, event_count FROM years_compressed ORDER BY bucket;
CREATE TABLE mine (bucket timestamptz NOT NULL, app text NOT NULL, event_count bigint, first_at timestamptz, last_at timestamptz, PRIMARY KEY (app, bucket)) PARTITION BY HASH (app);
CREATE TABLE mine_1 PARTITION OF mine FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE mine_2 PARTITION OF mine FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE whose (at timestamptz NOT NULL, app text NOT NULL);
INSERT INTO whose SELECT '2026-01-01'::timestamptz + i * interval '10 min', 'app ' || i % 4 FROM generate_series(0, 23) i;
SELECT orchestry.add_event_compression_policy('whose', '1 day', into_table => 'mine', group_by => '{app}') IS NOT NULL AS added;
CALL orchestry.run('whose');
INSERT INTO whose VALUES ('2026-01-01', 'app 1');
CALL orchestry.run('whose');
SELECT app, sum(event_count) FROM mine GROUP BY app ORDER BY app;
SELECT count(*) FROM orchestry.jobs WHERE target = 'mine'::regclass;

-- A target that does not take what it is given, row by row and whole: nothing goes.
CREATE TABLE guarded (at timestamptz NOT NULL, app text) PARTITION BY RANGE (at);
CREATE TABLE guarded_1 PARTITION OF guarded FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE guarded_2 PARTITION OF guarded FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO guarded SELECT '2026-01-01'::timestamptz + i * interval '1 min', 'app' FROM generate_series(0, 39999) i;
INSERT INTO guarded VALUES ('2026-02-01', 'app');
SELECT orchestry.add_event_compression_policy('guarded', '1 day', group_by => '{app}') AS guarded \gset
CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER leave_out BEFORE INSERT ON guarded_compressed FOR EACH ROW EXECUTE FUNCTION leave_out();
SELECT action, object FROM orchestry.plan('guarded') WHERE destructive ORDER BY 1;
CALL orchestry.run_job(:guarded);
SELECT (SELECT count(*) FROM guarded) AS events, (SELECT count(*) FROM guarded_compressed) AS stored;
ALTER TABLE guarded DETACH PARTITION guarded_1;
CALL orchestry.run_job(:guarded);
SELECT (SELECT count(*) FROM guarded) AS events, (SELECT count(*) FROM guarded_compressed) AS stored;
ALTER TABLE guarded ATTACH PARTITION guarded_1 FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
DROP TRIGGER leave_out ON guarded_compressed;
-- A trigger for whole statements sees all events that go.
CREATE TABLE audit (events bigint);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO evc.audit SELECT count(*) FROM gone; RETURN NULL; END';
CREATE TRIGGER audit AFTER DELETE ON guarded REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION audit();
CALL orchestry.run_job(:guarded);
SELECT sum(events) AS seen, (SELECT count(*) FROM guarded) AS events, (SELECT sum(event_count) FROM guarded_compressed) AS stored FROM audit;

SELECT orchestry.remove_policy(job_id) FROM orchestry.jobs WHERE kind = 'events' OR target IN ('parts'::regclass, 'parts_compressed'::regclass, 'old_compressed'::regclass, 'years_compressed'::regclass);
DROP SCHEMA evc CASCADE;
DROP ROLE evc_stranger, evc_owner;
