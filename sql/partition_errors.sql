-- Bad input: each is refused with an SQLSTATE, a detail and a hint, and nothing is changed.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
SET orchestry.now = '2026-03-15 12:00:00+00';
CREATE SCHEMA bad;
SET search_path = bad;

-- What a statement is refused with, one line each. Nothing of it stays.
CREATE FUNCTION refusal(statement text) RETURNS TABLE (what text, text text) LANGUAGE plpgsql AS $$
DECLARE
    message text; detail text; hint text;
BEGIN
    BEGIN
        EXECUTE statement;
        RAISE EXCEPTION 'not refused: %', statement;
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
        RETURN QUERY SELECT SQLSTATE, regexp_replace(message, 'pg_temp_\d+', 'pg_temp') UNION ALL SELECT 'detail', detail WHERE detail <> ''
                     UNION ALL SELECT 'hint', hint WHERE hint <> '';
    END;
END $$;

CREATE TABLE plain (at timestamptz);
CREATE TABLE by_list (at timestamptz) PARTITION BY LIST (at);
CREATE TABLE by_hash (at timestamptz) PARTITION BY HASH (at);
CREATE TABLE two_columns (id int, at timestamptz) PARTITION BY RANGE (at, id);
CREATE TABLE expression (at timestamptz) PARTITION BY RANGE ((at AT TIME ZONE 'UTC'));
CREATE TABLE by_text (key text) PARTITION BY RANGE (key);
CREATE TABLE by_numeric (key numeric) PARTITION BY RANGE (key);
CREATE TEMPORARY TABLE temporary (at timestamptz) PARTITION BY RANGE (at);
CREATE VIEW a_view AS SELECT * FROM plain;
CREATE TABLE good (id int, at timestamptz) PARTITION BY RANGE (at);
CREATE TABLE by_date (day date) PARTITION BY RANGE (day);
CREATE TABLE by_int (id bigint) PARTITION BY RANGE (id);
CREATE TABLE by_uuid (id uuid) PARTITION BY RANGE (id);

-- tables
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('plain', '1 month')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('a_view', '1 month')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('by_list', '1 month')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('by_hash', '1 month')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('two_columns', '1 month')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('expression', '1 month')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('by_text', '1 month')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('by_numeric', 1000)$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('temporary', '1 month')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('nowhere', '1 month')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy(4000000000::regclass, '1 month')$$);

-- steps
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', '0 days')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', '-1 month')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', interval '1 month -1 day')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', '1 month 1 day')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', 'monthly')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', 1000)$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', '1 month', ahead => '-1 day')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', '1 month', past => '-1 day')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', '1 hour', past => '500 days')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('by_date', '1 hour')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('by_int', 0)$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('by_int', -1000)$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('by_int', 1000, ahead => -1)$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('by_int', 9223372036854775807)$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('by_int', interval '1 month')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('by_int', interval '1 month', key_unit => 'h')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('by_int', '1000', key_unit => 's')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('by_int', '99999999999999999999')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('by_int', '1000', ahead => '1 month')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('by_int', interval '1.5 seconds', key_unit => 's')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', '1 month', key_unit => 's')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('by_uuid', '1 month', key_unit => 'ms')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('by_uuid', '500 microseconds')$$);

-- zones, names and schedules
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', '1 month', time_zone => 'Mars/Olympus')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', '1 month', name_pattern => '{table}_{week}')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', '1 month', name_pattern => '{table}_{YYYY')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', '1 month', name_pattern => '')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', '1 month', name_pattern => '{table}_{YYYY}')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', '1 month', name_pattern => '{table}_{from}')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('by_int', 1000, name_pattern => '{table}_{YYYY}')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('by_int', 1000, name_pattern => '{table}_x')$$);
SELECT * FROM refusal(format($$SELECT orchestry.add_partition_policy('good', '1 month', name_pattern => %L)$$,
                             repeat('x', 60) || '{table}{YYYY}{MM}'));
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', '1 month', schedule => '61 * * * *')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', '1 month', schedule => 'often')$$);

-- NULL
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy(NULL, '1 month')$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', NULL)$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', NULL::interval)$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('by_int', NULL::bigint)$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', '1 month', past => NULL)$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', '1 month', time_zone => NULL)$$);
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', '1 month', schedule => NULL)$$);
SELECT * FROM refusal($$SELECT orchestry.create_partition('good', NULL::timestamptz)$$);
SELECT * FROM refusal($$SELECT orchestry.create_partition(NULL, now())$$);
SELECT * FROM refusal($$SELECT orchestry.partition_of(NULL, now())$$);
SELECT * FROM refusal($$SELECT * FROM orchestry.timeline(NULL)$$);
SELECT * FROM refusal($$SELECT * FROM orchestry.explain(NULL)$$);

-- no policy
SELECT * FROM refusal($$SELECT orchestry.create_partition('good', now())$$);
SELECT * FROM refusal($$SELECT * FROM orchestry.timeline('good')$$);
SELECT * FROM refusal($$SELECT * FROM orchestry.explain('good')$$);
SELECT * FROM refusal($$SELECT orchestry.partition_of('plain', now())$$);

-- not the owner
CREATE ROLE regress_partition_stranger;
CREATE ROLE regress_partition_owner;
GRANT USAGE ON SCHEMA bad TO regress_partition_stranger, regress_partition_owner;
SET ROLE regress_partition_stranger;
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', '1 month')$$);
SELECT * FROM refusal($$SELECT orchestry.create_partition('good', now())$$);
SELECT * FROM refusal($$SELECT * FROM orchestry.timeline('good')$$);
SELECT * FROM refusal($$SELECT * FROM orchestry.explain('good')$$);
CALL orchestry.promote_default('good');
RESET ROLE;
-- the owner cannot create tables in the schema, whoever calls
ALTER TABLE good OWNER TO regress_partition_owner;
SELECT * FROM refusal($$SELECT orchestry.add_partition_policy('good', '1 month')$$);

-- nothing was changed by any of this
SELECT count(*) AS jobs FROM orchestry.jobs WHERE target_schema = 'bad';
SELECT count(*) AS partitions FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent
WHERE c.relnamespace = 'bad'::regnamespace;

-- procedures commit, so they refuse a transaction block
BEGIN;
CALL orchestry.promote_default('by_int');
ROLLBACK;
CALL orchestry.promote_default(NULL);
CALL orchestry.promote_default('plain');
CALL orchestry.promote_default('by_int');

-- a key of seconds beyond all times: no partition that is made would have it
CREATE TABLE seconds (at bigint) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('seconds', '1 day', '0', key_unit => 's') IS NOT NULL AS added;
SELECT * FROM refusal($$SELECT orchestry.create_partition('seconds', 9223372036854775807)$$);
SELECT * FROM refusal($$SELECT orchestry.create_partition('seconds', -9223372036854775807)$$);
SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target = 'seconds'::regclass;

RESET search_path;
SET client_min_messages = warning;
DROP TABLE pg_temp.temporary;
DROP SCHEMA bad CASCADE;
DROP ROLE regress_partition_stranger, regress_partition_owner;
