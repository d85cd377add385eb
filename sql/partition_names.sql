-- Names: of any length and with any character, written and never parsed; and keys as people give them.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
SET orchestry.now = '2026-03-15 12:00:00+00';
CREATE SCHEMA "Na""me's\s
pace";
SET search_path = "Na""me's\s
pace";

-- quotes, a newline, a backslash, a percent sign, characters of several bytes
CREATE TABLE "It's ""a"" 100%s
t\able é" ("Key's ""name""" timestamptz, "é" int CHECK ("é" > 0), PRIMARY KEY ("Key's ""name""", "é")) PARTITION BY RANGE ("Key's ""name""");
CREATE TABLE "rest
""'" PARTITION OF "It's ""a"" 100%s
t\able é" DEFAULT;
COMMENT ON TABLE "It's ""a"" 100%s
t\able é" IS 'it''s "a" 100%s \comment';
INSERT INTO "It's ""a"" 100%s
t\able é" VALUES ('2026-03-02', 1);
SELECT oid::regclass AS t FROM pg_class WHERE relkind = 'p' AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname LIKE 'Na%') \gset
SELECT orchestry.add_partition_policy(:'t', '1 month', '1 month', past => '1 month') IS NOT NULL AS added;
CALL orchestry.promote_default(:'t');
CALL orchestry.run(:'t');
SELECT partition, bound FROM orchestry.partitions WHERE parent = :'t'::regclass;
SELECT sql FROM orchestry.plan(:'t', '2026-05-20') WHERE action = 'create';
SELECT orchestry.partition_of(:'t', '2026-04-02');

-- 63 bytes and more: only the table's part is shortened, between characters, and two long names stay apart
CREATE TABLE "a_name_of_exactly_sixty_three_bytes_is_the_longest_there_can_be" (at timestamptz, id int, PRIMARY KEY (at, id)) PARTITION BY RANGE (at);
CREATE TABLE "a_name_of_exactly_sixty_three_bytes_is_the_longest_there_can_bf" (at timestamptz, id int, PRIMARY KEY (at, id)) PARTITION BY RANGE (at);
CREATE TABLE "ééééééééééééééééééééééééééééééé" (at timestamptz) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('a_name_of_exactly_sixty_three_bytes_is_the_longest_there_can_be', '1 hour', '1 hour') IS NOT NULL AS added;
SELECT orchestry.add_partition_policy('a_name_of_exactly_sixty_three_bytes_is_the_longest_there_can_bf', '1 hour', '1 hour') IS NOT NULL AS added;
SELECT orchestry.add_partition_policy('"ééééééééééééééééééééééééééééééé"', '1 month', '0') IS NOT NULL AS added;
SELECT c.relname, octet_length(c.relname), array_agg(x.relname ORDER BY x.relname) AS indexes
FROM orchestry.partitions p JOIN pg_class c ON c.oid = p.partition LEFT JOIN (pg_index i JOIN pg_class x ON x.oid = indexrelid) ON indrelid = c.oid
WHERE parent::text LIKE 'a%' OR parent::text LIKE '"é%' GROUP BY 1, 2 ORDER BY 1;

-- patterns
CREATE TABLE workflow_events (at timestamptz) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('workflow_events', '1 month', '1 month', name_pattern => 'workflow_events_y{YYYY}m{MM}') IS NOT NULL AS added;
CREATE TABLE executions (at timestamptz) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('executions', '7 days', '7 days', name_pattern => '{table}_{IYYY}w{IW}') IS NOT NULL AS added;
CREATE TABLE quarters (at timestamptz) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('quarters', '3 months', '3 months', name_pattern => 'Q{Q} of {{{YYYY}}}, {table}') IS NOT NULL AS added;
CREATE TABLE steps (id int) PARTITION BY RANGE (id);
SELECT orchestry.add_partition_policy('steps', 100, 100, 100, name_pattern => '{table}_{from}_to_{to}') IS NOT NULL AS added;
SELECT partition FROM orchestry.partitions WHERE parent::text IN ('workflow_events', 'executions', 'quarters', 'steps') ORDER BY parent::text, lower_at, lower_key;

-- a name that somebody else has, be it of a table, a view, an index or a type
CREATE TABLE taken (at timestamptz) PARTITION BY RANGE (at);
CREATE VIEW taken_p202603 AS SELECT 1;
CREATE TYPE taken_p202604 AS ENUM ('a');
SELECT orchestry.add_partition_policy('taken', '1 month', '2 months') IS NOT NULL AS added;
SELECT object, blocked_by FROM orchestry.plan('taken');
\set VERBOSITY terse
SELECT orchestry.create_partition('taken', '2026-03-20');
\set VERBOSITY default
DROP VIEW taken_p202603;
DROP TYPE taken_p202604;
CALL orchestry.run('taken');
SELECT partition FROM orchestry.partitions WHERE parent = 'taken'::regclass;

-- keys: a partition for any value of the key, in types that say the same
CREATE TABLE tz (at timestamptz) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('tz', '1 day', '0', time_zone => 'America/New_York') IS NOT NULL AS added;
SELECT orchestry.create_partition('tz', '2026-11-01 12:00:00Z'::timestamptz);
SELECT orchestry.create_partition('tz', timestamp '2026-11-02 00:00:00');
SELECT orchestry.create_partition('tz', date '2026-11-03');
SELECT orchestry.create_partition('tz', '2026-11-04 12:00:00Z');
SELECT orchestry.create_partition('tz', date '2026-11-03');
SELECT partition, bound FROM orchestry.partitions WHERE parent = 'tz'::regclass;
SELECT orchestry.partition_of('tz', timestamp '2026-11-01 23:59:59'), orchestry.partition_of('tz', date '2026-11-01'),
       orchestry.partition_of('tz', '2026-11-02 04:59:59Z'), orchestry.partition_of('tz', '2026-11-02 05:00:00Z'),
       orchestry.partition_of('tz', 'infinity'), orchestry.partition_of('tz', NULL::timestamptz);
CREATE TABLE tz_default PARTITION OF tz DEFAULT;
SELECT orchestry.partition_of('tz', 'infinity'), orchestry.partition_of('tz', NULL::timestamptz);
CREATE TABLE days (at date) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('days', '1 day', '0', time_zone => 'America/New_York') IS NOT NULL AS added;
SELECT orchestry.create_partition('days', '2026-11-02 04:59:59Z'::timestamptz), orchestry.create_partition('days', timestamp '2026-11-02 04:59:59');
CREATE TABLE ms (at bigint) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('ms', '1 day', '0', key_unit => 'ms') IS NOT NULL AS added;
SELECT orchestry.create_partition('ms', timestamptz '2026-11-02 00:00Z'), orchestry.create_partition('ms', 1793577600000 + 86400000), orchestry.create_partition('ms', '1793750400000');
SELECT partition, bound, lower_at, upper_at FROM orchestry.partitions WHERE parent = 'ms'::regclass;
CREATE TABLE small (id smallint) PARTITION BY RANGE (id);
SELECT orchestry.add_partition_policy('small', 100, 0) IS NOT NULL AS added;
SELECT orchestry.create_partition('small', -5), orchestry.create_partition('small', 32767::bigint), orchestry.partition_of('small', 32767), orchestry.partition_of('small', 5);
CREATE TABLE uuids (id uuid) PARTITION BY RANGE (id);
SELECT orchestry.add_partition_policy('uuids', '1 day', '0', key_unit => 'uuidv7') IS NOT NULL AS added;
SELECT orchestry.create_partition('uuids', uuid '019a9b80-0000-7abc-8def-0123456789ab'), orchestry.create_partition('uuids', timestamptz '2026-04-01 00:00Z');
SELECT orchestry.partition_of('uuids', uuid '019a9b80-0000-7abc-8def-0123456789ab');
-- a row goes where partition_of() says, at the very edges too
CREATE TABLE edges (id uuid) PARTITION BY RANGE (id);
CREATE TABLE edges_1 PARTITION OF edges FOR VALUES FROM ('019ca6b1-dc00-7000-8000-000000000000') TO ('019d4657-0000-7000-8000-000000000000');
CREATE TABLE edges_2 PARTITION OF edges FOR VALUES FROM ('019d4657-0000-7000-8000-000000000000') TO (MAXVALUE);
CREATE TABLE edges_rest PARTITION OF edges DEFAULT;
INSERT INTO edges VALUES ('019ca6b1-dbff-ffff-ffff-ffffffffffff'), ('019ca6b1-dc00-0000-0000-000000000000'), ('019ca6b1-dc00-7000-8000-000000000000'),
    ('019d4657-0000-6fff-ffff-ffffffffffff'), ('019d4657-0000-7000-8000-000000000000'), ('ffffffff-ffff-ffff-ffff-ffffffffffff'), (NULL);
SELECT count(*) AS rows, count(*) FILTER (WHERE orchestry.partition_of('edges', id) = tableoid) AS right FROM edges;
\set VERBOSITY sqlstate
SELECT orchestry.create_partition('tz', 5);
SELECT orchestry.create_partition('tz', true);
SELECT orchestry.create_partition('small', now());
SELECT orchestry.create_partition('small', 5.5);
SELECT orchestry.create_partition('uuids', 5);
SELECT orchestry.create_partition('tz', 'some time');
SELECT orchestry.partition_of('small', 'many');
SELECT orchestry.create_partition('tz', 'infinity');
\set VERBOSITY default

SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema LIKE 'Na%';
SET client_min_messages = warning;
DROP SCHEMA "Na""me's\s
pace" CASCADE;
