-- Retention of single rows: what is refused, what is taken by which clock, what stays.
SET TimeZone = 'Asia/Tokyo'; -- no matter what a session says
SET DateStyle = 'SQL, DMY';
SET extra_float_digits = -10;
SET orchestry.now = '2026-06-15 12:00:00+00';
CREATE SCHEMA kept;
SET search_path = kept;
SELECT setval('orchestry.job_job_id_seq', 7301, false), setval('orchestry.hold_hold_id_seq', 6301, false);
CREATE FUNCTION planned(target regclass, as_of timestamptz DEFAULT now()) RETURNS TABLE (job bigint, action text, object text, reason text, blocked_by text)
LANGUAGE sql BEGIN ATOMIC
    SELECT p.job_id, p.action, p.object, p.reason, p.blocked_by FROM orchestry.plan(target, as_of) p ORDER BY p.seq;
END;
CREATE FUNCTION history(job bigint) RETURNS TABLE (seq int, action text, object text, state text, rows bigint, message text)
LANGUAGE sql BEGIN ATOMIC
    SELECT s.seq, s.action, s.object, s.state, s.rows, s.message FROM orchestry.run_steps s
    WHERE s.run_id = (SELECT j.last_run_id FROM orchestry.jobs j WHERE j.job_id = job) ORDER BY s.seq;
END;

CREATE TABLE ev (id int PRIMARY KEY, at timestamptz, level text, note text, n int, f float4);
INSERT INTO ev SELECT d, timestamptz '2026-06-15 12:00:00+00' - make_interval(days => d), CASE d % 2 WHEN 0 THEN 'info' ELSE 'error' END
FROM generate_series(1, 100) d;
ANALYZE ev;

-- what is refused, with nothing changed
SELECT orchestry.add_retention_policy('ev', interval '30 days');
SELECT orchestry.add_retention_policy('ev', '30 days', time_column => 'nope');
SELECT orchestry.add_retention_policy('ev', '30 days', time_column => 'level');
SELECT orchestry.add_retention_policy('ev', '30 days', time_column => 'f');
SELECT orchestry.add_retention_policy('ev', '30 days', time_column => 'n');
SELECT orchestry.add_retention_policy('ev', '30 days', time_column => 'id');
SELECT orchestry.add_retention_policy('ev', '30 days', time_column => 'id', key_unit => 'weeks');
SELECT orchestry.add_retention_policy('ev', '30 days', time_column => 'at', key_unit => 's');
SELECT orchestry.add_retention_policy('ev', NULL::interval, time_column => 'at');
SELECT orchestry.add_retention_policy('ev', '0 days', time_column => 'at');
SELECT orchestry.add_retention_policy('ev', '-1 days', time_column => 'at');
SELECT orchestry.add_retention_policy('ev', '59 seconds', time_column => 'at');
SELECT orchestry.add_retention_policy('ev', '10000 years', time_column => 'at');
SELECT orchestry.add_retention_policy('ev', '1000', time_column => 'at');
SELECT orchestry.add_retention_policy('ev', '30 days', time_column => 'at', action => 'detach');
SELECT orchestry.add_retention_policy('ev', '30 days', time_column => 'at', batch_rows => 0);
SELECT orchestry.add_retention_policy('ev', '30 days', time_column => 'at', keep_last => 0);
SELECT orchestry.add_retention_policy('ev', '30 days', time_column => 'at', keep_last_by => '{level}');
SELECT orchestry.add_retention_policy('ev', '30 days', time_column => 'at', keep_last => 3, keep_last_by => '{nope}');
SELECT orchestry.add_retention_policy('ev', '30 days', time_column => 'at', time_zone => 'Mars/Olympus');
CREATE VIEW ev_view AS SELECT * FROM ev;
SELECT orchestry.add_retention_policy('ev_view', '30 days', time_column => 'at');
CREATE TEMP TABLE ev_temp (at timestamptz);
\set VERBOSITY terse
SELECT orchestry.add_retention_policy('ev_temp', '30 days', time_column => 'at');
\set VERBOSITY default
CREATE ROLE retention_row_stranger;
GRANT USAGE ON SCHEMA kept TO retention_row_stranger;
SET ROLE retention_row_stranger;
SELECT orchestry.add_retention_policy('ev', '30 days', time_column => 'at');
RESET ROLE;
-- "where" is one condition over the row, and can be nothing else
CREATE FUNCTION one() RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END';
CREATE FUNCTION roll() RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN 1; END';
CREATE PROCEDURE refuse(condition text) LANGUAGE plpgsql AS $$
DECLARE hint text; detail text;
BEGIN
    PERFORM orchestry.add_retention_policy('ev', interval '30 days', time_column => 'at', "where" => condition);
    RAISE 'not refused: %', condition;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RAISE INFO '% | % % | % | %', condition, SQLSTATE, SQLERRM, detail, hint;
END $$;
CALL refuse('');
CALL refuse('true); DROP TABLE ev; --');
CALL refuse('true; DROP TABLE ev');
CALL refuse('level = ''info'' OR (true');
CALL refuse('true ORDER BY id');
CALL refuse('level');
CALL refuse('zzz = 1');
CALL refuse('level = $1');
CALL refuse('id IN (SELECT id FROM ev)');
CALL refuse('count(*) > 1');
CALL refuse('row_number() OVER () > 1');
CALL refuse('random() < 0.5');
CALL refuse('roll() = 1');
CALL refuse('at < now() - interval ''1 day''');
CALL refuse('at < CURRENT_TIMESTAMP');
CALL refuse('at::date < CURRENT_DATE');
CALL refuse('age(at) > interval ''1 year''');
CALL refuse('level = current_setting(''my.level'')');
CALL refuse('level = CURRENT_USER');
CALL refuse('ev IS NOT NULL');
SELECT count(*) FROM orchestry.jobs WHERE target_schema = 'kept';
SELECT count(*) FROM ev;

-- setup removes nothing; the first removal is announced; rows go by their own clock and state
SELECT orchestry.add_retention_policy('ev', '60 days', time_column => 'at', "where" => 'level = ''info'' AND one() = 1') AS info \gset
SELECT orchestry.add_retention_policy('ev', '60 days', time_column => 'at', "where" => 'level = ''info'' AND one() = 1') = :info AS same;
SELECT orchestry.add_retention_policy('ev', '61 days', time_column => 'at', "where" => 'level = ''info'' AND one() = 1');
SELECT orchestry.add_retention_policy('ev', '90 days', time_column => 'at') AS rest \gset
SELECT kind, target, time_zone, settings FROM orchestry.jobs WHERE target_schema = 'kept' ORDER BY job_id;
SELECT * FROM planned('ev');
SELECT action, sql, locks, destructive FROM orchestry.plan('ev');
-- what a later plan says is what happens later
SELECT action, object, reason FROM planned('ev', '2026-06-16 12:00:00+00');
CALL orchestry.run('ev');
SELECT * FROM history(:info);
SELECT * FROM history(:rest);
SELECT level, min(at) AT TIME ZONE 'UTC' AS oldest, count(*) FROM ev GROUP BY level ORDER BY level;
CALL orchestry.run('ev');
SELECT job_id, state, steps, rows FROM orchestry.runs WHERE job_id IN (:info, :rest) ORDER BY run_id;

-- settings change, but not what kind of policy it is
SELECT orchestry.alter_policy(:info, '{"keep": "10 days", "where": "level = ''info'' AND id <> 20"}');
SELECT orchestry.alter_policy(:info, '{"keep": "1 second"}');
SELECT orchestry.alter_policy(:info, '{"where": "now() > at"}');
SELECT orchestry.alter_policy(:info, '{"action": "detach"}');
SELECT orchestry.alter_policy(:info, '{"speed": 1}');
SELECT settings ->> 'keep', settings ->> 'where' FROM orchestry.jobs WHERE job_id = :info;
CALL orchestry.run_job(:info);
SELECT string_agg(id::text, ' ' ORDER BY id) FROM ev WHERE level = 'info';

-- a row without a time stays, and so does one whose time is minus infinity
INSERT INTO ev VALUES (201, NULL, 'x'), (202, '-infinity', 'x'), (203, 'infinity', 'x'), (204, '1999-01-01', 'x');
CALL orchestry.run('ev');
SELECT id FROM ev WHERE level = 'x' ORDER BY id;

-- every kind of time column, under the same clock; what is exactly as old as is kept stays
CREATE PROCEDURE try_type(type text, unit text, spoiled text, keep interval DEFAULT '10 days') LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz := '2026-06-15 12:00:00+00';
BEGIN
    EXECUTE format('CREATE TABLE typed (day int, at %s)', type);
    EXECUTE format($f$INSERT INTO typed SELECT d, %s FROM (SELECT d, timestamptz '2026-06-15 12:00:00+00' - make_interval(days => d) AS moment,
                   extract(epoch FROM timestamptz '2026-06-15 12:00:00+00' - make_interval(days => d)) AS unix FROM generate_series(1, 20) d) s$f$,
        CASE WHEN type = 'uuid' THEN $u$(left(lpad(to_hex((unix * 1000)::bigint), 12, '0'), 8) || '-' ||
                  right(lpad(to_hex((unix * 1000)::bigint), 12, '0'), 4) || '-7000-8000-000000000000')::uuid$u$
             WHEN unit IS NOT NULL THEN format('unix * %s', CASE unit WHEN 's' THEN '1' WHEN 'ms' THEN '1e3' WHEN 'us' THEN '1e6' ELSE '1e9' END)
             ELSE 'moment AT TIME ZONE ''UTC''' || CASE WHEN type IN ('timestamptz', 'moment') THEN ' AT TIME ZONE ''UTC''' ELSE '' END END);
    EXECUTE 'INSERT INTO typed VALUES (98, NULL)';
    IF spoiled IS NOT NULL THEN
        EXECUTE format('INSERT INTO typed VALUES (99, %L)', spoiled);
    END IF;
    PERFORM orchestry.add_retention_policy('typed', keep, time_column => 'at');
END $$;
CREATE PROCEDURE show_type() LANGUAGE plpgsql AS $$
DECLARE result text;
BEGIN
    SELECT format('%s %s: %s', format_type(a.atttypid, -1), (SELECT j.settings ->> 'key_unit' FROM orchestry.jobs j WHERE j.target = 'typed'::regclass),
                  (SELECT string_agg(t.day::text, ' ' ORDER BY t.day) FROM typed t))
    INTO result FROM pg_attribute a WHERE a.attrelid = 'typed'::regclass AND a.attname = 'at';
    PERFORM orchestry.remove_policy(j.job_id) FROM orchestry.jobs j WHERE j.target = 'typed'::regclass;
    DROP TABLE typed;
    RAISE INFO '%', result;
END $$;
SET client_min_messages = warning;
CALL try_type('timestamptz', NULL, '-infinity'); CALL orchestry.run('typed'); CALL show_type();
CALL try_type('timestamp', NULL, '-infinity'); CALL orchestry.run('typed'); CALL show_type();
CALL try_type('date', NULL, '-infinity'); CALL orchestry.run('typed'); CALL show_type();
CALL try_type('bigint', 's', '0'); CALL orchestry.run('typed'); CALL show_type();
CALL try_type('int', 's', '-1'); CALL orchestry.run('typed'); CALL show_type();
CALL try_type('bigint', 'ms', '0'); CALL orchestry.run('typed'); CALL show_type();
CALL try_type('bigint', 'us', NULL); CALL orchestry.run('typed'); CALL show_type();
CALL try_type('bigint', 'ns', NULL); CALL orchestry.run('typed'); CALL show_type();
CALL try_type('double precision', 's', 'NaN'); CALL orchestry.run('typed'); CALL show_type();
CALL try_type('double precision', 'ms', '-Infinity'); CALL orchestry.run('typed'); CALL show_type();
CREATE DOMAIN moment AS timestamptz;
CALL try_type('moment', NULL, NULL); CALL orchestry.run('typed'); CALL show_type();
CALL try_type('uuid', NULL, '00000000-0000-4000-8000-000000000000'); CALL orchestry.run('typed'); CALL show_type();
RESET client_min_messages;

-- the newest rows of a group stay whatever their age, ties with the last of them as well; NULL is a group
CREATE TABLE latest (app text, at timestamptz, v int);
INSERT INTO latest SELECT a, timestamptz '2025-01-01 00:00:00+00' + d * interval '1 day', d
FROM unnest(ARRAY['a', 'b', NULL]) a, generate_series(1, 5) d;
INSERT INTO latest VALUES ('b', '2025-01-04 00:00:00+00', 44), ('c', '2025-01-01 00:00:00+00', 1), ('a', now() - interval '1 hour', 9);
SELECT orchestry.add_retention_policy('latest', '30 days', time_column => 'at', keep_last => 2, keep_last_by => '{app}') AS latest \gset
SELECT reason, blocked_by FROM planned('latest');
CALL orchestry.run('latest');
SELECT app, string_agg(v::text, ' ' ORDER BY at, v) FROM latest GROUP BY app ORDER BY app;
CALL orchestry.run('latest');
SELECT state, rows FROM orchestry.runs WHERE job_id = :latest ORDER BY run_id;
SELECT orchestry.remove_policy(:latest);
-- without groups it is the newest of the table; with a condition the newest that meet it
SELECT orchestry.add_retention_policy('latest', '30 days', time_column => 'at', keep_last => 1, "where" => 'app = ''b''') AS latest \gset
CALL orchestry.run('latest');
SELECT app, string_agg(v::text, ' ' ORDER BY at, v) FROM latest GROUP BY app ORDER BY app;
SELECT orchestry.remove_policy(:latest);

-- partitions: only what is old enough is looked into, and rows that go are those of the condition
CREATE TABLE parts (at timestamptz NOT NULL, level text, seen timestamptz) PARTITION BY RANGE (at);
CREATE TABLE parts_4 PARTITION OF parts FOR VALUES FROM ('2026-04-01 00:00:00+00') TO ('2026-05-01 00:00:00+00');
CREATE TABLE parts_5 PARTITION OF parts FOR VALUES FROM ('2026-05-01 00:00:00+00') TO ('2026-06-01 00:00:00+00') PARTITION BY LIST (level);
CREATE TABLE parts_5_info PARTITION OF parts_5 FOR VALUES IN ('info');
CREATE TABLE parts_5_rest PARTITION OF parts_5 DEFAULT;
CREATE TABLE parts_6 PARTITION OF parts FOR VALUES FROM ('2026-06-01 00:00:00+00') TO ('2026-07-01 00:00:00+00');
CREATE TABLE parts_rest PARTITION OF parts DEFAULT;
INSERT INTO parts SELECT d, l, d FROM generate_series(timestamptz '2026-03-30 00:00:00+00', '2026-06-15 00:00:00+00', '1 day') d, unnest(ARRAY['info', 'error']) l;
ANALYZE parts;
SELECT orchestry.add_retention_policy('parts', '30 days', "where" => 'level = ''info''') AS parts \gset
SELECT settings FROM orchestry.jobs WHERE job_id = :parts;
SELECT action, object FROM planned('parts');
CALL orchestry.run('parts');
SELECT * FROM history(:parts);
SELECT level, min(at) AT TIME ZONE 'UTC' AS oldest, count(*) FROM parts GROUP BY level ORDER BY level;
-- what another policy takes as a whole is left to it
SELECT orchestry.add_retention_policy('parts', '45 days') AS whole \gset
SELECT orchestry.alter_policy(:parts, '{"keep": "20 days", "where": "level = ''error''"}');
SELECT action, object, reason FROM planned('parts') WHERE job = :parts;
SELECT orchestry.remove_policy(:whole);
-- by another column, all of them are looked into
SELECT orchestry.add_retention_policy('parts', '74 days', time_column => 'seen') AS seen \gset
SELECT action, object FROM planned('parts') WHERE job = :seen;
SELECT orchestry.alter_policy(:parts, '{"where": null, "action": "drop"}');

-- holds: rows are left out by time and by condition, a held table as a whole is left alone
CREATE TABLE held (id int, at timestamptz, who text);
INSERT INTO held SELECT d, timestamptz '2026-01-01 00:00:00+00' + d * interval '1 day', CASE d % 3 WHEN 0 THEN 'x' END FROM generate_series(0, 59) d;
SELECT orchestry.add_retention_policy('held', '30 days', time_column => 'at') AS held \gset
SELECT orchestry.hold('held', 'case 1', "where" => 'who = ''x''') AS by_condition \gset
SELECT orchestry.hold('held', 'case 2', "from" => '2026-01-05 00:00:00+00', "to" => '2026-01-10 00:00:00+00') AS by_time \gset
SELECT orchestry.hold('held', 'case 3', "from" => '2026-02-20 00:00:00+00', "where" => 'id % 2 = 0') AS by_both \gset
CALL orchestry.run('held');
SELECT string_agg(id::text, ' ' ORDER BY id) FROM held;
CALL orchestry.run('held');
SELECT state, rows FROM orchestry.runs WHERE job_id = :held ORDER BY run_id;
SELECT orchestry.release_hold(:by_time, 'over'), orchestry.release_hold(:by_both, 'over');
SELECT orchestry.hold('held', 'case 4') AS whole \gset
SELECT * FROM planned('held');
CALL orchestry.run('held');
SELECT state, rows FROM orchestry.runs WHERE job_id = :held ORDER BY run_id DESC LIMIT 1;
SELECT orchestry.release_hold(:whole, 'over');
CALL orchestry.run('held');
SELECT string_agg(id::text, ' ' ORDER BY id) FROM held;
SELECT orchestry.release_hold(:by_condition, 'over');

-- a hold on a span of time, where no key says which time is meant: any of them
CREATE DOMAIN kept_moment AS timestamptz;
CREATE TABLE times (id int, closed_at timestamptz, created_at timestamptz, "On" date, seen timestamp, said kept_moment, other uuid) PARTITION BY LIST (id);
CREATE TABLE times_all PARTITION OF times DEFAULT;
INSERT INTO times SELECT n, '2022-01-01' FROM generate_series(1, 9) n;
UPDATE times SET created_at = '2020-06-01' WHERE id = 1;
UPDATE times SET created_at = '2022-01-01', seen = '2019-06-01', said = '2021-06-01' WHERE id = 2;
UPDATE times SET "On" = '2020-12-31' WHERE id = 3;
UPDATE times SET seen = '2020-01-01' WHERE id = 4;
UPDATE times SET said = '2020-06-01' WHERE id = 5;
UPDATE times SET closed_at = '2020-06-01' WHERE id = 6;
UPDATE times SET other = '0172a000-0000-7000-8000-000000000000' WHERE id = 8;
SELECT orchestry.add_retention_policy('times', '30 days', time_column => 'closed_at') AS times \gset
SELECT orchestry.hold('times', 'case 5', "from" => '2020-01-01', "to" => '2021-01-01') AS span \gset
CALL orchestry.run('times');
SELECT string_agg(id::text, ' ' ORDER BY id) FROM times;
SELECT orchestry.release_hold(:span, 'over');
SELECT orchestry.hold('times', 'case 5', "to" => '2021-01-01', "where" => 'id > 4') AS span \gset
CALL orchestry.run('times');
SELECT string_agg(id::text, ' ' ORDER BY id) FROM times;
SELECT orchestry.release_hold(:span, 'over');

-- foreign keys: what is referenced stays and the constraint is named; a cascade takes rows along, but none that are held
CREATE TABLE parent (id int PRIMARY KEY, at timestamptz);
CREATE TABLE child (id int PRIMARY KEY, parent int CONSTRAINT child_of_parent REFERENCES parent);
INSERT INTO parent SELECT d, timestamptz '2026-01-01 00:00:00+00' + d * interval '1 day' FROM generate_series(1, 10) d;
INSERT INTO child SELECT d, d FROM generate_series(1, 10) d;
SELECT orchestry.add_retention_policy('parent', '30 days', time_column => 'at') AS parent \gset
SELECT reason FROM planned('parent');
CALL orchestry.run('parent');
SELECT seq, action, state, rows, message FROM history(:parent);
SELECT count(*) FROM parent;
ALTER TABLE child DROP CONSTRAINT child_of_parent;
ALTER TABLE child ADD FOREIGN KEY (parent) REFERENCES parent ON DELETE CASCADE;
CREATE TABLE grandchild (child int REFERENCES child ON DELETE CASCADE);
CREATE INDEX ON child (parent);
CREATE INDEX ON grandchild (child);
INSERT INTO grandchild VALUES (1);
SELECT orchestry.hold('grandchild', 'case 5', "where" => 'child = 1') AS grandchild \gset
SELECT * FROM planned('parent');
CALL orchestry.run('parent');
SELECT count(*) FROM parent;
SELECT orchestry.release_hold(:grandchild, 'over');
CALL orchestry.run('parent');
SELECT (SELECT count(*) FROM parent), (SELECT count(*) FROM child), (SELECT count(*) FROM grandchild);

-- one that changes rows changes none that are held, also where the change goes on
CREATE TABLE head (id int PRIMARY KEY, at timestamptz);
CREATE TABLE tail (id int PRIMARY KEY, head int UNIQUE REFERENCES head ON DELETE SET NULL);
CREATE TABLE tip (tail int DEFAULT 0 REFERENCES tail (head) ON UPDATE CASCADE);
INSERT INTO head VALUES (1, '2026-01-01 00:00:00+00');
INSERT INTO tail VALUES (1, 1);
INSERT INTO tip VALUES (1);
SELECT orchestry.add_retention_policy('head', '30 days', time_column => 'at') AS head \gset
SELECT orchestry.hold('tip', 'case 6', "where" => 'tail = 1') AS tip \gset
SELECT action, blocked_by FROM planned('head');
CALL orchestry.run('head');
TABLE tip;
SELECT orchestry.release_hold(:tip, 'over');
SELECT orchestry.hold('tail', 'case 7') AS tail \gset
SELECT action, blocked_by FROM planned('head');
SELECT orchestry.release_hold(:tail, 'over');
ALTER TABLE tail DROP CONSTRAINT tail_head_fkey, ADD FOREIGN KEY (head) REFERENCES head ON DELETE SET DEFAULT;
SELECT orchestry.hold('tail', 'case 8') AS tail \gset
SELECT action, blocked_by FROM planned('head');
SELECT orchestry.release_hold(:tail, 'over');
CALL orchestry.run('head');
SELECT (SELECT count(*) FROM head), tail.head, tip.tail FROM tail, tip;

-- triggers run as they would for the owner, and what one keeps stays
CREATE TABLE watched (id int, at timestamptz);
CREATE TABLE watch (id int, by name);
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.id % 10 = 0 THEN RETURN NULL; END IF;
    INSERT INTO kept.watch VALUES (OLD.id, current_user);
    RETURN OLD;
END $$;
CREATE TRIGGER watch BEFORE DELETE ON watched FOR EACH ROW EXECUTE FUNCTION watch();
INSERT INTO watched SELECT d, timestamptz '2026-01-01 00:00:00+00' FROM generate_series(1, 30) d;
CREATE ROLE retention_row_owner;
GRANT USAGE, CREATE ON SCHEMA kept TO retention_row_owner;
ALTER TABLE watched OWNER TO retention_row_owner;
ALTER TABLE watch OWNER TO retention_row_owner;
SELECT orchestry.add_retention_policy('watched', '30 days', time_column => 'at') AS watched \gset
CALL orchestry.run('watched');
SELECT by, count(*) FROM watch GROUP BY by;
SELECT string_agg(id::text, ' ' ORDER BY id) FROM watched;

-- nothing of the owner's runs with the rights of whoever sets up, looks at or runs the policy
CREATE FUNCTION unless_super(int) RETURNS int STABLE LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user) THEN
        RAISE EXCEPTION 'run as %', current_user;
    END IF;
    RETURN $1;
END $$;
SELECT orchestry.alter_policy(:watched, '{"where": "kept.unless_super(id) > 0"}');
SELECT orchestry.add_retention_policy('watched', '31 days', time_column => 'at', "where" => 'kept.unless_super(id) = 20', archive_to => 'seen') AS seen \gset
SELECT orchestry.hold('watched', 'case 6', "where" => 'kept.unless_super(id) = 10') AS super_hold \gset
DROP TRIGGER watch ON watched;
SELECT action, object FROM planned('watched');
CALL orchestry.run('watched');
SELECT string_agg(id::text, ' ' ORDER BY id) FROM watched;
SELECT orchestry.release_hold(:super_hold, 'over');

-- a policy that cannot see all rows takes none
ALTER TABLE watched ENABLE ROW LEVEL SECURITY;
ALTER TABLE watched FORCE ROW LEVEL SECURITY;
CALL orchestry.run('watched');

-- a table that publishes deletes without a replica identity
CREATE TABLE published (at timestamptz);
SET client_min_messages = error; -- wal_level
CREATE PUBLICATION retention_rows FOR TABLE published;
RESET client_min_messages;
SELECT orchestry.add_retention_policy('published', '30 days', time_column => 'at');
ALTER TABLE published REPLICA IDENTITY FULL;
SELECT orchestry.add_retention_policy('published', '30 days', time_column => 'at') AS published \gset
DROP PUBLICATION retention_rows;

-- a column that is renamed, and a policy that is left behind
INSERT INTO published VALUES ('2026-01-01');
ALTER TABLE published RENAME at TO happened_at;
CALL orchestry.run('published');
SELECT count(*) FROM published;

RESET orchestry.now;
SET client_min_messages = warning;
SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'kept';
SET search_path = public;
DROP SCHEMA kept CASCADE;
DROP ROLE retention_row_stranger;
DROP ROLE retention_row_owner;
