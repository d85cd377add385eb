-- Event compression: what stays where it is, and what goes on beside it.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET client_min_messages = warning;
SET orchestry.now = '2026-06-15 12:00:00+00';
SET orchestry.lock_timeout = '60 s'; -- for slow machines
CREATE SCHEMA evs;
SET search_path = evs;
SELECT setval('orchestry.job_job_id_seq', 17101, false);
CREATE FUNCTION steps(target regclass) RETURNS TABLE (action text, object text, state text, rows bigint, message text)
LANGUAGE sql BEGIN ATOMIC
    SELECT s.action, s.object, s.state, s.rows, s.message FROM orchestry.run_steps s
    WHERE s.run_id = (SELECT j.last_run_id FROM orchestry.jobs j WHERE j.target = steps.target AND j.kind = 'events') ORDER BY s.seq;
END;

-- Buckets of two widths do not come into one table.
CREATE TABLE twice (at timestamptz NOT NULL, app text);
INSERT INTO twice SELECT '2026-01-01'::timestamptz + i * interval '10 min', 'app' FROM generate_series(1, 1000) i;
SELECT orchestry.add_event_compression_policy('twice', '30 days', group_by => '{app}') AS twice \gset
CALL orchestry.run('twice');
SELECT orchestry.remove_policy(:twice);
SELECT orchestry.add_event_compression_policy('twice', '30 days', group_by => '{app}', bucket => '1 day');
SELECT orchestry.add_event_compression_policy('twice', '30 days', group_by => '{app}', bucket => '15 min');
SELECT orchestry.add_event_compression_policy('twice', '30 days', group_by => '{app}', time_zone => 'Europe/Berlin') IS NOT NULL AS same_hours;

-- What a unique index includes is no part of its key.
CREATE TABLE included (bucket timestamptz NOT NULL, app text NOT NULL, event_count bigint, first_at timestamptz, last_at timestamptz);
CREATE UNIQUE INDEX ON included (bucket) INCLUDE (app);
SELECT orchestry.remove_policy((SELECT job_id FROM orchestry.jobs WHERE target = 'twice'::regclass));
SELECT orchestry.add_event_compression_policy('twice', '30 days', into_table => 'included', group_by => '{app}');
CREATE UNIQUE INDEX ON included (bucket, app) INCLUDE (event_count);
INSERT INTO twice VALUES ('2026-01-01', 'app');
SELECT orchestry.add_event_compression_policy('twice', '30 days', into_table => 'included', group_by => '{app}') IS NOT NULL AS added;
CALL orchestry.run('twice');
SELECT app, event_count FROM included;

-- Rows at minus infinity are in no bucket: their partition goes row by row.
CREATE TABLE old (at timestamptz NOT NULL, pad text) PARTITION BY RANGE (at);
CREATE TABLE old_1 PARTITION OF old FOR VALUES FROM ('-infinity') TO ('2026-01-01');
CREATE TABLE old_2 PARTITION OF old FOR VALUES FROM ('2026-01-01') TO ('infinity');
INSERT INTO old SELECT '2025-12-01'::timestamptz + i * interval '1 min', repeat('x', 100) FROM generate_series(1, 10000) i;
INSERT INTO old SELECT '2026-01-01'::timestamptz + i * interval '1 min', repeat('x', 100) FROM generate_series(1, 10000) i;
INSERT INTO old VALUES ('-infinity');
SELECT orchestry.add_event_compression_policy('old', '30 days');
SELECT action, object FROM orchestry.plan('old') WHERE action <> 'leave';
CALL orchestry.run('old');
SELECT at FROM old;
SELECT sum(event_count) FROM old_compressed;

-- A subscriber that hears of deletes and not of TRUNCATE has to hear of each.
CREATE TABLE told (at timestamptz NOT NULL, pad text) PARTITION BY RANGE (at);
CREATE TABLE told_1 PARTITION OF told FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
ALTER TABLE told REPLICA IDENTITY FULL;
ALTER TABLE told_1 REPLICA IDENTITY FULL;
INSERT INTO told SELECT '2026-01-01'::timestamptz + i * interval '1 min', repeat('x', 100) FROM generate_series(1, 15000) i;
SELECT orchestry.add_event_compression_policy('told', '30 days');
CREATE FUNCTION how() RETURNS text LANGUAGE sql RETURN (SELECT string_agg(action || ' ' || object, ', ') FROM orchestry.plan('evs.told') WHERE action <> 'leave');
SELECT how();
SET client_min_messages = error;
CREATE PUBLICATION evs_1 FOR TABLE told WITH (publish = 'insert, update, delete');
SELECT how();
ALTER PUBLICATION evs_1 SET (publish = 'insert, delete, truncate');
SELECT how();
ALTER PUBLICATION evs_1 SET (publish_via_partition_root); -- then the TRUNCATE of a partition is not told
SELECT how();
ALTER PUBLICATION evs_1 SET (publish = 'insert');
SELECT how();
DROP PUBLICATION evs_1;
CREATE PUBLICATION evs_1 FOR TABLES IN SCHEMA evs WITH (publish = 'delete');
SELECT how();
DROP PUBLICATION evs_1;
CREATE PUBLICATION evs_1 FOR TABLE told_1 WITH (publish = 'delete');
SELECT how();
DROP PUBLICATION evs_1;
SET client_min_messages = warning;

-- Rows that others reference stay with those that go along with them, and the run says so; all others go.
CREATE TABLE needed (id int, part int, at timestamptz NOT NULL, note text, PRIMARY KEY (id, part));
CREATE TABLE needs (part bigint, id bigint, note text, CONSTRAINT "the key" FOREIGN KEY (id, part) REFERENCES needed (id, part));
INSERT INTO needed SELECT i, i % 7, '2026-01-01'::timestamptz + i * interval '10 s', 'event' FROM generate_series(1, 60000) i;
INSERT INTO needs VALUES (NULL, 1, 'nothing');
SELECT orchestry.add_event_compression_policy('needed', '30 days') AS needed \gset
SELECT action, blocked_by FROM orchestry.plan('needed') WHERE action <> 'leave';
INSERT INTO needs VALUES (7 % 7, 7, 'seven');
ANALYZE needed;
SELECT action, blocked_by FROM orchestry.plan('needed') WHERE action <> 'leave';
CALL orchestry.run_job(:needed);
SELECT state, message FROM steps('needed');
SELECT count(*) BETWEEN 1 AND 55000 AS some_stay, min(id) FROM needed;
DELETE FROM needs WHERE note = 'seven';
CALL orchestry.run_job(:needed);
SELECT (SELECT count(*) FROM needed), (SELECT sum(event_count) FROM needed_compressed);

-- A group that fits no index row stays, and the others go. One that is long and can be compressed goes as well.
CREATE FUNCTION noise(n int) RETURNS text LANGUAGE sql AS $$ SELECT string_agg(md5(i::text), '') FROM generate_series(1, n) i $$;
CREATE TABLE wide (at timestamptz NOT NULL, app text, url text);
INSERT INTO wide SELECT '2026-01-05'::timestamptz + i * interval '1 min', 'app', 'url' FROM generate_series(1, 100) i;
INSERT INTO wide VALUES ('2026-01-05 01:00+00', 'app', repeat('long ', 2000));
SELECT orchestry.add_event_compression_policy('wide', '30 days', group_by => '{app,url}');
CALL orchestry.run('wide');
SELECT count(*) FROM wide;
INSERT INTO wide VALUES ('2026-01-05 02:00+00', 'app', noise(100)), ('2026-01-05 02:00+00', NULL, noise(500)), ('2026-01-05 03:00+00', 'late', 'url');
CALL orchestry.run('wide');
SELECT state, rows, message FROM steps('wide');
SELECT length(url) FROM wide ORDER BY 1;
SELECT app, sum(event_count) FROM wide_compressed GROUP BY app ORDER BY app;
DELETE FROM wide WHERE app IS NULL;
CALL orchestry.run('wide');
SELECT state, rows, message FROM steps('wide');
-- Likewise in a partition that would go as a whole.
CREATE TABLE whole (at timestamptz NOT NULL, url text) PARTITION BY RANGE (at);
CREATE TABLE whole_1 PARTITION OF whole FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
INSERT INTO whole SELECT '2026-01-05'::timestamptz + i * interval '1 s', 'url' FROM generate_series(1, 40000) i;
INSERT INTO whole VALUES ('2026-01-05 02:00+00', noise(500));
SELECT orchestry.add_event_compression_policy('whole', '30 days', group_by => '{url}');
SELECT action, object FROM orchestry.plan('whole');
CALL orchestry.run('whole');
SELECT action, object, state, rows, regexp_replace(message, '(since).*', '\1 ...') AS message FROM steps('whole');
SELECT (SELECT count(*) FROM whole), (SELECT sum(event_count) FROM whole_compressed);
DELETE FROM whole;
CALL orchestry.run('whole');
SELECT pg_relation_size('whole_1');

-- Where TRUNCATE is not the same as DELETE, or not allowed, a large partition goes row by row.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not by TRUNCATE'; END$$;
CREATE ROLE evs_owner;
GRANT ALL ON SCHEMA evs TO evs_owner;
SET ROLE evs_owner;
CREATE TABLE guarded (at timestamptz NOT NULL, app text, pad text) PARTITION BY RANGE (at);
CREATE TABLE guarded_1 PARTITION OF guarded FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE guarded_2 PARTITION OF guarded FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO guarded SELECT '2026-01-05'::timestamptz + i % 2 * interval '1 month', 'app', repeat('x', 100) FROM generate_series(1, 30000) i;
SELECT orchestry.add_event_compression_policy('guarded', '30 days', group_by => '{app}') AS guarded \gset
SELECT action, object FROM orchestry.plan('guarded') WHERE action <> 'leave';
CREATE TRIGGER guard BEFORE TRUNCATE ON guarded_1 EXECUTE FUNCTION refuse();
REVOKE TRUNCATE ON guarded_2 FROM evs_owner;
SELECT DISTINCT action, object FROM orchestry.plan('guarded') WHERE action <> 'leave';
DROP TRIGGER guard ON guarded_1;
GRANT TRUNCATE ON guarded_2 TO evs_owner;
CREATE RULE guard AS ON DELETE TO guarded DO INSTEAD NOTHING;
SELECT DISTINCT action, object FROM orchestry.plan('guarded') WHERE action <> 'leave';
DROP RULE guard ON guarded;
CREATE TRIGGER guard BEFORE TRUNCATE ON guarded_1 EXECUTE FUNCTION refuse();
REVOKE TRUNCATE ON guarded_2 FROM evs_owner;
CALL orchestry.run('guarded');
SELECT (SELECT count(*) FROM guarded), (SELECT sum(event_count) FROM guarded_compressed);
RESET ROLE;

-- What would be gone after a crash takes no counts.
CREATE TABLE safe (at timestamptz NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE safe_1 PARTITION OF safe FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
INSERT INTO safe VALUES ('2026-01-05');
SELECT orchestry.add_event_compression_policy('safe', '30 days') AS safe \gset
ALTER TABLE safe_compressed_p202601 SET UNLOGGED;
CALL orchestry.run_job(:safe);
SELECT count(*) FROM safe;
ALTER TABLE safe_compressed_p202601 SET LOGGED;
CALL orchestry.run_job(:safe);
SELECT count(*) FROM safe;

SELECT count(orchestry.remove_policy(job_id)) > 0 AS removed FROM orchestry.jobs WHERE job_id BETWEEN 17101 AND 17200;
DROP SCHEMA evs CASCADE;
DROP ROLE evs_owner;
