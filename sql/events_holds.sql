-- Event compression and holds: by which times a span is looked for, and holds on tables with columns of their own.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET client_min_messages = warning;
SET orchestry.now = '2026-06-15 12:00:00+00';
CREATE SCHEMA evh;
SET search_path = evh;
SELECT setval('orchestry.job_job_id_seq', 17001, false), setval('orchestry.hold_hold_id_seq', 5901, false);

-- Nobody said which time is meant: no time is the key, so any column counts.
CREATE TABLE plain (occurred_at timestamptz NOT NULL, received_at timestamptz, day date, note text);
INSERT INTO plain VALUES ('2026-01-05', '2026-02-10', NULL, 'received'), ('2026-01-05', NULL, '2026-02-28', 'day'), ('2026-02-28 23:59:59', NULL, NULL, 'occurred'),
    ('2026-01-05', '2026-03-01', '2026-03-03', 'after'), ('2026-01-05', NULL, NULL, 'no other time');
SELECT orchestry.hold('plain', 'case', "from" => '2026-02-01', "to" => '2026-03-01');
SELECT orchestry.add_event_compression_policy('plain', '30 days', time_column => 'occurred_at');
SELECT rows_estimate FROM orchestry.plan('plain') WHERE action = 'compress';
CALL orchestry.run('plain');
SELECT note FROM plain ORDER BY 1;
SELECT sum(event_count) FROM plain_compressed;

-- The partition key and the policy's column, and no other. Without a zone there is a day at both ends.
CREATE TABLE parts (occurred_at timestamp NOT NULL, received_at date NOT NULL, other timestamptz, note text) PARTITION BY RANGE (received_at);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-02-01') TO ('2026-04-01');
INSERT INTO parts VALUES ('2026-01-05', '2026-02-10', NULL, 'received'), ('2026-02-28', '2026-01-05', NULL, 'occurred'), ('2026-01-31 20:00', '2026-01-05', NULL, 'a day before'),
    ('2026-03-01 20:00', '2026-01-05', NULL, 'a day after'), ('2026-01-30 20:00', '2026-01-05', NULL, 'before'), ('2026-01-05', '2026-03-05', '2026-02-10', 'other');
SELECT orchestry.hold('parts', 'case', "from" => '2026-02-01 00:00+00', "to" => '2026-03-01 00:00+00', "where" => 'note <> ''free'' OR note IS NULL');
INSERT INTO parts VALUES ('2026-01-05', '2026-02-10', NULL, 'free');
SELECT orchestry.add_event_compression_policy('parts', '30 days', time_column => 'occurred_at');
CALL orchestry.run('parts');
SELECT note FROM parts ORDER BY 1;

-- A key that counts seconds is a time where a policy says so.
CREATE TABLE epochs (created bigint NOT NULL, at timestamptz NOT NULL, other timestamptz, note text) PARTITION BY RANGE (created);
CREATE TABLE epochs_1 PARTITION OF epochs DEFAULT;
SELECT orchestry.add_partition_policy('epochs', '1 month', key_unit => 's') > 0 AS added;
INSERT INTO epochs SELECT extract(epoch FROM c), a, o, n FROM (VALUES ('2026-02-10'::timestamptz, '2026-01-05'::timestamptz, NULL::timestamptz, 'created'),
    ('2026-01-10', '2026-02-05', NULL, 'at'), ('2026-01-10', '2026-01-05', '2026-02-10', 'other')) v(c, a, o, n);
SELECT orchestry.hold('epochs', 'case', "from" => '2026-02-01', "to" => '2026-03-01');
SELECT orchestry.add_event_compression_policy('epochs', '30 days', time_column => 'at') AS epochs \gset
CALL orchestry.run_job(:epochs);
SELECT note FROM epochs ORDER BY 1;

-- What became a partition later is held with what it is a part of, by any of its times.
CREATE TABLE whole (received_at timestamptz NOT NULL, at timestamptz NOT NULL, note text) PARTITION BY RANGE (received_at);
CREATE TABLE part (LIKE whole);
INSERT INTO part VALUES ('2026-01-10', '2026-02-10', 'at'), ('2026-01-10', '2026-01-10', 'neither');
SELECT orchestry.add_event_compression_policy('part', '30 days', time_column => 'at');
ALTER TABLE whole ATTACH PARTITION part FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
SELECT orchestry.hold('whole', 'case', "from" => '2026-02-01', "to" => '2026-03-01');
CALL orchestry.run('part');
SELECT note FROM part;

-- Holds on tables that inherit, by columns of their own: all their rows stay, and those of the others go.
CREATE TABLE above (at timestamptz NOT NULL, note text);
CREATE TABLE below_1 (legal boolean) INHERITS (above);
CREATE TABLE below_2 (seen date) INHERITS (above);
CREATE TABLE below_3 () INHERITS (above);
INSERT INTO above VALUES ('2026-01-05', 'above');
INSERT INTO below_1 VALUES ('2026-01-05', 'below 1', false);
INSERT INTO below_2 VALUES ('2026-01-05', 'below 2', '2026-02-10');
INSERT INTO below_3 VALUES ('2026-01-05', 'below 3'), ('2026-02-05', 'below 3, held'), ('2026-01-05', 'or');
SELECT orchestry.hold('below_1', 'legal', "where" => 'legal'), orchestry.hold('below_2', 'seen', "from" => '2026-02-01', "to" => '2026-03-01'),
       orchestry.hold('below_3', 'span', "from" => '2026-02-01', "to" => '2026-03-01'), orchestry.hold('below_3', 'rows', "where" => 'note = ''or'' OR note IS NULL');
SELECT orchestry.add_event_compression_policy('above', '30 days');
CALL orchestry.run('above');
SELECT tableoid::regclass, note FROM above ORDER BY 1, 2;
SELECT sum(event_count) FROM above_compressed;

-- A hold on the parent counts by the times of those that inherit as well.
SELECT count(orchestry.release_hold(hold_id, 'over')) FROM orchestry.holds WHERE relation::text ~ '^below';
DELETE FROM above;
INSERT INTO above VALUES ('2026-01-05', 'above'), ('2026-02-05', 'above, held');
INSERT INTO below_2 VALUES ('2026-01-05', 'below 2', '2026-02-10');
INSERT INTO below_3 VALUES ('2026-01-05', 'below 3'), ('2026-02-05', 'below 3, held');
SELECT orchestry.hold('above', 'span', "from" => '2026-02-01', "to" => '2026-03-01') AS held;
CALL orchestry.run('above');
SELECT tableoid::regclass, note FROM above ORDER BY 1, 2;

SELECT count(orchestry.release_hold(hold_id, 'over')) FROM orchestry.holds WHERE hold_id BETWEEN 5901 AND 5999 AND released_at IS NULL;
SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE job_id BETWEEN 17001 AND 17100;
DROP SCHEMA evh CASCADE;
