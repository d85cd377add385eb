-- What a plan for later shows is what happens when the clock gets there: which partitions are past their time at any moment of
-- a year, compared with sums of the server's own, and a year ahead step for step. Over keys, widths, zones, graces.
SET client_min_messages = warning;
SET TimeZone = 'Asia/Tokyo'; -- nobody's zone here
SET DateStyle = 'SQL, DMY';
SELECT * FROM no_plan();

CREATE TABLE cases (name text, type text, every text, past text, keep text, zone text, unit text, grace text DEFAULT '7 days', action text DEFAULT 'drop', key text DEFAULT '', extra text DEFAULT '', archive regclass);
INSERT INTO cases (name, type, every, past, keep, zone, unit) VALUES
    ('months', 'timestamptz', '1 month', '14 months', '3 months', 'UTC', NULL),
    ('days_new_york', 'timestamptz', '1 day', '60 days', '30 days', 'America/New_York', NULL),
    ('weeks_kolkata', 'timestamptz', '7 days', '30 weeks', '8 weeks', 'Asia/Kolkata', NULL),
    ('hours_lord_howe', 'timestamptz', '1 hour', '5 days', '2 days', 'Australia/Lord_Howe', NULL),
    ('six_hours_cairo', 'timestamptz', '6 hours', '20 days', '10 days 3 hours', 'Africa/Cairo', NULL),
    ('quarters_sao_paulo', 'timestamptz', '3 months', '3 years', '1 year', 'America/Sao_Paulo', NULL),
    ('dates_apia', 'date', '1 day', '40 days', '20 days', 'Pacific/Apia', NULL),
    ('dates_months_chatham', 'date', '1 month', '10 months', '40 days', 'Pacific/Chatham', NULL),
    ('wall_clock_berlin', 'timestamp', '1 month', '10 months', '2 months', 'Europe/Berlin', NULL),
    ('epoch_s', 'bigint', '1 day', '40 days', '1 month', 'Europe/Berlin', 's'),
    ('epoch_ms', 'bigint', '7 days', '200 days', '60 days', 'UTC', 'ms'),
    ('epoch_ns', 'bigint', '1 month', '10 months', '3 months', 'America/New_York', 'ns'),
    ('uuids', 'uuid', '7 days', '100 days', '30 days', 'UTC', NULL);
-- with a default partition, parts of their own, foreign keys, other fates
INSERT INTO cases (name, type, every, past, keep, zone, grace, action, key, extra) VALUES
    ('with_default', 'timestamptz', '1 month', '10 months', '3 months', 'Europe/Berlin', '1 month', 'drop', '', 'CREATE TABLE with_default_rest PARTITION OF with_default DEFAULT'),
    ('without_grace', 'timestamptz', '1 month', '10 months', '3 months', 'UTC', '0', 'drop', '', ''),
    ('long_grace', 'timestamptz', '1 month', '10 months', '3 months', 'UTC', '18 months', 'drop', '', ''),
    ('kept_for_ever', 'timestamptz', '1 month', '10 months', '3 months', 'UTC', '7 days', 'detach', '', ''),
    ('referenced', 'timestamptz', '1 month', '10 months', '3 months', 'UTC', '7 days', 'drop', ', PRIMARY KEY (at)', 'CREATE TABLE referencing (at timestamptz REFERENCES referenced)');

-- that go into an archive as a whole
INSERT INTO cases (name, type, every, past, keep, zone, grace, extra)
SELECT name, type, every, past, keep, zone, '0', format('CREATE TABLE %1$s_archive (LIKE %1$I INCLUDING ALL) PARTITION BY RANGE (at)', name)
FROM (VALUES ('moved', 'timestamptz', '1 month', '10 months', '3 months', 'Europe/Berlin'),
    ('moved_days_new_york', 'timestamptz', '1 day', '40 days', '20 days', 'America/New_York'),
    ('moved_dates', 'date', '7 days', '100 days', '30 days', 'Pacific/Apia')) m (name, type, every, past, keep, zone);

CREATE FUNCTION clock(at timestamptz) RETURNS text LANGUAGE sql AS $$
    SELECT set_config('orchestry.now', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), false) $$;
CREATE TABLE moments AS SELECT timestamptz '2026-03-08 06:30Z' AS first, timestamptz '2027-03-08 06:30Z' AS second, timestamptz '2028-03-08 06:30Z' AS third;
SELECT clock(first) IS NOT NULL AS clock_is_set FROM moments;

-- The partition policies make the sets and tell their bounds as instants; then they are in nobody's way any more.
DO $$
DECLARE c cases;
BEGIN
    FOR c IN SELECT * FROM cases LOOP
        EXECUTE format('CREATE TABLE %I (at %s NOT NULL %s) PARTITION BY RANGE (at)', c.name, c.type, c.key);
        PERFORM orchestry.add_partition_policy(c.name::regclass, every => c.every::interval, ahead => '1 hour', past => c.past::interval, time_zone => c.zone, key_unit => c.unit);
        EXECUTE c.extra;
        UPDATE cases SET archive = to_regclass(name || '_archive') WHERE name = c.name;
    END LOOP;
END $$;
-- widths of all kinds, whatever their names say, one with parts of its own, open at both ends
CREATE TABLE mixed (at timestamptz, v int) PARTITION BY RANGE (at);
CREATE TABLE mixed_2027 PARTITION OF mixed FOR VALUES FROM (MINVALUE) TO ('2024-01-01 00:00Z');
CREATE TABLE mixed_y PARTITION OF mixed FOR VALUES FROM ('2024-01-01 00:00Z') TO ('2025-01-01 00:00Z') PARTITION BY LIST (v);
CREATE TABLE mixed_y_1 PARTITION OF mixed_y FOR VALUES IN (1) PARTITION BY HASH (v);
CREATE TABLE mixed_y_1_0 PARTITION OF mixed_y_1 FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE TABLE mixed_y_rest PARTITION OF mixed_y DEFAULT;
CREATE TABLE mixed_q PARTITION OF mixed FOR VALUES FROM ('2025-01-01 00:00Z') TO ('2025-04-01 00:00Z');
CREATE TABLE mixed_long PARTITION OF mixed FOR VALUES FROM ('2025-04-01 00:00Z') TO ('2026-12-10 00:00Z');
CREATE TABLE mixed_day PARTITION OF mixed FOR VALUES FROM ('2026-12-10 00:00Z') TO ('2026-12-11 00:00Z');
CREATE TABLE mixed_hour PARTITION OF mixed FOR VALUES FROM ('2026-12-11 00:00Z') TO ('2026-12-11 01:00Z');
CREATE TABLE mixed_later PARTITION OF mixed FOR VALUES FROM ('2027-01-01 00:00Z') TO ('2027-02-01 00:00Z');
CREATE TABLE mixed_end PARTITION OF mixed FOR VALUES FROM ('2027-02-01 00:00Z') TO (MAXVALUE);
SELECT orchestry.add_partition_policy('mixed', every => interval '1 month', ahead => '1 hour') IS NOT NULL AS tells_bounds;
INSERT INTO cases (name, type, keep, zone) VALUES ('mixed', 'timestamptz', '2 months', 'UTC');
-- ids, which no clock makes older
CREATE TABLE ids (id bigint GENERATED ALWAYS AS IDENTITY) PARTITION BY RANGE (id);
SELECT orchestry.add_partition_policy('ids', every => 1000, ahead => 20000) IS NOT NULL AS made;
SELECT setval(pg_get_serial_sequence('ids', 'id'), 15500) AS far;
INSERT INTO cases (name, type, keep, zone) VALUES ('ids', 'ids', '5000', 'UTC');

CREATE TABLE bounds AS SELECT parent, partition, upper_at FROM orchestry.partitions p JOIN pg_class c ON c.oid = p.partition WHERE pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT';
SELECT count(orchestry.remove_policy(job_id)) > 0 AS removed FROM orchestry.jobs;
DO $$
DECLARE c cases;
BEGIN
    FOR c IN SELECT * FROM cases LOOP
        IF c.type = 'ids' THEN
            PERFORM orchestry.add_retention_policy(c.name::regclass, c.keep::bigint, action => c.action, grace => c.grace::interval);
        ELSE
            PERFORM orchestry.add_retention_policy(c.name::regclass, c.keep::interval, action => c.action, grace => c.grace::interval, time_zone => c.zone, key_unit => c.unit, archive_to => c.archive::text);
        END IF;
    END LOOP;
END $$;

-- The clock takes what ends at or before now - keep, in the policy's zone, except for the newest partition.
CREATE FUNCTION due(c cases, at timestamptz) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(b.partition::text, ' ' ORDER BY b.partition::text) FROM bounds b
    WHERE b.parent = c.name::regclass AND b.upper_at < 'infinity'
    AND CASE WHEN c.type IN ('date', 'timestamp') THEN (b.upper_at AT TIME ZONE c.zone) <= (at AT TIME ZONE c.zone) - c.keep::interval
             ELSE b.upper_at <= ((at AT TIME ZONE c.zone) - c.keep::interval) AT TIME ZONE c.zone END
    AND b.partition <> (SELECT n.partition FROM bounds n WHERE n.parent = b.parent ORDER BY n.upper_at DESC NULLS FIRST LIMIT 1)
$$;
CREATE FUNCTION planned(c cases, at timestamptz) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(i.inhrelid::regclass::text, ' ' ORDER BY i.inhrelid::regclass::text) FROM orchestry.plan(c.name::regclass, at) p
    JOIN pg_inherits i ON i.inhrelid = to_regclass(p.object) AND i.inhparent = c.name::regclass WHERE p.action IN ('detach', 'drop', 'archive_rows')
$$;
SELECT is((SELECT string_agg(at::text, ', ') FROM (SELECT first + n * interval '15 days 7 hours 13 minutes' AS at FROM moments, generate_series(0, 24) n) t
           WHERE planned(c, at) IS DISTINCT FROM due(c, at)), NULL, c.name || ': at any moment of a year the plan takes what is past its time')
FROM cases c WHERE c.type <> 'ids' ORDER BY name;
-- to the microsecond
SELECT is((SELECT count(*) FROM bounds b, LATERAL (SELECT (b.upper_at AT TIME ZONE c.zone + c.keep::interval) AT TIME ZONE c.zone AS at) t
           WHERE b.parent = c.name::regclass AND b.upper_at < 'infinity'
           AND (planned(c, t.at) IS DISTINCT FROM due(c, t.at) OR planned(c, t.at - interval '1 microsecond') IS DISTINCT FROM due(c, t.at - interval '1 microsecond'))),
          0::bigint, c.name || ': nor a microsecond too early') FROM cases c WHERE c.name IN ('months', 'weeks_kolkata', 'wall_clock_berlin', 'mixed') ORDER BY name;

-- Step for step: what a plan made now shows for then, and what the run of then did.
CREATE TABLE foreseen (target regclass, seq bigint, step text);
CREATE FUNCTION foresee(at timestamptz) RETURNS void LANGUAGE sql AS $$
    TRUNCATE foreseen;
    INSERT INTO foreseen SELECT p.target, row_number() OVER (PARTITION BY p.target ORDER BY p.seq), concat_ws(E'\n', p.action, p.object, p.reason, p.sql)
    FROM orchestry.plan(NULL, at) p WHERE p.action <> 'leave';
$$;
CREATE FUNCTION steps(c cases) RETURNS text[] LANGUAGE sql AS $$
    SELECT array_agg(concat_ws(E'\n', s.action, s.object, s.reason, s.sql) ORDER BY s.seq) FROM orchestry.jobs j JOIN orchestry.run_steps s ON s.run_id = j.last_run_id
    WHERE j.target = c.name::regclass AND s.state = 'ok'
$$;
CREATE FUNCTION as_foreseen(c cases, label text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE expected text[] := (SELECT array_agg(f.step ORDER BY f.seq) FROM foreseen f WHERE f.target = c.name::regclass);
BEGIN
    RETURN NEXT is(steps(c), expected, format('%s: %s: %s steps', c.name, label, COALESCE(cardinality(expected), 0)));
    RETURN NEXT is((SELECT j.last_state FROM orchestry.jobs j WHERE j.target = c.name::regclass), CASE WHEN expected IS NULL THEN 'noop' ELSE 'ok' END, c.name || ': ' || label || ': the run ends well');
END $$;

SELECT foresee(first) FROM moments;
CALL orchestry.run();
SELECT as_foreseen(c, 'now') FROM cases c ORDER BY name;
SELECT foresee(second) FROM moments;
SELECT clock(second) IS NOT NULL AS a_year_later FROM moments;
SELECT count(orchestry.resume_job(job_id)) > 0 AS clock_is_right FROM orchestry.jobs;
CALL orchestry.run();
SELECT as_foreseen(c, 'a year ahead') FROM cases c ORDER BY name;
SELECT foresee(third) FROM moments;
SELECT clock(third) IS NOT NULL AS another_year_later FROM moments;
SELECT count(orchestry.resume_job(job_id)) > 0 AS clock_is_right FROM orchestry.jobs;
CALL orchestry.run();
SELECT as_foreseen(c, 'two years ahead') FROM cases c ORDER BY name;
SELECT is((SELECT count(*) FROM orchestry.quarantine q JOIN orchestry.jobs j USING (job_id) WHERE q.parent::text NOT IN ('kept_for_ever', 'long_grace', 'mixed')), 0::bigint, 'in the end all that is due is gone');
SELECT * FROM finish();
