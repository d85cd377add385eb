-- Holds on a span of time where single rows go: which of a row's times count, and what bounds say of them.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET client_min_messages = warning;
SET orchestry.now = '2026-06-15 12:00:00+00';
SELECT setval('orchestry.job_job_id_seq', 16001, false), setval('orchestry.hold_hold_id_seq', 6501, false);
CREATE SCHEMA spans;
SET search_path = spans;

-- the policy's column is not the key: the bounds of a partition do not say what it has
CREATE TABLE by_change (id int, created timestamptz NOT NULL, updated timestamptz) PARTITION BY RANGE (created);
CREATE TABLE by_change_1 PARTITION OF by_change FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE by_change_2 PARTITION OF by_change FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') PARTITION BY LIST (id);
CREATE TABLE by_change_2_all PARTITION OF by_change_2 DEFAULT;
INSERT INTO by_change VALUES (1, '2026-01-10', '2026-02-10'), (2, '2026-01-10', '2026-01-11'), (3, '2026-02-10', '2026-03-05'),
    (4, '2026-02-10', '2026-01-05'), (5, '2026-01-20', '2026-03-05');
SELECT orchestry.hold('by_change', 'case of spans', "from" => '2026-02-01', "to" => '2026-03-01') AS span \gset
SELECT orchestry.add_retention_policy('by_change', keep => '90 days', time_column => 'updated') AS by_change \gset
CALL orchestry.run_job(:by_change);
SELECT string_agg(id::text, ' ' ORDER BY id) FROM by_change;
SELECT orchestry.release_hold(:span, 'over');
CALL orchestry.run_job(:by_change);
SELECT count(*) FROM by_change;

-- a hold on another time than the policy's has its own, with a condition of its own
INSERT INTO by_change VALUES (6, '2026-01-10', '2026-02-10'), (7, '2026-01-10', '2026-02-10');
SELECT orchestry.hold('by_change_1', 'case of spans', "from" => '2026-02-01', "where" => 'id = 7') AS span \gset
CALL orchestry.run_job(:by_change);
SELECT string_agg(id::text, ' ' ORDER BY id) FROM by_change;
SELECT orchestry.release_hold(:span, 'over');

-- an integer key of which a policy says what it counts is a time: of the table, or of single rows
CREATE TABLE counted (id int, created bigint NOT NULL, updated timestamptz, seen timestamptz) PARTITION BY RANGE (created);
SELECT orchestry.add_partition_policy('counted', '1 month', past => '6 months', key_unit => 's') AS counted \gset
CREATE TABLE plainly (LIKE counted) PARTITION BY RANGE (created);
CREATE TABLE plainly_all PARTITION OF plainly FOR VALUES FROM (0) TO (10000000000);
SELECT orchestry.add_retention_policy('plainly', '1 year', "where" => 'id < 0', key_unit => 's') AS plainly \gset
INSERT INTO counted SELECT n, extract(epoch FROM at)::bigint, '2026-01-05', seen FROM (VALUES
    (1, timestamptz '2026-01-31 23:59:59+00', timestamptz '2026-01-01'), (2, '2026-02-01 00:00:00+00', NULL),
    (3, '2026-02-28 23:59:59+00', NULL), (4, '2026-03-01 00:00:00+00', NULL), (5, '2026-01-05 00:00:00+00', '2026-02-05')) v (n, at, seen);
INSERT INTO plainly TABLE counted;
SELECT orchestry.hold('counted', 'case of spans', "from" => '2026-02-01', "to" => '2026-03-01') < orchestry.hold('plainly', 'case of spans', "from" => '2026-02-01', "to" => '2026-03-01') AS held;
SELECT orchestry.add_retention_policy('counted', '90 days', time_column => 'updated') AS counted \gset
SELECT orchestry.add_retention_policy('plainly', '90 days', time_column => 'updated') AS plainly \gset
CALL orchestry.run_job(:counted);
CALL orchestry.run_job(:plainly);
SELECT (SELECT string_agg(id::text, ' ' ORDER BY id) FROM counted) AS counted, (SELECT string_agg(id::text, ' ' ORDER BY id) FROM plainly) AS plainly;

-- a hold that ends within a unit of the column: what lies before its end in that unit stays
CREATE TABLE in_seconds (id int, at float8);
CREATE TABLE in_ms (id int, at uuid);
INSERT INTO in_seconds VALUES (1, 1767225600.3), (2, 1767225601.5), (3, 1767225598.5);
INSERT INTO in_ms VALUES (1, '019b76da-a800-7cc3-98c4-dc0c0c07398f'), (2, '019b76da-a802-7cc3-98c4-dc0c0c07398f'), (3, '019b76da-a7fe-7cc3-98c4-dc0c0c07398f');
SELECT orchestry.hold('in_seconds', 'case of spans', "from" => '2025-12-31 23:59:59.5', "to" => '2026-01-01 00:00:00.5')
    < orchestry.hold('in_ms', 'case of spans', "from" => '2025-12-31 23:59:59.9995', "to" => '2026-01-01 00:00:00.0005') AS held;
SELECT orchestry.add_retention_policy('in_seconds', '90 days', time_column => 'at', key_unit => 's') AS in_seconds \gset
SELECT orchestry.add_retention_policy('in_ms', '90 days', time_column => 'at') AS in_ms \gset
CALL orchestry.run_job(:in_seconds);
CALL orchestry.run_job(:in_ms);
SELECT (SELECT string_agg(id::text, ' ' ORDER BY id) FROM in_seconds) AS in_seconds, (SELECT string_agg(id::text, ' ' ORDER BY id) FROM in_ms) AS in_ms;

-- the keys of all that is above the policy's table and below it, of types that are not for times alone as well
CREATE TABLE keyed (tenant int, id uuid NOT NULL, updated timestamptz) PARTITION BY LIST (tenant);
CREATE TABLE keyed_1 PARTITION OF keyed FOR VALUES IN (1) PARTITION BY RANGE (id);
CREATE TABLE keyed_1_all PARTITION OF keyed_1 FOR VALUES FROM (MINVALUE) TO (MAXVALUE);
INSERT INTO keyed VALUES (1, '019b76da-a800-7cc3-98c4-dc0c0c07398f', '2026-02-10'), (1, '018cc251-f400-7cc3-98c4-dc0c0c07398f', '2026-02-10');
CREATE TABLE counted_all PARTITION OF counted FOR VALUES FROM (0) TO (1000000000);
INSERT INTO counted VALUES (11, 100000000, '2026-01-05'), (12, 900000000, '2026-01-05');
SELECT orchestry.hold('keyed', 'case of spans', "from" => '2026-01-01', "to" => '2026-01-02')
    < orchestry.hold('counted', 'case of spans', "from" => '1973-03-03', "to" => '1973-03-04') AS held;
SELECT orchestry.add_retention_policy('keyed', '90 days', time_column => 'updated') AS above \gset
SELECT orchestry.add_retention_policy('keyed_1_all', '90 days', time_column => 'updated') AS leaf \gset
SELECT orchestry.add_retention_policy('counted_all', '90 days', time_column => 'updated') AS counted_leaf \gset
CALL orchestry.run_job(:above);
CALL orchestry.run_job(:leaf);
CALL orchestry.run_job(:counted_leaf);
SELECT id FROM keyed;
SELECT id FROM counted_all;

SELECT count(orchestry.release_hold(hold_id, 'over')) FROM orchestry.holds WHERE reason = 'case of spans' AND released_at IS NULL;
SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'spans';
RESET orchestry.now;
SET search_path = public;
DROP SCHEMA spans CASCADE;
