-- Policies: every kind of key, asked for twice, changed, removed; the same bounds whatever the session's settings.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
SET orchestry.now = '2026-03-15 12:00:00+00';
CREATE SCHEMA pol;
SET search_path = pol;
CREATE VIEW bounds AS
SELECT p.parent, p.partition, p.bound, p.phase FROM orchestry.partitions p
ORDER BY p.parent::text, p.is_default, p.lower_at, p.lower_key;

-- every kind of key; none of these partitions depends on the session's settings
CREATE TABLE by_timestamptz (at timestamptz) PARTITION BY RANGE (at);
CREATE TABLE by_timestamp (at timestamp) PARTITION BY RANGE (at);
CREATE TABLE by_date (day date) PARTITION BY RANGE (day);
CREATE TABLE by_bigint (id bigint) PARTITION BY RANGE (id);
CREATE TABLE by_smallint (id smallint) PARTITION BY RANGE (id);
CREATE TABLE by_epoch_s (at int) PARTITION BY RANGE (at);
CREATE TABLE by_epoch_ms (at bigint) PARTITION BY RANGE (at);
CREATE TABLE by_epoch_us (at bigint) PARTITION BY RANGE (at);
CREATE TABLE by_epoch_ns (at bigint) PARTITION BY RANGE (at);
CREATE TABLE by_uuid (id uuid) PARTITION BY RANGE (id);
CREATE DOMAIN moment AS timestamptz;
CREATE TABLE by_domain (at moment) PARTITION BY RANGE (at);

CREATE FUNCTION add_all() RETURNS void LANGUAGE sql AS $$
SELECT orchestry.add_partition_policy('pol.by_timestamptz', '1 day', '1 day', time_zone => 'America/New_York');
SELECT orchestry.add_partition_policy('pol.by_timestamp', '1 month', '1 month', past => '1 month');
SELECT orchestry.add_partition_policy('pol.by_date', '7 days', '7 days');
SELECT orchestry.add_partition_policy('pol.by_bigint', 1000000);
SELECT orchestry.add_partition_policy('pol.by_smallint', '20000');
SELECT orchestry.add_partition_policy('pol.by_epoch_s', '1 year', '1 year', key_unit => 's', time_zone => 'Asia/Kathmandu');
SELECT orchestry.add_partition_policy('pol.by_epoch_ms', '3 months', '1 day', key_unit => 'ms');
SELECT orchestry.add_partition_policy('pol.by_epoch_us', '1 month', '1 day', key_unit => 'us');
SELECT orchestry.add_partition_policy('pol.by_epoch_ns', '1 month', '1 day', key_unit => 'ns');
SELECT orchestry.add_partition_policy('pol.by_uuid', '1 month', '1 day');
SELECT orchestry.add_partition_policy('pol.by_domain', '12 hours', '12 hours');
$$;
-- New York's clocks go forward on 2026-03-08 and back on 2026-11-01: bounds are its midnights
SELECT add_all();
SELECT * FROM bounds;
CREATE TABLE expected AS SELECT partition::text, pg_get_expr(c.relpartbound, c.oid) AS bound
FROM bounds b JOIN pg_class c ON c.oid = b.partition;

-- the same again, and again, under other settings of the session
CREATE FUNCTION remove_all() RETURNS void LANGUAGE plpgsql AS $$
DECLARE r record;
BEGIN
    PERFORM orchestry.remove_policy(j.job_id) FROM orchestry.jobs j WHERE j.target_schema IN ('pol', 'elsewhere');
    FOR r IN SELECT i.inhrelid::regclass AS c FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
             WHERE p.relnamespace = 'pol'::regnamespace LOOP
        EXECUTE format('DROP TABLE %s', r.c);
    END LOOP;
END $$;
CREATE PROCEDURE compare(zone text, style text) LANGUAGE plpgsql AS $$
DECLARE differences bigint; compared bigint;
BEGIN
    PERFORM pol.remove_all();
    PERFORM set_config('TimeZone', zone, false), set_config('DateStyle', style, false);
    PERFORM pol.add_all();
    PERFORM set_config('TimeZone', 'UTC', false), set_config('DateStyle', 'ISO, MDY', false);
    SELECT count(*) FILTER (WHERE e.bound IS DISTINCT FROM pg_get_expr(c.relpartbound, c.oid)), count(*)
    INTO differences, compared
    FROM pol.bounds b JOIN pg_class c ON c.oid = b.partition FULL JOIN pol.expected e ON e.partition = b.partition::text;
    RAISE NOTICE '% / %: % partitions, % differ', zone, style, compared, differences;
END $$;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
UPDATE expected e SET bound = pg_get_expr(c.relpartbound, c.oid) FROM pg_class c
WHERE c.oid = e.partition::regclass;
CALL compare('UTC', 'ISO, MDY');
CALL compare('UTC', 'German, DMY');
CALL compare('Pacific/Apia', 'SQL, DMY');
CALL compare('Pacific/Apia', 'ISO, MDY');
CALL compare('America/St_Johns', 'Postgres, MDY');
CALL compare('America/St_Johns', 'German, DMY');
-- and what is shown of them does not depend on the settings either
SET TimeZone = 'Asia/Tokyo';
SET DateStyle = 'German, DMY';
SELECT bound FROM bounds WHERE parent = 'by_timestamptz'::regclass;
SELECT * FROM orchestry.timeline('by_timestamptz');
SELECT sql FROM orchestry.plan('by_timestamptz', '17.03.2026 12:00:00');
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';

-- asked for twice
SELECT orchestry.add_partition_policy('by_timestamptz', '1 day', '1 day', time_zone => 'america/new_york') IS NOT NULL AS known;
CREATE PROCEDURE hint_of(statement text) LANGUAGE plpgsql AS $$
DECLARE hint text;
BEGIN
    EXECUTE statement;
EXCEPTION WHEN duplicate_object THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RAISE NOTICE '%', regexp_replace(SQLERRM || ' / ' || hint, '\(\d+', '(N');
END $$;
CALL hint_of($$SELECT orchestry.add_partition_policy('by_timestamptz', interval '24 hours', interval '1 day', time_zone => 'America/New_York')$$);
CALL hint_of($$SELECT orchestry.add_partition_policy('by_timestamptz', '1 day', '2 days', time_zone => 'UTC', schedule => '1 day')$$);
CALL hint_of($$SELECT orchestry.add_partition_policy('by_bigint', 1000000, ahead => 5000000, name_pattern => '{table}_{from}')$$);
CALL hint_of($$SELECT orchestry.add_partition_policy('by_epoch_ms', '3 months', '1 day', key_unit => 's')$$);

-- changed: what exists stays, and the runway grows with the next run
SELECT job_id AS job FROM orchestry.jobs WHERE target = 'by_timestamptz'::regclass \gset
SELECT orchestry.alter_policy(:job, '{"ahead": "2 days", "time_zone": "UTC", "schedule": "15 minutes"}');
SELECT settings, time_zone, schedule, state FROM orchestry.jobs WHERE job_id = :job;
SELECT action, object, reason, sql, locks, destructive, blocked_by FROM orchestry.plan('by_timestamptz') \gx
CALL orchestry.run('by_timestamptz');
SELECT * FROM bounds WHERE parent = 'by_timestamptz'::regclass;
SELECT orchestry.alter_policy(:job, '{"ahead": null, "name_pattern": "{table}_{YYYY}_{MM}_{DD}"}');
SELECT settings FROM orchestry.jobs WHERE job_id = :job;
SELECT object FROM orchestry.plan('by_timestamptz');
\set VERBOSITY sqlstate
SELECT orchestry.alter_policy(:job, '{"every": null}');
SELECT orchestry.alter_policy(:job, '{"every": "0 days"}');
SELECT orchestry.alter_policy(:job, '{"every": "1 day", "keep": "1 year"}');
SELECT orchestry.alter_policy(:job, '{"time_zone": "Mars/Olympus"}');
SELECT orchestry.alter_policy(:job, '{"name_pattern": "{table}"}');
SELECT orchestry.alter_policy(:job, '{"every": "1 hour", "past": "1000 days"}');
SELECT orchestry.alter_policy(:job, '{"every": "soon"}');
\set VERBOSITY default
SELECT settings FROM orchestry.jobs WHERE job_id = :job;
SELECT job_id AS job FROM orchestry.jobs WHERE target = 'by_bigint'::regclass \gset
SELECT orchestry.alter_policy(:job, '{"every": 500000, "past": 0}');
SELECT settings FROM orchestry.jobs WHERE job_id = :job;
CALL orchestry.run('by_bigint');
SELECT partition, lower_key, upper_key FROM orchestry.partitions WHERE parent = 'by_bigint'::regclass;

-- a table that is renamed and moved keeps its policy; new partitions follow
CREATE SCHEMA elsewhere;
ALTER TABLE by_date RENAME TO days;
ALTER TABLE days SET SCHEMA elsewhere;
SET orchestry.now = '2026-03-25';
CALL orchestry.run('elsewhere.days');
SELECT partition, bound FROM bounds WHERE parent = 'elsewhere.days'::regclass;
-- and it can be altered by its owner alone
CREATE ROLE regress_partition_stranger;
SET ROLE regress_partition_stranger;
SELECT orchestry.alter_policy(:job, '{"ahead": 1}');
SELECT count(*) AS visible FROM orchestry.partitions;
RESET ROLE;
GRANT pg_monitor TO regress_partition_stranger;
SET ROLE regress_partition_stranger;
SELECT count(*) > 0 AS visible FROM orchestry.partitions;
RESET ROLE;

-- without its policy a table is plain PostgreSQL
SELECT orchestry.remove_policy(job_id) FROM orchestry.jobs WHERE target = 'elsewhere.days'::regclass;
SELECT count(*) AS policies FROM orchestry.partition_policy p WHERE NOT EXISTS (SELECT FROM orchestry.jobs j WHERE j.job_id = p.job_id);
INSERT INTO elsewhere.days VALUES ('2026-03-25');
SELECT tableoid::regclass, day FROM elsewhere.days;

SELECT remove_all();
SET client_min_messages = warning;
RESET search_path;
DROP SCHEMA pol, elsewhere CASCADE;
DROP ROLE regress_partition_stranger;
